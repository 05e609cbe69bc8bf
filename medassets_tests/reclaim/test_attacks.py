"""Ways in which a volume could be lost that no tampering with the program needs."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.datasets.refresh import draft_catalog
from medassets.datasets.volumes import VolumeDataset
from medassets.datasets.workspace import open_workspace
from medassets.errors import ForeignFileError, ReclaimError, ShardIntegrityError, SpecError
from medassets.reclaim import run as reclaim_run
from medassets.storage.unreadable import is_gone
from medassets_tests.reclaim.reclaiming import FIRST, KEYS, LAST, SECOND, Made, whys


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


def remove_by_hand(made: Made, *studies: str) -> None:
    for study in studies:
        made.tree.place(study).unlink()


def test_a_plan_made_anew_replaces_no_shard_that_holds_other_samples(made: Made) -> None:
    remove_by_hand(made, *made.studies(FIRST), *made.studies(SECOND)[:1])
    before = made.shards
    made.open().paths.catalog.unlink()
    made.refresh()
    with pytest.raises(
        ShardIntegrityError, match="which the current plan assigns to another shard or does not"
    ):
        made.build(FIRST)
    assert made.shards == before


@pytest.mark.parametrize("delete_sources", [True, False])
@pytest.mark.parametrize("trouble", ["record lost", "record cut", "settings changed", "forced"])
def test_a_shard_whose_sources_were_removed_by_hand_is_not_replaced(
    made: Made, trouble: str, delete_sources: bool
) -> None:
    remove_by_hand(made, *made.studies(FIRST)[:2])
    before = made.shard(FIRST).read_bytes()
    record = made.open().paths.record(FIRST)
    changes: dict[str, Any] = {"delete_sources": delete_sources}
    if trouble == "record lost":
        record.unlink()
    elif trouble == "record cut":
        record.write_bytes(record.read_bytes()[:100])
    elif trouble == "settings changed":
        changes["max_rounding_error"] = 5.0
    made.refresh()
    with pytest.raises((ReclaimError, ShardIntegrityError), match=r"is gone|only copy"):
        made.build(FIRST, force=trouble == "forced", **changes)
    assert made.shard(FIRST).read_bytes() == before


def test_a_strangers_tar_is_not_replaced(made: Made) -> None:
    shard, record = made.shard(FIRST), made.open().paths.record(FIRST)
    record.unlink()
    shard.write_bytes(b"not a tar, but somebody's")
    with pytest.raises(ForeignFileError, match="this tar has no record and cannot be read"):
        made.build(FIRST)
    assert shard.read_bytes() == b"not a tar, but somebody's"


def test_a_dataset_refuses_its_own_shards_as_its_source(made: Made) -> None:
    spec = replace(
        made.open().kind.spec,
        source="webdataset",
        folder="",
        volumes_dir="",
        shards=str(made.root / "tiny" / "train" / "shard-{000000..000002}.tar"),
    )
    workspace = open_workspace(VolumeDataset(spec), data_root=str(made.root))  # pyright: ignore[reportArgumentType]
    workspace.paths.catalog.unlink()
    with pytest.raises(SpecError, match=r"^shards: .* is in the folder where tiny publishes its"):
        draft_catalog(workspace)


def test_a_tar_that_is_a_shard_of_a_dataset_is_no_source_to_delete(made: Made) -> None:
    shard = made.shard(FIRST)
    assert "a shard of the dataset tiny" in reclaim_run.find_owner(shard)
    made.open().paths.record(FIRST).unlink()
    assert not reclaim_run.find_owner(shard)


def test_a_rejected_file_that_was_repaired_is_told_what_helps(made: Made) -> None:
    study = made.studies(FIRST)[0]
    values = made.tree.read(study)
    np.savez_compressed(made.tree.place(study), data=np.where(values == values[0, 0, 0], np.nan, 1))
    made.refresh()
    made.build(FIRST)
    assert "Since then" not in whys(made.reclaim(FIRST))[study]
    np.savez_compressed(made.tree.place(study), data=values)
    made.refresh()
    why = whys(made.reclaim(FIRST))[study]
    assert why.startswith("a sample of it was rejected")
    assert why.endswith("its shard cannot be made again: under a new name it becomes a new sample")


def test_nothing_more_is_deleted_under_another_declaration(made: Made) -> None:
    made.reclaim(FIRST)
    changes: dict[str, Any] = {"max_rounding_error": 5.0}
    made.build(SECOND, **changes)
    with pytest.raises(ReclaimError, match=f"^{FIRST}: sources of this shard were deleted, and"):
        made.reclaim(SECOND, **changes)
    assert len(made.left) == 4


def test_a_file_with_another_name_frees_nothing(made: Made, tmp_path: Path) -> None:
    study = made.studies(LAST)[0]
    os.link(made.tree.place(study), tmp_path / "other-name.npz")
    made.refresh()
    report = made.reclaim(LAST)
    assert (len(report.deleted), report.freed_bytes) == (1, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_file_that_may_not_be_looked_at_is_not_gone(made: Made) -> None:
    place = made.tree.place(made.studies(FIRST)[0])
    place.parent.chmod(0o000)
    try:
        os.seteuid(65534)
        assert not is_gone(place)
    finally:
        os.seteuid(0)
        place.parent.chmod(0o755)
    place.unlink()
    assert is_gone(place)
    assert is_gone(place.parent / "none.npz" / "below")
    assert len(KEYS) == 3
