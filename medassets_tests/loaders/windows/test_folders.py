"""Cases of folders and tables, as other tools write them."""

from pathlib import Path

import pytest

from medassets.loaders import CTWindowSparseSDF
from medassets_tests.loaders.windows.window_data import (
    LUNG,
    MASKS,
    write_case,
)


def test_tables_processed_folders_and_plain_folders_are_found(tmp_path: Path) -> None:
    for dataset in ("x/one", "x/deep/two"):
        write_case(tmp_path / dataset / "processed", "case_001", MASKS[0])
        (tmp_path / dataset / "metadata.csv").write_text("case_id,age\ncase_001,61\n")
    write_case(tmp_path / "x/unlisted/processed", "case_009", MASKS[0])
    write_case(tmp_path / "y/processed", "case_002", MASKS[0])
    write_case(tmp_path / "z", "case_003", MASKS[0])
    (tmp_path / "z" / "notes.txt").write_text("not a case")
    roots = f"{tmp_path}/x, {tmp_path}/y/processed/,{tmp_path}/z"
    dataset = CTWindowSparseSDF(roots)
    found = [(Path(i["dataset_root"]).name, i["case_id"]) for i in dataset.instances]
    assert found == [
        ("two", "case_001"),
        ("one", "case_001"),
        ("y", "case_002"),
        ("z", "case_003"),
    ]
    first = dataset.instances[0]
    assert first["case_dir"] == str(tmp_path / "x/deep/two/processed/case_001")
    assert first["window_path"] == f"{first['case_dir']}/windows/{LUNG}.npy"
    assert dataset.metadata == {"case_001": {"case_id": "case_001", "age": 61}}


@pytest.mark.parametrize("where", ["processed", "nested", "cases"])
@pytest.mark.parametrize("stray", ["backup.tar", "manifest.json"])
def test_files_beside_cases_make_no_shards_of_a_folder(
    tmp_path: Path, where: str, stray: str
) -> None:
    top = {"processed": "processed", "nested": "ds/processed", "cases": "."}[where]
    write_case(tmp_path / top, "a", MASKS[0])
    if where == "nested":
        (tmp_path / "ds/metadata.csv").write_text("case_id\na\n")
    (tmp_path / stray).write_text('{"name": "of something else"}')
    assert [i["case_id"] for i in CTWindowSparseSDF(str(tmp_path)).instances] == ["a"]


def test_a_dataset_inside_a_folder_named_processed_is_found(tmp_path: Path) -> None:
    dataset = tmp_path / "root/processed/ds"
    write_case(dataset / "processed", "case_001", MASKS[0])
    (dataset / "metadata.csv").write_text("case_id,age\ncase_001,61\n")
    found = CTWindowSparseSDF(str(tmp_path / "root"))
    assert [i["dataset_root"] for i in found.instances] == [str(dataset)]
    assert (found.metadata["case_001"]["age"], found.left_out) == (61, ())
    write_case(tmp_path / "root/processed", "case_002", MASKS[1])
    (tmp_path / "root/metadata.csv").write_text("case_id\ncase_002\n")
    both = CTWindowSparseSDF(str(tmp_path / "root"))
    assert [i["case_id"] for i in both.instances] == ["case_002", "case_001"]
    assert both.left_out == ()


def test_cases_named_by_numbers_keep_their_zeros(tmp_path: Path) -> None:
    write_case(tmp_path / "processed", "007", MASKS[0])
    (tmp_path / "metadata.csv").write_text("case_id,age\n007,33\n007,44\n")
    assert CTWindowSparseSDF(str(tmp_path)).metadata == {"007": {"case_id": "007", "age": 33}}


@pytest.mark.parametrize("table", [b"", b"\xff\xfe\x00broken", b"age\n3\n", b'case_id\n"open'])
def test_a_table_that_cannot_be_used_costs_no_case(tmp_path: Path, table: bytes) -> None:
    write_case(tmp_path / "processed", "a", MASKS[0])
    (tmp_path / "metadata.csv").write_bytes(table)
    dataset = CTWindowSparseSDF(str(tmp_path))
    assert (len(dataset), dataset.metadata) == (1, {})


def test_folders_that_link_in_a_circle_end(tmp_path: Path) -> None:
    write_case(tmp_path / "a/processed", "a", MASKS[0])
    (tmp_path / "a/metadata.csv").write_text("case_id\na\n")
    (tmp_path / "a/loop").symlink_to(tmp_path)
    assert len(CTWindowSparseSDF(str(tmp_path))) == 1
