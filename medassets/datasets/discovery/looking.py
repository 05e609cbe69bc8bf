"""Decides what a folder holds: one source, or an error that names what is there."""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from medassets.datasets.discovery.census import OTHER, SORTS, Census, Clock, take_census
from medassets.datasets.discovery.ct_rate_layouts import (
    describe_bare,
    find_ct_rate,
    has_metadata,
    propose_ct_rate,
)
from medassets.datasets.discovery.dicom_folders import propose_dicom
from medassets.datasets.discovery.nifti_trees import propose_tree
from medassets.datasets.discovery.npz_trees import propose_npz
from medassets.datasets.discovery.proposal import Hints, Proposal, shorten
from medassets.datasets.discovery.tar_folders import propose_pattern, propose_tars
from medassets.datasets.discovery.video_folders import propose_videos
from medassets.errors import UsageError
from medassets.storage.paths import show_path
from medassets.tars.lists import find_shards

READING_SECONDS = 4.0
"""Limit of time for reading tables and files; what began before is finished."""

_WORDS = {
    "nifti": "NIfTI, MetaImage or NRRD files", "npz": "NPZ files", "tar": "tars", "dicom": "DICOM files",
    "video": "videos", "table": "tables", "json": "JSON files",
    "archive": "archives", OTHER: "other files",
}  # fmt: skip
_PATTERN_MARKS = "{*?["

# A plan reads the header of each DICOM file (1 ms), NPZ file and sample of a tar, and opens each video (0.2 s).
_MOST_FILES: Mapping[str, int] = {"dicom": 2_000, "tar": 100, "video": 24}
_MOST_OTHERS = 5_000
_MOST_TABLE_BYTES, _MOST_TAR_BYTES = 32 << 20, 4 << 30

Propose = Callable[[Census, Hints, Clock], Proposal]


def propose(path: Path, hints: Hints) -> Proposal:
    """Look at a folder, or at a pattern of tars, and propose a declaration.

    Args:
        path: Absolute.
        hints: What the user says.

    Raises:
        UsageError: If it holds nothing that becomes a dataset, or files of several sources.
    """
    if not path.is_dir():
        return _propose_file(path, hints)
    census = take_census(path)
    if census.unreadable:
        what = f"folders that cannot be listed: {shorten(census.unreadable)}; make them readable, or move them"
        raise UsageError(field="PATH", what=what)
    sort = hints.sort or _choose_sort(census)
    if sort not in _PROPOSE or not census.counts[sort]:
        raise UsageError(field="PATH", what=_describe_content(census))
    proposal = _PROPOSE[sort](census, hints, Clock(READING_SECONDS))
    doubts = [*proposal.doubts, *_doubt_census(census, sort)]
    return replace(proposal, doubts=doubts, is_small=_is_small(census, sort))


def _is_small(census: Census, sort: str) -> bool:
    """Tell whether a plan reads few files, and few bytes of tables."""
    most = _MOST_FILES.get(sort, _MOST_OTHERS)
    tables = [*census.of("table"), *census.of("json")]
    is_few = census.is_whole and census.counts[sort] <= most and len(tables) <= _MOST_OTHERS
    if not is_few or _count_bytes(census.top / path for path in tables) > _MOST_TABLE_BYTES:
        return False
    return (
        sort != "tar"
        or _count_bytes(census.top / path for path in census.of("tar")) <= _MOST_TAR_BYTES
    )


def _count_bytes(places: Iterable[Path]) -> int:
    total = 0
    for place in places:
        # What cannot be looked at has its own doubt.
        with suppress(OSError):
            total += place.stat().st_size
    return total


def _propose_file(path: Path, hints: Hints) -> Proposal:
    is_pattern = any(mark in str(path) for mark in _PATTERN_MARKS) and not os.path.lexists(path)
    if is_pattern or (path.suffix == ".tar" and path.is_file()):
        proposal = propose_pattern(str(path), hints, Clock(READING_SECONDS))
        tars = [shard.path for shard in find_shards(str(path))]
        is_small = len(tars) <= _MOST_FILES["tar"] and _count_bytes(tars) <= _MOST_TAR_BYTES
        return replace(proposal, is_small=is_small)
    if not os.path.lexists(path):
        what = f"{show_path(str(path))} does not exist"
    elif not path.exists():
        what = f"{show_path(str(path))} is a link to something that does not exist"
    else:
        what = f"{show_path(str(path))} is one file, and a dataset is a folder: medassets init {show_path(str(path.parent))}"
    raise UsageError(field="PATH", what=what)


def _choose_sort(census: Census) -> str:
    """Return the one sort of samples that a folder has; empty if it has none.

    Raises:
        UsageError: If it has several.
    """
    found = [sort for sort in SORTS if sort in _PROPOSE and census.counts[sort]]
    if len(found) > 1:
        shown = ", ".join(census.count_words(sort, _WORDS[sort]) for sort in found)
        what = (
            f"{show_path(str(census.top))} holds {shown}: several sources. Run init on the folder of one, or say "
            f"which with --files {' or --files '.join(found)}"
        )
        raise UsageError(field="PATH", what=what)
    return found[0] if found else ""


def _describe_content(census: Census) -> str:
    shown = [
        census.count_words(sort, _WORDS[sort]) for sort in (*SORTS, OTHER) if census.counts[sort]
    ]
    what = f"{show_path(str(census.top))} holds {', '.join(shown) or 'no files'}"
    if census.linked_folders:
        what += f", and links to folders ({shorten(census.linked_folders)}), which are not entered"
    if not census.is_whole:
        what += f"; only the first {census.num_names:,} names were looked at"
    if census.counts["archive"]:
        what += "; unpack archives first"
    wanted = "NIfTI, DICOM, MetaImage, NRRD or NPZ files, WebDataset tars, or videos"
    return f"{what}. Expected {wanted}"


def _doubt_census(census: Census, sort: str) -> list[str]:
    doubts: list[str] = []
    if not census.is_whole:
        doubts.append(
            f"the folder is large: only the first {census.num_names:,} names were looked at"
        )
    if census.linked_folders:
        doubts.append(f"links to folders are not entered: {shorten(census.linked_folders)}")
    if census.broken and sort != "video":
        doubts.append(f"neither a file nor a link to one: {shorten(census.broken)}")
    if census.counts["archive"]:
        doubts.append(f"not taken: {census.count_words('archive', _WORDS['archive'])}")
    return doubts


def _propose_nifti(census: Census, hints: Hints, clock: Clock) -> Proposal:
    look = None if hints.table or hints.columns else find_ct_rate(census)
    if look is None:
        return propose_tree(census, hints, clock)
    if has_metadata(look):
        return propose_ct_rate(census, look, hints, clock)
    proposal = propose_tree(census, hints, clock)
    return replace(proposal, doubts=[describe_bare(look, census.top), *proposal.doubts])


_PROPOSE: Mapping[str, Propose] = {
    "nifti": _propose_nifti,
    "dicom": propose_dicom,
    "npz": propose_npz,
    "tar": propose_tars,
    "video": propose_videos,
}
