"""What `reconcile --dry-run` says of misplaced shards is what they are after the run."""

from pathlib import Path

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.recovery.foreseen import foresee_states
from medassets.datasets.recovery.misplaced import plan_moves, put_back
from medassets.datasets.status import Recorded, shard_states
from medassets.datasets.workspace import Workspace

FIRST, SECOND, THIRD = "train-000000", "train-000001", "train-000002"


def swap(workspace: Workspace, one: str, other: str) -> None:
    for place in (workspace.paths.shard, workspace.paths.record):
        contents = place(one).read_bytes(), place(other).read_bytes()
        place(one).write_bytes(contents[1])
        place(other).write_bytes(contents[0])


def test_swapped_shards_are_foreseen_as_they_become(planned: Workspace) -> None:
    for key in (FIRST, SECOND, THIRD):
        build_shard(planned, planned.paths, plan_shard(planned, key))
    swap(planned, FIRST, SECOND)
    # Dagster knows one of them, and of another that its last run failed.
    recorded = Recorded([FIRST, THIRD], [THIRD])
    plan = planned.read_plan()
    foreseen = foresee_states(planned, plan, recorded, plan_moves(planned.paths))
    assert set(foreseen) == {FIRST, SECOND}
    put_back(planned.paths)
    states = shard_states(planned, recorded)
    assert foreseen == {key: states[key] for key in foreseen}


def test_a_place_that_a_shard_leaves_is_foreseen_as_lost_or_missing(planned: Workspace) -> None:
    build_shard(planned, planned.paths, plan_shard(planned, FIRST))
    for place in (planned.paths.shard, planned.paths.record):
        Path(place(FIRST)).rename(place(SECOND))
    plan = planned.read_plan()
    for recorded in (Recorded([], []), Recorded([SECOND], []), Recorded([SECOND], [SECOND])):
        foreseen = foresee_states(planned, plan, recorded, plan_moves(planned.paths))
        assert set(foreseen) == {FIRST, SECOND}
    put_back(planned.paths)
    states = shard_states(planned, recorded)
    assert foreseen == {key: states[key] for key in foreseen}
