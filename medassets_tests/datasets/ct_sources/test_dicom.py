"""Trees of DICOM as a source, from files to shards, compared with SimpleITK."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.ct_sources.dicom_files import DicomFiles
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.registry import open_kind
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.errors import CatalogError, ReclaimError, SpecError
from medassets.loaders import VolumeDataset
from medassets.samples import SourceItem
from medassets.specs import CTWindowDatasetSpec, VolumeDatasetSpec
from medassets.tars.index import index_tar
from medassets.tars.reader import open_tar
from medassets_tests import shared_data
from medassets_tests.datasets.ct_sources.contract import VolumeSourceContract
from medassets_tests.dicoms import OBLIQUE, PERSON, ROOT_UID, WRITTEN, Written, write_series
from medassets_tests.trees import SMALL

sitk: Any = pytest.importorskip("SimpleITK")


def read_series(written: Written) -> Any:
    """Read the files of a series, which are in their order, with SimpleITK."""
    return sitk.ReadImage([str(path) for path in written.paths], sitk.sitkFloat64)


class TestDicomTree(VolumeSourceContract):
    def make(self, folder: Path) -> dict[str, Any]:
        self.written = [
            write_series(folder / "b" / "deep", number=0),
            write_series(folder / "a", number=1, axes=OBLIQUE),
        ]
        return {"source": "dicom", "folder": str(folder), "hu_rule": "header"}

    def read_expected(self, fields: dict[str, Any], item: SourceItem) -> np.ndarray:
        images = [sitk.GetArrayFromImage(read_series(one)).T + 1024 for one in self.written]
        shares = [item.row["mtime_ns"] == newest(one) for one in self.written]
        return images[shares.index(True)]


@pytest.fixture
def dicom_series() -> Path:
    folder = shared_data.CT / "ts_dicom_jpeg2000"
    if not folder.is_dir():
        pytest.skip("the folder of real CT is not there")
    return folder


def newest(written: Written) -> int:
    return max(path.stat().st_mtime_ns for path in written.paths)


def declare(place: Path, **changes: Any) -> VolumeDatasetSpec:
    fields = {"source": "dicom", "folder": str(place), "max_excluded_share": 1.0, **SMALL}
    return VolumeDatasetSpec(**{"name": "tiny", "splits": ("train",), **fields, **changes})


def build(spec: VolumeDatasetSpec | CTWindowDatasetSpec, tmp_path: Path) -> Workspace:
    workspace = open_workspace(open_kind(spec), data_root=str(tmp_path / "data"))
    publish_catalog(workspace.paths, draft_catalog(workspace))
    for key in workspace.read_plan().partitions:
        made = build_shard(workspace, workspace.paths, plan_shard(workspace, key))
        assert not made.record.rejected
    return workspace


def load(workspace: Workspace) -> list[tuple[dict[str, Any], np.ndarray]]:
    """Return json and voxels of every sample."""
    found: list[tuple[dict[str, Any], np.ndarray]] = []
    for shard in sorted(workspace.paths.folder.glob("*/shard-*.tar")):
        with open_tar(shard) as tar:
            for members in index_tar(shard).values():
                facts = json.loads(bytes(tar.read(members["json"])))
                voxels = np.frombuffer(bytes(tar.read(members["bin"])), facts["dtype"])
                found.append((facts, voxels.reshape(facts["shape"])))
    return found


def resample(image: Any, facts: dict[str, Any], points: np.ndarray) -> np.ndarray:
    """Return what SimpleITK finds at output voxels, given their affine: clipped HU, interpolated."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.array(facts["geometry"]["output"]["affine"])
    clipped = sitk.Clamp(image, sitk.sitkFloat64, -1000.0, 1000.0)
    world = (affine @ np.c_[points, np.ones(len(points))].T)[:3].T
    values = []
    for place in world:
        index = clipped.TransformPhysicalPointToContinuousIndex(place.tolist())
        inside = [min(max(v, 0.0), n - 1.0) for v, n in zip(index, clipped.GetSize(), strict=True)]
        values.append(clipped.EvaluateAtContinuousIndex(inside, sitk.sitkLinear))
    return np.array(values) / 1000


@pytest.mark.parametrize("syntax", WRITTEN, ids=lambda uid: str(uid.name)[:24])
def test_positions_and_values_are_those_of_simpleitk(tmp_path: Path, syntax: str) -> None:
    written = write_series(tmp_path / "source", axes=OBLIQUE, syntax=syntax)
    ((facts, voxels),) = load(build(declare(tmp_path / "source"), tmp_path))
    image = read_series(written)
    source = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.array(facts["geometry"]["source"]["affine"])
    rng = np.random.default_rng(0)
    for index in rng.integers(0, image.GetSize(), size=(200, 3)):
        expected = image.TransformIndexToPhysicalPoint([int(n) for n in index])
        assert np.abs((source @ [*index, 1])[:3] - expected).max() < 1e-3
    kept = [
        rng.integers(before, side - after, 200)
        for side, (before, after) in zip(voxels.shape, facts["geometry"]["pad"], strict=True)
    ]
    found = voxels[tuple(kept)].astype(np.float64)
    expected = resample(image, facts, np.stack(kept, axis=1))
    steps = np.spacing(np.maximum(np.abs(found), np.abs(expected)).astype(np.float16))
    # What float16 can tell near zero is finer than the interpolation of either.
    assert (np.abs(found - expected) <= np.maximum(steps.astype(np.float64), 2e-6)).all()


def test_the_real_series_equals_simpleitk(dicom_series: Path, tmp_path: Path) -> None:
    workspace = build(
        declare(dicom_series, preprocessing="none", target_shape=(), target_spacing_mm=()), tmp_path
    )
    ((facts, voxels),) = load(workspace)
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(dicom_series))
    image = sitk.ReadImage(names)
    assert np.array_equal(voxels, (sitk.GetArrayFromImage(image).T + 1024).astype(np.float16))
    np.testing.assert_allclose(facts["spacing_mm"], image.GetSpacing(), atol=1e-9)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.array(facts["geometry"]["source"]["affine"])
    np.testing.assert_allclose(affine[:3, 3], image.GetOrigin(), atol=1e-9)
    assert (facts["RescaleSlope"], facts["RescaleIntercept"]) == (1.0, -1024.0)
    assert facts["patient"] is None


def test_a_series_without_uids_is_counted(dicom_series: Path) -> None:
    workspace = open_workspace(open_kind(declare(dicom_series)), data_root="/nowhere")
    described = workspace.kind.describe_catalog(draft_catalog(workspace).table)
    assert described["dicom"]["no_series_uid"] == described["dicom"]["no_patient_id"] == 1
    assert len(described["tree"]["doubts"]) == 2


def test_raw_samples_hold_stored_values_and_windows_are_made(tmp_path: Path) -> None:
    written = write_series(tmp_path / "source")
    spec = declare(tmp_path / "source", preprocessing="none", target_shape=(), target_spacing_mm=())
    ((facts, voxels),) = load(build(spec, tmp_path))
    assert np.array_equal(voxels, written.stored)
    assert facts["hu"] == {"rule": "header", "slope": 1.0, "intercept": -1024.0}
    windows = CTWindowDatasetSpec(
        name="windows", source="dicom", folder=str(tmp_path / "source"), splits=("train",)
    )
    workspace = build(windows, tmp_path)
    shard = workspace.paths.shard("train-000000")
    with open_tar(shard) as tar:
        ((_, members),) = index_tar(shard).items()
        described = json.loads(bytes(tar.read(members["json"])))
    hu = written.stored - 1024
    for window in described["windows"].values():
        low, high = window["low_hu"], window["high_hu"]
        assert window["num_points"] == int(((hu >= low) & (hu <= high)).sum())


def test_other_modalities_are_read_where_values_are_no_hu(tmp_path: Path) -> None:
    def magnetic(_: int, dataset: Any) -> None:
        dataset.Modality, dataset.PixelPaddingValue = "MR", 0
        del dataset.RescaleSlope, dataset.RescaleIntercept

    written = write_series(tmp_path / "s", change=magnetic)
    spec = declare(
        tmp_path / "s",
        modalities=("MR",),
        intensity="stored",
        preprocessing="none",
        target_shape=(),
        target_spacing_mm=(),
    )
    ((facts, voxels),) = load(build(spec, tmp_path))
    assert np.array_equal(voxels, written.stored)
    assert facts["intensity"] == {"slope": 1.0, "intercept": 0.0}


def test_patients_are_in_one_split_and_only_the_split_is_kept(tmp_path: Path) -> None:
    for number in range(12):
        person = {**PERSON, "PatientID": f"patient-{number // 2}"}
        write_series(tmp_path / "s" / str(number), number=number, num_slices=3, person=person)
    spec = declare(tmp_path / "s", splits=("train", "valid"), split_shares=(0.5, 0.5))
    workspace = open_workspace(open_kind(spec), data_root=str(tmp_path / "data"))
    table = draft_catalog(workspace).table
    found = dict(zip(table["key"].to_pylist(), table["split"].to_pylist(), strict=True))
    stacks = DicomFiles(tmp_path / "s").scan().stacks
    by_patient: dict[str, set[str]] = {}
    for key, stack in stacks.items():
        by_patient.setdefault(stack.headers[0]["patient_id"], set()).add(found[key])
    assert len(by_patient) == 6
    assert {len(splits) for splits in by_patient.values()} == {1}
    assert set(found.values()) == {"train", "valid"}
    assert "patient-" not in str(table.to_pylist()) + str(table.schema.metadata)


def test_folders_name_splits_and_shared_patients_are_refused_without_their_names(
    tmp_path: Path,
) -> None:
    for number, split in enumerate(("train", "valid")):
        write_series(tmp_path / "s" / split / "x", number=number, num_slices=3)
    spec = declare(tmp_path / "s", splits=("train", "valid"))
    with pytest.raises(CatalogError, match="1 patients are in several splits") as caught:
        draft_catalog(open_workspace(open_kind(spec), data_root=str(tmp_path / "data")))
    assert PERSON["PatientID"] not in str(caught.value)
    accepted = declare(tmp_path / "s", splits=("train", "valid"), accept_leaks=True)
    table = draft_catalog(open_workspace(open_kind(accepted), data_root=str(tmp_path / "d"))).table
    assert sorted(table["split"].to_pylist()) == ["train", "valid"]


def test_reports_and_labels_of_a_table_are_in_the_samples(tmp_path: Path) -> None:
    for number in range(2):
        write_series(tmp_path / "s" / str(number), number=number, num_slices=3)
    rows = ["uid,text,nodule", f"{ROOT_UID}.1.3,a nodule,1", f"{ROOT_UID}.7.3,gone,0"]
    (tmp_path / "s" / "t.csv").write_text("\n".join(rows))
    columns = {"file": "uid", "report": ["text"], "labels": ["nodule"]}
    changes = {"table": "t.csv", "columns": columns, "requires": (), "preprocessing": "none"}
    spec = declare(tmp_path / "s", target_shape=(), target_spacing_mm=(), **changes)
    workspace = build(spec, tmp_path)
    dataset = VolumeDataset(workspace.paths.manifest("train").parent)
    found = {sample["report"]: sample["labels"] for sample in dataset}
    assert found.keys() == {"a nodule", ""}
    assert found["a nodule"].tolist() == [1.0]
    assert found[""].isnan().tolist() == [True]


def test_declared_elements_are_kept_and_no_others(tmp_path: Path) -> None:
    def state(_: int, dataset: Any) -> None:
        dataset.KVP, dataset.PatientSex = "120", "F"

    write_series(tmp_path / "s", change=state)
    workspace = build(declare(tmp_path / "s", tags=("KVP", "PatientAge")), tmp_path)
    ((facts, _),) = load(workspace)
    assert facts["metadata"] == {"KVP": "120", "PatientAge": None}
    with pytest.raises(SpecError, match=r"^tags: expected keywords"):
        draft_catalog(
            open_workspace(
                open_kind(declare(tmp_path / "s", tags=("Kilovolts",))), data_root=str(tmp_path)
            )
        )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hu_rule", "table"),
        ("split_by", "column"),
        ("volumes_dir", "{split}"),
        ("modalities", ()),
        ("split_shares", (1, 2, 3)),
    ],
)
def test_fields_that_cannot_be_used_are_named(tmp_path: Path, field: str, value: Any) -> None:
    with pytest.raises(SpecError) as caught:
        open_kind(declare(tmp_path, **{field: value}))
    assert caught.value.field == field


def test_a_shard_is_made_again_while_its_series_is_there(tmp_path: Path) -> None:
    write_series(tmp_path / "s" / "a")
    write_series(tmp_path / "s" / "b", number=1)
    workspace = build(declare(tmp_path / "s"), tmp_path)
    work = plan_shard(workspace, "train-000000", force=True)
    assert not build_shard(workspace, workspace.paths, work).record.rejected
    for path in (tmp_path / "s" / "a").iterdir():
        path.unlink()
    with pytest.raises(ReclaimError, match="is gone, so the shard that holds it"):
        plan_shard(workspace, "train-000000", force=True)
