"""The synthetic repositories keep what they promise to the tests that stand on them."""

import hashlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medassets.testing.ct_rate import SyntheticRepository, make_ct_rate_repository
from medassets.volumes.catalog.ct_rate import table_paths
from medassets_tests.bad_volumes import BAD_VOLUMES, pick_bad_volumes
from medassets_tests.testing.test_ct_rate_tables import read_csv


def digest_tree(folder: Path) -> str:
    """Hash names and bytes of all files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def test_volumes_look_like_ct_rate(repository: SyntheticRepository) -> None:
    metadata = read_csv(repository.folder / table_paths("train").metadata)
    spacings = set()
    for volume, row in zip(repository.volumes, metadata, strict=False):
        image = nib.Nifti1Image.from_filename(repository.folder / volume.path)
        hu = np.asarray(image.dataobj)
        assert hu.dtype == np.int16
        assert hu.shape == (int(row["Columns"]), int(row["Rows"]), int(row["NumberofSlices"]))
        assert hu.min() == -8192
        assert 0.15 < ((hu >= -200) & (hu <= 300)).mean() < 0.7
        assert 0.05 < ((hu >= -900) & (hu <= -800)).mean() < 0.5
        steps = json.loads(row["XYSpacing"])
        if row["ZSpacing"]:
            steps.append(float(row["ZSpacing"]))
            assert image.header.get_zooms() == pytest.approx(steps, rel=1e-6)
        spacings.add(tuple(steps))
    assert len(spacings) >= 4


def test_same_arguments_make_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("two", 3), ("other", 4)):
        special = pick_bad_volumes("truncated_gzip")
        make_ct_rate_repository(tmp_path / name, num_patients=1, seed=seed, special_volumes=special)
    assert digest_tree(tmp_path / "one") == digest_tree(tmp_path / "two")
    assert digest_tree(tmp_path / "one") != digest_tree(tmp_path / "other")


def test_sides_stay_in_the_asked_range(tmp_path: Path) -> None:
    asked = ((20, 14, 10), (22, 16, 12))
    made = make_ct_rate_repository(tmp_path, shape_range=asked, volumes_dir="vols/{split}")
    for volume in made.volumes:
        assert volume.path.startswith(f"vols/{volume.split}/")
        shape = nib.Nifti1Image.from_filename(tmp_path / volume.path).shape
        if not volume.key.endswith("_2"):
            assert all(
                low <= n <= high for low, n, high in zip(asked[0], shape, asked[1], strict=True)
            )


def test_faults_are_added_to_the_first_split_only(tmp_path: Path) -> None:
    made = make_ct_rate_repository(
        tmp_path, num_patients=1, special_rows=False, special_volumes=tuple(BAD_VOLUMES.values())
    )
    num_rejected = sum(bad.reason is not None for bad in BAD_VOLUMES.values())
    assert sorted(made.reasons("train").values()) == sorted(
        bad.reason for bad in BAD_VOLUMES.values() if bad.reason
    )
    assert len(made.keys("train")) == 2 + len(BAD_VOLUMES) - num_rejected
    assert (made.reasons("valid"), len(made.keys("valid"))) == ({}, 2)
    assert not any(volume.excluded for volume in made.volumes)
