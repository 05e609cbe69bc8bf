"""The catalog of foreign tars: nothing lost, nothing guessed, everything wrong named."""

import io
import json
import os
import re
import tarfile
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from medassets.errors import Reason
from medassets.shards.catalog.planning import plan_catalog
from medassets.sources.webdataset import WebDatasetSource
from medassets.volumes.catalog.columns import WEBDATASET_ROW_SCHEMA
from medassets_tests.volumes.foreign_tars import (
    FACTS,
    VOXELS,
    Sample,
    WriteTar,
    list_exclusions,
    make_sample,
    read,
    read_one,
    refresh,
    without,
)


def test_a_sample_becomes_a_row(source: WebDatasetSource, write_tar: WriteTar) -> None:
    tar = write_tar("train/shard-0.tar", make_sample("some/folder/0001"))
    row = read_one(source)
    path = "train/shard-0.tar/some/folder/0001"
    num_bytes = source.describe([path])[path].num_bytes
    expected = dict.fromkeys(WEBDATASET_ROW_SCHEMA.names) | {
        "key": "train_1_a_1",
        "split": "train",
        "path": path,
        "study_id": "train_1_a_1",
        "group": "train_1",
        "patient": "train_1",
        "scan": "train_1_a",
        "reconstruction": 1,
        "spacing_i": 0.75,
        "spacing_j": 0.5,
        "spacing_k": 1.5,
        "xy_spacing": "[0.75, 0.5]",
        "num_slices": 11,
        "rescale_slope": 2.0,
        "rescale_intercept": -1024.0,
        "shape": [5, 7, 11],
        "array_dtype": "int16",
        "num_bytes": num_bytes,
        "mtime_ns": tar.stat().st_mtime_ns,
        "volume_member": "bin",
        "text_member": "txt",
        "labels_member": "cls",
        "json_member": "json",
        "stored_labels": '{"content":"0000803f0000803f","count":null,"names":null,"values":null}',
    }
    metadata = json.loads(row.pop("metadata"))
    assert row == {name: value for name, value in expected.items() if name != "metadata"}
    assert metadata == {
        "XYSpacing": "[0.75, 0.5]",
        "ZSpacing": 1.5,
        "RescaleSlope": 2,
        "RescaleIntercept": "-1024",
        "Manufacturer": "Ä",
    }


def test_rows_can_be_planned_and_the_source_finds_them(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    write_tar("train/0.tar", make_sample("a"), make_sample("b", study_id="Ä/1.2"))
    write_tar("train/1.tar", make_sample("a", study_id="c"))
    catalog = plan_catalog(read(source), None, samples_per_shard=2, pinned=False)
    paths = catalog["path"].to_pylist()
    assert sorted(paths) == ["train/0.tar/a", "train/0.tar/b", "train/1.tar/a"]
    found = source.describe(paths)
    assert [found[path].num_bytes for path in paths] == catalog["num_bytes"].to_pylist()
    assert [found[path].mtime_ns for path in paths] == catalog["mtime_ns"].to_pylist()


@pytest.mark.parametrize(
    ("suffix", "content", "dtype"),
    [
        ("npy", VOXELS, "int16"),
        ("npy", VOXELS.astype("<f4"), "float32"),
        ("ct.npy", np.asfortranarray(VOXELS), "int16"),
        ("npz", {"data": VOXELS, "other": np.zeros(3)}, "int16"),
    ],
)
def test_arrays_with_a_header_need_no_shape_in_the_json(
    source: WebDatasetSource, write_tar: WriteTar, suffix: str, content: Any, dtype: str
) -> None:
    sample = without(make_sample(shape=None, dtype=None), "bin", "cls")
    write_tar("train/0.tar", sample | {suffix: content, "labels": np.ones(2, "<f4").tobytes()})
    row = read_one(source)
    assert (row["excluded"], row["volume_member"], row["labels_member"]) == (None, suffix, "labels")
    assert (row["shape"], row["array_dtype"], row["num_slices"]) == ([5, 7, 11], dtype, 11)


def test_an_array_that_cannot_be_opened_is_left_to_the_build(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    sample = without(make_sample(shape=None, dtype=None), "bin") | {"npy": b"garbage"}
    write_tar("train/0.tar", sample)
    row = read_one(source)
    assert (row["excluded"], row["shape"], row["volume_member"]) == (None, None, "npy")


def test_names_of_existing_raw_shards_are_understood(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    facts = {"shape": None, "dtype": None, "volume_shape": [5, 7, 11], "volume_dtype": ">i2"}
    write_tar("train/0.tar", make_sample(**facts))
    row = read_one(source)
    assert (row["shape"], row["array_dtype"]) == ([5, 7, 11], ">i2")


def test_what_our_own_shards_say_is_taken_over(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    facts = {
        "study_id": "x",
        "patient": "P 7",
        "scan": 3,
        "reconstruction": 2,
        "labels": {"Zebra": 1.0, "Affe": 0},
        "report": {"findings": "F", "impressions": "Not given.", "technique": None},
        "metadata": {"b": 1, "a": None},
    }
    write_tar("train/0.tar", make_sample(**facts))
    row = read_one(source)
    assert (row["patient"], row["group"], row["scan"], row["reconstruction"]) == (
        *("P 7", "P 7", "3"),
        2,
    )
    assert (row["label_names"], row["labels"]) == (["Zebra", "Affe"], [1.0, 0.0])
    assert (row["report_findings"], row["report_impressions"]) == ("F", None)
    assert row["metadata"] == '{"a":null,"b":1}'
    # What is declared counts: the json may list no more than the findings that are there.
    assert read_one(source, label_names=("Z", "A"))["label_names"] == ["Z", "A"]


def test_declared_label_names_stand_in_for_missing_ones(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    write_tar("train/0.tar", make_sample(study_id="study 7"))
    row = read_one(source, label_names=("one", "two"))
    assert (row["label_names"], row["labels"]) == (["one", "two"], None)
    assert (row["patient"], row["group"]) == (None, "study 7")


def test_numbers_that_are_no_json_become_null(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    text = json.dumps({**FACTS, "RescaleSlope": float("nan"), "x": float("inf")})
    write_tar("train/0.tar", make_sample() | {"json": text.replace('"ZSp', '"y": 1e999, "ZSp')})
    row = read_one(source)
    assert row["excluded"] is None
    assert row["rescale_slope"] is None
    metadata = json.loads(row["metadata"])
    assert (metadata["x"], metadata["y"], metadata["RescaleSlope"]) == (None, None, None)


@pytest.mark.parametrize(
    ("study_id", "key"),
    [
        ("train_1_a_1", "train_1_a_1"),
        ("A-b_3", "A-b_3"),
        (12345, "12345"),
        ("1.2.840/x", r"1_2_840_x-[0-9a-f]+"),
        ("Ä" * 200, r"_+-[0-9a-f]+"),
    ],
)
def test_the_key_follows_from_the_study_only(
    source: WebDatasetSource, write_tar: WriteTar, study_id: Any, key: str
) -> None:
    write_tar("train/0.tar", make_sample("other_name", study_id=study_id))
    row = read_one(source)
    assert re.fullmatch(key, row["key"])
    assert len(row["key"]) <= 90
    assert row["study_id"] == str(study_id)


BROKEN: dict[str, tuple[Sample, Reason, str]] = {
    "no json": (without(make_sample(), "json"), Reason.BAD_RECORD, r"has no \.json"),
    "malformed": (make_sample() | {"json": '{"a": 1,}'}, Reason.BAD_RECORD, r"\.json: .*char"),
    "no object": (make_sample() | {"json": [1]}, Reason.BAD_RECORD, "expected an object"),
    "no utf-8": (make_sample() | {"json": b'{"a": "\xff"}'}, Reason.BAD_RECORD, r"\.json: "),
    "half of a character": (
        make_sample() | {"json": b'{"a": "\\ud800"}'},
        Reason.BAD_RECORD,
        "surrogates",
    ),
    "nested": (make_sample() | {"json": b"[" * 100_000}, Reason.BAD_RECORD, "nested"),
    "no study": (make_sample(study_id=None), Reason.BAD_NAME, "gives no study_id"),
    "empty study": (make_sample(study_id=""), Reason.BAD_NAME, "gives no study_id"),
    "odd study": (make_sample(study_id=["a"]), Reason.BAD_NAME, r"expected a name, got \['a'\]"),
    "bool study": (make_sample(study_id=True), Reason.BAD_NAME, "expected a name, got True"),
    "control": (make_sample(study_id="a\nb"), Reason.BAD_NAME, r"expected a name, got 'a\\nb'"),
    "parents": (make_sample(study_id="../../a"), Reason.BAD_NAME, "expected a name"),
    "no volume": (without(make_sample(), "bin"), Reason.BAD_RECORD, "has no volume .*only "),
    "no shape": (make_sample(shape=None), Reason.BAD_RECORD, "bin with shape and dtype"),
    "odd shape": (make_sample(shape=[5, -7, 11]), Reason.BAD_RECORD, r"shape: .*\[5, -7, 11\]"),
    "float shape": (make_sample(shape=[5.5, 7, 11]), Reason.BAD_RECORD, "shape: expected"),
    "text shape": (make_sample(shape="5x7x11"), Reason.BAD_RECORD, "shape: expected"),
    "huge shape": (make_sample(shape=[1 << 70, 1, 1]), Reason.BAD_RECORD, "shape: expected"),
    "odd dtype": (make_sample(dtype="object"), Reason.BAD_RECORD, "dtype: .*'object'"),
    "no text": (without(make_sample(), "txt"), Reason.MISSING_REPORT, r"has no text \(txt\), only"),
    "empty text": (make_sample() | {"txt": ""}, Reason.MISSING_REPORT, r"\.txt is empty"),
    "no labels": (without(make_sample(), "cls"), Reason.MISSING_LABELS, "has no labels"),
    "empty labels": (make_sample() | {"cls": b""}, Reason.MISSING_LABELS, r"\.cls is empty"),
    "no spacing": (make_sample(XYSpacing=None), Reason.SPACING_MISSING, "no usable XYSpacing"),
    "no step": (make_sample(ZSpacing="nan"), Reason.SPACING_MISSING, "no usable XYSpacing"),
    "zero step": (make_sample(ZSpacing=0), Reason.SPACING_MISSING, "no usable XYSpacing"),
    "odd spacing": (make_sample(XYSpacing={"a": 1}), Reason.SPACING_MISSING, "no usable"),
    "no slope": (make_sample(RescaleSlope=None), Reason.HU_RULE_MISSING, "no RescaleSlope"),
    "zero slope": (make_sample(RescaleSlope=0), Reason.HU_RULE_MISSING, "no RescaleSlope, or zero"),
    "no intercept": (
        make_sample(RescaleIntercept="x"),
        Reason.HU_RULE_MISSING,
        "no RescaleIntercept",
    ),
}


@pytest.mark.parametrize("preprocessing", ["ct_clip", "none"])
@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_become_a_sample_stays_with_its_reason(
    source: WebDatasetSource, write_tar: WriteTar, case: str, preprocessing: str
) -> None:
    sample, reason, match = BROKEN[case]
    good = make_sample("good", study_id="good")
    write_tar("train/0.tar", sample, good)
    table = read(source, hu_rule="table", preprocessing=preprocessing)
    broken, fine = table.to_pylist()
    assert fine["excluded"] is None
    assert broken["excluded"] == str(reason)
    assert re.match(rf"train/0\.tar: 0001: .*{match}", broken["detail"], re.DOTALL)
    catalog = plan_catalog(table, None, samples_per_shard=2, pinned=False)
    assert catalog["state"].to_pylist() == ["planned", "excluded"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hu_rule": "none"}, None),
        ({"hu_rule": "none", "preprocessing": "none"}, None),
        ({"hu_rule": None, "preprocessing": "none"}, "hu_rule_missing"),
    ],
)
def test_rescaling_is_needed_unless_values_are_declared_to_be_hu(
    source: WebDatasetSource, write_tar: WriteTar, changes: dict[str, Any], reason: str | None
) -> None:
    write_tar("train/0.tar", make_sample(RescaleSlope=None, RescaleIntercept=None))
    row = read_one(source, **changes)
    assert row["excluded"] == reason
    assert reason is None or "declare `hu_rule: none` if values are HU already" in row["detail"]


@pytest.mark.parametrize("name", ["../a", "/a", "a\\b", "x/../a", "a\nb", "a//b"])
def test_a_key_that_could_leave_the_tar_is_no_name(source: WebDatasetSource, name: str) -> None:
    path = source.folder / "train/0.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as archive:
        for number, key in enumerate((name, "good")):
            facts = json.dumps({**FACTS, "study_id": f"s{number}"}).encode()
            for suffix, content in (("bin", b"1"), ("cls", b"1"), ("txt", b"1"), ("json", facts)):
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    table = read(source)
    bad, good = table.to_pylist()
    assert (bad["excluded"], good["excluded"]) == ("bad_name", None)
    assert bad["detail"] == f"train/0.tar: {name!a} is not the name of a sample"
    plan_catalog(table, None, samples_per_shard=2, pinned=False)


def test_a_study_that_occurs_twice_is_kept_once(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    write_tar("train/0.tar", make_sample("a"), make_sample("b"))
    write_tar("train/1.tar", make_sample("a"), make_sample("c", study_id="other"))
    table = read(source)
    twice = "is already in train/0.tar/a"
    assert list_exclusions(table) == [
        (None, None),
        ("duplicate_row", f"train/0.tar/b: train_1_a_1 {twice}"),
        ("duplicate_row", f"train/1.tar/a: train_1_a_1 {twice}"),
        (None, None),
    ]
    plan_catalog(table, None, samples_per_shard=2, pinned=False)


def test_a_study_in_two_splits_is_kept_in_one(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    write_tar("train/0.tar", make_sample())
    write_tar("valid/0.tar", make_sample())
    table = read(source, splits=("train", "valid"))
    assert table["excluded"].to_pylist() == [None, "duplicate_row"]
    assert table["split"].to_pylist() == ["train", "valid"]
    plan_catalog(table, None, samples_per_shard=2, pinned=False)


def test_of_a_study_that_occurs_twice_the_usable_sample_counts(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    write_tar("train/0.tar", without(make_sample("a"), "txt"), make_sample("b"))
    table = read(source)
    assert table["excluded"].to_pylist() == ["missing_report", None]
    assert table["key"][1].as_py() == "train_1_a_1"
    plan_catalog(table, None, samples_per_shard=2, pinned=False)


def test_a_sample_that_was_planned_keeps_its_study(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    write_tar("train/1.tar", make_sample())
    before = refresh(source, None)
    write_tar("train/0.tar", make_sample())
    after = refresh(source, before)
    planned = after.filter(pa.array([state == "planned" for state in after["state"].to_pylist()]))
    assert planned["path"].to_pylist() == ["train/1.tar/0001"]
    (source.folder / "train/0.tar").unlink()
    assert refresh(source, after)["state"].to_pylist() == ["planned"]


@pytest.mark.parametrize(
    ("member", "named", "fields"),
    [
        ({"seg.npy": VOXELS}, ".bin and .seg.npy could both be the volume", {"volume": "bin"}),
        ({"labels": b"1234"}, ".cls and .labels could both be the labels", {"labels": "cls"}),
    ],
)
def test_two_candidates_cost_their_sample_and_ask_for_a_declaration(
    source: WebDatasetSource,
    write_tar: WriteTar,
    member: Sample,
    named: str,
    fields: dict[str, str],
) -> None:
    write_tar("train/0.tar", make_sample() | member, make_sample("good", study_id="good"))
    (reason, detail), fine = list_exclusions(read(source))
    assert (reason, fine) == ("bad_record", (None, None))
    assert detail is not None
    assert detail.startswith(f"train/0.tar: 0001: fields: {named}")
    (role, suffix) = next(iter(fields.items()))
    assert detail.endswith(f"such as `fields: {{{role}: {suffix}}}`")
    assert list_exclusions(read(source, fields=fields)) == [(None, None)] * 2


def test_a_name_that_is_not_utf8_costs_its_own_tar(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    tar = write_tar("train/0.tar", make_sample())
    os.link(tar, os.fsencode(tar.parent) + b"/\xff.tar")
    table = read(source)
    fine, (reason, detail) = list_exclusions(table)
    assert (fine, reason) == ((None, None), "bad_name")
    assert detail is not None
    assert detail.startswith("train/\\udcff.tar: ")
    plan_catalog(table, None, samples_per_shard=2, pinned=False)
    assert list_exclusions(read(source, table))[1] == (reason, detail)


def test_declared_members_are_used(source: WebDatasetSource, write_tar: WriteTar) -> None:
    sample = make_sample() | {"meta.json": {**FACTS, "study_id": "meta"}, "report": "a"}
    write_tar("train/0.tar", sample | {"LABELS.bin": np.ones(1, "<f4").tobytes()})
    fields = {"json": "meta.json", "text": "report", "labels": "labels.bin"}
    row = read_one(source, fields=fields)
    assert row["study_id"] == "meta"
    assert (row["text_member"], row["labels_member"]) == ("report", "labels.bin")
    assert (row["volume_member"], row["json_member"]) == ("bin", "meta.json")
    assert read_one(source, fields={**fields, "text": "none"})["excluded"] == "missing_report"
