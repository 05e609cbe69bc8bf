"""Declarations of windows: their ends in HU, standard names, and wrong ones by name."""

import re

import pytest

from medassets.errors import SpecError
from medassets.specs import STANDARD_WINDOWS, CTWindow, CTWindowDatasetSpec


def make_spec(*windows: object, **changes: object) -> CTWindowDatasetSpec:
    return CTWindowDatasetSpec(**{"name": "masks", "windows": windows, **changes})  # pyright: ignore[reportArgumentType]


def test_a_window_reaches_half_its_width_to_both_sides_of_its_level() -> None:
    window = CTWindow("fat", 81.0, -75.5)
    assert (window.low_hu, window.high_hu) == (-116.0, -35.0)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("lung", -1350, 150), ("bone", -450, 1050), ("soft_tissue", -150, 250), ("brain", -5, 75)],
)
def test_standard_windows_have_the_ends_that_radiologists_use(
    name: str, low: float, high: float
) -> None:
    window = STANDARD_WINDOWS[name]
    assert (window.name, window.low_hu, window.high_hu) == (name, low, high)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        (("Lung", 1.0, 0.0), "a name of up to 32 of a-z 0-9 _, got 'Lung'"),
        (("a" * 33, 1.0, 0.0), "a name of up to 32"),
        (("fat", 0.0, 50.0), "fat: expected a width above 0, got 0"),
        (("fat", -5.0, 50.0), "fat: expected a width above 0, got -5"),
        (("fat", float("nan"), 50.0), "fat: width is nan, expected at most 100000 HU"),
        (("fat", 50.0, 200_000.0), "fat: level is 200000, expected at most 100000 HU"),
        (("all", 8000.0, 0.0), "all reaches from -4000 to 4000 HU and so holds -2000"),
    ],
)
def test_a_window_that_cannot_be_stored_is_refused(
    fields: tuple[str, float, float], match: str
) -> None:
    with pytest.raises(SpecError, match=f"^windows: .*{re.escape(match)}"):
        CTWindow(*fields)


@pytest.mark.parametrize("level", [-2000.5, -1999.5])
def test_a_window_that_only_touches_the_padding_holds_it(level: float) -> None:
    with pytest.raises(SpecError, match="the value of padding"):
        CTWindow("edge", 1.0, level)
    CTWindow("beside", 0.5, level)


def test_windows_are_listed_in_the_order_of_the_declaration() -> None:
    spec = make_spec("brain", {"name": "air", "width": 200, "level": -1000}, "lung")
    assert spec.list_windows() == (
        STANDARD_WINDOWS["brain"],
        CTWindow("air", 200.0, -1000.0),
        STANDARD_WINDOWS["lung"],
    )


def test_a_standard_window_may_be_written_out_but_not_redefined() -> None:
    assert make_spec({"name": "lung", "width": 1500, "level": -600}).list_windows() == (
        STANDARD_WINDOWS["lung"],
    )
    with pytest.raises(SpecError, match=r"'lung' means width 1500, level -600; give .*1400, -600"):
        make_spec({"name": "lung", "width": 1400, "level": -600})


@pytest.mark.parametrize(
    ("windows", "match"),
    [
        ((), r"expected 1 to 32 different names, got \[\]"),
        (("lung", "lung"), "expected 1 to 32 different names"),
        (("liver",), "expected one of lung, bone, soft_tissue, brain, got 'liver'"),
        (({"name": "fat", "width": 50},), "expected a name or {name, width, level}"),
        ((7,), "expected a name or {name, width, level}, got 7"),
        (({"name": "fat", "width": "50", "level": 0},), "expected a text and two numbers"),
        (({"name": "fat", "width": True, "level": 0},), "expected a text and two numbers"),
    ],
)
def test_a_wrong_list_of_windows_is_named(windows: tuple[object, ...], match: str) -> None:
    with pytest.raises(SpecError, match=f"^windows: {match}"):
        make_spec(*windows)


def test_more_than_32_windows_are_refused() -> None:
    declared = [{"name": f"w{n}", "width": 10, "level": n} for n in range(33)]
    assert len(make_spec(*declared[:32]).list_windows()) == 32
    with pytest.raises(SpecError, match=r"^windows: expected 1 to 32 different names"):
        make_spec(*declared)


def test_a_single_text_is_no_list_of_windows() -> None:
    with pytest.raises(SpecError, match=r"^windows: expected a list such as \[lung\], got 'lung'"):
        CTWindowDatasetSpec(name="masks", windows="lung")  # pyright: ignore[reportArgumentType]


def test_an_unknown_compression_is_named() -> None:
    with pytest.raises(SpecError, match=r"^compression: expected one of none, auto, got 'zip'"):
        make_spec("lung", compression="zip")
