"""What notes of deleted sources are good for: after kills, after damage, for later builds."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.errors import ReclaimError
from medassets.reclaim.partition import is_reclaimed
from medassets.shards.reclaim_journal import ReclaimJournal
from medassets.testing.npz_tree import make_npz_tree
from medassets_tests.npz_source import flip_byte, read_volumes
from medassets_tests.reclaim.reclaiming import FIRST, KEYS, LAST, SECOND, Made


def test_a_declaration_that_keeps_its_sources_is_obeyed(made: Made) -> None:
    with pytest.raises(ReclaimError, match="declare `delete_sources: true`"):
        made.reclaim(delete_sources=False)
    assert len(made.left) == 7


@pytest.mark.parametrize("lost", [(), ("shard",), ("record",), ("shard", "record")])
@pytest.mark.parametrize("why", ["force", "changed"])
def test_a_shard_whose_sources_are_deleted_is_never_made_again(
    made: Made, lost: tuple[str, ...], why: str
) -> None:
    made.reclaim()
    for name in lost:
        getattr(made.open().paths, name)(FIRST).unlink()
    before = made.shards
    changes: dict[str, Any] = {"max_rounding_error": 0.5} if why == "changed" else {"force": True}
    with pytest.raises(ReclaimError, match=r"3 of its sources were deleted.*cannot be made again"):
        made.build(FIRST, **changes)
    assert made.shards == before
    # Shards whose sources are there are made again.
    made.build(SECOND, **changes)


def test_a_build_planned_before_the_sources_went_does_not_replace_their_shard(made: Made) -> None:
    """Two processes: one plans to make a shard anew, the other deletes its sources meanwhile."""
    workspace = made.open()
    work = plan_shard(workspace, FIRST, force=True)
    made.reclaim()
    before = made.shards
    with pytest.raises(ReclaimError, match="3 of its sources were deleted"):
        build_shard(workspace, workspace.paths, work)
    assert made.shards == before
    assert made.originals.check(made.root / "tiny").in_shards == made.originals.files.keys()


def test_a_short_last_shard_without_sources_stays_and_new_files_get_their_own(made: Made) -> None:
    assert len(made.studies(LAST)) == 1
    made.reclaim(LAST)
    before = made.shards
    add_volumes(made, 2)
    workspace = made.refresh()
    plan = workspace.read_plan().partitions
    assert plan == {FIRST: 3, SECOND: 3, LAST: 1, "train-000003": 2}
    made.build(*plan)
    assert {name: made.shards[name] for name in before} == before
    assert len(made.reclaim("train-000003").deleted) == 2
    made.reclaim(FIRST)
    assert len(read_volumes(made.root / "tiny")) == 9


def add_volumes(made: Made, count: int) -> None:
    """Put further volumes of new studies into the tree, and into its tables."""
    more = make_npz_tree(
        made.tree.folder.with_name("more"), num_volumes=7 + count, shape=(5, 7, 11)
    )
    for study in list(more.paths)[7:]:
        place = made.tree.folder / more.paths[study]
        place.parent.mkdir(parents=True, exist_ok=True)
        more.place(study).rename(place)
    shutil.copytree(more.folder / "dataset", made.tree.folder / "dataset", dirs_exist_ok=True)


def test_everything_deleted_is_no_reason_to_plan_anything_else(made: Made) -> None:
    for key in KEYS:
        made.reclaim(key)
    before = made.shards
    plan = made.refresh().read_plan()
    assert plan.partitions == {FIRST: 3, SECOND: 3, LAST: 1}
    made.build(*KEYS)
    assert made.shards == before
    assert all(is_reclaimed(made.open(), key) for key in KEYS)


def test_a_damaged_journal_stops_deleting_and_making(made: Made) -> None:
    made.reclaim()
    journal = made.journal()
    flip_byte(journal, 200)
    content, before = journal.read_bytes(), made.shards
    for work in (made.reclaim, lambda: made.build(FIRST, force=True)):
        with pytest.raises(ReclaimError, match="journal of deleted sources is damaged"):
            work()
    with pytest.raises(ReclaimError, match="damaged"):
        is_reclaimed(made.open(), FIRST)
    assert (journal.read_bytes(), made.shards) == (content, before)
    assert len(made.reclaim(SECOND).deleted) == 3


def test_a_journal_cut_short_at_any_byte_goes_on(made: Made) -> None:
    """As a kill leaves it: files are gone from when all of the notes are down."""
    made.reclaim()
    journal = made.journal()
    content = journal.read_bytes()
    noted = content.index(b'"deleted"')
    noted = content.rindex(b"\n", 0, noted) + 1
    assert noted < len(content)
    for end in range(noted, len(content), 7):
        journal.write_bytes(content[:end])
        with pytest.raises(ReclaimError, match="3 of its sources were deleted"):
            made.build(FIRST, force=True)
        report = made.reclaim()
        assert (report.deleted, len(report.already), report.vanished) == ([], 3, [])
        assert journal.read_bytes() == content


def test_files_that_went_without_their_last_note_are_not_yet_reclaimed(made: Made) -> None:
    """A run was killed between deletion and note; the next one notes it."""
    made.reclaim()
    journal = made.journal()
    content = journal.read_bytes()
    journal.write_bytes(content[: content.rindex(b"\n", 0, content.index(b'"deleted"')) + 1])
    assert not is_reclaimed(made.open(), FIRST)
    made.reclaim()
    assert is_reclaimed(made.open(), FIRST)
    assert journal.read_bytes() == content


def test_a_journal_that_is_a_link_is_not_written(made: Made, tmp_path: Path) -> None:
    other = tmp_path / "other"
    made.journal().parent.mkdir(parents=True)
    made.journal().symlink_to(other)
    with pytest.raises(OSError, match="symbolic links"):
        made.reclaim()
    assert not other.exists()
    assert len(made.left) == 7


def test_two_runs_at_once_delete_each_file_once(made: Made) -> None:
    reports: list[dict[str, Any]] = []
    readers = []
    for _ in range(2):
        reader, writer = os.pipe()
        if os.fork() == 0:
            report = made.reclaim()
            counts = {"deleted": len(report.deleted), "already": len(report.already)}
            os.write(writer, json.dumps({**counts, "troubles": report.troubles}).encode())
            os._exit(0)
        os.close(writer)
        readers.append(reader)
    for reader in readers:
        with os.fdopen(reader) as answer:
            reports.append(json.loads(answer.read()))
        os.wait()
    assert sorted((one["deleted"], one["already"]) for one in reports) == [(0, 3), (3, 0)]
    assert [one["troubles"] for one in reports] == [[], []]
    assert len(ReclaimJournal.read(made.journal()).deleted) == 3
    made.originals.check(made.root / "tiny")
