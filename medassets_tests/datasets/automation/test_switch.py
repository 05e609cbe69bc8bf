"""Whether a dataset is automated."""

from pathlib import Path
from typing import Literal

import pytest

from medassets.datasets.automation.switch import Switch, read_switch, write_switch
from medassets.errors import ForeignFileError, UsageError
from medassets.specs import DatasetSpec
from medassets.storage.paths import DatasetPaths

ON, OFF = DatasetSpec(name="tiny", automation="on"), DatasetSpec(name="tiny")


@pytest.fixture
def paths(tmp_path: Path) -> DatasetPaths:
    return DatasetPaths(tmp_path, "tiny")


def test_the_declaration_decides_where_the_command_said_nothing(paths: DatasetPaths) -> None:
    assert read_switch(ON, paths) == Switch(True, None)
    assert read_switch(DatasetSpec(name="tiny", automation="drain"), paths).is_on
    assert not read_switch(OFF, paths).is_on
    assert read_switch(OFF, paths).describe() == "off (declared)"


@pytest.mark.parametrize(("word", "is_on"), [("on", True), ("off", False)])
def test_the_command_wins_until_it_takes_its_word_back(
    paths: DatasetPaths, word: Literal["on", "off"], is_on: bool
) -> None:
    write_switch(paths, word)
    for spec in (ON, OFF):
        assert read_switch(spec, paths).is_on is is_on
    assert read_switch(ON, paths).describe() == f"{word} (by command; declared on)"
    write_switch(paths, None)
    write_switch(paths, None)
    assert not paths.automation_switch.exists()
    assert read_switch(ON, paths).is_on


@pytest.mark.parametrize("content", [b"", b"[]", b"on", b'{"automation": true}', b"[" * 100_000])
def test_a_file_that_says_nothing_usable_is_named(paths: DatasetPaths, content: bytes) -> None:
    paths.folder.mkdir(parents=True)
    paths.automation_switch.write_bytes(content)
    with pytest.raises(
        UsageError, match=r"\.automation\.json: not written by `medassets automate`"
    ):
        read_switch(ON, paths)


def test_a_foreign_file_stays(paths: DatasetPaths) -> None:
    paths.folder.mkdir(parents=True)
    paths.automation_switch.write_bytes(b'{"mine": 1}')
    for word in ("on", None):
        with pytest.raises(ForeignFileError, match="not made by medassets"):
            write_switch(paths, word)
    assert paths.automation_switch.read_bytes() == b'{"mine": 1}'
