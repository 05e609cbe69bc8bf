"""Files that a run may delete at most, and those that are still there after it."""

from collections import Counter
from pathlib import Path

from medassets.reclaim.claims import Needs, Others
from medassets.reclaim.remaining import Deletable, find_remaining, measure_deletable
from medassets.reclaim.report import ReclaimReport
from medassets_tests.reclaim.reclaiming import FIRST, LAST, SECOND, Made


def sizes(made: Made, *keys: str) -> list[int]:
    paths = [item.path for key in keys for item in made.open().read_partition(key)]
    return [(made.tree.folder / path).stat().st_size for path in paths]


def test_what_may_be_deleted_is_counted_by_shard_while_it_is_there(made: Made) -> None:
    workspace = made.open()
    needs = Needs(workspace, Others())
    every = sizes(made, FIRST, SECOND, LAST)
    assert measure_deletable(workspace, needs) == Deletable(7, sum(every))
    first = Deletable(3, sum(sizes(made, FIRST)))
    assert measure_deletable(workspace, needs, partitions=[FIRST]) == first
    made.reclaim(FIRST)
    assert measure_deletable(workspace, needs, partitions=[FIRST]) == Deletable(0, 0)
    assert measure_deletable(workspace, needs).num_files == 4


def test_every_file_that_is_still_there_has_the_state_of_its_shard(made: Made) -> None:
    workspace = made.open()
    report = made.reclaim(FIRST)
    made.shard(LAST).unlink()
    found = find_remaining(workspace, [report], failed=[SECOND])
    whys = Counter(kept.why for kept in found)
    assert whys == {"its shard failed": 3, "its shard is not made yet": 1}
    assert {Path(kept.path).stem for kept in found} == set(made.left)
    assert all(kept.num_bytes > 0 for kept in found)
    only = find_remaining(workspace, [report], failed=(), partitions=[SECOND])
    assert {kept.why for kept in only} == {"it was not compared with its shard"}
    problem = ReclaimReport(SECOND, confirmed=True, problems=["it differs"])
    only = find_remaining(workspace, [problem], failed=(), partitions=[SECOND])
    assert {kept.why for kept in only} == {"its shard was not proven"}
