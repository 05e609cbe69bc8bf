"""The log of one build: a line of JSON per event, in a file of its own; older files are removed."""

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from medassets.storage.checksums import parse_json
from medassets.storage.ownership import is_plain_file
from medassets.storage.paths import medassets_home, show_path

NUM_KEPT = 30
"""Builds of a dataset whose logs are kept."""

_NAME = re.compile(r"build-\d{8}T\d{6}Z-\d+\.jsonl")
_FORMAT = "medassets_build_log"


@dataclass
class BuildLog:
    """The open log of one build; it writes nothing where its folder cannot be written.

    Attributes:
        path: The file.
    """

    path: Path
    _file: TextIO | None = field(default=None, repr=False)

    def write(self, event: str, **facts: Any) -> None:
        """Append one event with the time.

        Args:
            event: What happened.
            facts: JSON-like values.
        """
        if self._file is None:
            return
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event}
        text = show_path(json.dumps({**line, **facts}, ensure_ascii=False, default=str))
        try:
            self._file.write(text + "\n")
        except OSError:
            # A full disk ends the build with an error of its own.
            self.close()

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            # It tries again to write what the disk had no room for.
            with suppress(OSError):
                file.close()


def open_build_log(dataset: str, options: Mapping[str, Any]) -> BuildLog:
    """Begin the log of a build, and remove those of builds before the last `NUM_KEPT`.

    Args:
        dataset: Name of the dataset.
        options: What the user asked for.
    """
    folder = medassets_home() / "logs" / dataset
    path = folder / f"build-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}.jsonl"
    log = BuildLog(path)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        _remove_old(folder)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        # Line by line, so that the log of a killed build ends with its last event.
        log = BuildLog(path, os.fdopen(fd, "w", encoding="utf-8", buffering=1))
    except OSError:
        return log
    log.write("begin", format=_FORMAT, dataset=dataset, options=dict(options))
    return log


def _remove_old(folder: Path) -> None:
    own = sorted(path for path in folder.iterdir() if _is_log(path))
    for path in own[: max(0, len(own) - NUM_KEPT + 1)]:
        path.unlink(missing_ok=True)


def _is_log(path: Path) -> bool:
    """Tell by name and first line whether this package wrote a file."""
    if not _NAME.fullmatch(path.name) or not is_plain_file(path):
        return False
    try:
        with path.open(encoding="utf-8") as file:
            first = parse_json(file.readline())
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and first.get("format") == _FORMAT
