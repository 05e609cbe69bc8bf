"""Only new and changed videos are probed."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from medassets.errors import Reason, SampleRejectedError
from medassets.video.catalog.columns import FACT_COLUMNS
from medassets.video.catalog.listing import VideoFile
from medassets.video.catalog.probing import KnownFacts, find_facts
from medassets_tests.shelf import FACTS, Answer

KNOWN = KnownFacts("vp9", 320, 240, 5_000, 0, 30.0)
FOLDER = Path("/films")


def remember(*rows: tuple[str, int, int, KnownFacts | None]) -> pa.Table:
    """Return a catalog: path, size and time of each clip's file, and its facts."""
    names = ["path", "num_bytes", "mtime_ns", *(name for name, _ in FACT_COLUMNS)]
    cells = [[*row[:3], *(getattr(row[3], name, None) for name in names[3:])] for row in rows]
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in cells])


class Probe:
    """Answers as told, and remembers what it was asked."""

    def __init__(self, **answers: Answer) -> None:
        self.answers, self.asked = answers, dict[str, Path]()

    def __call__(self, files: Mapping[str, Path]) -> dict[str, Answer]:
        self.asked.update(files)
        return {path: self.answers.get(path, FACTS) for path in files}


def find(paths: str, previous: pa.Table | None, probe: Probe) -> dict[str, Any]:
    files = {path: VideoFile(10, 20) for path in "abc"}
    return find_facts(paths, FOLDER, files=files, previous=previous, probe_all=probe)


def test_facts_of_a_file_are_kept_while_size_and_time_are_the_same() -> None:
    previous = remember(("a", 10, 20, KNOWN), ("b", 11, 20, KNOWN), ("c", 10, 21, KNOWN))
    probe = Probe()
    found = find("abc", previous, probe)
    assert probe.asked == {"b": FOLDER / "b", "c": FOLDER / "c"}
    assert found["a"] == KNOWN
    assert found["b"] == found["c"] == KnownFacts("h264", 640, 360, 60_000, 90, 25.0)


def test_a_file_that_could_not_be_probed_is_probed_again() -> None:
    previous = remember(("a", 10, 20, None), ("b", 10, 20, KNOWN))
    broken = SampleRejectedError(Reason.DECODE_FAILED, "no moov")
    probe = Probe(a=broken)
    assert find("ab", previous, probe) == {"a": broken, "b": KNOWN}
    assert list(probe.asked) == ["a"]


def test_no_process_is_asked_when_everything_is_known() -> None:
    def refuse(files: Mapping[str, Path]) -> Mapping[str, Answer]:
        raise AssertionError(files)

    files = {"a": VideoFile(10, 20)}
    previous = remember(("a", 10, 20, KNOWN))
    found = find_facts(["a"], FOLDER, files=files, previous=previous, probe_all=refuse)
    assert found == {"a": KNOWN}


def test_a_file_that_cannot_be_read_is_rejected_without_a_probe() -> None:
    error = SampleRejectedError(Reason.MISSING_SOURCE, "permission denied")
    files, probe = {"a": VideoFile(0, 0, error)}, Probe()
    assert find_facts(["a"], FOLDER, files=files, previous=None, probe_all=probe) == {"a": error}
    assert probe.asked == {}


def test_a_catalog_without_facts_is_not_used() -> None:
    probe = Probe(a=replace(FACTS, fps=float("nan")))
    found = find("a", remember(("a", 10, 20, KNOWN)).drop_columns(["fps"]), probe)
    assert found["a"].fps is None
