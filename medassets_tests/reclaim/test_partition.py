"""Sources are deleted only where a whole shard holds them, and stay in every other case."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medassets.errors import ReclaimError
from medassets.reclaim.partition import is_reclaimed
from medassets.shards.reclaim_journal import ReclaimJournal
from medassets.shards.record import ShardRecord
from medassets.testing.npz_tree import SyntheticTree
from medassets_tests.npz_source import Originals, find_member, flip_byte
from medassets_tests.reclaim.reclaiming import FIRST, KEYS, LAST, SECOND, Made, whys


def test_files_go_shard_by_shard_and_every_volume_stays_whole(made: Made) -> None:
    studies = made.studies()
    report = made.reclaim()
    assert [Path(d.path).stem for d in report.deleted] == studies
    assert (report.troubles, report.kept, report.vanished) == ([], [], [])
    freed = sum(len(made.originals.files[study]) for study in studies)
    assert report.freed_bytes == freed
    assert made.left == sorted(made.originals.files.keys() - set(studies))
    for key in (SECOND, LAST):
        made.reclaim(key)
    found = made.originals.check(made.root / "tiny")
    assert found.in_shards == made.originals.files.keys()
    assert found.on_disk == set()


def test_what_was_deleted_is_on_record_with_its_digests(made: Made) -> None:
    made.reclaim()
    journal = ReclaimJournal.read(made.journal())
    assert journal.intended == {}
    for path, deletion in journal.deleted.items():
        study = Path(path).stem
        content = made.originals.files[study]
        assert deletion.sha256 == {study: hashlib.sha256(content).hexdigest()}
        assert deletion.num_bytes == len(content)
        shard = hashlib.sha256(made.shard().read_bytes()).hexdigest()
        assert deletion.shards == {FIRST: shard}


def test_a_dry_run_writes_and_deletes_nothing(made: Made) -> None:
    def everything() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in made.root.rglob("*") if p.is_file()}

    before = everything()
    report = made.reclaim(confirmed=False)
    assert [Path(file.path).stem for file in report.deletable] == made.studies()
    assert (report.deleted, report.freed_bytes) == ([], 0)
    assert len(made.left) == 7
    assert everything() == before
    assert not is_reclaimed(made.open(), FIRST)


def test_a_second_run_finds_nothing_to_do(made: Made) -> None:
    made.reclaim()
    assert is_reclaimed(made.open(), FIRST)
    before = made.journal().read_bytes()
    again = made.reclaim()
    assert (again.deleted, len(again.already), again.troubles) == ([], 3, [])
    assert made.journal().read_bytes() == before


@pytest.mark.parametrize("where", ["bin", "txt", "cls", "json", "header", "padding", "end"])
def test_one_flipped_byte_in_a_shard_keeps_all_its_sources(made: Made, where: str) -> None:
    study = made.studies()[1]
    shard = made.shard()
    suffix = where if where in ("txt", "cls", "json") else "bin"
    member = find_member(shard, f"{study}.{suffix}")
    end = member.offset_data + member.size
    offset = {
        "header": member.offset + 1,
        # The content of a bin fills no block of 512 bytes.
        "padding": end + 1,
        "end": shard.stat().st_size - 1,
    }.get(where, end - 2)
    assert where != "padding" or member.size % 512
    flip_byte(shard, offset)
    report = made.reclaim()
    assert report.deleted == []
    assert len(made.left) == 7
    assert report.problems
    named = where != "end"
    assert (study in report.problems[0]) == named, report.problems
    assert not made.journal().exists()
    assert len(made.reclaim(SECOND).deleted) == 3


@pytest.mark.parametrize("gone", ["tar", "record", "both"])
def test_a_shard_that_is_missing_or_outdated_frees_nothing(made: Made, gone: str) -> None:
    paths = made.open().paths
    for path in {"tar": [paths.shard], "record": [paths.record]}.get(
        gone, [paths.shard, paths.record]
    ):
        path(FIRST).unlink()
    with pytest.raises(ReclaimError, match="missing, damaged or outdated"):
        made.reclaim()
    assert len(made.left) == 7


def test_a_dataset_of_several_orientations_frees_nothing(made: Made) -> None:
    paths = made.open().paths
    for key, codes in ((FIRST, "LPS"), (SECOND, "RAS")):
        record = ShardRecord.read(paths.record(key))
        samples = tuple(
            replace(one, facts={**one.facts, "axis_codes": codes}) for one in record.samples
        )
        replace(record, samples=samples).write(paths.record(key))
    with pytest.raises(ReclaimError, match=r"several orientations .*Nothing is deleted until then"):
        made.reclaim()
    assert len(made.left) == 7


def test_a_stale_shard_frees_nothing(made: Made) -> None:
    with pytest.raises(ReclaimError, match=r"outdated.*medassets build tiny"):
        made.reclaim(max_rounding_error=0.5)
    assert len(made.left) == 7


def test_excluded_files_stay(made: Made) -> None:
    """A file at another depth, and one that no table knows, are in no shard."""
    deep = made.tree.folder / "npz" / "a" / "b" / "train_9_a_1.npz"
    stranger = made.tree.folder / "npz" / "train_1" / "stranger.npz"
    for path in (deep, stranger):
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, data=np.arange(385, dtype=np.int16).reshape(5, 7, 11))
    made.refresh()
    for key in KEYS:
        made.reclaim(key)
    assert made.left == []
    assert deep.exists()
    assert stranger.exists()


def test_files_held_by_a_limit_stay(template: Made, tmp_path: Path) -> None:
    source = Path(shutil.copytree(template.tree.folder, tmp_path / "source"))
    tree = SyntheticTree(source, template.tree.split, template.tree.paths)
    made = Made(tree, Originals(tree, template.originals.files, {}), tmp_path / "data")
    made.refresh(limit=4)
    made.build(FIRST, SECOND)
    made.reclaim(FIRST)
    made.reclaim(SECOND)
    assert len(made.left) == 3


def test_a_file_with_another_array_that_no_shard_holds_stays(made: Made) -> None:
    """Deleting it would lose that array."""
    study = made.studies()[1]
    place = made.tree.place(study)
    values = made.tree.read(study)
    np.savez_compressed(place, data=values, mask=values > 0)
    made.refresh()
    made.build(FIRST)
    for confirmed in (False, True):
        report = made.reclaim(confirmed=confirmed)
        assert list(whys(report)) == [study]
        assert "mask" in whys(report)[study]
        assert report.troubles == []
    assert place.exists()
    assert len(report.deleted) == 2
