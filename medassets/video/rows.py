"""The catalog rows of a video dataset: records, joined to files and what a probe says of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from medassets.errors import Reason, SampleRejectedError
from medassets.specs import VideoClipDatasetSpec
from medassets.storage.arrow import kernels
from medassets.video.coverage import VideoCounts, with_video_counts
from medassets.video.exclusion import Column, Columns, exclude
from medassets.video.info_table import InfoTable, read_info_table
from medassets.video.keys import name_clips, split_videos
from medassets.video.listing import VideoFile, list_videos
from medassets.video.matching import Match, Matching, match_clips, match_videos
from medassets.video.metadata import read_metadata, read_pairs
from medassets.video.probing import FACT_COLUMNS, KnownFacts, ProbeAll, find_facts

_STRING, _INT, _FLOAT = pa.string(), pa.int64(), pa.float64()
VIDEO_ROW_SCHEMA = pa.schema(
    [
        *((name, _STRING) for name in ("key", "split", "path", "revision", "excluded", "detail")),
        ("num_bytes", _INT),
        ("mtime_ns", _INT),
        ("vid", _STRING),
        *((name, _INT) for name in ("begin_ms", "end_ms", "from_ms", "to_ms")),
        ("transcript", _STRING),
        ("size", pa.list_(_FLOAT)),
        ("row", _INT),
        ("matched_by", _STRING),
        *FACT_COLUMNS,
    ]
)
"""Columns of `read_video_rows`; begin and end as declared, from and to inside the file."""

_FILE_SCHEMA = pa.schema(
    [
        *((name, _STRING) for name in ("path", "matched_by", "reason", "sentence")),
        ("num_bytes", _INT),
        ("mtime_ns", _INT),
        *FACT_COLUMNS,
    ]
)
_NUM_LISTED = 20

Facts = Mapping[str, KnownFacts | SampleRejectedError]


def read_video_rows(
    spec: VideoClipDatasetSpec,
    folder: Path,
    *,
    previous: pa.Table | None,
    split_mode: str,
    seed: int,
    probe_all: ProbeAll,
) -> pa.Table:
    """Match records to files: one row per record, in the order in which shards will hold them.

    A record that cannot become a sample is kept, with its reason in `excluded` and a sentence that
    names its row in `detail`.

    Args:
        spec: Declaration; its source says which files are read.
        folder: Folder of the videos, or of the clips.
        previous: The last catalog; files that it knows unchanged are not probed again.
        split_mode: `random`, `all_train` or `all_test`.
        seed: Of `random`.
        probe_all: Probes files, each of them once.

    Returns:
        Table with the columns of `VIDEO_ROW_SCHEMA`; figures for `summarize_coverage` are with it.

    Raises:
        CatalogError: If metadata, `info.csv` or the folder cannot be read; the message names the
            line.
    """
    columns = _read_records(spec)
    name_clips(columns)
    # One value per video: all that follows costs by videos, not by clips.
    subjects = columns["vid" if spec.source == "videos" else "clip_path"]
    codes, names = _number(subjects)
    files = list_videos(folder)
    info = _read_info(spec)
    matching = _match(spec, names, files, info)
    wanted = _find_wanted(codes, names, columns["excluded"], matching)
    facts = find_facts(wanted, folder, files=files, previous=previous, probe_all=probe_all)
    described = _describe_files(names, files, matching, facts)
    _join_files(columns, described.take(pa.array(codes, mask=codes < 0)), spec)
    columns["split"] = _split(columns["vid"], mode=split_mode, seed=seed)
    return with_video_counts(_lay_out(columns, spec.splits), _count(names, files, matching, info))


def _read_records(spec: VideoClipDatasetSpec) -> Columns:
    if spec.source == "videos":
        path, read = spec.metadata, read_metadata
    else:
        path, read = spec.pairs_json, read_pairs
    table = read(Path(path).expanduser(), size_length=spec.size_length)
    return dict(zip(table.column_names, table.columns, strict=True))


def _read_info(spec: VideoClipDatasetSpec) -> InfoTable:
    if spec.source != "videos" or not spec.info_csv:
        return InfoTable({}, ())
    return read_info_table(Path(spec.info_csv).expanduser())


def _number(values: Column) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return the number of each value and the values by number; null has the number -1."""
    encoded = kernels.dictionary_encode(values.combine_chunks())
    codes = kernels.fill_null(encoded.indices, -1).to_numpy().astype(np.int64)
    return codes, encoded.dictionary.to_pylist()


def _match(
    spec: VideoClipDatasetSpec,
    names: Sequence[str],
    files: Mapping[str, VideoFile],
    info: InfoTable,
) -> Matching:
    if spec.source == "clips":
        return match_clips(names, files.keys())
    return match_videos(names, files.keys(), info.filenames)


def _find_wanted(
    codes: npt.NDArray[np.int64], names: Sequence[str], excluded: Column, matching: Matching
) -> list[str]:
    """Return the files that a clip still needs, each once."""
    is_clip = kernels.is_null(excluded).to_numpy(zero_copy_only=False)
    numbers: list[int] = np.unique(codes[is_clip & (codes >= 0)]).tolist()
    paths = (matching.matches[names[number]].path for number in numbers)
    return [path for path in dict.fromkeys(paths) if path]


def _describe_files(
    names: Sequence[str], files: Mapping[str, VideoFile], matching: Matching, facts: Facts
) -> pa.Table:
    """Return one row per name: its file and what is known of it, or why there is none."""
    cells = [_describe_file(matching.matches[name], files, facts) for name in names]
    return pa.Table.from_pylist(cells, schema=_FILE_SCHEMA)


def _describe_file(match: Match, files: Mapping[str, VideoFile], facts: Facts) -> dict[str, Any]:
    cells: dict[str, Any] = {"reason": match.reason, "sentence": match.detail}
    if not match.path:
        return cells
    cells |= {"path": match.path, "matched_by": match.matched_by, **asdict(files[match.path])}
    known = facts.get(match.path)
    if isinstance(known, SampleRejectedError):
        cells |= {"reason": str(known.reason), "sentence": f"{match.path!r}: {known.detail}"}
    elif known is not None:
        cells |= asdict(known)
    return cells


def _join_files(columns: Columns, files: pa.Table, spec: VideoClipDatasetSpec) -> None:
    """Add what is known of each row's file, and exclude the rows that have no use of it."""
    for name in files.column_names:
        columns[name] = files[name].combine_chunks()
    columns["path"] = kernels.fill_null(columns["path"], "")
    reason = columns.pop("reason")
    exclude(columns, kernels.is_valid(reason), reason=reason, sentence=columns.pop("sentence"))
    columns["revision"] = pa.nulls(files.num_rows, _STRING)
    if spec.source == "clips":
        columns["from_ms"] = pa.repeat(pa.scalar(0, _INT), files.num_rows)
        columns["to_ms"] = pa.nulls(files.num_rows, _INT)
        return
    columns["from_ms"], columns["to_ms"] = columns["begin_ms"], columns["end_ms"]
    end, duration = columns["end_ms"], columns["duration_ms"]
    numbers = [kernels.cast(column, _STRING) for column in (end, duration)]
    exclude(
        columns,
        kernels.greater(end, kernels.add(duration, spec.end_tolerance_ms)),
        reason=str(Reason.END_BEYOND_DURATION),
        sentence=kernels.binary_join_element_wise(
            "it ends at ", numbers[0], " ms, its video after ", numbers[1], " ms", ""
        ),
    )


def _split(vids: Column, *, mode: str, seed: int) -> pa.Array:
    codes, names = _number(vids)
    # The last is the place of number -1.
    splits = split_videos([*names, None], mode=mode, seed=seed)
    return pa.array(splits, _STRING).take(pa.array(codes % len(splits)))


def _lay_out(columns: Columns, splits: Sequence[str]) -> pa.Table:
    """Return the rows as the plan wants them, which then need not be copied once more.

    Split by split, clips before excluded rows, by key.
    """
    ranks = kernels.index_in(columns["split"], pa.array(splits, _STRING)).to_numpy()
    is_excluded = kernels.is_valid(columns["excluded"]).to_numpy(zero_copy_only=False)
    by_key = kernels.array_sort_indices(columns["key"]).to_numpy()
    groups = (2 * ranks + is_excluded)[by_key]
    order = pa.array(by_key[np.argsort(groups, kind="stable")])
    # Column by column, each old one freed at once: the texts are large.
    taken = [columns.pop(name).take(order) for name in VIDEO_ROW_SCHEMA.names]
    return pa.Table.from_arrays(taken, schema=VIDEO_ROW_SCHEMA)


def _count(
    names: Sequence[str], files: Mapping[str, VideoFile], matching: Matching, info: InfoTable
) -> VideoCounts:
    levels = Counter(match.matched_by for match in matching.matches.values())
    reasons = Counter(match.reason for match in matching.matches.values())
    unnamed = [path for path in files if path not in matching.claimed]
    problems = [f"row {problem.row}: {problem.detail}" for problem in info.problems]
    return VideoCounts(
        num_named=len(names),
        by_id=levels["id"],
        by_filename=levels["filename"],
        by_title=levels["title"],
        by_path=levels["path"],
        num_missing=reasons[Reason.MISSING_SOURCE],
        num_ambiguous=reasons[Reason.AMBIGUOUS_SOURCE],
        num_unusable=reasons[Reason.BAD_NAME],
        num_files=len(files),
        num_unnamed=len(unnamed),
        unnamed=[
            path.encode("utf-8", "backslashreplace").decode() for path in unnamed[:_NUM_LISTED]
        ],
        num_info_problems=len(problems),
        info_problems=problems[:_NUM_LISTED],
    )
