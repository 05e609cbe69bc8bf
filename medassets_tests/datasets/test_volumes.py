"""CT volumes as a kind: what a declaration must say for its source and processing."""

from typing import Any

import pytest

from medassets.datasets.volumes import VolumeDataset, list_volume_rules
from medassets.errors import SpecError
from medassets.specs.field_rules import list_unmet
from medassets_tests.declarations import NPZ, TARS, make_spec

RAW = {"preprocessing": "none", "hu_rule": None}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (NPZ | {"hu_rule": None}, "^hu_rule: source npz must say how stored values become HU"),
        (NPZ | {"hu_rule": "header"}, "^hu_rule: arrays of source npz have no header"),
        (NPZ | {"orientation": "LPS"}, "^orientation: arrays do not say"),
        ({"preprocessing": "none"}, "^hu_rule: preprocessing none must say how stored values"),
        ({"delete_sources": True}, "^delete_sources: only files of this machine"),
        ({"source": "folder"}, "^folder: source folder needs the path"),
    ],
)
def test_a_field_that_does_not_fit_the_source_is_named(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(SpecError, match=match):
        VolumeDataset(make_spec(**changes)).check()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        NPZ,
        TARS,
        NPZ | {"delete_sources": True},
        NPZ | RAW,
        {"preprocessing": "none", "hu_rule": "header"},
        {"preprocessing": "none", "intensity": "stored"},
        {"preprocessing": "mr_percentile"},
        NPZ | {"preprocessing": "mr_percentile", "hu_rule": None},
        TARS | RAW | {"intensity": "stored"},
    ],
)
def test_a_declaration_that_fits_is_accepted(changes: dict[str, Any]) -> None:
    VolumeDataset(make_spec(**changes)).check()


def test_a_plan_is_estimated_from_the_shape_of_an_array() -> None:
    estimate = VolumeDataset(make_spec(**NPZ | RAW)).estimate({"shape": [5, 7, 11]})
    assert estimate.raw_bytes == 0
    assert estimate.sample_bytes == 2 * 5 * 7 * 11 + 8192


def test_a_plan_is_estimated_from_the_slices_in_a_table() -> None:
    estimate = VolumeDataset(make_spec(target_shape=(5, 7, 11))).estimate(
        {"num_slices": 100, "report": "abc", "metadata": "{}"}
    )
    assert estimate.raw_bytes == int(0.58 * 2 * 512 * 512 * 100)
    assert estimate.sample_bytes == 2 * 5 * 7 * 11 + 2 * 5 + 8192


@pytest.mark.parametrize(
    "changes",
    [{"target_shape": (5, 7, 11)}, {"hu_rule": "table"}, {"orientation": "RAS"}],
)
def test_the_fingerprint_changes_with_what_changes_the_voxels(changes: dict[str, Any]) -> None:
    assert (
        VolumeDataset(make_spec()).fingerprint()
        != VolumeDataset(make_spec(**changes)).fingerprint()
    )


@pytest.mark.parametrize(
    "changes",
    [{"num_workers": 3}, {"memory_budget_gb": 2.5}, {"keep_raw": True}, {"runs": "single"}],
)
def test_the_fingerprint_does_not_change_with_how_a_build_runs(changes: dict[str, Any]) -> None:
    assert (
        VolumeDataset(make_spec()).fingerprint()
        == VolumeDataset(make_spec(**changes)).fingerprint()
    )


STORED = {"intensity": "stored", "clip": (0, 900)}


@pytest.mark.parametrize(
    ("changes", "digest"),
    [
        ({}, "6a9cf0b7f716b3a4ceea4702d43142ef67278b2da8597db3b0160700520bae62"),
        (NPZ, "dbbdcb508717b144ce6e76aecabf2b22593e2f98d533daad35010030dfa58f21"),
        (
            {"preprocessing": "none", "hu_rule": "none"},
            "5ca414a781ed994330f5b8e8e4262ab3040e46b21cb91779838b998d8289901b",
        ),
        (
            {"preprocessing": "none", "hu_rule": "table", "max_rounding_error": 1.0},
            "c46828fd0106e0f6c27d0becab6bb9bc2c502bbb935924bb1e8f02ee8b0c6ee4",
        ),
    ],
)
def test_the_fingerprint_of_a_declaration_without_fields_of_values_is_that_of_the_first_version(
    changes: dict[str, Any], digest: str
) -> None:
    assert VolumeDataset(make_spec(**changes)).fingerprint() == digest
    explicit = VolumeDataset(make_spec(**changes, intensity="hu"))
    assert explicit.fingerprint() == digest


def test_every_field_of_values_is_a_fact_and_hu_are_none_of_stored_values() -> None:
    changes: list[dict[str, Any]] = [
        *({}, {"clip": (0, 900)}, STORED, STORED | {"min_inside_share": 0.5}),
        *({"output_range": (0, 1)}, {"scale": 500}, {"pad_value": 0.0}),
        {"preprocessing": "ct_soft_tissue"},
        *({"preprocessing": "mr_percentile"},),
        {"preprocessing": "mr_percentile", "clip_percentiles": (1, 99)},
    ]
    kinds = [VolumeDataset(make_spec(**change)) for change in changes]
    assert len({kind.fingerprint() for kind in kinds}) == len(changes)
    stored = kinds[2].facts()
    assert not {"hu_rule", "plausible_share"} & stored.keys()
    assert "clip_hu" not in stored["preprocessing"]
    assert (stored["intensity"], stored["preprocessing"]["clip"]) == ("stored", (0.0, 900.0))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        (STORED | {"hu_rule": "none"}, "hu_rule"),
        (STORED | {"min_plausible_share": 0.1}, "min_plausible_share"),
        ({"preprocessing": "mr_percentile", "expected_air_share": (0, 1)}, "expected_air_share"),
        ({"min_inside_share": 0.1}, "min_inside_share"),
        ({"preprocessing": "none", "hu_rule": "none", "pad_value": 1.0}, "pad_value"),
    ],
)
def test_a_field_of_other_values_has_no_effect(changes: dict[str, Any], field: str) -> None:
    spec = make_spec(**changes)
    unmet = list_unmet(field, spec, list_volume_rules())
    assert unmet
    allowed = make_spec(**STORED) if field == "min_inside_share" else make_spec()
    assert list_unmet(field, allowed, list_volume_rules()) == []
