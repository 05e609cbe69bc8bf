"""Local files whose headers reject them are not read whole."""

from pathlib import Path
from typing import Any

import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.judging import HeaderLook, judge_item, look_at_headers
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.registry import open_kind
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.errors import Reason
from medassets.specs import CTWindowDatasetSpec, VolumeDatasetSpec
from medassets.testing.npz_tree import SyntheticTree, make_npz_tree
from medassets_tests.hostile_files import TERABYTE, write_npy_claim, write_npz_claim

BAD = "train_2_a_1"


@pytest.fixture
def tree(tmp_path: Path) -> SyntheticTree:
    return make_npz_tree(tmp_path / "source", num_volumes=4, shape=(5, 6, 7))


def open_tree(tree: SyntheticTree, **changes: Any) -> Workspace:
    fields = tree.fields(name="tiny", splits=("train",), max_rejected_share=1.0)
    workspace = open_workspace(open_kind(VolumeDatasetSpec(**{**fields, **changes})))
    publish_catalog(workspace.paths, draft_catalog(workspace))
    return workspace


def build_first(workspace: Workspace) -> dict[str, str]:
    """Build the first shard, and return why samples are not in it."""
    work = plan_shard(workspace, "train-000000")
    record = build_shard(workspace, workspace.paths, work).record
    assert len(record.samples) + len(record.rejected) == 4
    return {one.key: f"{one.reason}: {one.detail}" for one in record.rejected}


@pytest.mark.timeout(60)
def test_a_sparse_file_of_a_terabyte_is_judged_by_its_header(tree: SyntheticTree) -> None:
    place = write_npz_claim(tree.place(BAD), (8192, 8192, 8192))
    assert place.stat().st_size > TERABYTE
    found = build_first(open_tree(tree))
    assert list(found) == [BAD]
    assert found[BAD].startswith("bad_header: the header claims a shape of 8192 x 8192 x 8192")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("preset", [{}, {"preprocessing": "ct_clip", "hu_rule": "none"}])
def test_megabytes_that_inflate_beyond_the_budget_are_too_large(
    preset: dict[str, Any], tree: SyntheticTree
) -> None:
    place = write_npz_claim(tree.place(BAD), (1700, 1700, 1700), stored_bytes=9_600_000)
    assert place.stat().st_size < 10_000_000
    found = build_first(open_tree(tree, memory_budget_gb=3.0, **preset))
    assert found[BAD] == (
        "too_large: a volume of 1700 x 1700 x 1700 takes 9,826,000,000 bytes of memory, the budget of "
        "a process is 3,000,000,000; declare memory_budget_gb, or build where there is more memory"
    )


def test_windows_of_such_files_are_judged_as_well(tree: SyntheticTree, tmp_path: Path) -> None:
    write_npz_claim(tree.place(BAD), (1700, 1700, 1700), stored_bytes=9_600_000)
    fields = tree.fields(name="masks", splits=("train",), hu_rule="none")
    names = ("name", "source", "folder", "volumes_dir", "splits", "meta_file", "hu_rule")
    spec = CTWindowDatasetSpec(**{name: fields[name] for name in names})
    workspace = open_workspace(open_kind(spec))
    publish_catalog(workspace.paths, draft_catalog(workspace))
    judged = {
        item.key: judge_item(workspace, item) for item in workspace.read_partition("train-000000")
    }
    assert {key: one.reason for key, one in judged.items() if one} == {BAD: Reason.TOO_LARGE}


@pytest.mark.timeout(60)
def test_masks_that_are_holes_are_judged_by_their_header(tmp_path: Path) -> None:
    for case in ("one", "two"):
        folder = tmp_path / "processed" / case / "windows"
        folder.mkdir(parents=True)
        side = 8 if case == "one" else 10_000
        write_npy_claim(folder / "lung_w1500_l-600.npy", (side, side, side))
    spec = CTWindowDatasetSpec(
        name="masks", source="processed", folder=str(tmp_path), splits=("train",),
        windows=("lung",), max_rejected_share=1.0,
    )  # fmt: skip
    workspace = open_workspace(open_kind(spec))
    publish_catalog(workspace.paths, draft_catalog(workspace))
    record = build_shard(workspace, workspace.paths, plan_shard(workspace, "train-000000")).record
    assert [(one.key, one.reason) for one in record.rejected] == [("two", "too_large")]
    assert [one.key for one in record.samples] == ["one"]


def test_a_look_at_planned_files_reads_headers_and_counts_by_shard(tree: SyntheticTree) -> None:
    workspace = open_tree(tree)
    table = draft_catalog(workspace).table
    look = look_at_headers(workspace, table)
    assert look == HeaderLook(4, 4)
    tree.place(BAD).write_bytes(b"no archive")
    other = next(study for study in tree.paths if study != BAD)
    tree.place(other).unlink()
    look = look_at_headers(workspace, table)
    assert look is not None
    assert (look.num_planned, look.num_looked, look.largest_share) == (4, 4, 0.5)
    assert look.faults[BAD].startswith("corrupt_npz: ")
    assert look.faults[other].startswith("missing_source: ")
    assert look_at_headers(workspace, table, without=["train-000000"]) == HeaderLook(0)
    hurried = look_at_headers(workspace, table, seconds=0.0)
    assert hurried is not None
    assert (hurried.num_planned, hurried.num_looked) == (4, 1)
