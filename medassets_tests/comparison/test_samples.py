"""Comparing samples with originals: exact figures, and nothing that a json says is trusted."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.comparison.samples import CompareSettings, Comparison, compare_pair
from medassets.comparison.studies import match_studies
from medassets.comparison.tars import read_tar_set
from medassets.storage.buffers import BufferPool
from medassets.storage.formats.label_types import parse_label_type
from medassets.tars.lists import FoundShard
from medassets.testing.phantoms import make_chest_phantom
from medassets_tests.small_shards import pack_tar

SHAPE = (15, 17, 19)
STORED = make_chest_phantom(SHAPE, round_field_of_view=False)
FACTS: dict[str, Any] = {
    "study_id": "a",
    "shape": list(SHAPE),
    "dtype": "int16",
    "XYSpacing": "[0.8, 0.8]",
    "ZSpacing": 1.5,
    "RescaleSlope": 1,
    "RescaleIntercept": 0,
}
HALF_FACTS = {"study_id": "a", "shape": list(SHAPE), "dtype": "float16", "preprocessing": "none"}
LABELS = np.arange(3, dtype="<f4").tobytes()


def pack(
    path: Path, facts: dict[str, Any] | bytes, content: bytes, key: str = "0", **members: bytes
) -> FoundShard:
    """Write a tar of one sample."""
    encoded = facts if isinstance(facts, bytes) else json.dumps(facts).encode()
    own = {"bin": content, "txt": b"text", "labels": LABELS, "json": encoded, **members}
    pack_tar(path, {key: {name: value for name, value in own.items() if value}})
    return FoundShard(path)


def compare(tmp_path: Path, facts: Any = None, content: bytes = b"", **kwargs: Any) -> Comparison:
    """Compare one sample with the usual original, or with what `original` says of it."""
    original = {**FACTS, **kwargs.pop("original", {})}
    settings = kwargs.pop("settings", CompareSettings())
    before = read_tar_set([pack(tmp_path / "a.tar", original, STORED.tobytes())])
    made = pack(
        tmp_path / "b.tar",
        HALF_FACTS if facts is None else facts,
        content or STORED.astype("<f2").tobytes(),
        **kwargs,
    )
    after = read_tar_set([made])
    (pair,) = match_studies(before.samples, after.samples).pairs
    return compare_pair(pair, settings, BufferPool())


def test_float16_of_the_original_is_right(tmp_path: Path) -> None:
    found = compare(tmp_path)
    assert found.differences == []
    assert found.values is not None
    assert (found.values.num_values, found.values.num_differing) == (STORED.size, 0)


def test_float16_of_the_original_must_be_exact(tmp_path: Path) -> None:
    values = STORED.astype("<f2")
    values[3, 4, 5] = np.nextafter(values[3, 4, 5], np.float16(np.inf))
    found = compare(tmp_path, content=values.tobytes())
    assert found.values is not None
    assert (found.values.num_differing, found.values.num_beyond) == (1, 1)
    assert found.differences == [f"volume: {found.values}"]


def test_figures_are_those_of_numpy(tmp_path: Path) -> None:
    right = STORED.astype("<f2")
    wrong = right.copy()
    rng = np.random.default_rng(5)
    wrong[rng.random(SHAPE) < 0.1] += np.float16(37.5)
    found = compare(tmp_path, content=wrong.tobytes())
    difference = np.abs(wrong.astype(np.float64) - right.astype(np.float64))
    assert found.values is not None
    assert found.values.share == np.mean(difference != 0)
    assert found.values.largest == difference.max()
    assert found.values.mean == pytest.approx(difference.mean(), rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"preprocessing": 3}, "preprocessing: expected the name of a preset, got 3"),
        ({"preprocessing": []}, "preprocessing: expected the name of a preset"),
        ({"preprocessing": {"preset": "other"}}, "'other' is not a preset"),
        ({"preprocessing": {"preset": ["ct_clip"]}}, "is not a preset"),
        ({"preprocessing": {"spacing_mm": "abc"}}, "preprocessing: "),
        ({"preprocessing": {"spacing_mm": [0, 1, 1]}}, "target_spacing_mm"),
        ({"preprocessing": {"spacing_mm": [10**400, 1, 1]}}, "preprocessing: "),
        ({"preprocessing": {"clip_hu": [1]}}, "preprocessing: "),
        ({"preprocessing": {"scale": -1}}, "scale"),
        ({"preprocessing": {"scale": None}}, "preprocessing: "),
        ({"preprocessing": {"scale": 1e-9}}, "do not fit float16"),
        ({"preprocessing": {"pad_value": 1e300}}, "do not fit float16"),
        ({"preprocessing": {"orientation": "RAS"}}, "do not state their orientation"),
        ({"preprocessing": {"layout": "kji"}}, "layout"),
        ({"hu": {"rule": "header"}, "preprocessing": None}, "give --hu-rule"),
        ({"hu": {"rule": 7}}, "hu.rule is 7"),
        ({"preprocessing": None}, "expected float16 of (480, 480, 240)"),
        ({"shape": [19, 17, 15]}, "float16 of (19, 17, 15), expected float16 of (15, 17, 19)"),
        ({"shape": [15, 17, 20]}, "bytes"),
        ({"shape": "15"}, "shape: expected the sides"),
        ({"dtype": "int16"}, "int16 of (15, 17, 19), expected float16"),
        ({"volume_shape": [1, 2, 3]}, "json: volume_shape is [1, 2, 3]"),
        ({"volume_dtype": "int16"}, "json: volume_dtype is 'int16'"),
    ],
)
def test_a_json_that_cannot_be_right_is_a_difference(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    found = compare(tmp_path, {**HALF_FACTS, **changes})
    assert words in "; ".join(found.differences)


@pytest.mark.parametrize(
    ("original", "words"),
    [
        ({"RescaleSlope": None}, "the table gives RescaleSlope None"),
        ({"XYSpacing": None}, "no usable XYSpacing"),
        ({"ZSpacing": 0}, "spacing"),
        ({"shape": [1, 2, 3]}, "bytes"),
        ({"dtype": "object"}, "dtype"),
    ],
)
def test_an_original_that_makes_no_sample_is_named(
    tmp_path: Path, original: dict[str, Any], words: str
) -> None:
    stated = {"preset": "ct_clip", "spacing_mm": [4.0, 4.0, 8.0]}
    found = compare(tmp_path, {**HALF_FACTS, "preprocessing": stated}, original=original)
    (difference,) = found.differences
    assert difference.startswith(f"cannot be compared with {tmp_path}/a.tar: 0: ")
    assert words in difference


def test_members_are_compared_byte_for_byte(tmp_path: Path) -> None:
    found = compare(tmp_path, txt=b"text ", labels=np.array([0, 1, np.nan], "<f4").tobytes())
    assert found.differences == [
        "labels differ: number 2 is nan, 2 in the original",
        "text differs from byte 4 on (5 bytes, 4 in the original)",
    ]
    found = compare(tmp_path, labels=b"", txt=b"")
    assert found.differences == [
        "labels: the original has them, the sample has none",
        "text: the original has them, the sample has none",
    ]
    found = compare(tmp_path, labels=b"1")
    assert found.differences == ["labels differ: 1 bytes, 12 in the original"]


@pytest.mark.parametrize("dtype", ["<i4", ">f4", "<f8", "i1"])
def test_labels_of_other_types_are_compared_by_value(tmp_path: Path, dtype: str) -> None:
    values = [0, 1, 2]
    original = np.array(values, dtype).tobytes()
    named, plain = {"labels": dict(zip("ABC", values, strict=True))}, {}
    for facts, declared in ((named, None), (plain, dtype)):
        before = pack(tmp_path / "a.tar", FACTS | facts, STORED.tobytes(), labels=original)
        for third, differences in (
            (2, []),
            (3, ["labels differ: number 2 is 3, 2 in the original"]),
        ):
            made = np.array([0, 1, third], "<f4").tobytes()
            after = pack(
                tmp_path / "b.tar", HALF_FACTS, STORED.astype("<f2").tobytes(), labels=made
            )
            samples = [read_tar_set([one]).samples for one in (before, after)]
            (pair,) = match_studies(*samples).pairs
            settings = CompareSettings(label_type=declared and parse_label_type(declared))
            assert compare_pair(pair, settings, BufferPool()).differences == differences


def test_a_label_type_that_is_not_certain_is_asked_for(tmp_path: Path) -> None:
    original = np.array([0, 1, 2], "<i2").tobytes()
    before = pack(tmp_path / "a.tar", FACTS, STORED.tobytes(), labels=original)
    after = pack(tmp_path / "b.tar", HALF_FACTS, STORED.astype("<f2").tobytes())
    samples = [read_tar_set([one]).samples for one in (before, after)]
    (pair,) = match_studies(*samples).pairs
    (difference,) = compare_pair(pair, CompareSettings(), BufferPool()).differences
    assert "6 bytes may be" in difference
    assert difference.endswith("; give --label-type")


def test_two_members_for_one_role_are_named(tmp_path: Path) -> None:
    (difference,) = compare(tmp_path, cls=LABELS).differences
    assert "could both be the labels" in difference
