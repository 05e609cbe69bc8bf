"""The same volume gives the same window masks, whichever file it is stored in."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.registry import open_kind
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.errors import SpecError
from medassets.shards.record import ShardRecord
from medassets.specs import STANDARD_WINDOWS, CTWindowDatasetSpec
from medassets.testing.ct_rate import SyntheticRepository
from medassets_tests.datasets.test_windows import read_sample

KEY = "train-000000"
TABLE = "dataset/metadata/train_metadata.csv"
Declare = Callable[..., Workspace]


def read_volumes(repository: SyntheticRepository) -> dict[str, np.ndarray]:
    """Return the stored voxels of every good volume of the split `train`, by key."""
    images: dict[str, Any] = {
        volume.key: nib.load(repository.folder / volume.path)
        for volume in repository.volumes
        if volume.split == "train" and volume.reason is None
    }
    return {key: np.asarray(image.dataobj) for key, image in images.items()}


def write_npz(folder: Path, volumes: dict[str, np.ndarray], order: Any) -> dict[str, Any]:
    (folder / "npz").mkdir()
    for key, voxels in volumes.items():
        np.savez_compressed(folder / "npz" / key, data=voxels.copy(order))
    return {"source": "npz", "folder": str(folder), "volumes_dir": "npz"}


def write_tars(folder: Path, volumes: dict[str, np.ndarray], suffix: str) -> dict[str, Any]:
    """Write one tar without reports and labels; voxels as plain bytes, `.npy` or `.npz`."""
    from webdataset.writer import TarWriter

    with TarWriter(str(folder / "all.tar")) as writer:
        for number, (key, voxels) in enumerate(volumes.items()):
            facts = {"study_id": key, "spacing_mm": [1.0, 1.0, 2.0]}
            facts |= {"shape": list(voxels.shape), "dtype": "int16"} if suffix == "bin" else {}
            content = {"bin": voxels.tobytes(), "npy": voxels, "npz": {"data": voxels}}[suffix]
            writer.write({"__key__": f"{number:04}", suffix: content, "json": facts})
    return {"source": "webdataset", "shards": f"{folder}/*.tar"}


@pytest.fixture
def declare(home: Path) -> Declare:
    """Return a function that declares windows and makes their only shard."""

    def declare_it(**fields: Any) -> Workspace:
        shared = {"splits": ("train",), "samples_per_shard": 100, "hu_rule": "none"}
        spec = CTWindowDatasetSpec(**{"name": "masks", **shared, **fields})
        workspace = open_workspace(open_kind(spec))
        publish_catalog(workspace.paths, draft_catalog(workspace))
        build_shard(workspace, workspace.paths, plan_shard(workspace, KEY))
        return workspace

    return declare_it


def check_masks(workspace: Workspace, expected: dict[str, np.ndarray]) -> dict[str, Any]:
    """Compare all masks with numpy; return the json of the last sample."""
    record = ShardRecord.read(workspace.paths.record(KEY))
    assert {sample.key for sample in record.samples} == set(expected)
    facts: dict[str, Any] = {}
    for key, hu in expected.items():
        facts, masks = read_sample(workspace.paths.shard(KEY), key)
        for name, window in STANDARD_WINDOWS.items():
            inside = (hu >= window.low_hu) & (hu <= window.high_hu)
            np.testing.assert_array_equal(masks[name].dense(), inside)
    return facts


@pytest.mark.parametrize("order", ["C", "F"])
def test_windows_of_npz_are_those_of_nifti(
    order: str, declare: Declare, repository: SyntheticRepository, tmp_path: Path
) -> None:
    volumes = read_volumes(repository)
    fields = write_npz(tmp_path, volumes, order)
    facts = check_masks(declare(**fields, meta_file=str(repository.folder / TABLE)), volumes)
    nifti = check_masks(declare(source="folder", folder=str(repository.folder), name="n"), volumes)
    for name in ("windows", "shape", "resolution", "hu", "metadata", "patient", "scan"):
        assert facts[name] == nifti[name], name
    source, of_nifti = facts["geometry"]["source"], nifti["geometry"]["source"]
    assert source["spacing_mm"] == of_nifti["spacing_mm"]
    # An array does not say how it is oriented.
    assert (source["axis_codes"], of_nifti["axis_codes"]) == (None, "LPS")


@pytest.mark.parametrize("suffix", ["bin", "npy", "npz"])
def test_windows_of_tars_are_those_of_numpy(
    suffix: str, declare: Declare, repository: SyntheticRepository, tmp_path: Path
) -> None:
    volumes = read_volumes(repository)
    facts = check_masks(declare(**write_tars(tmp_path, volumes, suffix)), volumes)
    assert facts["study_id"] == list(volumes)[-1]
    assert facts["geometry"]["source"]["spacing_mm"] == [1.0, 1.0, 2.0]


@pytest.mark.parametrize("dtype", ["<f2", ">i2", "<f4", "<f8", "<i4"])
def test_windows_of_rescaled_values_of_any_dtype(
    dtype: str, declare: Declare, tmp_path: Path
) -> None:
    hu = np.random.default_rng(5).integers(-1000, 1000, (9, 7, 11))
    place = tmp_path / "npz" / "study.npz"
    place.parent.mkdir()
    np.savez(place, data=((hu + 1024) / 2).astype(dtype))
    columns = {"VolumeName": "study", "XYSpacing": '"[0.5, 0.75]"', "ZSpacing": "2"}
    columns |= {"RescaleSlope": "2", "RescaleIntercept": "-1024"}
    table = f"{','.join(columns)}\n{','.join(columns.values())}\n"
    (tmp_path / "meta.csv").write_text(table)
    workspace = declare(
        source="npz",
        folder=str(tmp_path),
        volumes_dir="npz",
        meta_file="meta.csv",
        hu_rule="table",
        max_plausible_share=1.0,
    )
    stored = ((hu + 1024) / 2).astype(dtype).astype(np.float64)
    facts = check_masks(workspace, {"study": stored * 2 - 1024})
    assert (facts["hu"]["slope"], facts["hu"]["intercept"]) == (2, -1024)


def test_reports_that_change_in_a_tar_leave_windows_as_they_are(
    declare: Declare, repository: SyntheticRepository, tmp_path: Path
) -> None:
    volumes = read_volumes(repository)
    workspace = declare(**write_tars(tmp_path, volumes, "npy"))
    again = draft_catalog(workspace)
    assert again.plan.version == workspace.read_plan().version
    assert json.loads(workspace.paths.record(KEY).read_bytes())["samples"]


def test_windows_of_arrays_need_a_rule() -> None:
    spec = CTWindowDatasetSpec(name="masks", source="webdataset", shards="/data/*.tar")
    with pytest.raises(SpecError, match=r"^shards: several splits"):
        open_kind(spec)
    one = {"name": "masks", "source": "webdataset", "shards": "/data/*.tar", "splits": ("train",)}
    with pytest.raises(SpecError, match=r"^hu_rule: source webdataset must say how stored values"):
        open_kind(CTWindowDatasetSpec(**one))  # pyright: ignore[reportArgumentType]
    with pytest.raises(SpecError, match=r"^hu_rule: arrays of source webdataset have no header"):
        open_kind(CTWindowDatasetSpec(**one, hu_rule="header"))  # pyright: ignore[reportArgumentType]
