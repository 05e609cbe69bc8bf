"""Proposes declarations of folders of videos and clips, by the records beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from medassets.datasets.discovery.census import Census, Clock
from medassets.datasets.discovery.proposal import Hints, Proposal, shorten
from medassets.errors import CatalogError, UsageError
from medassets.storage.formats.json_records import iter_json_records
from medassets.storage.paths import show_path
from medassets.video.catalog.info_table import read_info_table

_NUM_RECORDS = 50
_MOST_FILES = 20


@dataclass(frozen=True)
class RecordsLook:
    """The first records of a JSON file.

    Attributes:
        path: The file.
        kind: `metadata` of whole videos, `pairs` of clips, or empty.
        names: Names of the fields of the first record.
        num_sizes: Records with a size, of the first 50.
    """

    path: Path
    kind: str
    names: Sequence[str] = ()
    num_sizes: int = 0


def look_at_records(path: Path) -> RecordsLook:
    """Look at the first records of a JSON file.

    Raises:
        CatalogError: If it is not JSON.
    """
    records = [value for _, value in islice(iter_json_records(path), _NUM_RECORDS)]
    found = [value for value in records if isinstance(value, dict)]
    if not found:
        return RecordsLook(path, "")
    names = sorted(map(str, found[0]))
    kind = ""
    if "vid" in found[0]:
        kind = "pairs" if "clip_path" in found[0] else "metadata"
    return RecordsLook(path, kind, names, sum(bool(one.get("size")) for one in found))


def propose_videos(census: Census, hints: Hints, clock: Clock) -> Proposal:
    """Propose `source: videos` or `clips` for a folder with videos and their records.

    Raises:
        UsageError: If it has no records of what is said when, or several that fit.
    """
    top = census.top
    records = _find_records(census, hints, clock)
    files = census.of("video")
    if records is None:
        return _propose_plain(census)
    is_named = hints.metadata or hints.pairs_json
    folder = top if is_named else top / _shared_folder(files)
    doubts = [f"links that lead nowhere: {shorten(census.broken)}"] if census.broken else []
    facts = [f"{records.path.name}: fields {', '.join(records.names)}"]
    places: dict[str, Any]
    if records.kind == "pairs":
        # Paths of clips begin at the folder of clips.
        places = {"source": "clips", "clips_dir": str(folder), "pairs_json": str(records.path)}
        title = f"clips: {census.count_words('video', 'files')} in {show_path(str(folder))}"
    else:
        info = hints.info_csv or _find_info(census)
        places = {
            "source": "videos",
            "videos_dir": str(folder),
            **({"info_csv": str(info)} if info else {}),
            "metadata": str(records.path),
        }
        title = f"videos: {census.count_words('video', 'files')} in {show_path(str(folder))}"
        facts.append(
            f"names of files in {info}" if info else "no info.csv: files are found by id or title"
        )
    if not records.num_sizes:
        facts.append("records have no size; --allow-missing-size exports them without")
    return Proposal(
        title, "VideoClipDatasetComponent", {**places, **_COMMON}, _NOTES, facts, doubts
    )


_COMMON: Mapping[str, Any] = {
    "split_mode": "random",
    "num_frames": 16,
    "height": 160,
    "width": 256,
    "max_rejected_share": 0.2,
    "max_excluded_share": 0.5,
}
_NOTES: Mapping[str, str] = {
    "split_mode": "all clips of a video are in one split, 80/10/10; or all_train, all_test",
    "max_rejected_share": "videos of the web are damaged or short more often than files of a hospital",
    "max_excluded_share": "records without text or position are left out",
}


def _propose_plain(census: Census) -> Proposal:
    """Propose that every file is a clip without text."""
    title = f"clips: {census.count_words('video', 'files')} in {show_path(str(census.top))}"
    tables = [*census.of("table"), *census.of("json")]
    doubts = [
        "no JSON says what is said when: every video is one clip without text. With records of vid, "
        "transcript, begin and end name them by --metadata, with vid, clip_path and transcript by --pairs-json",
        *([f"not used: {shorten(tables)}"] if tables else []),
    ]
    fields = {"source": "clips", "clips_dir": str(census.top), **_COMMON}
    return Proposal(title, "VideoClipDatasetComponent", fields, _NOTES, (), doubts)


def _find_records(census: Census, hints: Hints, clock: Clock) -> RecordsLook | None:
    """Return the records of the videos; None if there are none.

    Raises:
        UsageError: If those that are named cannot be read, one that is there cannot, or several fit.
    """
    named = hints.pairs_json or hints.metadata
    if named:
        try:
            look = look_at_records(Path(named))
        except CatalogError as error:
            raise UsageError(
                field="--pairs-json" if hints.pairs_json else "--metadata", what=str(error)
            ) from error
        return RecordsLook(
            look.path, "pairs" if hints.pairs_json else "metadata", look.names, look.num_sizes
        )
    looks: list[RecordsLook] = []
    problems: list[str] = []
    for path in sorted(census.of("json"), key=lambda path: (path.count("/"), path))[:_MOST_FILES]:
        if looks and clock.is_over:
            break
        try:
            looks.append(look_at_records(census.top / path))
        except CatalogError as error:
            problems.append(str(error))
    fit = [look for look in looks if look.kind]
    if len(fit) == 1:
        return fit[0]
    if not fit and problems:
        raise UsageError(field="PATH", what="; ".join(problems))
    if not fit:
        return None
    what = (
        f"several files of records: {shorten([str(one.path) for one in fit])}; name one with --metadata or "
        f"--pairs-json"
    )
    raise UsageError(field="PATH", what=what)


def _find_info(census: Census) -> str:
    for path in census.of("table"):
        if not path.endswith(".csv"):
            continue
        try:
            if read_info_table(census.top / path).filenames:
                return str(census.top / path)
        except CatalogError:
            continue
    return ""


def _shared_folder(paths: Sequence[str]) -> str:
    """Return the first folder below the top if all files are in it, such as `videos`."""
    folders = {path.partition("/")[0] if "/" in path else "" for path in paths}
    return folders.pop() if len(folders) == 1 else ""
