"""Which member of a foreign sample plays which role."""

from collections.abc import Mapping
from typing import Any

import pytest

from medassets.errors import SpecError
from medassets.volumes.catalog.webdataset_fields import FieldMap, propose_fields

SHAPED: Mapping[str, Any] = {"shape": [5, 7, 11], "dtype": "int16"}
VOLUME_SHAPED: Mapping[str, Any] = {"volume_shape": [5, 7, 11], "volume_dtype": "float16"}


@pytest.mark.parametrize(
    ("suffixes", "facts", "expected"),
    [
        (("bin", "txt", "cls", "json"), SHAPED, FieldMap("bin", "cls", "txt", "json")),
        (("json", "labels", "bin"), VOLUME_SHAPED, FieldMap("bin", "labels", None, "json")),
        (("npy", "text"), {}, FieldMap("npy", None, "text", None)),
        (("npz", "json"), {}, FieldMap("npz", None, None, "json")),
        (("volume.npy", "meta.json"), {}, FieldMap("volume.npy", None, None, None)),
        (("ct.bin", "npz.txt"), SHAPED, FieldMap("ct.bin", None, None, None)),
        (("jpg",), SHAPED, FieldMap(None, None, None, None)),
        (("npy", "labels.npy", "txt"), {}, FieldMap("npy", "labels.npy", "txt", None)),
        (("cls.npy", "bin"), SHAPED, FieldMap("bin", "cls.npy", None, None)),
        (("labels.npy", "cls"), {}, FieldMap("labels.npy", "cls", None, None)),
        ((), {}, FieldMap(None, None, None, None)),
    ],
)
def test_members_are_recognised_by_their_suffixes(
    suffixes: tuple[str, ...], facts: Mapping[str, Any], expected: FieldMap
) -> None:
    assert propose_fields(suffixes, facts) == expected


@pytest.mark.parametrize("facts", [{}, {"shape": [1]}, {"dtype": "int16", "shape": None}])
def test_bytes_without_shape_and_dtype_are_no_volume(facts: Mapping[str, Any]) -> None:
    assert propose_fields(["bin", "json"], facts).volume is None
    assert propose_fields(["bin", "mask.npy"], facts).volume == "mask.npy"


@pytest.mark.parametrize(
    ("suffixes", "role"),
    [
        (("bin", "seg.npy"), "volume"),
        (("npy", "npz"), "volume"),
        (("cls", "labels"), "labels"),
        (("txt", "text"), "text"),
    ],
)
def test_two_candidates_are_named_and_never_guessed(suffixes: tuple[str, ...], role: str) -> None:
    first, second = suffixes
    match = rf"fields: \.{first} and \.{second} could both be the {role} .*`fields: {{{role}: "
    with pytest.raises(SpecError, match=match):
        propose_fields(suffixes, SHAPED)


def test_what_is_declared_is_used_and_not_guessed() -> None:
    suffixes = ("bin", "seg.npy", "labels.npy", "json", "meta.json")
    declared = {"volume": "bin", "labels": "labels.npy", "json": "meta.json", "text": "report"}
    assert propose_fields(suffixes, {}, declared) == FieldMap(
        "bin", "labels.npy", None, "meta.json"
    )


def test_a_declared_member_is_no_candidate_for_another_role() -> None:
    declared = {"labels": "labels.npy"}
    assert propose_fields(("ct.npy", "labels.npy"), {}, declared).volume == "ct.npy"


def test_a_map_is_what_a_declaration_would_say() -> None:
    found = propose_fields(("json", "npy"), {})
    assert found.as_fields() == {"volume": "npy", "json": "json"}
    assert found.missing() == ["labels", "text"]


def test_labels_that_our_own_samples_hold_twice_are_one_role() -> None:
    suffixes = ("bin", "cls", "labels", "json")
    facts = {"shape": [1, 2, 3], "dtype": "float16"}
    with pytest.raises(SpecError, match="could both be the labels"):
        propose_fields(suffixes, facts)
    assert propose_fields(suffixes, {**facts, "label_member": "both"}).labels == "cls"
