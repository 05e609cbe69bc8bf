"""Synthetic tables of CT-RATE, read by the csv module."""

import csv
import io
import json
from pathlib import Path

from medassets.testing.ct_rate import SyntheticRepository
from medassets.testing.ct_rate_tables import METADATA_COLUMNS, make_ct_rate_tables
from medassets.volumes.catalog.ct_rate import LABEL_NAMES, table_paths


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read a table as dictionaries."""
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


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
