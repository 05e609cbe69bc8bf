"""Files in the folders of a stage's shards that the plan does not account for."""

from collections.abc import Collection, Iterator

from medassets.datasets.recovery.places import FoundShard, list_places, look_at_place
from medassets.datasets.workspace import Workspace
from medassets.shards.catalog.plan import CatalogPlan


def find_unplanned(
    workspace: Workspace, plan: CatalogPlan, *, current: Collection[str] = ()
) -> list[FoundShard]:
    """Return the shards of this dataset that have samples which the plan does not give them.

    That is so where an older catalog was put back: a shard is unknown, or had fewer samples then.

    Args:
        workspace: The dataset and stage.
        plan: Its plan.
        current: Shards that are known to be made of today's plan; they are not looked at.
    """
    places = (p for p in list_places(workspace.paths) if p not in current)
    found_there = (look_at_place(workspace.paths, place) for place in places)
    return [
        found
        for found in found_there
        if found.is_ours and len(found.list_keys()) > plan.partitions.get(found.place, 0)
    ]


def find_strays(workspace: Workspace, passed_over: Collection[str] = ()) -> list[str]:
    """Return the shards in the stage's folders that the plan does not know, one line each.

    Patterns such as `shard-{000000..000314}.tar` and globs read them.

    Args:
        workspace: The dataset and stage.
        passed_over: Places that are not looked at.
    """
    plan = workspace.read_plan()
    return [
        *_explain_unplanned(workspace, plan),
        *_find_foreign(workspace, plan, passed_over),
        *_find_other_tars(workspace),
    ]


def explain_unplanned(workspace: Workspace, found: FoundShard, plan: CatalogPlan) -> str:
    """Return one line on a shard that has samples which the plan does not give it."""
    count, known = len(found.list_keys()), plan.partitions.get(found.place, 0)
    what = f"plans {known} samples" if known else "does not know"
    return (
        f"{found.shard}: its record has {count} samples, the catalog {what} for it: an older "
        f"catalog? `{workspace.paths.reconcile_command}` restores the plan"
    )


def _explain_unplanned(workspace: Workspace, plan: CatalogPlan) -> Iterator[str]:
    for found in find_unplanned(workspace, plan):
        yield explain_unplanned(workspace, found, plan)


def _find_foreign(
    workspace: Workspace, plan: CatalogPlan, passed_over: Collection[str]
) -> Iterator[str]:
    for place in list_places(workspace.paths):
        if place in plan.partitions or place in passed_over:
            continue
        found = look_at_place(workspace.paths, place)
        if found.is_misplaced:
            yield (
                f"{found.shard}: {found.trouble}; `{workspace.paths.reconcile_command}` puts it "
                f"back if that place is free"
            )
        elif not found.is_ours:
            path = found.shard if found.has_tar else workspace.paths.record(place)
            yield f"{path}: no plan knows this shard; move it away"


def _find_other_tars(workspace: Workspace) -> Iterator[str]:
    paths = workspace.paths
    ours = {paths.shard(place) for place in list_places(paths)}
    for split in workspace.kind.spec.splits:
        for tar in sorted(paths.split_folder(split).glob("[!.]*.tar")):
            if tar not in ours:
                yield f"{tar}: no plan knows this tar; move it away"
