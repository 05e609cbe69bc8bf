"""A folder of DICOM files, scanned as a source scans it."""

from pathlib import Path

from medassets.sources.listing import list_folder
from medassets.volumes.catalog.dicom.rows import Found
from medassets.volumes.catalog.dicom.scan import FolderScan, scan_folder
from medassets.volumes.catalog.dicom.series import Series, SeriesRules, group_series
from medassets.volumes.catalog.dicom.stacking import Stack


def scan(top: Path) -> FolderScan:
    return scan_folder(top, list_folder(top, "", ("",)))


def find_series(top: Path, rules: SeriesRules | None = None) -> list[Series]:
    return group_series(top, scan(top).files, rules or SeriesRules())


def find_stacks(top: Path, rules: SeriesRules | None = None) -> list[Stack]:
    return [stack for one in find_series(top, rules) for stack in one.stacks]


def find_all(top: Path, rules: SeriesRules | None = None) -> Found:
    found = scan(top)
    return Found(found, group_series(top, found.files, rules or SeriesRules()))


def list_excluded(top: Path, rules: SeriesRules | None = None) -> dict[str, int]:
    """Return reason -> number of files that are in no volume."""
    counts: dict[str, int] = {}
    for one in find_series(top, rules):
        for reason, (_, number) in one.excluded.items():
            counts[str(reason)] = counts.get(str(reason), 0) + number
    return counts
