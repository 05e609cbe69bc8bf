"""Find the file of each video that a record names, with its facts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from medassets.errors import Reason, SampleRejectedError
from medassets.storage.arrow import kernels
from medassets.video.catalog.columns import FACT_COLUMNS, ClipColumns, Column
from medassets.video.catalog.coverage import VideoCounts
from medassets.video.catalog.info_table import InfoTable
from medassets.video.catalog.keys_and_splits import number_values
from medassets.video.catalog.listing import VideoFile, find_links_out, list_videos
from medassets.video.catalog.matching import Matching
from medassets.video.catalog.missing_reasons import explain_missing
from medassets.video.catalog.probing import KnownFacts, ProbeAll, find_facts
from medassets.video.catalog.sources.base import VideoSource

_NUM_LISTED = 20

Facts = Mapping[str, KnownFacts | SampleRejectedError]


def find_files(
    columns: ClipColumns,
    source: VideoSource,
    *,
    previous: pa.Table | None,
    probe_all: ProbeAll,
) -> "FoundFiles":
    """Find the file of each video, or of each clip that was cut before, and probe it.

    Args:
        columns: Records: `vid` or `clip_path`, and `excluded`. Files without a usable record are
            not probed.
        source: Decides which files are matched.
        previous: The last catalog; its unchanged files are not probed again.
        probe_all: Probes many files at once.

    Raises:
        CatalogError: If `info.csv` or the folder cannot be read.
    """
    codes, names = number_values(source.file_names(columns))
    folder = source.folder
    files = list_videos(folder)
    info = source.read_info()
    matching = explain_missing(
        source.match(names, files, info),
        find_links=lambda: find_links_out(folder),
        match=lambda missing, links: source.match(missing, links, info),
        problems=info.problems,
    )
    wanted = _find_wanted(codes, names, columns.excluded, matching)
    facts = find_facts(wanted, folder, files=files, previous=previous, probe_all=probe_all)
    table = _describe(names, files, matching, facts)
    return FoundFiles(table, codes, _count(files, matching, info))


def _find_wanted(
    codes: npt.NDArray[np.int64], names: Sequence[str], excluded: Column, matching: Matching
) -> list[str]:
    """Return the files that clips need, each once."""
    is_clip = kernels.is_null(excluded).to_numpy(zero_copy_only=False)
    numbers: list[int] = np.unique(codes[is_clip & (codes >= 0)]).tolist()
    paths = (matching.matches[names[number]].path for number in numbers)
    return [path for path in dict.fromkeys(paths) if path]


def _describe(
    names: Sequence[str], files: Mapping[str, VideoFile], matching: Matching, facts: Facts
) -> pa.Table:
    matches = [matching.matches[name] for name in names]
    found = [files.get(match.path) for match in matches]
    answers = [facts.get(match.path) for match in matches]
    rejected = [a if isinstance(a, SampleRejectedError) else None for a in answers]
    known = [a if isinstance(a, KnownFacts) else None for a in answers]
    reasons = [m.reason or (r and r.reason) for m, r in zip(matches, rejected, strict=True)]
    sentences = [
        f"{m.path!r}: {r.detail}" if r else m.detail for m, r in zip(matches, rejected, strict=True)
    ]
    columns = {
        "path": pa.array([match.path for match in matches], pa.string()),
        "matched_by": pa.array([match.matched_by for match in matches], pa.string()),
        "reason": pa.array(reasons, pa.string()),
        "sentence": pa.array(sentences, pa.string()),
    }
    for name in ("num_bytes", "mtime_ns"):
        columns[name] = pa.array([getattr(f, name, None) for f in found], pa.int64())
    for name, dtype in FACT_COLUMNS:
        columns[name] = pa.array([getattr(k, name, None) for k in known], dtype)
    return pa.table(columns)


def _count(files: Mapping[str, VideoFile], matching: Matching, info: InfoTable) -> VideoCounts:
    levels = Counter(match.matched_by for match in matching.matches.values())
    reasons = Counter(match.reason for match in matching.matches.values())
    unnamed = [path for path in files if path not in matching.claimed]
    shown = [path.encode("utf-8", "backslashreplace").decode() for path in unnamed[:_NUM_LISTED]]
    problems = [f"row {problem.row}: {problem.detail}" for problem in info.problems]
    return VideoCounts(
        num_named=len(matching.matches),
        by_id=levels["id"],
        by_filename=levels["filename"],
        by_title=levels["title"] + levels["folded_title"],
        by_path=levels["path"],
        num_missing=reasons[Reason.MISSING_SOURCE],
        num_ambiguous=reasons[Reason.AMBIGUOUS_SOURCE],
        num_unusable=reasons[Reason.BAD_NAME],
        num_files=len(files),
        num_unnamed=len(unnamed),
        unnamed=shown,
        num_info_problems=len(problems),
        info_problems=problems[:_NUM_LISTED],
    )


@dataclass(frozen=True)
class FoundFiles:
    """The files of all videos that records name.

    Attributes:
        table: One row per video: `path, matched_by, num_bytes, mtime_ns`, the facts, and, where
            it cannot be used, `reason` and `sentence`.
        numbers: Its row for each record; -1 where a record names no video.
        counts: How videos were matched to files.
    """

    table: pa.Table = field(repr=False)
    numbers: npt.NDArray[np.int64] = field(repr=False)
    counts: VideoCounts

    def of_records(self, name: str) -> pa.Array:
        """Return one column of the table for each record."""
        numbers = pa.array(self.numbers, mask=self.numbers < 0)
        return self.table[name].combine_chunks().take(numbers)
