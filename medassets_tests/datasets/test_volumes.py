"""CT volumes as a kind: what a declaration must say for its source and processing."""

from typing import Any

import pytest

from medassets.datasets.volumes import VolumeDataset
from medassets.errors import SpecError
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
