"""What the places of shards will hold after misplaced shards were put back, before any is moved."""

from collections.abc import Sequence

from medassets.datasets.build import today_fingerprint
from medassets.datasets.recovery.misplaced import Move
from medassets.datasets.status import Recorded, ShardState
from medassets.datasets.workspace import Workspace
from medassets.shards.catalog.plan import CatalogPlan


def foresee_states(
    workspace: Workspace, plan: CatalogPlan, recorded: Recorded, moves: Sequence[Move]
) -> dict[str, ShardState]:
    """Return the states of the planned shards whose places change, as they are afterwards.

    Args:
        workspace: The dataset and stage.
        plan: Its plan.
        recorded: What Dagster knows.
        moves: The steps, in order.
    """
    held: dict[str, Move | None] = {}
    for move in moves:
        held |= {move.tar: None, move.record: None, move.place: move}
    return {
        place: _foresee(workspace, plan, recorded, place, move)
        for place, move in held.items()
        if place in plan.partitions
    }


def _foresee(
    workspace: Workspace, plan: CatalogPlan, recorded: Recorded, place: str, move: Move | None
) -> ShardState:
    is_known, has_failed = place in recorded.materialized, place in recorded.failed
    record = move.shard.record if move is not None and move.is_last else None
    if record is None:
        if has_failed:
            return ShardState.FAILED
        return ShardState.LOST if is_known or move is not None else ShardState.MISSING
    if record.plan_fingerprint != today_fingerprint(workspace, plan, place):
        return ShardState.STALE
    return ShardState.DONE if is_known and not has_failed else ShardState.ORPHANED
