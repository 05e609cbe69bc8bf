"""Proposes declarations of folders of DICOM files; series, patients and slices are found by the plan."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from medassets.datasets.discovery.census import Census, Clock, spread
from medassets.datasets.discovery.dicom_tables import choose_dicom_table
from medassets.datasets.discovery.proposal import Hints, Proposal
from medassets.datasets.discovery.tables import list_splits, sort_splits
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
    images, facts, doubts = _look(census, clock)
    table = choose_dicom_table(census, images, hints, clock)
    found = read_split_folders(paths, (), find_prefix(paths))
    named = [split for split in found.values() if split]
    by_folder = bool(named) and len(named) == len(paths)
    splits, split_by = sort_splits(named) if by_folder else ["train", "valid"], "hash"
    if table.look is not None and "split" in table.columns:
        splits, split_by = list_splits(table.look.table, table.columns["split"]), "column"
    elif by_folder:
        split_by = "folder"
    by = {"folder": "the folders that name splits", "hash": "80 % train, by PatientID"}
    fields: dict[str, Any] = {
        "source": "dicom",
        "folder": str(census.top),
        **table.fields,
        "splits": splits,
        "split_by": split_by,
        **({"hu_rule": hints.hu_rule} if hints.hu_rule else {}),
        "orientation": "LPS",
        "preprocessing": "ct_clip",
    }
    notes = {
        "split_by": by.get(split_by, f"column {table.columns.get('split')}"),
        "table": table.words,
        "requires": "[report, labels] leaves out volumes that lack one",
        "orientation": "axes of every sample; as_stored keeps those of the series",
        "preprocessing": "0.75 x 0.75 x 1.5 mm, 480 x 480 x 240; see target_spacing_mm, target_shape",
    }
    if named and split_by == "hash":
        doubts.append(
            f"{len(named):,} of {len(paths):,} files are in folders that name a split; splits are made by a hash"
        )
    facts, doubts = [*facts, *table.facts], [*doubts, *table.doubts]
    title = f"DICOM: {census.count_words('dicom', 'files')} in {show_path(str(census.top))}"
    return Proposal(title, "VolumeDatasetComponent", fields, notes, facts, doubts)


def _look(census: Census, clock: Clock) -> tuple[dict[str, SliceHeader], list[str], list[str]]:
    """Return headers of a sample of the files by path, and facts and doubts, in which nothing identifies a patient."""
    paths = spread(census.of("dicom"), _NUM_HEADERS)
    try:
        headers = _read_headers(census, paths, clock)
    except CatalogError as error:
        return {}, [], [str(error)]
    found = {path: one for path, one in zip(paths, headers, strict=False) if one is not None}
    found = {path: one for path, one in found.items() if one.words.get("rows")}
    images = [*found.values()]
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
    return found, facts, doubts


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
