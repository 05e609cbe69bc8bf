"""The facts behind a plan fingerprint, and what changed since."""

import json
from dataclasses import dataclass, field, replace

import pytest

from medassets.samples import SourceItem
from medassets.shards.fingerprint import plan_fingerprint, rows_fingerprint
from medassets.shards.made_from import (
    ADDED_LATER,
    MadeFrom,
    Row,
    compare_facts,
    compare_rows,
    facts_fingerprint,
    find_later_version,
    list_fields,
    nest_facts,
    read_made_from,
)
from medassets.storage.checksums import fingerprint

TEXT = "There is no pleural effusion. " * 5


def item(key: str, **row: object) -> SourceItem:
    content = {"key": key, "split": "train", "path": f"{key}.nii.gz", "row": 3, **row}
    return SourceItem(key, "train", f"{key}.nii.gz", None, content)


def list_rows(items: list[SourceItem]) -> list[Row]:
    return [one.row for one in items]


ITEMS = [item("a", mtime_ns=1, report=TEXT), item("b", labels=[0.0, 1.0])]


def test_facts_have_the_fingerprint_in_use() -> None:
    spec = {"shape": (5, 7, 11), "limits": {"share": (0.1, 0.9)}}
    made = MadeFrom.of(spec, ITEMS)
    assert made.plan_fingerprint == plan_fingerprint(fingerprint(spec), rows_fingerprint(ITEMS))


def test_facts_survive_the_json_of_a_record() -> None:
    made = MadeFrom.of({"shape": (5, 7, 11), "clips": nest_facts({"crf": 28})}, ITEMS)
    document = json.loads(json.dumps(made.as_dict()))
    read = read_made_from(document)
    assert read is not None
    assert read.plan_fingerprint == made.plan_fingerprint
    assert compare_facts(read.spec, made.spec) == []


@pytest.mark.parametrize("document", [{}, {"spec": 1}, {"spec": {}, "rows_digest": ""}])
def test_a_record_without_facts_says_nothing(document: dict[str, object]) -> None:
    assert read_made_from(document) is None


def test_nested_facts_count_by_their_own_fingerprint() -> None:
    inner = {"crf": 28}
    nested = facts_fingerprint({"clips": nest_facts(inner)})
    assert nested == fingerprint({"clips": fingerprint(inner)})


def test_a_change_of_the_declaration_names_field_and_both_values() -> None:
    was = {"preprocessing": {"shape": [480, 480, 240], "scale": 1000.0}, "hu_rule": "none"}
    now = {"preprocessing": {"shape": (8, 8, 8), "scale": 1000.0}, "hu_rule": None}
    assert [change.describe() for change in compare_facts(was, now)] == [
        "preprocessing.shape was [480, 480, 240], is [8, 8, 8]",
        'hu_rule was "none", is not set',
    ]


def test_a_change_of_rows_names_key_field_and_both_values() -> None:
    today = [item("a", mtime_ns=2, report=TEXT.upper()), item("c")]
    found = compare_rows(list_rows(ITEMS), list_rows(today))
    assert [change.describe() for change in found[:3]] == [
        "c: is new in the plan", "b: left the plan", "a: mtime_ns was 1, is 2",
    ]  # fmt: skip
    report = found[3]
    assert (report.key, report.field) == ("a", "report")
    assert report.was.startswith("There is no pleural effusion. … (150 characters, ")
    assert report.now.startswith("THERE IS NO PLEURAL EFFUSION. … (150 characters, ")


def test_notes_of_a_row_are_no_change() -> None:
    moved = [replace(one, row={**one.row, "row": 9, "partition": "train-000003"}) for one in ITEMS]
    assert compare_rows(list_rows(ITEMS), list_rows(moved)) == []


def test_a_field_added_later_counts_when_it_is_not_its_default() -> None:
    @dataclass(frozen=True)
    class Preset:
        scale: float = 1000.0
        smooth: bool = field(default=False, metadata=ADDED_LATER)

    assert list_fields(Preset()) == {"scale": 1000.0}
    assert list_fields(Preset(smooth=True)) == {"scale": 1000.0, "smooth": True}


def test_only_versions_that_are_named_and_higher_are_those_of_a_later_program() -> None:
    now = {"format_version": 2, "min_slices": 3, "compression": ["auto", 2]}
    names = ("format_version", "codec_version", "compression.1")
    for was in (now, {**now, "format_version": 1}, {**now, "min_slices": 9}, {"other": "x"}):
        assert find_later_version(was, now, names) == ""
    assert (
        find_later_version({**now, "codec_version": 2}, now, names) == "codec_version 2, known: 1"
    )
    later = {**now, "compression": ["auto", 3]}
    assert find_later_version(later, now, names) == "compression.1 3, known: 2"
