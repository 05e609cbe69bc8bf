"""Whether a dataset is automated: its declaration, or what the user said since by command."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from medassets.errors import UsageError
from medassets.specs import DatasetSpec
from medassets.storage.atomic import publish_bytes
from medassets.storage.checksums import canonical_json, parse_json
from medassets.storage.foreign_bytes import MALFORMED
from medassets.storage.ownership import json_says, require_ours
from medassets.storage.paths import DatasetPaths
from medassets.storage.unreadable import read_regular

_FIELD = "automation"
_is_switch = json_says(lambda document: set(document) == {_FIELD})


@dataclass(frozen=True)
class Switch:
    """Whether a dataset is automated, and who says so.

    Attributes:
        declared: Whether its declaration says so.
        override: What the command said since; None when it said nothing.
    """

    declared: bool
    override: Literal["on", "off"] | None

    @property
    def is_on(self) -> bool:
        """Whether Dagster starts shards by itself."""
        return self.declared if self.override is None else self.override == "on"

    def describe(self) -> str:
        """Return `on (declared)`, or `off (by command; declared on)`."""
        declared = "on" if self.declared else "off"
        if self.override is None:
            return f"{declared} (declared)"
        return f"{self.override} (by command; declared {declared})"


def read_switch(spec: DatasetSpec, paths: DatasetPaths) -> Switch:
    """Return whether a dataset is automated now.

    Raises:
        UsageError: If the file of the command's word cannot be used.
    """
    path = paths.automation_switch
    try:
        word = parse_json(read_regular(path))[_FIELD]
    except FileNotFoundError:
        return Switch(spec.is_automated, None)
    except (OSError, *MALFORMED):
        word = None
    if word not in ("on", "off"):
        what = f"not written by `medassets automate`; remove it, or give the command: {spec.name}"
        raise UsageError(field=str(path), what=what)
    return Switch(spec.is_automated, word)


def write_switch(paths: DatasetPaths, word: Literal["on", "off"] | None) -> None:
    """Note what the command said, durably; None lets the declaration decide again.

    Raises:
        ForeignFileError: If a file of that name was not written by the command.
    """
    path = paths.automation_switch
    if word is not None:
        publish_bytes(path, canonical_json({_FIELD: word}), is_ours=_is_switch)
        return
    require_ours(path, _is_switch)
    with suppress(FileNotFoundError):
        path.unlink()
