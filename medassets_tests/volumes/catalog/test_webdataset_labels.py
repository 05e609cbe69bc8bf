"""Labels of existing WebDatasets: one type, one length, one list of names; the rest is named."""

import json
import shutil
from typing import Any

import numpy as np
import pytest

from medassets.errors import CatalogError, SpecError
from medassets.samples import SourceItem, StagedFile
from medassets.sources.webdataset import WebDatasetSource
from medassets.storage.formats.label_rules import StatedLabels
from medassets.storage.formats.labels import read_labels
from medassets.volumes.catalog.label_summary import read_label_rules, read_summary
from medassets.volumes.catalog.webdataset_labels import settle_labels, store_labels
from medassets.volumes.reports_and_labels import read_member_texts
from medassets_tests.shared_cases import find_case
from medassets_tests.volumes.foreign_tars import (
    Sample,
    WriteTar,
    list_exclusions,
    make_sample,
    make_spec,
    read,
    refresh,
)


def labelled(key: str, cls: Any, **facts: Any) -> Sample:
    content = cls if isinstance(cls, bytes) else cls.tobytes()
    return make_sample(key, study_id=f"s_{key}", **facts) | {"cls": content}


def build(source: WebDatasetSource, **changes: Any) -> dict[str, list[float]]:
    """Return the labels of every usable sample as the build would store them."""
    rules = read_label_rules(make_spec(source, **changes))
    found = {}
    for row in read(source, **changes).to_pylist():
        if row["excluded"] is not None:
            continue
        item = SourceItem(row["key"], "train", row["path"], None, row)
        tar = source.folder / source.physical_path(row["path"])
        texts = read_member_texts(item, StagedFile(tar, "file:x", None, 1, "0"), rules)
        stored = np.frombuffer(texts.cls, "<f4").tolist()
        assert list(texts.labels.values()) == stored
        found[row["study_id"]] = stored
    return found


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("cls_ascii_4", [1024]),
        ("cls_ascii_list", [0, 1]),
        ("cls_json_text", [0, 1, 1, 0]),
        ("cls_int32_named", [0, 1]),
        ("cls_bigendian_named", [0, 1]),
    ],
)
def test_labels_that_were_read_as_float32_have_their_values(
    source: WebDatasetSource, name: str, values: list[float]
) -> None:
    (source.folder / "train").mkdir()
    shutil.copy(find_case(f"labels/{name}.tar"), source.folder / "train")
    assert [*build(source).values()] == [values]


def test_a_tar_with_labels_of_three_lengths_is_refused(source: WebDatasetSource) -> None:
    (source.folder / "train").mkdir()
    shutil.copy(find_case("labels/mixed_lengths.tar"), source.folder / "train")
    with pytest.raises(CatalogError, match=r"numbers of labels: 2 \(1, .*; 3 \(1, .*; 18 \(1, "):
        read(source)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">i2", "<i4", ">u8", "i1", "<f2"])
@pytest.mark.parametrize("named", [True, False])
def test_every_type_is_stored_as_float32_or_asked_about(
    source: WebDatasetSource, write_tar: WriteTar, dtype: str, named: bool
) -> None:
    vectors = {f"k{n}": [n % 2, n // 2 % 2, n // 4 % 2] for n in range(8)}
    facts = {k: {"labels": dict(zip("ABC", v, strict=True))} for k, v in vectors.items()}
    samples = [
        labelled(key, np.array(vector, dtype), **(facts[key] if named else {}))
        for key, vector in vectors.items()
    ]
    write_tar("train/0.tar", *samples)
    expected = {f"s_{key}": [*map(float, vector)] for key, vector in vectors.items()}
    try:
        assert build(source) == expected
    except SpecError:
        assert not named
    assert build(source, labels={"dtype": dtype}) == expected


def test_mixed_lengths_keep_those_of_the_declared_names(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    write_tar("train/0.tar", *(labelled(f"k{n}", np.ones(n, "<f4")) for n in (2, 3, 3, 18)[:2]))
    write_tar("train/1.tar", labelled("k18", np.ones(18, "<f4")))
    with pytest.raises(CatalogError, match=r"labels: .*declare .*labels: \{columns"):
        read(source)
    columns = {"columns": ["A", "B", "C"]}
    assert build(source, labels=columns) == {"s_k3": [1, 1, 1]}
    found = {reason for reason, _ in list_exclusions(read(source, labels=columns))}
    assert found == {None, "bad_labels"}


def test_names_that_differ_between_samples_are_refused(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    ab, ba = {"A": 0, "B": 1}, {"B": 1, "A": 0}
    one, other = np.array([0, 1], "<f4"), np.array([1, 0], "<f4")
    write_tar("train/0.tar", labelled("a", one, labels=ab), labelled("b", other, labels=ba))
    with pytest.raises(CatalogError, match=r"different names: A, B \(1, such as .*\); B, A \(1"):
        read(source)
    # By name, the second member contradicts its json once the order is declared.
    assert build(source, labels={"columns": ["A", "B"]}) == {"s_a": [0, 1]}


@pytest.mark.parametrize("facts", [{"label_names": ["B", "A"]}, {"label_names": ["C", "D"]}])
def test_other_names_than_the_declared_ones_are_excluded(
    source: WebDatasetSource, write_tar: WriteTar, facts: dict[str, Any]
) -> None:
    one = np.array([1, 0], "<f4")
    right = labelled("a", one, label_names=["A", "B"])
    write_tar("train/0.tar", right, labelled("b", one, **facts))
    assert build(source, labels={"columns": ["A", "B"]}) == {"s_a": [1, 0]}
    with pytest.raises(CatalogError, match="different names"):
        read(source)


def test_declared_names_replace_one_list_of_names_only(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    one = np.array([1, 0], "<f4")
    first = labelled("a", one, label_names=["A", "B"])
    write_tar("train/0.tar", first, labelled("b", one, label_names=["C", "D"]))
    with pytest.raises(CatalogError, match=r"different names: A, B \(1, .*; C, D \(1"):
        read(source, labels={"columns": ["X", "Y"]})
    write_tar("train/0.tar", first, labelled("b", one, label_names=["A", "B"]))
    assert build(source, labels={"columns": ["X", "Y"]}) == {"s_a": [1, 0], "s_b": [1, 0]}


def test_a_name_that_occurs_twice_excludes_its_sample(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    one = np.array([1, 0], "<f4")
    bad = labelled("b", one, label_names=["A", "A"])
    write_tar("train/0.tar", labelled("a", one, label_names=["A", "B"]), bad)
    assert build(source) == {"s_a": [1, 0]}
    assert ("bad_labels", "train/0.tar/b: the json names the labels A, A; A occurs twice") in (
        list_exclusions(read(source))
    )


def test_the_order_of_label_names_holds_for_sorted_labels(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    vectors = {"a": [0, 0], "b": [1, 0]}
    samples = [
        labelled(key, np.array(v, "<f4"), label_names=["B", "A"], labels={"A": v[1], "B": v[0]})
        for key, v in vectors.items()
    ]
    write_tar("train/0.tar", *samples)
    assert build(source) == {"s_a": [0, 0], "s_b": [1, 0]}
    first = refresh(source, None)
    assert refresh(source, first).equals(first, check_metadata=True)
    assert set(map(tuple, first["label_names"].to_pylist())) == {("B", "A")}


def test_one_number_in_the_json_is_compared(source: WebDatasetSource, write_tar: WriteTar) -> None:
    write_tar("train/0.tar", labelled("a", b"5", labels=5), labelled("b", b"5", labels=3))
    assert build(source) == {"s_a": [5]}


def test_a_class_is_read_beside_the_number_of_classes(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    samples = [labelled(f"k{n}", str(n).encode(), num_classes=10) for n in (0, 5, 9, 10)]
    write_tar("train/0.tar", *samples)
    assert build(source) == {"s_k0": [0], "s_k5": [5], "s_k9": [9]}
    (detail,) = [detail for reason, detail in list_exclusions(read(source)) if reason]
    assert detail == "train/0.tar/k10: 1 label (10), but the json states 10 classes"
    raw = [labelled(f"k{n}", np.array(n, "<i8"), num_classes=10) for n in (0, 5)]
    write_tar("train/0.tar", *raw)
    assert build(source) == {}
    assert build(source, labels={"dtype": "int64"}) == {"s_k0": [0], "s_k5": [5]}


def test_a_json_that_sorts_its_names_is_compared_by_name(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    stated = {"A": 0, "Z": 1}
    write_tar("train/0.tar", labelled("a", np.array([1, 0], "<f4"), labels=stated))
    assert build(source) == {}
    assert build(source, labels={"columns": ["Z", "A"]}) == {"s_a": [1, 0]}


def test_a_contradiction_excludes_its_sample_with_the_values(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    samples = [
        labelled(f"k{n}", np.array([n % 2, 1], "<i4"), labels={"A": n % 2, "B": 1})
        for n in range(5)
    ]
    bad = labelled("bad", np.array([0, 1], "<i4"), labels={"A": 1, "B": 1})
    write_tar("train/0.tar", bad, *samples)
    assert build(source) == {f"s_k{n}": [n % 2, 1] for n in range(5)}
    exclusions = [one for one in list_exclusions(read(source)) if one[0]]
    assert exclusions == [("bad_labels", "train/0.tar/bad: A is 0, but 1 in the json")]


def test_a_value_that_is_not_allowed_excludes_its_sample(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    write_tar(
        "train/0.tar",
        *(labelled(f"k{n}", np.array([n, 1], "<f4"), labels={"A": n, "B": 1}) for n in range(3)),
    )
    assert len(build(source)) == 3
    assert list(build(source, labels={"values": [0, 1]})) == ["s_k0", "s_k1"]


def test_a_declared_member_is_read(source: WebDatasetSource, write_tar: WriteTar) -> None:
    sample = make_sample("a") | {"y.npy": np.array([0, 1], np.int64)}
    write_tar("train/0.tar", sample)
    assert build(source, labels={"member": "y.npy"}) == {"train_1_a_1": [0, 1]}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"labels": {"dtype": "x"}}, "^labels: expected a type of numbers"),
        ({"labels": {"columns": ["A"]}, "label_names": ("B",)}, "^labels: columns: .* contradicts"),
        ({"labels": {"member": "a"}, "fields": {"labels": "b"}}, "^labels: member: .* contradicts"),
    ],
)
def test_a_wrong_declaration_is_refused(
    source: WebDatasetSource, changes: dict[str, Any], match: str
) -> None:
    with pytest.raises(SpecError, match=match):
        read_label_rules(make_spec(source, **changes))


def test_the_catalog_counts_the_values_of_each_label(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    write_tar(
        "train/0.tar",
        *(
            labelled(f"k{n}", np.array([n % 2, n], "<f4"), labels={"A": n % 2, "B": n})
            for n in range(4)
        ),
    )
    summary = read_summary(read(source))
    assert summary is not None
    assert (summary.names, summary.label_type) == (["A", "B"], "float32")
    assert summary.counts == {"A": {"0": 2, "1": 2}, "B": {"0": 1, "1": 1, "2": 1, "3": 1}}
    assert len(summary.doubts) == 1
    assert summary.doubts[0].startswith("B has values beyond 0 and 1: 0 x 1, 1 x 1, 2 x 1, 3 x 1")


def test_float32_labels_keep_the_fingerprint_of_their_rows(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    from medassets.shards.fingerprint import digest_rows

    write_tar("train/0.tar", labelled("a", np.array([0, 1], "<f4"), labels={"A": 0, "B": 1}))
    (row,) = read(source).to_pylist()
    older = {k: v for k, v in row.items() if k not in ("label_type", "stored_labels")}
    assert digest_rows([row]) == digest_rows([older])
    write_tar("train/0.tar", labelled("a", np.array([0, 1], "<i4"), labels={"A": 0, "B": 1}))
    (row,) = read(source).to_pylist()
    assert row["label_type"] == "int32"


def test_a_sample_excluded_for_its_labels_is_used_when_the_declaration_allows_it(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    write_tar("train/0.tar", labelled("a", np.array([0, 2], "<f4"), labels=[0, 2]))
    first = refresh(source, None, labels={"values": [0, 1]})
    assert list_exclusions(first)[0][0] == "bad_labels"
    again = refresh(source, first, labels={"values": [0, 1]})
    assert again["excluded"].equals(first["excluded"])
    assert list_exclusions(refresh(source, again))[0][0] is None


@pytest.mark.parametrize("text", [b"nan", b" \n", b"None", b"Not given.", b"N/A"])
def test_a_text_that_says_nothing_is_a_missing_report(
    source: WebDatasetSource, write_tar: WriteTar, text: bytes
) -> None:
    write_tar("train/0.tar", make_sample() | {"txt": text})
    assert [reason for reason, _ in list_exclusions(read(source))] == ["missing_report"]


def test_random_members_never_give_other_labels(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    random = np.random.default_rng(7)
    types = ["<f4", ">f4", "<f8", "<i4", ">i4", "<i2", "u1", "<i8", "<f2"]
    for number in range(60):
        dtype, length = types[random.integers(len(types))], int(random.integers(1, 5))
        known = random.integers(3)
        samples, expected = [], {}
        for n in range(4):
            vector = random.integers(0, 2, length)
            is_wrong = random.random() < 0.1
            stated = vector ^ 1 if is_wrong else vector
            facts = [{}, {"num_classes": length}, {"labels": dict(enumerate(stated.tolist()))}]
            key = f"k{number}_{n}"
            samples.append(labelled(key, vector.astype(dtype), **facts[known]))
            expected[f"s_{key}"] = vector.tolist()
        write_tar("train/0.tar", *samples)
        try:
            found = build(source)
        except SpecError:
            continue
        assert {key: expected[key] for key in found} == found


def test_samples_whose_json_names_no_labels_have_the_names_of_the_others(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    named = labelled("a", np.array([0, 1], "<f4"), labels=[0, 1], label_names=["A", "B"])
    write_tar("train/0.tar", named, labelled("b", np.array([1, 1], "<f4")))
    table = read(source)
    assert table["label_names"].to_pylist() == [["A", "B"]] * 2
    assert build(source) == {"s_a": [0, 1], "s_b": [1, 1]}


def test_labels_of_our_own_shards_need_no_declaration(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    vectors = {"a": [0.0, 0.0, 0.0], "b": [0.25, 1e-7, 3.0], "c": [-1.0, 0.5, 16_777_216.0]}
    samples = [
        labelled(
            key,
            np.array(vector, "<f4"),
            num_classes=3,
            labels=dict(zip("ABC", np.array(vector, "<f4").tolist(), strict=True)),
        )
        for key, vector in vectors.items()
    ]
    write_tar("train/0.tar", *samples)
    expected = {f"s_{k}": np.array(v, "<f4").tolist() for k, v in vectors.items()}
    assert build(source) == expected
    assert {row["label_type"] for row in read(source).to_pylist()} == {None}


def test_a_refresh_that_reads_no_tar_gives_the_same_rows(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    vectors = {"a": [0.1, 1.0], "b": [0.7, 0.0]}
    samples = [
        labelled(key, np.array(vector, "<f8"), labels=dict(zip("AB", vector, strict=True)))
        for key, vector in vectors.items()
    ]
    write_tar("train/0.tar", *samples)
    first = refresh(source, None)
    assert set(first["label_type"].to_pylist()) == {"float64"}
    assert '"names":"row"' in first["stored_labels"].to_pylist()[0]
    assert refresh(source, first).equals(first, check_metadata=True)
    swapped = read(source, first, labels={"columns": ["B", "A"]})
    assert set(swapped["excluded"].to_pylist()) == {"bad_labels"}


TYPES = ("<f4", ">f4", "<f8", "<f2", "i1", "u1", "<i2", ">i2", "<i4", ">i4", "<u8", "text", "json")


def write_vector(values: Any, label_type: str) -> tuple[bytes, list[float]]:
    """Return a member, and its values as an independent reader has them."""
    if label_type == "text":
        return " ".join(f"{v:g}" for v in values).encode(), [float(f"{v:g}") for v in values]
    if label_type == "json":
        return json.dumps([float(v) for v in values]).encode(), [float(v) for v in values]
    array = np.array(values).astype(label_type)
    return array.tobytes(), array.astype(float).tolist()


def test_random_datasets_never_give_other_labels_without_a_word(source: WebDatasetSource) -> None:
    """Types, lengths and jsons may differ within a dataset; what differs is refused or doubted."""
    random, num_right = np.random.default_rng(11), 0
    for _ in range(400):
        usual, length = TYPES[random.integers(len(TYPES))], int(random.integers(1, 7))
        known, is_mixed, highest = (
            random.integers(3),
            random.random() < 0.15,
            random.integers(2, 90),
        )
        rows, written = [], []
        for n in range(random.integers(1, 7)):
            other = is_mixed and random.random() < 0.5
            label_type = TYPES[random.integers(len(TYPES))] if other else usual
            vector = random.integers(0, highest, int(random.integers(1, 7)) if other else length)
            content, values = write_vector(vector, label_type)
            stated = [1 - value for value in values] if random.random() < 0.1 else values
            named = {"labels": {f"n{i}": value for i, value in enumerate(stated)}}
            facts = [{}, {"num_classes": len(values)}, named][known]
            row: dict[str, Any] = {"path": f"a.tar/{n}", "labels_member": "cls"}
            rows.append(row | {"stored_labels": store_labels(content, facts, row)})
            written.append((content, facts, values))
        try:
            summary = settle_labels(rows, make_spec(source))
        except (CatalogError, SpecError):
            continue
        for row, (content, facts, values) in zip(rows, written, strict=True):
            if row.get("excluded") is None:
                stated = StatedLabels.read(facts)
                found = read_labels(content, row["label_type"] or "float32", stated=stated)
                assert found.tolist() == values or (summary is not None and summary.doubts)
                num_right += found.tolist() == values
    assert num_right > 300
