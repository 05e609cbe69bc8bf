"""Several datasets over the same sources: none loses what it has not made yet."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.reclaim import reclaim_partition
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.volumes import VolumeDataset
from medassets.datasets.windows import CTWindows
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.errors import CatalogError, ReclaimError
from medassets.shards.writer import read_whole_record
from medassets.specs import CTWindowDatasetSpec, VolumeDatasetSpec
from medassets.testing.ct_rate import make_ct_rate_repository
from medassets_tests.datasets.reclaiming import FIRST, KEYS, LAST, Made, whys
from medassets_tests.datasets.tars import Tars


def plan(workspace: Workspace, **options: Any) -> Workspace:
    """Refresh a catalog."""
    publish_catalog(workspace.paths, draft_catalog(workspace, **options))
    return workspace


def make(workspace: Workspace, *keys: str) -> None:
    """Make shards."""
    for key in keys:
        build_shard(workspace, workspace.paths, plan_shard(workspace, key))


def test_a_file_waits_for_another_dataset_that_has_not_made_its_sample(made: Made) -> None:
    other = plan(made.open(name="other"))
    report = made.reclaim(FIRST)
    assert not report.deleted
    assert len(report.troubles) == 3
    for why in whys(report).values():
        assert why == (
            "the dataset other is made from it, too, and has not made train-000000 yet; `medassets "
            f"build other` makes it. If that dataset is given up, remove {other.paths.catalog}"
        )
    assert len(made.left) == 7
    assert not made.reclaim(FIRST, confirmed=False).deletable
    make(other, FIRST)
    assert len(made.reclaim(FIRST).deleted) == 3
    # The others are not in any shard of it.
    assert not made.reclaim(LAST).deleted
    other.paths.catalog.unlink()
    assert len(made.reclaim(LAST).deleted) == 1


def test_a_dataset_with_other_shards_is_asked_file_by_file(made: Made) -> None:
    other = plan(made.open(name="other", samples_per_shard=2))
    make(other, FIRST)
    report = made.reclaim(FIRST)
    assert sorted(Path(one.path).stem for one in report.deleted) == made.studies(FIRST)[:2]
    assert list(whys(report)) == made.studies(FIRST)[2:]


def test_what_a_limit_holds_back_is_still_needed(made: Made) -> None:
    other = plan(made.open(name="other"), limit=3)
    make(other, FIRST)
    assert len(made.reclaim(FIRST).deleted) == 3
    report = made.reclaim(LAST)
    assert not report.deleted
    assert ["holds a sample of it back" in why for why in whys(report).values()] == [True]


def test_a_rejected_sample_of_another_dataset_does_not_keep_the_file(made: Made) -> None:
    other = plan(made.open(name="other", array_key="elsewhere", ignored_members=("data",)))
    make(other, *KEYS)
    record = read_whole_record(other.paths, FIRST)
    assert record is not None
    assert len(record.rejected) == 3
    assert len(made.reclaim(FIRST).deleted) == 3


def test_a_shard_that_has_still_to_grow_keeps_its_new_files(made: Made, tmp_path: Path) -> None:
    other = plan(made.open(name="other"))
    make(other, *KEYS)
    new = made.add_files(tmp_path)
    plan(other)
    workspace = made.refresh()
    made.build(*workspace.read_plan().partitions)
    report = made.reclaim(LAST)
    assert sorted(whys(report)) == new
    assert len(report.deleted) == 1


@pytest.mark.parametrize("above", [True, False])
def test_a_folder_that_lies_inside_the_other_is_the_same_source(made: Made, *, above: bool) -> None:
    tables = made.tree.fields()
    own, inner = Path(tables["folder"]), Path(tables["folder"]) / tables["volumes_dir"]
    absolute = {name: str(own / tables[name]) for name in tables if name.endswith("_file")}
    outer = {"folder": str(own.parent), "volumes_dir": f"{own.name}/npz", **absolute}
    within = {"folder": str(inner), "volumes_dir": "", **absolute}
    plan(made.open(name="other", **(outer if above else within)))
    assert not made.reclaim(FIRST).deleted
    assert len(made.left) == 7


def test_a_link_to_the_folder_is_the_same_source(made: Made, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(made.tree.folder)
    plan(made.open(name="other", folder=str(link)))
    assert not made.reclaim(FIRST).deleted
    assert len(made.reclaim(FIRST, confirmed=False, folder=str(link)).troubles) == 3


def test_datasets_over_other_files_do_not_count(made: Made, tmp_path: Path) -> None:
    elsewhere = replace(made, tree=replace(made.tree, folder=tmp_path / "elsewhere"))
    made.tree.folder.rename(elsewhere.tree.folder)
    plan(elsewhere.open(name="other"))
    elsewhere.tree.folder.rename(made.tree.folder)
    assert len(made.reclaim(FIRST).deleted) == 3


def test_a_declared_dataset_without_a_plan_stops_every_deletion(made: Made) -> None:
    folder = str(made.tree.folder / "npz")
    workspace = replace(
        made.open(),
        declared={"tiny": [folder], "other": [folder], "hub": [], "apart": [f"{folder}_apart"]},
    )
    with pytest.raises(ReclaimError, match="dataset other is declared over the same files") as got:
        reclaim_partition(workspace, FIRST, confirmed=True)
    assert "`medassets build other` plans and makes it" in str(got.value)
    assert len(made.left) == 7
    make(plan(made.open(name="other")), *KEYS)
    assert len(reclaim_partition(workspace, FIRST, confirmed=True).deleted) == 3


@pytest.mark.parametrize("sibling", [".", "..", "npz/train_1"])
def test_a_plan_made_from_elsewhere_is_none(made: Made, tmp_path: Path, sibling: str) -> None:
    elsewhere = replace(made, tree=replace(made.tree, folder=tmp_path / "elsewhere"))
    made.tree.folder.rename(elsewhere.tree.folder)
    plan(elsewhere.open(name="other"))
    elsewhere.tree.folder.rename(made.tree.folder)
    declared = {"tiny": [str(made.tree.folder / "npz")], "other": [str(made.tree.folder / sibling)]}
    with pytest.raises(ReclaimError, match="no plan says yet what it needs"):
        reclaim_partition(replace(made.open(), declared=declared), FIRST, confirmed=True)


def test_folders_of_volumes_are_those_that_are_read() -> None:
    tables = {f"{name}_file": f"{{split}}_{name}.csv" for name in ("meta", "reports", "labels")}
    common: dict[str, Any] = {"name": "some", "hu_rule": "none", "splits": ("train", "valid")}
    npz = {**common, **tables, "source": "npz", "folder": "/data"}
    tars = {**common, "source": "webdataset"}
    expected = {
        ("/data/train_npz", "/data/valid_npz"): {**npz, "volumes_dir": "{split}_npz"},
        ("/data/ct/train", "/data/ct/valid"): {**tars, "shards": "/data/ct/{split}"},
        ("/data/a/train", "/data/a/valid"): {**tars, "shards": "/data/a/{split}/s-{000..9}.tar"},
        ("/d/a/train", "/d/a/valid"): {**tars, "folder": "/d/a", "shards": "{split}/manifest.json"},
        ("~/d/train", "~/d/valid"): {**tars, "folder": "~/d", "shards": "{split}/*.tar"},
        ("/d/x/train_fixed", "/d/x/valid_fixed"): {
            **common,
            "source": "folder",
            "folder": "/d",
            "volumes_dir": "x/{split}_fixed",
        },
        (): {**common, "source": "huggingface", "repo_id": "some/data"},
    }
    for folders, fields in expected.items():
        assert VolumeDatasetSpec(**fields).volume_folders == folders


def test_a_catalog_that_cannot_be_read_stops_every_deletion(made: Made) -> None:
    other = made.root / "other" / "catalog.parquet"
    other.parent.mkdir()
    other.write_bytes(b"PAR1, but not for long")
    with pytest.raises(CatalogError, match=r"other/catalog\.parquet: not a readable catalog"):
        made.reclaim(FIRST)
    assert len(made.left) == 7


def test_catalogs_do_not_name_places_of_the_machine(made: Made) -> None:
    catalog = made.root / "tiny" / "catalog.parquet"
    metadata = pq.read_schema(catalog).metadata
    assert b"medassets.origin" in metadata
    assert str(made.tree.folder.parent).encode() not in b"".join(metadata.values())


def test_a_tar_waits_for_another_dataset_of_which_a_sample_is_in_it(tmp_path: Path) -> None:
    tars = Tars(tmp_path, 4)
    tars.write([3, 1])
    (key,) = tars.build()
    other = plan(tars.open(name="other", samples_per_shard=2))
    make(other, "train-000000")
    report = tars.reclaim(key)
    # The third sample of the first tar, and the only one of the second.
    assert not report.deleted
    assert len(report.troubles) == 2
    make(other, "train-000001")
    assert len(tars.reclaim(key).deleted) == 2


def test_a_volume_waits_for_its_windows(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    make_ct_rate_repository(folder, num_patients=2, splits=("valid",))
    fields = {"source": "folder", "folder": str(folder), "splits": ("valid",)}
    volumes = VolumeDatasetSpec(
        name="volumes", **fields, max_rejected_share=1.0, delete_sources=True
    )
    windows = CTWindowDatasetSpec(name="windows", **fields)
    first = plan(open_workspace(VolumeDataset(volumes), data_root=str(tmp_path / "data")))
    second = plan(open_workspace(CTWindows(windows), data_root=str(tmp_path / "data")))
    make(first, "valid-000000")
    report = reclaim_partition(first, "valid-000000", confirmed=True)
    assert not report.deleted
    assert "the dataset windows is made from it" in report.troubles[0]
    make(second, "valid-000000")
    assert reclaim_partition(first, "valid-000000", confirmed=True).deleted
