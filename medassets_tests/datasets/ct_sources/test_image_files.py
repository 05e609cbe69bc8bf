"""Trees of MetaImage and NRRD: a header and its voxels are one file of the source."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.datasets.ct_sources.image_files import ImageFolder
from medassets.datasets.ct_sources.registry import open_volume_source
from medassets.datasets.registry import open_kind
from medassets.datasets.workspace import open_workspace
from medassets.errors import Reason, SampleRejectedError
from medassets.samples import SourceItem
from medassets.specs import VolumeDatasetSpec
from medassets.testing.hub import LocalHub
from medassets.testing.phantoms import make_chest_phantom
from medassets_tests.datasets.ct_sources.contract import (
    VolumeSourceContract,
    find_source,
    stage_all,
)
from medassets_tests.trees import SHAPE

sitk: Any = pytest.importorskip("SimpleITK")

NAMES = ("a/one.mha", "a/two.nrrd", "b/three.mhd", "b/four.nhdr", "five.nii.gz")


def write(folder: Path) -> Path:
    """Write a phantom in each format."""
    for number, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        hu = make_chest_phantom(SHAPE, seed=number, round_field_of_view=False)
        image = sitk.GetImageFromArray(np.ascontiguousarray(hu.T))
        image.SetSpacing((12.0, 13.0, 16.0 + number))
        sitk.WriteImage(image, str(folder / name), number % 2 == 0)
    return folder


class TestTreeOfImages(VolumeSourceContract):
    def make(self, folder: Path) -> dict[str, Any]:
        return {
            "source": "folder",
            "layout": "tree",
            "folder": str(write(folder)),
            "hu_rule": "header",
        }

    def read_expected(self, fields: dict[str, Any], item: SourceItem) -> np.ndarray:
        image = sitk.ReadImage(str(Path(fields["folder"]) / item.path))
        return sitk.GetArrayFromImage(image).T

    def test_files_hold_nothing_beside_their_samples(
        self, fields: dict[str, Any], tmp_path: Path
    ) -> None:
        """A header whose voxels are in another file is kept; see below."""


def test_a_header_is_hashed_with_its_voxels(tmp_path: Path) -> None:
    write(tmp_path)
    files = ImageFolder(tmp_path)
    header = tmp_path / "b" / "four.nhdr"
    (voxels,) = [path for path in header.parent.iterdir() if path.name.startswith("four.raw")]
    described = files.describe(["b/four.nhdr"])["b/four.nhdr"]
    staged = files.fetch(described)
    sizes = [path.stat().st_size for path in (header, voxels)]
    assert described.num_bytes == staged.num_bytes == sum(sizes)
    lines = (hashlib.sha256(path.read_bytes()).hexdigest() + "\n" for path in (header, voxels))
    assert staged.sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()
    voxels.unlink()
    with pytest.raises(SampleRejectedError) as caught:
        files.fetch(files.describe(["b/four.nhdr"])["b/four.nhdr"])
    assert caught.value.reason is Reason.MISSING_UPSTREAM


def test_the_voxels_of_a_header_are_a_reason_to_keep_it(tmp_path: Path) -> None:
    spec = VolumeDatasetSpec(name="t", source="folder", layout="tree", folder=str(write(tmp_path)))
    source = open_volume_source(spec)
    found = [bool(source.find_unused(tmp_path / name, (), ignored=())) for name in NAMES]
    assert found == [False, False, True, True, False]


def test_a_hub_serves_files_that_hold_their_voxels(tmp_path: Path) -> None:
    folder = write(tmp_path / "source")
    with LocalHub(folder, "org/images") as hub:
        spec = VolumeDatasetSpec(
            name="t",
            source="huggingface",
            layout="tree",
            repo_id="org/images",
            endpoint=hub.endpoint,
            use_token=False,
            splits=("train",),
            preprocessing="none",
            hu_rule="header",
        )
        workspace = open_workspace(
            open_kind(spec), data_root=str(tmp_path / "d"), staging_root=str(tmp_path / "s")
        )
        found = stage_all(workspace)
        source = find_source(workspace.kind)
        shapes = []
        for item, staged in found:
            with source.open_volume(item, staged.path) as stream:
                shapes.append(stream.header.shape)
    assert {item.path for item, _ in found} == {"a/one.mha", "a/two.nrrd", "five.nii.gz"}
    assert shapes == [SHAPE] * 3
