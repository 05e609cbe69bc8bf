"""Windows through Dagster: their assets, what a shard shows, a range in one run, real volumes."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medassets.assets.windows import build_window_assets
from medassets.specs import STANDARD_WINDOWS, CTWindowDatasetSpec
from medassets.storage.paths import DatasetPaths
from medassets.testing.ct_rate import SyntheticRepository
from medassets.testing.hub import LocalHub
from medassets_tests import shared_data
from medassets_tests.location import Location, metadata_of, picture_of, size_of
from medassets_tests.real_volumes import lay_out_real_volumes

pytestmark = pytest.mark.slow

REAL = shared_data.CT


@dataclass(frozen=True)
class WindowLocation(Location):
    """A declared dataset of windows and the instance that remembers its runs."""

    @property
    def definitions(self) -> dg.Definitions:
        """The dataset's definitions, with the resources they need."""
        shared = dg.Definitions(resources=dict(self.resources), executor=dg.in_process_executor)
        spec: Any = self.spec
        return dg.Definitions.merge(build_window_assets(spec), shared)


@pytest.fixture
def locate_windows(home: Path) -> Iterator[Callable[..., WindowLocation]]:
    """Return a function that declares windows of a folder, with an ephemeral instance."""
    with dg.DagsterInstance.ephemeral() as instance:

        def locate(**changes: Any) -> WindowLocation:
            fields = {
                "name": "masks",
                "samples_per_shard": 3,
                "max_rejected_share": 1.0,
                "max_excluded_share": 1.0,
                "hu_rule": "none",
                **changes,
            }
            spec: Any = CTWindowDatasetSpec(**fields)
            return WindowLocation(spec, instance)

        yield locate


def test_a_shard_shows_points_shares_and_a_picture(
    locate_windows: Callable[..., WindowLocation], repository: SyntheticRepository
) -> None:
    masks = locate_windows(source="folder", folder=str(repository.folder))
    masks.materialize("catalog")
    result = masks.materialize("windows", partition="train-000000")
    assert all(check.passed for check in result.get_asset_check_evaluations())
    event = masks.events("windows", "train-000000")[-1]
    told = metadata_of(event)
    assert told["dagster/row_count"] == 3
    assert set(told["medassets/contents"]["windows"]) == set(STANDARD_WINDOWS)
    assert 0 < told["medassets/contents"]["windows"]["lung"]["share"] < 1
    assert told["medassets/contents"]["windows"]["lung"]["points"] > 0
    assert Image.open(io.BytesIO(picture_of(event))).size[0] > 400
    assert size_of(event) < 32_000


def test_a_range_is_made_in_one_run_and_the_manifest_follows(
    locate_windows: Callable[..., WindowLocation], repository: SyntheticRepository, home: Path
) -> None:
    masks = locate_windows(source="folder", folder=str(repository.folder), runs="single")
    masks.materialize("catalog")
    masks.materialize("windows", span=("train-000000", "train-000002"))
    known = masks.instance.get_materialized_partitions(masks.key("windows"))
    assert known == {"train-000000", "train-000001", "train-000002"}
    masks.materialize("manifest")
    paths = DatasetPaths(home / "data", "masks", "windows")
    manifest = json.loads(paths.manifest("train").read_bytes())
    assert (manifest["complete"], manifest["total_samples"]) == (True, 7)
    assert list(manifest["windows"]) == list(STANDARD_WINDOWS)


def test_a_remote_source_is_staged_by_raw_volumes_and_gives_the_same_bytes(
    locate_windows: Callable[..., WindowLocation], repository: SyntheticRepository, home: Path
) -> None:
    members: list[dict[str, bytes]] = []
    with LocalHub(repository.folder, "org/ct") as hub:
        for fields in (
            {"source": "folder", "folder": str(repository.folder), "name": "near"},
            {"repo_id": "org/ct", "endpoint": hub.endpoint, "name": "far"},
        ):
            masks = locate_windows(**fields, splits=("valid",))
            masks.materialize("catalog")
            stages = ["windows"] if "folder" in fields else ["raw_volumes", "windows"]
            masks.materialize(*stages, partition="valid-000000")
            paths = DatasetPaths(home / "data", str(fields["name"]), "windows")
            with tarfile.open(paths.shard("valid-000000")) as tar:
                members.append({m.name: _read(tar, m) for m in tar if "json" not in m.name})
    assert members[0] == members[1]
    assert len(members[0]) == 3 * 8
    assert not list((home / "staging").rglob("*.nii.gz"))


def _read(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(info)
    assert file is not None
    return file.read()


@pytest.mark.skipif(not REAL.is_dir(), reason="the folder of real CT is not there")
def test_windows_of_real_volumes(
    locate_windows: Callable[..., WindowLocation], tmp_path: Path, home: Path
) -> None:
    real = lay_out_real_volumes(REAL, tmp_path / "real")
    masks = locate_windows(source="folder", folder=str(real.folder), hu_rule="header")
    masks.materialize("catalog")
    for key in masks.keys:
        masks.materialize("windows", partition=key)
    paths = DatasetPaths(home / "data", "masks", "windows")
    counted = {}
    for key in masks.keys:
        with tarfile.open(paths.shard(key)) as tar:
            for info in tar:
                if info.name.endswith(".json"):
                    facts = json.loads(_read(tar, info))
                    stored = facts["windows"].items()
                    counted[facts["study_id"]] = {n: w["num_points"] for n, w in stored}
    assert set(counted) == {volume.key for volume in real.volumes}
    for volume in real.volumes:
        image: Any = nib.load(real.folder / volume.path)
        hu = image.dataobj.get_unscaled() * float(image.dataobj.slope) + float(image.dataobj.inter)
        expected = {
            name: int(((hu >= w.low_hu) & (hu <= w.high_hu)).sum())
            for name, w in STANDARD_WINDOWS.items()
        }
        assert counted[volume.key] == expected
        assert np.isfinite(hu).all()
