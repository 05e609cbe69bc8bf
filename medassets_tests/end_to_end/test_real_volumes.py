"""The main job on real CT: a hub, the real client, the full preset, and readers of others."""

import importlib.util
import json
import os
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medassets.specs import PRESETS
from medassets.testing.hub import LocalHub
from medassets_tests import shared_data
from medassets_tests.real_volumes import lay_out_real_volumes

pytestmark = pytest.mark.slow

REPO_ID = "org/ct-real"
MADE_BESIDE_THE_CHECKOUT = shared_data.CT


@pytest.fixture
def ct_folder() -> Path:
    """Folder with the real volumes."""
    folder = Path(os.environ.get("MEDASSETS_REAL_DATA") or MADE_BESIDE_THE_CHECKOUT)
    if not folder.is_dir():
        pytest.skip(f"no real CT volumes at {folder}; set MEDASSETS_REAL_DATA to their folder")
    return folder


def read_hu(path: Path) -> np.ndarray:
    """Return HU of a NIfTI file, by nibabel and its header's scale factors."""
    image = nib.Nifti1Image.from_filename(path)
    return np.asarray(image.dataobj, np.float64)


def test_real_volumes_become_shards_that_every_reader_opens(
    ct_folder: Path,
    tmp_path: Path,
    declare: Callable[..., None],
    make_home: Callable[..., Any],
    build: Callable[..., Any],
    interpolate: Callable[..., np.ndarray],
    ulps: Callable[..., np.ndarray],
) -> None:
    repository = lay_out_real_volumes(ct_folder, tmp_path / "repository")
    preset = PRESETS["ct_clip"]
    with LocalHub(repository.folder, REPO_ID) as hub:
        declare(
            repo_id=REPO_ID,
            endpoint=hub.endpoint,
            splits=["train", "valid"],
            hu_rule="header",
            orientation="LPS",
            target_spacing_mm=list(preset.spacing_mm),
            target_shape=list(preset.shape),
            samples_per_shard=128,
        )
        home = make_home("real")
        outcome = build(home)
        assert outcome.code == 0, outcome.text
        assert home.rejected() == {}
        revision = hub.sha
    check_samples(repository, home, preset, interpolate, ulps, revision)
    for split in ("train", "valid"):
        check_readers(home, split, repository.keys(split), tmp_path / "cache")


def check_samples(
    repository: Any,
    home: Any,
    preset: Any,
    interpolate: Callable[..., np.ndarray],
    ulps: Callable[..., np.ndarray],
    revision: str,
) -> None:
    """Compare voxels, facts, labels and reports of every sample with its source."""
    for split in ("train", "valid"):
        with tarfile.open(home.paths.shard(f"{split}-000000")) as tar:
            for item in (v for v in repository.volumes if v.split == split):
                read = {
                    m: read_member(tar, f"{item.key}.{m}") for m in ("bin", "txt", "cls", "json")
                }
                facts = json.loads(read["json"])
                hu = read_hu(repository.folder / item.path)
                header = nib.Nifti1Image.from_filename(repository.folder / item.path).header
                spacing_mm = facts["geometry"]["source"]["spacing_mm"]
                np.testing.assert_allclose(spacing_mm, header.get_zooms(), rtol=1e-6)
                assert facts["geometry"]["source"]["shape"] == list(hu.shape)
                assert facts["source"]["revision"] == revision
                if facts["geometry"]["source"]["axis_codes"] == "RAS":
                    hu = hu[::-1, ::-1]
                assert facts["geometry"]["output"]["axis_codes"] == "LPS"
                voxels = np.frombuffer(read["bin"], "<f2").reshape(preset.shape)
                steps = ulps(voxels, interpolate(hu, spacing_mm, preset).astype(np.float16))
                assert steps.max() <= 1, item.key
                assert (steps == 0).mean() >= 0.9999, item.key
                assert voxels.min() >= -1
                assert voxels.max() <= 1
                check_tables(repository.folder, split, item.key, facts, read)
    lidc = next(v for v in repository.volumes if v.key == "train_2_a_1")
    stored = read_hu(repository.folder / lidc.path)
    # HU -2048 outside the round field of view, by scl_inter -1024, and clipped to -1000.
    assert (stored[0, 0] == -2048).all()


def read_member(tar: tarfile.TarFile, name: str) -> bytes:
    """Return the content of one member."""
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


def check_tables(
    folder: Path, split: str, key: str, facts: dict[str, Any], read: dict[str, bytes]
) -> None:
    """Compare labels and reports with the CSVs, read by pandas."""
    import pandas as pd

    from medassets.volumes.catalog.ct_rate import LABEL_NAMES, table_paths
    from medassets.volumes.catalog.ct_tables import REPORT_SECTIONS

    paths = table_paths(split)
    name = f"{key}.nii.gz"
    labels = pd.read_csv(folder / paths.labels, index_col="VolumeName").loc[name]
    expected = labels[list(LABEL_NAMES)].to_numpy(np.float32)
    np.testing.assert_array_equal(np.frombuffer(read["cls"], "<f4"), expected)
    assert facts["labels"] == {label: float(labels[label]) for label in LABEL_NAMES}
    reports = pd.read_csv(folder / paths.reports, index_col="VolumeName").loc[name]
    for section, column in REPORT_SECTIONS.items():
        given = None if reports[column] == "Not given." else reports[column]
        assert facts["report"][section] == given, section
    told = [facts["report"][section] for section in ("findings", "impressions")]
    assert read["txt"].decode().split() == " ".join(t for t in told if t).split()


def check_readers(home: Any, split: str, keys: list[str], cache: Path) -> None:
    """Open a split with webdataset and wids."""
    with warnings.catch_warnings():
        # wids is built on what torch and Python have since declared old.
        warnings.simplefilter("ignore")
        import webdataset
        import wids

        dataset: Any = webdataset
        shard = str(home.paths.shard(f"{split}-000000"))
        samples = dataset.WebDataset(shard, shardshuffle=False, empty_check=False)
        found = {sample["__key__"]: len(sample["bin"]) for sample in samples}
        assert found == dict.fromkeys(keys, 2 * 480 * 480 * 240)
        index = wids.ShardListDataset(
            str(home.paths.wids_index(split)),
            # It tells shards in one cache apart by their last name alone.
            cache_dir=str(cache / split),
            transformations=[lambda sample: sample],  # pyright: ignore[reportArgumentType]
        )
        assert [index[i]["__key__"] for i in range(len(index))] == keys
        index.close()
    manifest = home.manifest(split)
    assert manifest["complete"]
    assert manifest["sample_shape"] == [480, 480, 240]


def test_the_dicom_series_is_part_of_it_where_it_can_be_decoded(
    ct_folder: Path, tmp_path: Path
) -> None:
    if importlib.util.find_spec("SimpleITK") is None:
        pytest.skip("SimpleITK is not installed; it decodes JPEG 2000")
    repository = lay_out_real_volumes(ct_folder, tmp_path / "repository")
    assert len(repository.volumes) == 4
