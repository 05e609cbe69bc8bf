"""What a later version wrote is refused by the name of file and field."""

import pickle
from dataclasses import dataclass

import pytest

from medassets.errors import LaterVersionError
from medassets.storage.later_versions import refuse_later, take_fields


@dataclass(frozen=True)
class Note:
    """Something that a file holds."""

    name: str
    size: int = 0


def test_fields_that_are_known_make_the_dataclass() -> None:
    assert take_fields(Note, {"name": "a"}, "f.json") == Note("a")
    with pytest.raises(TypeError):
        take_fields(Note, {"size": 1}, "f.json")


def test_an_unknown_field_names_file_and_field_and_what_to_do() -> None:
    with pytest.raises(LaterVersionError, match=r"f\.json: .*later version.*unknown: hue of Note"):
        take_fields(Note, {"name": "a", "hue": 1}, "f.json")


@pytest.mark.parametrize("found", [None, 1, "2", 0])
def test_versions_that_are_known_or_none_pass(found: object) -> None:
    refuse_later("f.json", "version", found, 1)


def test_a_later_version_is_named_in_every_process() -> None:
    with pytest.raises(LaterVersionError, match="version 3, known: 1") as caught:
        refuse_later("f.json", "version", 3, 1)
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
