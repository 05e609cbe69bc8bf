"""Proposes declarations of folders of videos and clips, by the records beside them."""

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from medassets.datasets.discovery.census import Census, Clock
from medassets.datasets.discovery.proposal import Hints, Proposal, shorten
from medassets.errors import CatalogError, UsageError
from medassets.storage.formats.json_records import iter_json_records
from medassets.storage.paths import show_path
from medassets.video.catalog.info_table import read_info_table
from medassets.video.catalog.metadata import find_missing_fields

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
        num_records: Number of records that were looked at.
        missing: Names that are accepted for a field -> records that lack it.
    """

    path: Path
    kind: str
    names: Sequence[str] = ()
    num_sizes: int = 0
    num_records: int = 0
    missing: Mapping[tuple[str, ...], int] = field(default_factory=dict)

    def doubt(self) -> list[str]:
        """Return a doubt for each field that records lack, with the name that is nearest to it."""
        doubts: list[str] = []
        of_pairs = self.kind == "pairs"
        known = {name for one in find_missing_fields((), of_pairs=of_pairs) for name in one}
        for accepted, count in self.missing.items():
            near = _suggest_near(accepted, [name for name in self.names if name not in known])
            many = f"{count} of the first {self.num_records} records"
            doubts.append(
                f"{self.path.name}: {many} have no field {' or '.join(map(repr, accepted))}, without which they "
                f"are left out{near}"
            )
        return doubts


def _suggest_near(accepted: Sequence[str], names: Sequence[str]) -> str:
    """Return `; the nearest is ...: rename it` with the names that are most like one of those accepted."""
    words = tuple(name.split()[0] for name in accepted)
    parts = {name: re.split(r"[\W_]+", name.lower()) for name in names}
    near = [name for name in names if any(part.startswith(words) for part in parts[name])]
    near = near or [
        name for one in accepted for name in difflib.get_close_matches(one, names, n=1, cutoff=0.6)
    ]
    if not near:
        return f"; found {shorten(names, 20)}"
    found = " or ".join(map(repr, dict.fromkeys(near)))
    return f"; the nearest is {found}: rename it to {accepted[0]!r}"


def look_at_records(path: Path, kind: str = "") -> RecordsLook:
    """Look at the first records of a JSON file.

    Args:
        path: The file.
        kind: What they are, `metadata` or `pairs`; empty to find it out.

    Raises:
        CatalogError: If it is not JSON.
    """
    records = [value for _, value in islice(iter_json_records(path), _NUM_RECORDS)]
    found = [value for value in records if isinstance(value, dict)]
    if not found:
        return RecordsLook(path, kind)
    if not kind and "vid" in found[0]:
        kind = "pairs" if "clip_path" in found[0] else "metadata"
    return _make_look(path, kind, found)


def _make_look(path: Path, kind: str, found: Sequence[Mapping[str, Any]]) -> RecordsLook:
    is_pairs = kind == "pairs"
    missing = Counter(
        one for record in found for one in find_missing_fields(record, of_pairs=is_pairs)
    )
    return RecordsLook(
        path,
        kind,
        sorted(map(str, found[0])),
        sum(bool(one.get("size")) for one in found),
        len(found),
        missing,
    )


def propose_videos(census: Census, hints: Hints, clock: Clock) -> Proposal:
    """Propose `source: videos` or `clips` for a folder with videos and their records.

    Raises:
        UsageError: If it has no records of what is said when, or several that fit.
    """
    top = census.top
    records = _find_records(census, hints, clock)
    files = census.of("video")
    if records is None or not records.kind:
        return _propose_plain(census, records)
    is_named = hints.metadata or hints.pairs_json
    folder = top if is_named else top / _shared_folder(files)
    doubts = [f"links that lead nowhere: {shorten(census.broken)}"] if census.broken else []
    doubts += records.doubt()
    facts = [f"{records.path.name}: fields {', '.join(records.names)}"]
    places: dict[str, Any]
    if records.kind == "pairs":
        # Paths of clips begin at the folder of clips.
        places = {"source": "clips", "clips_dir": str(folder), "pairs_json": str(records.path)}
        if tables := census.of("table"):
            doubts.append(f"a table has no effect on clips that have records: {shorten(tables)}")
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
        doubts += _doubt_tables(census, str(info))
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


def _propose_plain(census: Census, records: RecordsLook | None) -> Proposal:
    """Propose that every file is a clip without text.

    Args:
        census: The folder.
        records: Records that may be about its videos, and do not say of which one they are.
    """
    title = f"clips: {census.count_words('video', 'files')} in {show_path(str(census.top))}"
    tables = [*census.of("table"), *census.of("json")]
    doubts = [
        "no JSON says what is said when: every video is one clip without text. With records of vid, "
        "transcript, begin and end name them by --metadata, with vid, clip_path and transcript by --pairs-json",
        *(records.doubt() if records is not None else []),
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
        kind, option = ("pairs", "--pairs-json") if hints.pairs_json else ("metadata", "--metadata")
        try:
            return look_at_records(Path(named), kind)
        except CatalogError as error:
            raise UsageError(field=option, what=str(error)) from error
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
        return next((look for look in looks if look.names), None)
    what = (
        f"several files of records: {shorten([str(one.path) for one in fit])}; name one with --metadata or "
        f"--pairs-json"
    )
    raise UsageError(field="PATH", what=what)


def _find_info(census: Census) -> str:
    found = (str(census.top / path) for path in census.of("table"))
    return next((place for place in found if not _explain_no_info(place)), "")


def _explain_no_info(place: str) -> str:
    """Return why a table is no `info.csv`; empty if it is one."""
    if not place.endswith(".csv"):
        return "names of videos are in a CSV"
    try:
        return "" if read_info_table(Path(place)).filenames else "no row has a URL and a file name"
    except CatalogError as error:
        return str(error).removeprefix(f"{place}, ")


def _doubt_tables(census: Census, info: str) -> list[str]:
    """Return why tables are not used."""
    places = [str(census.top / path) for path in census.of("table")[:_MOST_FILES]]
    return [
        f"{show_path(place)} is not used: {_explain_no_info(place) or 'one names the videos'}. A table of names has a "
        f"row `url,filename` per video; name it with --info-csv"
        for place in places
        if place != info
    ]


def _shared_folder(paths: Sequence[str]) -> str:
    """Return the first folder below the top if all files are in it, such as `videos`."""
    folders = {path.partition("/")[0] if "/" in path else "" for path in paths}
    return folders.pop() if len(folders) == 1 else ""
