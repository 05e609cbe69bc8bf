"""Manifests of a dataset's splits, from the records of its shards."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from medassets.datasets.accounts import Books, open_books
from medassets.datasets.survey import Survey, require_one_orientation, survey_records
from medassets.datasets.workspace import Workspace
from medassets.shards.account import Account
from medassets.shards.manifest import Manifest, build_manifest
from medassets.shards.record import ShardRecord


def build_manifests(workspace: Workspace) -> dict[str, Manifest]:
    """Return the manifest of every split: the shards that are on disk whole, and what is missing.

    A shard made from other inputs than today's plan and declaration is as good as missing: the
    manifest states one shape for all samples, and a short shard that was planned anew lacks some.

    Raises:
        CatalogError: If there is no catalog yet.
        MixedOrientationError: If the samples do not fit together; see `survey_dataset`.
    """
    books = open_books(workspace)
    survey = survey_records(workspace.kind, books.records())
    require_one_orientation(survey)
    accounts = books.draw()
    return {
        split: _build(workspace, books, split, accounts[split], survey)
        for split in workspace.kind.spec.splits
    }


def survey_dataset(workspace: Workspace, books: Books | None = None) -> Survey:
    """Compare the samples of all shards that are on disk whole and made from today's inputs.

    Args:
        workspace: The dataset and stage.
        books: What was read of the disk; None reads it.

    Raises:
        CatalogError: If there is no catalog yet.
    """
    return survey_records(workspace.kind, (books or open_books(workspace)).records())


def describe_catalog(workspace: Workspace, table: pa.Table) -> dict[str, Any]:
    """Return what users should know of a catalog beyond its counts, and of the samples built so far.

    Args:
        workspace: The dataset.
        table: The catalog, which may not be published yet.
    """
    built = survey_dataset(workspace).facts if workspace.paths.catalog.exists() else {}
    known = {"built": {"orientations": built["orientations"]}} if "orientations" in built else {}
    return {**workspace.kind.describe_catalog(table), **known}


def _build(
    workspace: Workspace, books: Books, split: str, account: Account, survey: Survey
) -> Manifest:
    records = books.records(split)
    outliers = survey.list_outliers(records)
    return build_manifest(
        split,
        records,
        dataset=workspace.kind.spec.name,
        kind=workspace.kind.SAMPLES,
        sample_fields={
            **workspace.kind.manifest_fields(records),
            **({"hu_outliers": outliers} if outliers else {}),
        },
        source=_source(workspace, records),
        account=account,
        planned=books.plan.splits().get(split, []),
        num_held=books.plan.num_held,
        samples_per_shard=books.plan.samples_per_shard,
        describe_shard=workspace.kind.describe_shard,
    )


def _source(workspace: Workspace, records: list[ShardRecord]) -> Mapping[str, object]:
    # Shards that were planned later may have a later revision.
    revisions = list(dict.fromkeys(record.source["revision"] for record in records))
    latest = revisions[-1] if revisions else None
    more = {"revisions": revisions} if len(revisions) > 1 else {}
    uri = workspace.source.uri
    return {"repo": workspace.source.repo, "uri": uri, "revision": latest, **more}


def list_keys(manifests: Mapping[str, Manifest]) -> dict[str, list[str]]:
    """Return the sample keys of every split, in the order of the shards."""
    return {
        split: [key for shard in manifest["shards"] for key in shard["keys"]]
        for split, manifest in manifests.items()
    }
