"""Probe new and changed videos, and reuse the last catalog's facts of unchanged files."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from medassets.errors import SampleRejectedError
from medassets.storage.arrow import kernels
from medassets.video.catalog.columns import FACT_COLUMNS
from medassets.video.catalog.listing import VideoFile
from medassets.video.facts import VideoFacts

ProbeAll: TypeAlias = Callable[[Mapping[str, Path]], Mapping[str, VideoFacts | SampleRejectedError]]
"""Probes files; path inside the folder -> path on disk, to facts or rejection by the same key."""


def find_facts(
    paths: Iterable[str],
    folder: Path,
    *,
    files: Mapping[str, VideoFile],
    previous: pa.Table | None,
    probe_all: ProbeAll,
) -> "dict[str, KnownFacts | SampleRejectedError]":
    """Return the facts of videos, probing only those that are new or changed.

    A video whose probe failed is probed again each time, since a busy machine or an older decoder
    must not exclude it permanently.

    Args:
        paths: Files, by path inside the folder.
        folder: Folder of the videos.
        files: Its listing.
        previous: The last catalog. Its facts are reused if path, size and mtime are the same.
        probe_all: Probes many files at once.
    """
    known = _read_known(previous)
    found: dict[str, KnownFacts | SampleRejectedError] = {}
    unknown: dict[str, Path] = {}
    for path in paths:
        if (rejection := files[path].rejection) is not None:
            found[path] = rejection
            continue
        facts = known.get((path, files[path].num_bytes, files[path].mtime_ns))
        if facts is None:
            unknown[path] = folder / path
        else:
            found[path] = facts
    probed = probe_all(unknown) if unknown else {}
    for path in unknown:
        answer = probed[path]
        rejected = isinstance(answer, SampleRejectedError)
        found[path] = answer if rejected else _take_over(answer)
    return found


def _read_known(previous: pa.Table | None) -> "dict[tuple[str, int, int], KnownFacts]":
    names = [name for name, _ in FACT_COLUMNS]
    if previous is None or not {"num_bytes", "mtime_ns", *names}.issubset(previous.column_names):
        return {}
    stats = ["path", "num_bytes", "mtime_ns"]
    rows = previous.select(stats + names).filter(kernels.is_valid(previous["codec"]))
    # Clips of one video repeat its facts; only one Python object per video is made.
    videos = rows.group_by(stats + names, use_threads=False).aggregate([])
    columns = [videos[name].to_pylist() for name in stats + names]
    return {cells[:3]: KnownFacts(*cells[3:]) for cells in zip(*columns, strict=True)}


def _take_over(facts: VideoFacts) -> "KnownFacts":
    fps = facts.fps if facts.fps is not None and math.isfinite(facts.fps) else None
    return KnownFacts(
        facts.codec, facts.width, facts.height, facts.duration_ms, facts.rotation, fps
    )


@dataclass(frozen=True, slots=True)
class KnownFacts:
    """Facts of a video that the catalog keeps, see `VideoFacts`; fields as `FACT_COLUMNS`."""

    codec: str
    width: int
    height: int
    duration_ms: int | None
    rotation: int
    fps: float | None
