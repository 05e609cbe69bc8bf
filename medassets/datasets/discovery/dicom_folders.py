"""Proposes declarations of folders of DICOM files; series, patients and slices are found by the plan."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from medassets.datasets.discovery.census import Census, Clock, spread
from medassets.datasets.discovery.proposal import Hints, Proposal, shorten
from medassets.datasets.discovery.tables import sort_splits
from medassets.errors import CatalogError, SampleRejectedError
from medassets.storage.foreign_bytes import open_foreign
from medassets.storage.paths import show_path
from medassets.volumes.catalog.tree.names import find_prefix
from medassets.volumes.catalog.tree.splits import read_split_folders
from medassets.volumes.files.dicom.header import SliceHeader, read_slice_header

_NUM_HEADERS = 24


def propose_dicom(census: Census, hints: Hints, clock: Clock) -> Proposal:
    """Propose `source: dicom` for a folder of DICOM files, with or without an ending.

    Args:
        census: The folder; it has DICOM files.
        hints: What the user says.
        clock: Limit of time for reading headers.
    """
    paths = census.of("dicom")
    facts, doubts = _look(census, clock)
    found = read_split_folders(paths, (), find_prefix(paths))
    named = [split for split in found.values() if split]
    by_folder = bool(named) and len(named) == len(paths)
    fields: dict[str, Any] = {
        "source": "dicom",
        "folder": str(census.top),
        "splits": sort_splits(named) if by_folder else ["train", "valid"],
        "split_by": "folder" if by_folder else "hash",
        **({"hu_rule": hints.hu_rule} if hints.hu_rule else {}),
        "orientation": "LPS",
        "preprocessing": "ct_clip",
    }
    notes = {
        "split_by": "the folders that name splits" if by_folder else "80 % train, by PatientID",
        "orientation": "axes of every sample; as_stored keeps those of the series",
        "preprocessing": "0.75 x 0.75 x 1.5 mm, 480 x 480 x 240; see target_spacing_mm, target_shape",
    }
    if named and not by_folder:
        doubts.append(
            f"{len(named):,} of {len(paths):,} files are in folders that name a split; splits are made by a hash"
        )
    tables = census.of("table")
    if tables:
        doubts.append(f"a table has no effect on DICOM, which has no reports: {shorten(tables)}")
    title = f"DICOM: {census.count_words('dicom', 'files')} in {show_path(str(census.top))}"
    return Proposal(title, "VolumeDatasetComponent", fields, notes, facts, doubts)


def _look(census: Census, clock: Clock) -> tuple[list[str], list[str]]:
    """Return facts and doubts about a sample of the files; nothing of them identifies a patient."""
    paths = spread(census.of("dicom"), _NUM_HEADERS)
    try:
        headers = _read_headers(census, paths, clock)
    except CatalogError as error:
        return [], [str(error)]
    images = [one for one in headers if one is not None and one.words.get("rows")]
    facts = [
        f"looked at {len(headers):,} files of {_count_series(images)}: modality {_count(images)}",
        "series, their slices and what is left out are found by `plan`",
    ]
    doubts = []
    if len(images) < len(headers):
        doubts.append(
            f"{len(headers) - len(images):,} of {len(headers):,} files hold no image; they are left out"
        )
    others = sorted({header["modality"] or "none" for header in images} - {"CT"})
    if others:
        doubts.append(
            f"only CT is taken; for others declare `modalities`, such as [{', '.join(others)}]"
        )
    return facts, doubts


def _read_headers(census: Census, paths: Sequence[str], clock: Clock) -> list[SliceHeader | None]:
    found: list[SliceHeader | None] = []
    for path in paths:
        if found and clock.is_over:
            break
        try:
            with open_foreign(census.top / path) as file:
                found.append(read_slice_header(file))
        except (OSError, SampleRejectedError):
            found.append(None)
    return found


def _count_series(images: Sequence[SliceHeader]) -> str:
    count = len({header["series_uid"] for header in images})
    return f"{count:,} series" if count else "no series"


def _count(images: Sequence[SliceHeader]) -> str:
    counts = Counter(header["modality"] or "none" for header in images)
    return ", ".join(f"{name} ({count:,})" for name, count in counts.most_common(4)) or "none"
