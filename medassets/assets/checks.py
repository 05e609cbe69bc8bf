"""Asset checks: they report; a shard is validated before it is published, never after."""

import dagster as dg

from medassets.assets.keys import asset_key
from medassets.assets.metadata import account_metadata, problems_metadata, survey_metadata
from medassets.assets.partitions import shard_partitions
from medassets.datasets.accounts import take_account_of, take_accounts
from medassets.datasets.kind import DatasetKind
from medassets.datasets.manifests.problems import find_problems
from medassets.datasets.manifests.publication import survey_dataset
from medassets.datasets.verify import find_catalog_problems
from medassets.resources.workspace import WorkspaceResource
from medassets.shards.account import join_accounts
from medassets.stages import CommonStage


def build_checks(
    kind: DatasetKind, *, manifest: str = CommonStage.MANIFEST
) -> list[dg.AssetChecksDefinition]:
    """Return the checks of one dataset: catalog, shard statistics, orientation, complete manifest.

    Args:
        kind: The stage that is checked.
        manifest: Asset that lists its shards.
    """
    meaning = [_orientation_check(kind)] if kind.ct_source is not None else []
    return [
        _catalog_check(kind),
        build_shards_check(kind),
        *meaning,
        _manifest_check(kind, manifest),
    ]


def _catalog_check(kind: DatasetKind) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset_key(kind.spec.name, CommonStage.CATALOG),
        name="every_row_has_a_place",
        description="Planned, held and excluded rows add up to the catalog; each sample once.",
    )
    def check(workspace: WorkspaceResource) -> dg.AssetCheckResult:
        opened = workspace.open(kind)
        plan, problems = opened.read_plan(), find_catalog_problems(opened)
        account = join_accounts(take_accounts(opened).values())
        return dg.AssetCheckResult(
            passed=not problems,
            metadata={
                "rows": plan.num_rows,
                "planned": sum(plan.partitions.values()),
                "held": plan.num_held,
                "excluded": dg.MetadataValue.json(plan.excluded_by_reason()),
                **account_metadata(account),
                **problems_metadata(problems),
            },
        )

    return check


def build_shards_check(kind: DatasetKind) -> dg.AssetChecksDefinition:
    """Return the check of one stage's shards: how many samples were rejected."""

    @dg.asset_check(
        asset=asset_key(kind.spec.name, kind.stage),
        name="no_sample_rejected",
        partitions_def=shard_partitions(kind.spec),
        description="Share of the shard's samples that were rejected; statistics only.",
    )
    def check(
        context: dg.AssetCheckExecutionContext, workspace: WorkspaceResource
    ) -> dg.AssetCheckResult:
        opened = workspace.open(kind)
        account = take_account_of(opened, sorted(context.partition_keys))
        return dg.AssetCheckResult(
            passed=account.done == account.items,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "samples": account.done,
                "rejected": account.num_rejected,
                **account_metadata(account),
            },
        )

    return check


def _orientation_check(kind: DatasetKind) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset_key(kind.spec.name, kind.stage),
        name="one_orientation",
        description="All volumes of the dataset have one orientation, the expected one if declared.",
    )
    def check(workspace: WorkspaceResource) -> dg.AssetCheckResult:
        survey = survey_dataset(workspace.open(kind))
        return dg.AssetCheckResult(passed=not survey.problems, metadata=survey_metadata(survey))

    return check


def _manifest_check(kind: DatasetKind, manifest: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset_key(kind.spec.name, manifest),
        name="all_shards_present",
        description="Every planned shard is on disk whole, made from today's inputs; no sample is held.",
    )
    def check(workspace: WorkspaceResource) -> dg.AssetCheckResult:
        opened = workspace.open(kind)
        problems = find_problems(opened)
        account = join_accounts(take_accounts(opened).values())
        return dg.AssetCheckResult(
            passed=not problems,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={**account_metadata(account), **problems_metadata(problems)},
        )

    return check
