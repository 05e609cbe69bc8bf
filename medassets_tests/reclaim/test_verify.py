"""Every sample whose source was deleted is in a whole shard, or is named."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medassets.reclaim import verify as verify_reclaimed
from medassets.reclaim.verify import find_lost_samples
from medassets.sources.hub import HubSource
from medassets_tests.reclaim.reclaiming import FIRST, KEYS, SECOND, Made
from medassets_tests.reclaim.test_tars import Tars


def find_lost(made: Made, *keys: str) -> list[str]:
    return find_lost_samples(made.open(), keys or KEYS)


def test_a_dataset_whose_source_is_on_another_machine_has_lost_nothing(made: Made) -> None:
    workspace = replace(made.open(), source=HubSource("medassets/demo-ct"))
    assert find_lost_samples(workspace, KEYS) == []


def expect(made: Made, study: str) -> str:
    return (
        f"{FIRST}: {study}: its source was deleted, and no shard holds it; restore "
        f"{made.shard()} and its record, or {made.tree.place(study)}, from a copy"
    )


def edit_record(made: Made, **facts: Any) -> str:
    """Write other facts of the second sample into the record, or take it out; return its key."""
    path = made.shard().with_suffix(".json")
    record = json.loads(path.read_bytes())
    sample = record["samples"][1]
    if facts:
        sample["facts"] |= facts
    else:
        del record["samples"][1]
        record["num_samples"] -= 1
    path.write_text(json.dumps(record))
    return sample["key"]


def test_whole_shards_have_lost_nothing(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        # Without journals, no record is read.
        patch.setattr(verify_reclaimed, "read_whole_record", None)
        assert find_lost(made) == []
    made.shard(SECOND).unlink()
    made.reclaim()
    assert find_lost(made) == []


@pytest.mark.parametrize("lost", ["tar", "record", "both", "end of the tar"])
def test_every_sample_of_a_lost_shard_is_named(made: Made, lost: str) -> None:
    made.reclaim()
    shard = made.shard()
    if lost == "end of the tar":
        shard.write_bytes(shard.read_bytes()[:-1])
    if lost in ("tar", "both"):
        shard.unlink()
    if lost in ("record", "both"):
        shard.with_suffix(".json").unlink()
    assert find_lost(made) == [expect(made, study) for study in made.studies()]
    assert find_lost(made, SECOND) == []


@pytest.mark.parametrize("facts", [{}, {"source_sha256": "0" * 64}, {"source_sha256": None}])
def test_a_shard_that_holds_another_sample_is_found(made: Made, facts: dict[str, Any]) -> None:
    made.reclaim()
    study = edit_record(made, **facts)
    assert find_lost(made) == [expect(made, study)]


def test_a_source_that_is_back_is_not_lost(made: Made) -> None:
    made.reclaim()
    first, second, third = made.studies()
    made.tree.place(first).write_bytes(made.originals.files[first])
    made.tree.place(second).write_bytes(b"other")
    made.shard().unlink()
    assert find_lost(made) == [expect(made, study) for study in (second, third)]


def test_what_a_killed_run_deleted_is_lost_too(made: Made) -> None:
    made.reclaim()
    journal = made.journal()
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if b'{"deleted"' not in line))
    assert find_lost(made) == []
    made.shard().unlink()
    assert len(find_lost(made)) == 3


def test_a_journal_that_cannot_be_read_is_named(made: Made) -> None:
    made.reclaim()
    made.reclaim(SECOND)
    content = made.journal().read_bytes()
    made.journal().write_bytes(content[:30] + b"x" + content[31:])
    (problem,) = find_lost(made)
    assert problem.startswith(f"{made.journal()}: the journal of deleted sources is damaged")
    made.journal().unlink()
    made.journal().mkdir()
    (problem,) = find_lost(made)
    assert problem == (
        f"{made.journal()}: the journal of deleted sources cannot be read (not a regular file)"
    )
    # The others are still looked at.
    made.shard(SECOND).unlink()
    assert len(find_lost(made)) == 4


def test_of_a_tar_in_several_shards_the_samples_of_the_lost_one_are_named(tmp_path: Path) -> None:
    tars = Tars(tmp_path, 2)
    tars.write([5])
    keys = tars.build()
    tars.reclaim(keys[2])
    workspace = tars.open()
    assert find_lost_samples(workspace, keys) == []
    workspace.paths.shard(keys[1]).unlink()
    problems = find_lost_samples(workspace, keys)
    assert [problem.split(": ")[:2] for problem in problems] == [
        [keys[1], "train_002_a_1"],
        [keys[1], "train_003_a_1"],
    ]
    assert all(str(workspace.paths.shard(keys[1])) in problem for problem in problems)
    assert all(f"or {tars.tar(0)}, from" in problem for problem in problems)
