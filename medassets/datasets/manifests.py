"""Manifests of a dataset's splits, and what keeps them from being complete."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from medassets.datasets.accounts import Books, open_books
from medassets.datasets.build import today_fingerprint
from medassets.datasets.manifest_differences import describe_differences
from medassets.datasets.survey import Survey, require_one_orientation, survey_records
from medassets.datasets.workspace import Workspace
from medassets.shards.account import Account
from medassets.shards.files import read_whole_record
from medassets.shards.manifest import (
    Manifest,
    build_manifest,
    build_wids_index,
)
from medassets.shards.record import ShardRecord
from medassets.shards.verify import verify_shard


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


def survey_dataset(workspace: Workspace) -> Survey:
    """Compare the samples of all shards that are on disk whole and made from today's inputs.

    Raises:
        CatalogError: If there is no catalog yet.
    """
    return survey_records(workspace.kind, open_books(workspace).records())


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


def find_manifest_problems(workspace: Workspace) -> list[str]:
    """Return what manifests say that the shards do not; a build writes them again."""
    if problems := list(survey_dataset(workspace).problems):
        return problems
    paths = workspace.paths
    for split, manifest in build_manifests(workspace).items():
        if not manifest["shards"]:
            continue
        for path, document in (
            (paths.manifest(split), manifest),
            (paths.wids_index(split), build_wids_index(manifest)),
        ):
            problems += _compare(path, document)
    return problems


def _compare(path: Path, document: Mapping[str, object]) -> list[str]:
    try:
        found = describe_differences(document, path.read_bytes())
    except OSError as error:
        found = [f"it cannot be read ({error.strerror})"]
    problem = f"{path}: missing, or not what the shards say"
    return [
        f"{problem}: {what}; if you changed it, move it away; build the dataset" for what in found
    ]


def find_strays(workspace: Workspace) -> list[str]:
    """Return the shards in the stage's folders that no plan knows.

    Patterns such as `shard-{000000..000314}.tar` and globs read them.
    """
    paths = workspace.paths
    planned = {paths.shard(key) for key in workspace.read_plan().partitions}
    folders = [paths.split_folder(split) for split in workspace.kind.spec.splits]
    found = {path for folder in folders for path in folder.glob("shard-*.tar")}
    return [f"{stray}: no plan knows this shard; move it away" for stray in sorted(found - planned)]


def find_problems(workspace: Workspace) -> list[str]:
    """Return what keeps the dataset from being complete: shards missing, damaged or outdated.

    Samples that do not fit together, so that no manifest is published, come first.
    """
    plan = workspace.read_plan()
    problems = list(survey_dataset(workspace).problems)
    for key in plan.partitions:
        if not workspace.paths.record(key).exists():
            problems.append(f"{key}: not made yet")
            continue
        found = [str(problem) for problem in verify_shard(workspace.paths, key, full=False)]
        today = today_fingerprint(workspace, plan, key)
        if not found and read_whole_record(workspace.paths, key, today) is None:
            found = [f"{key}: made from other inputs or settings than today's; build it again"]
        problems += found
    if plan.num_held:
        problems.append(f"{plan.num_held} samples are held; refresh the catalog without limit")
    return problems
