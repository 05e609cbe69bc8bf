"""Documents of a YAML file: their lines, and the mistakes that Dagster would not name."""

from pathlib import Path

import pytest
import yaml

from medassets.components.yaml_lines import Problem, check_document, check_values, read_documents
from medassets.specs import VolumeDatasetSpec

GOOD = """\
type: medassets.components.VolumeDatasetComponent
attributes:
  name: mine
  source: folder
  folder: /data/ct
"""
SPEC = VolumeDatasetSpec(name="mine", source="folder", folder="/data/ct")


def write(folder: Path, text: str) -> Path:
    file = folder / "defs.yaml"
    file.write_text(text)
    return file


def test_every_document_keeps_the_lines_of_its_file(tmp_path: Path) -> None:
    file = write(tmp_path, f"# two\n{GOOD}---\n# the second\n{GOOD.replace('mine', 'other')}")
    first, second = read_documents(file)
    assert (first.line, second.line) == (2, 9)
    assert not first.alone
    for document in (first, second):
        (node,) = yaml.compose_all(document.text, Loader=yaml.SafeLoader)
        assert node.start_mark.line + 1 == document.line
    assert second.attributes["name"].value == "other"
    assert second.problem("name", "is taken") == Problem(file, 11, "name", "is taken")


def test_a_field_that_is_not_written_is_reported_where_its_document_begins(tmp_path: Path) -> None:
    file = write(tmp_path, f"# one\n{GOOD}")
    (document,) = read_documents(file)
    assert document.alone
    assert str(document.problem("runs", "is missing")) == f"{file}:2: runs: is missing"


@pytest.mark.parametrize("text", ["", "# to do\n"])
def test_a_file_without_content_has_no_document(tmp_path: Path, text: str) -> None:
    assert read_documents(write(tmp_path, text)) == []


def test_a_good_document_has_no_problem(tmp_path: Path) -> None:
    (document,) = read_documents(write(tmp_path, GOOD))
    assert check_document(document) == []
    assert check_values(document, SPEC) == []


@pytest.mark.parametrize(
    ("text", "line", "field"),
    [
        ("- a\n", 1, ""),
        (GOOD + "colour: red\n", 6, "colour"),
        (GOOD.partition("\n")[2], 1, "type"),
        ("type: a.B\nattributes: [1]\n", 2, "attributes"),
        (GOOD + "  folder: /other\n", 6, "folder"),
        (GOOD.replace("/data/ct", "{{ env.HOME }}"), 5, "folder"),
    ],
)
def test_a_document_that_dagster_would_misread_is_reported_by_line_and_field(
    tmp_path: Path, text: str, line: int, field: str
) -> None:
    (document,) = read_documents(write(tmp_path, text))
    assert [(p.line, p.field) for p in check_document(document)] == [(line, field)]


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("splits: train", r"[train], got 'train'"),
        ("num_workers: true", "a whole number, got true"),
        ("max_rejected_share: yes", "a number, got yes"),
    ],
)
def test_a_value_that_dagster_would_turn_into_another_is_reported(
    tmp_path: Path, written: str, words: str
) -> None:
    (document,) = read_documents(write(tmp_path, f"{GOOD}  {written}\n"))
    (problem,) = check_values(document, SPEC)
    assert (problem.line, problem.field) == (6, written.partition(":")[0])
    assert words in problem.what


def test_a_template_is_not_judged_before_it_is_filled_in(tmp_path: Path) -> None:
    (document,) = read_documents(write(tmp_path, f'{GOOD}  splits: "{{{{ env.SPLITS }}}}"\n'))
    assert check_values(document, SPEC) == []
