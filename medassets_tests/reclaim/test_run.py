"""One run over the sources of a shard: what changes meanwhile keeps them."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets.errors import (
    ReclaimError,
)
from medassets.reclaim import run as reclaim_run
from medassets.reclaim.partition import is_reclaimed
from medassets.shards.reclaim_journal import ReclaimJournal
from medassets_tests.reclaim.reclaiming import FIRST, LAST, Made, whys


@pytest.fixture
def during_proof(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that has something done once, when the last file of a shard is proven."""

    def do_it(act: Callable[[], object], *, after: int) -> None:
        prove, count = reclaim_run.prove_file, 0

        def prove_and_act(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            proof = prove(*arguments, **options)
            count += 1
            if count == after:
                act()
            return proof

        monkeypatch.setattr(reclaim_run, "prove_file", prove_and_act)

    return do_it


@pytest.mark.parametrize("after", [1, 3])
def test_a_shard_that_vanishes_while_it_is_compared_keeps_all_sources(
    made: Made, tmp_path: Path, during_proof: Callable[..., None], after: int
) -> None:
    shard = made.shard(FIRST)
    during_proof(lambda: shard.rename(tmp_path / "elsewhere.tar"), after=after)
    report = made.reclaim(FIRST, num_workers=1)
    assert not report.deleted
    assert any(str(shard) in problem or "a shard" in problem for problem in report.problems)
    assert len(made.left) == 7


def test_a_shard_that_is_replaced_while_it_is_compared_keeps_all_sources(
    made: Made, tmp_path: Path, during_proof: Callable[..., None]
) -> None:
    shard = made.shard(FIRST)

    def exchange() -> None:
        shutil.copyfile(shard, tmp_path / "copy.tar")
        (tmp_path / "copy.tar").replace(shard)

    during_proof(exchange, after=3)
    report = made.reclaim(FIRST, num_workers=1)
    assert report.problems == ["a shard changed while its sources were compared with it"]
    assert len(made.left) == 7


def test_a_source_rewritten_in_place_under_its_old_time_stays(
    made: Made, during_proof: Callable[..., None]
) -> None:
    study = made.studies(FIRST)[0]
    place = made.tree.place(study)
    stat, other = place.stat(), bytes(reversed(place.read_bytes()))

    def rewrite() -> None:
        with place.open("r+b") as file:
            file.write(other)
        os.utime(place, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    during_proof(rewrite, after=3)
    report = made.reclaim(FIRST, num_workers=1)
    assert whys(report)[study] == "it changed while it was compared"
    assert place.read_bytes() == other
    assert len(report.deleted) == 2


def test_a_tar_that_is_a_shard_of_a_dataset_is_no_source_to_delete(made: Made) -> None:
    shard = made.shard(FIRST)
    assert "a shard of the dataset tiny" in reclaim_run.find_owner(shard)
    made.open().paths.record(FIRST).unlink()
    assert not reclaim_run.find_owner(shard)


def test_a_deletion_that_was_begun_before_a_refresh_is_refused(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.add_files(tmp_path)
    prove = reclaim_run.prove_file

    def prove_while_somebody_refreshes(*arguments: object, **options: object) -> object:
        proof = prove(*arguments, **options)  # pyright: ignore[reportArgumentType]
        made.refresh()
        return proof

    monkeypatch.setattr(reclaim_run, "prove_file", prove_while_somebody_refreshes)
    with pytest.raises(ReclaimError, match="the catalog changed meanwhile"):
        made.reclaim(LAST)
    assert len(made.left) == 7
    assert not made.journal(LAST).exists()


def test_a_source_that_changes_while_it_is_compared_stays(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = made.tree.place(made.studies()[2])
    real, seen = ReclaimJournal.intend, []

    def intend(journal: ReclaimJournal, deletions: Any) -> None:
        real(journal, deletions)
        seen.append(place)
        os.utime(place)

    # The only instant that a test cannot meet from outside: between the note and the deletion.
    monkeypatch.setattr(ReclaimJournal, "intend", intend)
    report = made.reclaim()
    assert seen
    assert whys(report) == {place.stem: "it changed while it was compared"}
    assert place.exists()
    monkeypatch.undo()
    assert not is_reclaimed(made.open(), FIRST)
    # The shard may be made again: nothing says that this one is gone, but the others are.
    with pytest.raises(ReclaimError, match="2 of its sources were deleted"):
        made.build(FIRST, force=True)


def test_a_source_that_vanished_is_told_and_nothing_is_lost(made: Made) -> None:
    place = made.tree.place(made.studies()[1])
    place.unlink()
    report = made.reclaim()
    assert [Path(path).stem for path in report.vanished] == [place.stem]
    assert len(report.deleted) == 2
    assert report.troubles == []
    assert made.originals.check(made.root / "tiny").in_shards == made.originals.files.keys()
