"""Comparing samples with originals: exact figures, and nothing that a json says is trusted."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.comparison.recipes import read_recipe
from medassets.comparison.samples import CompareSettings, Comparison, compare_pair
from medassets.comparison.studies import choose_pairs, match_studies
from medassets.comparison.tars import read_tar_set
from medassets.comparison.values import Tolerance, compare_stream, compare_values
from medassets.errors import SampleRejectedError
from medassets.specs import PRESETS
from medassets.storage.buffers import BufferPool
from medassets.tars.lists import FoundShard
from medassets.testing.phantoms import make_chest_phantom
from medassets.volumes.files.array_files import open_npy_array
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


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_longer_than_a_piece_are_compared_to_their_end(tmp_path: Path, order: Any) -> None:
    right = np.random.default_rng(1).normal(size=(70, 80, 90)).astype(np.float16)
    wrong = right.copy()
    wrong[-1, -1, -1] += np.float16(1)
    wrong[0, 1, 2] += np.float16(1)
    path = tmp_path / "a.npy"
    np.save(path, np.asarray(wrong, order=order))
    with open_npy_array(path) as stream:
        found = compare_stream(stream, right, tolerance=Tolerance(steps=1))
    assert (found.num_values, found.num_differing, found.num_beyond) == (right.size, 2, 2)


def test_steps_are_counted_over_zero_and_what_is_not_finite_is_wrong() -> None:
    tiny, half = np.float16(6e-8), np.float16
    expected = np.array([0.0, -0.0, tiny, 65504, 1.0, 1.0, 1.0, 1.0], np.float16)
    values = np.array([-0.0, 0.0, -tiny, np.inf, np.nan, 1.001, 1.002, 1.0], np.float16)
    found = compare_values(values, expected, tolerance=Tolerance(steps=1))
    assert found.num_not_finite == 2
    assert found.num_differing == 5
    # -tiny is two steps from tiny, 1.002 two from 1.
    assert found.num_beyond == 4
    assert found.largest == float(half(1.002)) - 1
    assert compare_values(values[5:], expected[5:], tolerance=Tolerance(steps=2)).num_beyond == 0


def test_a_difference_passes_by_steps_or_by_itself() -> None:
    expected = np.array([0.0, 0.001, 0.9], np.float16)
    values = expected + np.float16(0.0002)
    values[2] = np.nextafter(expected[2], np.float16(2))
    assert compare_values(values, expected, tolerance=Tolerance(steps=1)).num_beyond == 2
    both = Tolerance(steps=1, difference=0.0003)
    assert compare_values(values, expected, tolerance=both).num_beyond == 0
    assert compare_values(values, expected, tolerance=Tolerance(0, 0.0003)).num_beyond == 1


def test_empty_values_have_no_mean() -> None:
    nothing = np.zeros(0, np.float16)
    found = compare_values(nothing, nothing, tolerance=Tolerance(steps=0))
    assert (found.share, found.mean, str(found)) == (0, 0, "all values equal")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"preprocessing": 3}, "preprocessing: expected the name of a preset, got 3"),
        ({"preprocessing": []}, "preprocessing: expected the name of a preset"),
        ({"preprocessing": {"preset": "other"}}, "'other' is no preset"),
        ({"preprocessing": {"preset": ["ct_clip"]}}, "is no preset"),
        ({"preprocessing": {"spacing_mm": "abc"}}, "preprocessing: "),
        ({"preprocessing": {"spacing_mm": [0, 1, 1]}}, "target_spacing_mm"),
        ({"preprocessing": {"spacing_mm": [10**400, 1, 1]}}, "preprocessing: "),
        ({"preprocessing": {"clip_hu": [1]}}, "preprocessing: "),
        ({"preprocessing": {"scale": -1}}, "scale"),
        ({"preprocessing": {"scale": None}}, "preprocessing: "),
        ({"preprocessing": {"scale": 1e-9}}, "do not fit float16"),
        ({"preprocessing": {"pad_value": 1e300}}, "do not fit float16"),
        ({"preprocessing": {"orientation": "RAS"}}, "do not say how they are oriented"),
        ({"preprocessing": {"layout": "kji"}}, "layout"),
        ({"hu": {"rule": "header"}, "preprocessing": None}, "say --hu-rule"),
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


def test_two_members_for_one_role_are_named(tmp_path: Path) -> None:
    (difference,) = compare(tmp_path, cls=LABELS).differences
    assert "could both be the labels" in difference


def test_the_rule_of_the_user_counts_before_those_of_the_jsons() -> None:
    none, table = {"hu": {"rule": "none"}}, {"hu": {"rule": "table"}}
    cases: list[tuple[dict[str, Any], dict[str, Any], Any, str]] = [
        ({}, {}, None, "table"),
        (none, table, None, "none"),
        ({}, none, None, "none"),
        (none, none, "table", "table"),
        ({"hu": None}, {"hu": []}, None, "table"),
    ]
    for facts, original, said, rule in cases:
        recipe = read_recipe(facts, original, shape=(1, 2, 3), hu_rule=said)
        assert (recipe.hu_rule, recipe.preset) == (rule, PRESETS["ct_clip"])
        # 0.49 HU: float32 positions of scripts that state no preset.
        assert recipe.tolerance == Tolerance(steps=1, difference=2**-11)


def test_a_preset_that_was_replaced_takes_the_shape_of_the_sample() -> None:
    stated = {"preset": "ct_clip", "spacing_mm": [1, 2, 3], "scale": 500, "pad_value": 0}
    recipe = read_recipe({"preprocessing": stated}, {}, shape=(5, 7, 11), hu_rule="none")
    assert recipe.preset is not None
    assert (recipe.preset.shape, recipe.preset.spacing_mm) == ((5, 7, 11), (1.0, 2.0, 3.0))
    assert recipe.tolerance == Tolerance(steps=1)
    with pytest.raises(SampleRejectedError, match="is no preset"):
        read_recipe({"preprocessing": "x"}, {}, shape=(5, 7, 11), hu_rule="none")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (b"", "has no .json"),
        (b"{", ".json: "),
        (b"[]", ".json: expected an object"),
        (b'{"study_id": "\\u001b[2J"}', "study_id: expected a name"),
        (b'{"study_id": ["a"]}', "study_id: expected a name"),
        (b"{}", "gives no study_id"),
    ],
)
def test_a_sample_whose_study_is_not_known_is_named(
    tmp_path: Path, facts: bytes, words: str
) -> None:
    found = read_tar_set([pack(tmp_path / "a.tar", facts, b"x", key="k\x1b")])
    (problem,) = found.problems
    assert words in str(problem)
    assert str(problem).startswith(f"{tmp_path}/a.tar: k\\x1b: ")
    assert not found.samples


def test_tars_that_are_none_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.tar").write_bytes(b"")
    (tmp_path / "folder.tar").mkdir()
    pack_tar(tmp_path / "nothing.tar", {})
    names = ("empty", "folder", "nothing", "gone")
    found = read_tar_set([FoundShard(tmp_path / f"{name}.tar") for name in names])
    assert [str(problem).partition(": ")[2].split(" (")[0] for problem in found.problems] == [
        "ends at byte 0 without an end mark: cut off",
        "cannot be read",
        "contains no sample",
        "does not exist",
    ]


def test_a_key_that_occurs_twice_is_named(tmp_path: Path) -> None:
    samples = [("0", {"json": json.dumps({"study_id": study}).encode()}) for study in "ab"]
    pack_tar(tmp_path / "a.tar", samples)
    found = read_tar_set([FoundShard(tmp_path / "a.tar")])
    assert [sample.study_id for sample in found.samples] == ["a", "b"]
    assert [problem.what for problem in found.problems] == ["this key is there 2 times"]


def test_chosen_pairs_are_spread_and_seeded(tmp_path: Path) -> None:
    shards = []
    for tar in range(5):
        studies = [json.dumps({"study_id": f"{tar}-{n}"}).encode() for n in range(4)]
        pack_tar(tmp_path / f"{tar}.tar", {str(n): {"json": s} for n, s in enumerate(studies)})
        shards.append(FoundShard(tmp_path / f"{tar}.tar"))
    samples = read_tar_set(shards).samples
    pairs = match_studies(samples, samples).pairs
    for number in (1, 5, 7, 19, 20, 99):
        chosen = choose_pairs(pairs, number, seed=3)
        assert chosen == choose_pairs(pairs, number, seed=3)
        assert len(chosen) == min(number, 20)
        counts = np.bincount([int(pair.preprocessed.study_id[0]) for pair in chosen], minlength=5)
        assert counts.max() - counts.min() <= 1
        places = [pairs.index(pair) for pair in chosen]
        assert places == sorted(set(places))
    assert len({choose_pairs(pairs, 1, seed=seed)[0].preprocessed.place for seed in range(9)}) > 3
    assert choose_pairs(pairs, None, seed=0) == pairs
