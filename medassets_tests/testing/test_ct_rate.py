"""The synthetic repositories keep what they promise to the tests that stand on them."""

import csv
import hashlib
import io
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medassets.testing.ct_rate import SyntheticRepository, make_ct_rate_repository
from medassets.testing.ct_rate_tables import METADATA_COLUMNS, make_ct_rate_tables
from medassets.volumes.catalog.ct_rate import LABEL_NAMES, table_paths
from medassets_tests.bad_volumes import BAD_VOLUMES, pick_bad_volumes


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read a table as dictionaries."""
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


def digest_tree(folder: Path) -> str:
    """Hash names and bytes of all files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRepository:
    """A repository of three patients per split."""
    return make_ct_rate_repository(tmp_path_factory.mktemp("repository"), seed=5)


def test_metadata_has_the_columns_and_formats_of_ct_rate(repository: SyntheticRepository) -> None:
    rows = read_csv(repository.folder / table_paths("valid").metadata)
    assert tuple(rows[0]) == METADATA_COLUMNS
    assert len(METADATA_COLUMNS) == 44
    for row in rows:
        assert len(json.loads(row["XYSpacing"])) == 2
        assert len(row["PatientAge"]) == 4
        assert int(row["NumberofSlices"]) > 1
    assert [row["VolumeName"] for row in rows if not row["ZSpacing"]] == ["valid_5_a_1.nii.gz"]


def test_every_volume_is_in_all_tables(repository: SyntheticRepository) -> None:
    for split in ("train", "valid"):
        paths = table_paths(split)
        names = [f"{v.key}.nii.gz" for v in repository.volumes if v.split == split]
        for path in (paths.metadata, paths.reports, paths.labels):
            rows = read_csv(repository.folder / path)
            assert [row["VolumeName"] for row in rows] == names
        assert tuple(rows[0]) == ("VolumeName", *LABEL_NAMES)
        listed = (repository.folder / paths.no_chest).read_text(encoding="utf-8").split()
        assert listed == [f"dataset/{split}/{split}_4/{split}_4_a/{split}_4_a_1.nii.gz"]


def test_reconstructions_of_a_scan_share_report_and_labels(repository: SyntheticRepository) -> None:
    paths = table_paths("train")
    for path in (paths.reports, paths.labels):
        rows = {row.pop("VolumeName"): row for row in read_csv(repository.folder / path)}
        assert rows["train_3_a_1.nii.gz"] == rows["train_3_a_2.nii.gz"]
        assert rows["train_3_a_1.nii.gz"] != rows["train_3_b_1.nii.gz"]
    reports = read_csv(repository.folder / paths.reports)
    assert any("Not given." in row.values() for row in reports)


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


def test_tables_of_a_grown_dataset_begin_with_the_same_rows(tmp_path: Path) -> None:
    before = make_ct_rate_tables(tmp_path / "before", num_rows=3000)
    after = make_ct_rate_tables(tmp_path / "after", num_rows=4000)
    assert sum(before.values()) == 3000
    assert sum(after.values()) == 4000
    for split in ("train", "valid"):
        paths = table_paths(split)
        for path in (paths.metadata, paths.reports, paths.labels, paths.no_chest):
            old = (tmp_path / "before" / path).read_bytes()
            assert (tmp_path / "after" / path).read_bytes().startswith(old)
        names = [row["VolumeName"] for row in read_csv(tmp_path / "after" / paths.metadata)]
        assert len(set(names)) == len(names) == after[split]


def test_one_split_gets_all_rows(tmp_path: Path) -> None:
    assert make_ct_rate_tables(tmp_path, num_rows=50, splits=["train"]) == {"train": 50}
