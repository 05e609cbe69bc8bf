"""What declarations check their fields with; the message begins with the field."""

import re
from dataclasses import dataclass

import pytest

from medassets.errors import SpecError
from medassets.specs.checks import (
    check_absolute,
    check_choice,
    check_pattern,
    check_range,
    check_types,
    suggest_name,
)


@dataclass
class Declared:
    count: int = 5
    share: float = 0.5
    name: str = "ct"
    keep: bool = False
    sides: tuple[int, ...] = (5, 7, 11)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("count", 5.0, "int, got 5.0"),
        ("count", True, "int, got True"),
        ("share", "half", "float, got 'half'"),
        ("share", False, "float, got False"),
        ("name", 7, "str, got 7"),
        ("name", None, "str, got None"),
        ("keep", 1, "bool, got 1"),
        ("keep", "yes", "bool, got 'yes'"),
    ],
)
def test_a_plain_field_of_another_type_is_named(field: str, value: object, expected: str) -> None:
    with pytest.raises(SpecError, match=f"^{field}: expected {expected}$"):
        check_types(Declared(**{field: value}))  # pyright: ignore[reportArgumentType]


def test_an_integer_is_accepted_where_a_float_is_declared() -> None:
    check_types(Declared(share=1))


def test_fields_that_are_not_plain_are_left_to_their_own_checks() -> None:
    check_types(Declared(sides="5x7x11"))  # pyright: ignore[reportArgumentType]


def test_a_choice_is_one_of_the_choices_to_the_letter() -> None:
    check_choice("rule", "none", ("none", "table"))
    with pytest.raises(SpecError, match=r"^rule: expected one of none, table, got 'None'$"):
        check_choice("rule", "None", ("none", "table"))


def test_a_pattern_matches_the_whole_text() -> None:
    pattern = re.compile("[a-z]+")
    check_pattern("name", "lung", pattern, "letters")
    with pytest.raises(SpecError, match=r"^name: expected letters, got 'lung7'$"):
        check_pattern("name", "lung7", pattern, "letters")


@pytest.mark.parametrize("value", [0, 5, 11])
def test_both_ends_of_a_range_are_inside(value: int) -> None:
    check_range("sides", value, 0, 11)


@pytest.mark.parametrize("value", [-1, 11.5, float("nan"), float("inf")])
def test_a_number_outside_of_its_range_is_named(value: float) -> None:
    with pytest.raises(SpecError, match=rf"^sides: expected a number in 0\.\.11, got {value}$"):
        check_range("sides", value, 0, 11)


@pytest.mark.parametrize("path", ["data/ct", "./ct", "", "C:/ct"])
def test_a_path_that_depends_on_the_working_directory_is_rejected(path: str) -> None:
    with pytest.raises(SpecError, match=r"^folder: expected an absolute path, or one .*begins"):
        check_absolute("folder", path)


def test_a_path_in_a_home_folder_is_absolute_if_there_is_such_a_home() -> None:
    check_absolute("folder", "/data/ct")
    check_absolute("folder", "~/ct")
    with pytest.raises(
        SpecError, match=r"^folder: there is no home folder for '~nobody_at_all/ct'"
    ):
        check_absolute("folder", "~nobody_at_all/ct")


def test_the_nearest_name_is_suggested_in_any_spelling() -> None:
    known = ("num_workers", "samples_per_shard")
    assert suggest_name("Num-Worker", known) == "; did you mean num_workers?"
    assert suggest_name("colour", known) == ""
