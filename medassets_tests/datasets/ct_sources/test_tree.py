"""Any folders of NIfTI files as a source, in a folder and on a hub, with one table and without."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.ct_sources.registry import open_volume_source, open_window_source
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.registry import open_kind
from medassets.datasets.verify import verify_dataset
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.errors import CatalogError, SpecError
from medassets.loaders import VolumeDataset
from medassets.reclaim.claims import Others
from medassets.reclaim.partition import reclaim_partition
from medassets.samples import SourceItem
from medassets.specs import CTWindowDatasetSpec, VolumeDatasetSpec
from medassets.testing.hub import LocalHub
from medassets.volumes.catalog.columns import VolumeRow
from medassets_tests.datasets.ct_sources.contract import VolumeSourceContract
from medassets_tests.trees import SMALL, make_tree

PATHS = ["p1/a.nii.gz", "p1/deep/b.nii", "p2/a.nii.gz"]
FLAT = [f"scan_{n}.nii.gz" for n in range(5)]


def read_stored(path: Path) -> np.ndarray:
    image: Any = nib.load(path)
    return np.asarray(image.dataobj.get_unscaled())


class TestTreeFolder(VolumeSourceContract):
    def make(self, folder: Path) -> dict[str, Any]:
        made = make_tree(folder, PATHS, slope=0.5)
        return {"source": "folder", "layout": "tree", "folder": str(made), "hu_rule": "header"}

    def read_expected(self, fields: dict[str, Any], item: SourceItem) -> np.ndarray:
        return read_stored(Path(fields["folder"]) / item.path)


class TestTreeHub(VolumeSourceContract):
    required = ("repo_id",)

    def make(self, folder: Path) -> dict[str, Any]:
        self.folder = make_tree(folder, PATHS)
        return {"source": "huggingface", "layout": "tree", "repo_id": "org/tree"}

    @pytest.fixture
    def fields(self, tmp_path: Path) -> Iterator[dict[str, Any]]:
        made = self.make(tmp_path / "source")
        with LocalHub(self.folder, "org/tree") as hub:
            yield {
                **made,
                "endpoint": hub.endpoint,
                "use_token": False,
                "splits": ("train",),
                "hu_rule": "header",
                "max_rejected_share": 1.0,
                "max_excluded_share": 1.0,
            }

    def read_expected(self, fields: dict[str, Any], item: SourceItem) -> np.ndarray:
        return read_stored(self.folder / item.path)


def declare(place: Path, **changes: Any) -> VolumeDatasetSpec:
    fields = {"source": "folder", "layout": "tree", "folder": str(place), "max_excluded_share": 1.0}
    return VolumeDatasetSpec(**{"name": "tiny", **fields, **SMALL, **changes})  # pyright: ignore[reportArgumentType]


def build(spec: VolumeDatasetSpec | CTWindowDatasetSpec, tmp_path: Path) -> Workspace:
    """Make all shards of a declaration."""
    workspace = open_workspace(open_kind(spec), data_root=str(tmp_path / "data"))
    publish_catalog(workspace.paths, draft_catalog(workspace))
    for key in workspace.read_plan().partitions:
        made = build_shard(workspace, workspace.paths, plan_shard(workspace, key))
        assert not made.record.rejected
    return workspace


def load(workspace: Workspace) -> dict[str, dict[str, Any]]:
    shards = sorted(str(path) for path in workspace.paths.folder.glob("*/shard-*.tar"))
    volumes = VolumeDataset(shards)
    return {sample["key"]: sample for sample in (volumes[n] for n in range(len(volumes)))}


@pytest.mark.parametrize("axis_codes", ["LPS", "RAS"])
def test_spacing_orientation_and_hu_are_those_of_the_header(
    tmp_path: Path, axis_codes: str
) -> None:
    folder = make_tree(tmp_path / "t", FLAT[:2], axis_codes=axis_codes, slope=0.5)
    workspace = build(
        declare(folder, preprocessing="none", target_shape=(), target_spacing_mm=()), tmp_path
    )
    for shard in workspace.paths.folder.glob("*/shard-*.tar"):
        for sample in VolumeDataset(str(shard)):  # pyright: ignore[reportGeneralTypeIssues]
            image: Any = nib.load(folder / f"{sample['key']}.nii.gz")
            stored = sample["volume"][0].permute(1, 2, 0).numpy()
            assert np.array_equal(stored, image.dataobj.get_unscaled().astype("f2"))


def test_the_json_states_the_geometry_that_nibabel_reads(tmp_path: Path) -> None:
    folder = make_tree(tmp_path / "t", PATHS, axis_codes="RAS", slope=0.5)
    workspace = build(declare(folder, splits=("train",)), tmp_path)
    from medassets.tars.index import index_tar
    from medassets.tars.reader import open_tar

    shard = workspace.paths.shard("train-000000")
    with open_tar(shard) as tar:
        facts = {key: json.loads(bytes(tar.read(m["json"]))) for key, m in index_tar(shard).items()}
    assert set(facts) == {"p1_a", "p1_deep_b", "p2_a"}
    for path in PATHS:
        image: Any = nib.load(folder / path)
        found = facts[path.partition(".")[0].replace("/", "_")]
        source = found["geometry"]["source"]
        np.testing.assert_allclose(source["spacing_mm"], image.header.get_zooms(), rtol=1e-6)
        np.testing.assert_allclose(source["affine"], image.affine, rtol=1e-6)
        assert (source["spacing_from"], source["axis_codes"]) == ("header", "RAS")
        assert (found["hu"]["rule"], found["hu"]["slope"]) == ("header", 0.5)
        assert found["hu"]["intercept"] == image.dataobj.inter == -1024
        assert (found["patient"], found["study_id"]) == (
            path[:2],
            path.partition(".")[0].replace("/", "_"),
        )


def test_five_files_without_a_table_are_samples_with_empty_report_and_no_labels(
    tmp_path: Path,
) -> None:
    samples = load(build(declare(make_tree(tmp_path / "t", FLAT)), tmp_path))
    assert set(samples) == {name.partition(".")[0] for name in FLAT}
    for sample in samples.values():
        assert sample["report"] == ""
        assert tuple(sample["labels"].shape) == (0,)
        assert tuple(sample["volume"].shape) == (1, 15, 30, 22)


def test_one_table_gives_report_labels_and_split(tmp_path: Path) -> None:
    folder = make_tree(tmp_path / "t", FLAT)
    rows = "".join(
        f"scan_{n};p{n};text {n};{n % 2};{'val' if n > 2 else 'train'}\n" for n in range(4)
    )
    (folder / "meta.csv").write_bytes(
        f"\ufeffid;who;Findings;nodule;set\n{rows}scan_4;p4;;;val\n".encode()
    )
    columns = {
        "file": "id",
        "patient": "who",
        "report": ["Findings"],
        "labels": ["nodule"],
        "split": "set",
    }
    spec = declare(folder, table="meta.csv", columns=columns, requires=())
    workspace = build(spec, tmp_path)
    assert dict(workspace.read_plan().partitions) == {"train-000000": 3, "valid-000000": 2}
    samples = load(workspace)
    assert [samples[f"scan_{n}"]["report"] for n in range(5)] == [
        "text 0",
        "text 1",
        "text 2",
        "text 3",
        "",
    ]
    labels = [samples[f"scan_{n}"]["labels"].tolist() for n in range(5)]
    assert labels[:4] == [[0.0], [1.0], [0.0], [1.0]]
    assert np.isnan(labels[4]).all()


def test_windows_take_a_tree_too(tmp_path: Path) -> None:
    folder = make_tree(tmp_path / "t", PATHS)
    spec = CTWindowDatasetSpec(
        name="win", source="folder", layout="tree", folder=str(folder), splits=("train",)
    )
    workspace = build(spec, tmp_path)
    assert dict(workspace.read_plan().partitions) == {"train-000000": 3}


def test_a_table_may_be_anywhere_and_all_missing_columns_are_named(tmp_path: Path) -> None:
    folder = make_tree(tmp_path / "t", FLAT[:1])
    table = tmp_path / "elsewhere.tsv"
    table.write_text("id\tx\nscan_0\t1\n")
    columns = {"file": "name", "patient": "x", "labels": ["a", "b"]}
    spec = declare(folder, table=str(table), columns=columns)
    workspace = open_workspace(open_kind(spec), data_root=str(tmp_path / "data"))
    with pytest.raises(
        CatalogError, match=r"elsewhere\.tsv, row 1: no columns name, a, b; found id, x"
    ):
        draft_catalog(workspace)
    table.unlink()
    with pytest.raises(CatalogError, match=r"elsewhere\.tsv: the table cannot be read"):
        draft_catalog(workspace)
    inside = open_workspace(open_kind(declare(folder, table="t.csv", columns={"file": "id"})))
    with pytest.raises(CatalogError, match=r"t\.csv: no such table"):
        draft_catalog(inside)


def test_only_files_below_the_declared_folder_are_listed(tmp_path: Path) -> None:
    folder = make_tree(tmp_path / "t", ["ct/a.nii", "mr/b.nii"])
    source = open_volume_source(declare(folder, volumes_dir="ct"))
    rows = source.read_rows(source.open_files(), revision=None)
    assert rows["path"].to_pylist() == ["ct/a.nii"]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"folder": ""}, "^folder: source folder needs"),
        ({"volumes_dir": "../x"}, "^volumes_dir: expected a path inside"),
        ({"volumes_dir": "{split}"}, "^volumes_dir: layout tree has one folder"),
        ({"table": "../t.csv", "columns": {"file": "id"}}, "^table: expected a path inside"),
        ({"table": "t.csv"}, "^columns: a table needs `columns`"),
        ({"columns": {"file": "id"}}, "^table: a table needs"),
        ({"columns": {"name": "id"}}, "^columns: expected file, patient"),
        ({"hu_rule": "table"}, "^hu_rule: layout tree takes HU from the header"),
        ({"requires": ("report",)}, "^requires: report: `columns` names no column"),
        ({"split_by": "column"}, "^split_by: column: `columns` names no column"),
        ({"split_shares": (1.0,)}, "^split_shares: expected a share per split"),
        ({"split_shares": (0.0, 0.0)}, "^split_shares: expected a share per split"),
        ({"labels": {"columns": ["a"]}}, "^labels: layout tree takes `values` only"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(SpecError, match=match):
        open_volume_source(declare(Path("/data"), **changes)).check()


def test_windows_refuse_columns_of_report_and_labels() -> None:
    spec = CTWindowDatasetSpec(
        name="win", source="folder", layout="tree", folder="/data", table="t.csv",
        columns={"file": "id", "report": ["text"]},
    )  # fmt: skip
    with pytest.raises(SpecError, match=r"^columns: report has no effect on windows"):
        open_window_source(spec).check()


def test_what_columns_name_is_required_unless_the_declaration_says_otherwise() -> None:
    columns = {"file": "id", "labels": ["a"]}
    table: dict[str, Any] = {"table": "t.csv", "columns": columns}
    assert open_volume_source(declare(Path("/data"))).requires == frozenset()
    assert open_volume_source(declare(Path("/data"), **table)).requires == {"labels"}
    assert open_volume_source(declare(Path("/data"), **table, requires=())).requires == frozenset()


def test_the_header_is_the_rule_of_hu() -> None:
    spec = declare(Path("/data"))
    assert (spec.effective_hu_rule, spec.stated_hu_rule, spec.needs_rescaling) == (
        "header",
        "header",
        False,
    )
    assert declare(Path("/data"), hu_rule="none").effective_hu_rule == "none"
    raw = open_kind(
        declare(Path("/data"), preprocessing="none", target_shape=(), target_spacing_mm=())
    )
    assert raw.facts()["hu_rule"] == "header"


def test_the_catalog_says_how_it_was_made(tmp_path: Path) -> None:
    source = open_volume_source(declare(make_tree(tmp_path, PATHS)))
    table = source.read_rows(source.open_files(), revision=None)
    tree = source.describe_catalog(table)["tree"]
    assert (tree["split_by"], tree["patients_from"]) == ("hash", "folder")
    assert sum(tree["patients"].values()) == 2
    item = SourceItem("p1_a", "train", "p1/a.nii.gz", None, table.to_pylist()[0])
    assert source.read_spacing(item) is None
    assert VolumeRow.of(item.row).spacing_mm == (None, None, None)


def test_files_that_are_proven_to_be_in_a_shard_may_be_deleted_and_stay_planned(
    tmp_path: Path,
) -> None:
    folder = make_tree(tmp_path / "t", PATHS)
    spec = declare(folder, splits=("train",), delete_sources=True, expected_orientation="LPS")
    workspace = build(spec, tmp_path)
    report = reclaim_partition(workspace, "train-000000", confirmed=True, others=Others())
    assert len(report.deleted) == 3
    assert not report.kept
    assert not list(folder.rglob("*.nii*"))
    make_tree(folder, ["p2/new.nii.gz"])
    draft = draft_catalog(workspace)
    assert dict(draft.plan.partitions) == {"train-000000": 3, "train-000001": 1}
    publish_catalog(workspace.paths, draft)
    assert not verify_dataset(workspace, ["train-000000"], full=True).problems
