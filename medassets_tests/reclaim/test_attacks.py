"""Ways in which a volume could be lost that no tampering with the program needs."""

import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from medassets.datasets.refresh import draft_catalog
from medassets.datasets.volumes import VolumeDataset
from medassets.datasets.workspace import open_workspace
from medassets.errors import ForeignFileError, ReclaimError, ShardIntegrityError, SpecError
from medassets.storage.unreadable import is_gone
from medassets_tests.reclaim.reclaiming import FIRST, KEYS, SECOND, Made, whys


def remove_by_hand(made: Made, *studies: str) -> None:
    for study in studies:
        made.tree.place(study).unlink()


def test_a_lost_plan_is_restored_and_replaces_no_shard_whose_sources_are_gone(made: Made) -> None:
    remove_by_hand(made, *made.studies(FIRST), *made.studies(SECOND)[:1])
    before, plan = made.shards, made.open().read_plan()
    made.open().paths.catalog.unlink()
    made.refresh()
    assert made.open().read_plan().digests == plan.digests
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
