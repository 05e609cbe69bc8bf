"""Proposes declarations of folders of DICOM files; series, patients and slices are found by the plan."""

from typing import Any

from medassets.datasets.discovery.census import Census, Clock
from medassets.datasets.discovery.proposal import Hints, Proposal, shorten
from medassets.datasets.discovery.tables import sort_splits
from medassets.storage.paths import show_path
from medassets.volumes.catalog.tree.names import find_prefix
from medassets.volumes.catalog.tree.splits import read_split_folders


def propose_dicom(census: Census, hints: Hints, clock: Clock) -> Proposal:
    """Propose `source: dicom` for a folder of DICOM files, with or without an ending.

    Args:
        census: The folder; it has DICOM files.
        hints: What the user says.
        clock: Not needed: no file is read.
    """
    del clock
    paths = census.of("dicom")
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
    doubts = []
    if named and not by_folder:
        doubts.append(
            f"{len(named):,} of {len(paths):,} files are in folders that name a split; splits are made by a hash"
        )
    tables = census.of("table")
    if tables:
        doubts.append(f"a table has no effect on DICOM, which has no reports: {shorten(tables)}")
    facts = ["series, their slices and what is left out are found by `plan`"]
    title = f"DICOM: {census.count_words('dicom', 'files')} in {show_path(str(census.top))}"
    return Proposal(title, "VolumeDatasetComponent", fields, notes, facts, doubts)
