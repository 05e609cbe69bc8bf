"""Proposes declarations of trees of `.npz` files with their tables of spacing, reports and labels."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medassets.datasets.discovery.census import Census, Clock, spread
from medassets.datasets.discovery.proposal import Hints, Proposal, shorten
from medassets.datasets.discovery.split_patterns import as_pattern, split_by_folder
from medassets.datasets.discovery.tables import (
    TableLook,
    doubt_decimal_commas,
    is_label,
    read_one,
    read_tables,
)
from medassets.datasets.discovery.volume_samples import (
    VolumeLook,
    describe_looks,
    doubt_looks,
    look_at_volumes,
)
from medassets.errors import SampleRejectedError, UsageError
from medassets.specs.checks import suggest_name
from medassets.storage.foreign_bytes import open_foreign
from medassets.storage.formats.byte_streams import FileWindow
from medassets.storage.formats.zip_members import read_directory
from medassets.storage.paths import show_path
from medassets.volumes.catalog.ct_rate_names import name_split_long
from medassets.volumes.catalog.ct_tables import REPORT_COLUMNS, REPORT_SECTIONS
from medassets.volumes.catalog.label_columns import KEY_COLUMN
from medassets.volumes.catalog.tree.names import find_prefix
from medassets.volumes.files.array_files import open_npz_array
from medassets.volumes.files.header import VolumeStream

_SPACING = ("XYSpacing", "ZSpacing")
_RESCALING = ("RescaleSlope", "RescaleIntercept")
_ROLES = {
    "meta_file": "--meta-file",
    "reports_file": "--reports-file",
    "labels_file": "--labels-file",
}
_TEXT_TABLES = (".csv", ".tsv", ".tab")
_AIR_HU = -900.0


def propose_npz(census: Census, hints: Hints, clock: Clock) -> Proposal:
    """Propose `source: npz`; samples keep their values, unless the user says how these become HU.

    Args:
        census: The folder; it has `.npz` files.
        hints: What the user says.
        clock: Limit of time for reading tables and volumes.

    Raises:
        UsageError: If there is no table of spacings, or no array that is the volume.
    """
    paths = census.of("npz")
    key, key_doubts = (
        (hints.array_key, []) if hints.array_key else _choose_array(census, paths, clock)
    )
    found = _find_tables(census, hints, clock)
    tables = found.by_role
    folders = split_by_folder(paths)
    splits = list(folders) if _have_tables(folders, tables) else ["train"]

    def open_file(place: Path) -> AbstractContextManager[VolumeStream]:
        return open_npz_array(place, key)

    looks = look_at_volumes(census.top, paths, open_file, clock)
    rule = hints.hu_rule or _find_rule(tables["meta_file"], looks)
    under = "/".join(find_prefix(paths))
    fields: dict[str, Any] = {
        "source": "npz",
        "folder": str(census.top),
        "splits": splits,
        **_list_places(folders, under, splits),
        **({} if key == "data" else {"array_key": key}),
        **{role: _as_split_pattern(look.table.path, splits) for role, look in tables.items()},
        **_require(tables),
        **({"hu_rule": rule} if rule else {}),
        "preprocessing": "ct_clip" if hints.hu_rule else "none",
    }
    notes = {
        "preprocessing": "0.75 x 0.75 x 1.5 mm, 480 x 480 x 240"
        if hints.hu_rule
        else "float16 values in the stored shape; ct_clip with an hu_rule resamples",
        "requires": "no table of the other was found",
        "hu_rule": "the table states no rescaling" if not hints.hu_rule else "as --hu-rule says",
    }
    doubts = [
        *key_doubts,
        *(
            ["folders name splits, but tables are not one for each: all is train"]
            if folders and len(splits) == 1
            else []
        ),
        *_doubt_labels(tables),
        *_doubt_cells(tables),
        *_doubt_unused(found, splits),
        *doubt_looks(looks, have_headers=False),
    ]
    facts = [
        f"array {key!r} of each file",
        *describe_looks(looks, have_headers=False),
        *(
            f"{role}: {look.table.path}, {len(look.table.rows):,} rows"
            for role, look in tables.items()
        ),
        *_list_absent_sections(tables),
    ]
    title = f"NPZ tree: {census.count_words('npz', 'files')} in {show_path(str(census.top))}"
    return Proposal(title, "VolumeDatasetComponent", fields, notes, facts, doubts)


def _choose_array(census: Census, paths: Sequence[str], clock: Clock) -> tuple[str, list[str]]:
    """Return the array that every file of a sample has: `data`, or the only one with three axes."""
    common: set[str] | None = None
    broken: list[str] = []
    for path in spread(paths, 8):
        if common is not None and clock.is_over:
            break
        names = _list_arrays(census.top / path)
        if names is None:
            broken.append(show_path(path))
            continue
        common = names if common is None else common & names
    if not common:
        what = f"no array that all .npz files have; looked at {shorten(spread(paths, 3))}"
        raise UsageError(field="PATH", what=what)
    doubts = [f"no .npz file, or damaged: {shorten(broken)}"] if broken else []
    if "data" in common or len(common) == 1:
        return ("data" if "data" in common else common.pop()), doubts
    volumes = sorted(name for name in common if _is_volume(census.top / paths[0], name))
    if len(volumes) == 1:
        return volumes[0], doubts
    what = f"which array is the volume? files have {', '.join(sorted(common))}; name it, --array-key NAME"
    raise UsageError(field="PATH", what=what)


def _list_arrays(place: Path) -> set[str] | None:
    try:
        with open_foreign(place) as file:
            window = FileWindow(file, 0, os.fstat(file.fileno()).st_size)
            return {info.filename.removesuffix(".npy") for info in read_directory(window)}
    except (OSError, SampleRejectedError):
        return None


def _is_volume(place: Path, key: str) -> bool:
    look = look_at_volumes(
        place.parent, [place.name], lambda one: open_npz_array(one, key), Clock(1)
    )
    return look[0].header is not None


@dataclass(frozen=True)
class _Tables:
    """Tables of an NPZ tree.

    Attributes:
        by_role: Field of the declaration -> table.
        others: Those that play no role; they may be those of other splits.
    """

    by_role: Mapping[str, TableLook]
    others: Sequence[TableLook]


def _find_tables(census: Census, hints: Hints, clock: Clock) -> _Tables:
    """Return the tables that are named by the user, and those whose columns fit.

    Raises:
        UsageError: If one that is named cannot be read, or there is no table of spacings.
    """
    found: dict[str, TableLook] = {}
    for role, option in _ROLES.items():
        if path := getattr(hints, role):
            look = read_one(census.top, path.replace("{split}", "train"))
            if look.problem:
                raise UsageError(field=option, what=look.problem)
            found[role] = replace(look, table=replace(look.table, path=path))
    looks = read_tables(census, clock)
    for role, fits in _FITS.items():
        for look in looks:
            is_free = look not in found.values() and not _find_fault(look)
            if role not in found and is_free and fits(look):
                found[role] = look
    if "meta_file" not in found:
        shown = shorten([f"{one.table.path}: {_explain_unused(one)}" for one in looks])
        what = (
            f"an NPZ tree needs a CSV with the columns {KEY_COLUMN}, {', '.join(_SPACING)}: name it with "
            f"--meta-file; looked at {shown or 'no table'}"
        )
        raise UsageError(field="--meta-file", what=what)
    return _Tables(found, [look for look in looks if look not in found.values()])


def _find_fault(look: TableLook) -> str:
    """Return why a table cannot play any role; empty if it can."""
    path, columns = look.table.path, look.table.columns
    if look.problem:
        return look.problem.removeprefix(f"{path}: ")
    if not path.lower().endswith(_TEXT_TABLES):
        return "tables of an NPZ tree are CSV; save it as CSV"
    if KEY_COLUMN not in columns:
        return f"no column {KEY_COLUMN}{suggest_name(KEY_COLUMN, filter(None, columns))}, by which files are found"
    return ""


def _explain_unused(look: TableLook) -> str:
    """Return why a table plays no role, and what would help."""
    if fault := _find_fault(look):
        return fault
    columns = look.table.columns
    if set(REPORT_SECTIONS.values()) & set(columns) and not _has_report(look):
        missing = [name for name in REPORT_COLUMNS if name not in columns]
        nears = "".join(suggest_name(name, columns) for name in missing)
        return f"a table of reports has {', '.join(REPORT_COLUMNS)}; it lacks {', '.join(missing)}{nears}"
    if set(_SPACING) & set(columns) and not _has_spacing(look):
        missing = [name for name in _SPACING if name not in columns]
        nears = "".join(suggest_name(name, columns) for name in missing)
        return (
            f"a table of spacings has {', '.join(_SPACING)}; it lacks {', '.join(missing)}{nears}"
        )
    others = [name for name in columns if name != KEY_COLUMN]
    return f"its columns {shorten(others)} are no spacings, no reports and hardly labels of 0 and 1; name it with --labels-file"


def _doubt_unused(tables: _Tables, splits: Sequence[str]) -> list[str]:
    """Return why tables play no role that are not those of another split."""
    patterns = [look.table.path for look in tables.by_role.values()]
    patterns = [_as_split_pattern(path, splits) for path in patterns]
    names = [name for split in splits for name in (split, name_split_long(split))]
    known = {path.replace("{split}", name) for path in patterns for name in names}
    return [
        f"{look.table.path} is not used: {_explain_unused(look)}"
        for look in tables.others
        if look.table.path not in known
    ]


def _has_spacing(look: TableLook) -> bool:
    return set(_SPACING) <= set(look.table.columns)


def _has_report(look: TableLook) -> bool:
    return set(REPORT_COLUMNS) <= set(look.table.columns)


def _has_labels(look: TableLook) -> bool:
    others = [name for name in look.table.columns if name != KEY_COLUMN]
    labels = [name for name in others if is_label(look.table, name)]
    return bool(labels) and len(labels) * 2 > len(others)


_FITS: Mapping[str, Callable[[TableLook], bool]] = {
    "meta_file": _has_spacing,
    "reports_file": _has_report,
    "labels_file": _has_labels,
}


def _doubt_labels(tables: Mapping[str, TableLook]) -> list[str]:
    look = tables.get("labels_file")
    if look is None:
        return []
    odd = [n for n in look.table.columns if n != KEY_COLUMN and not is_label(look.table, n)]
    return [f"columns of {look.table.path} that may be no labels: {shorten(odd)}"] if odd else []


def _doubt_cells(tables: Mapping[str, TableLook]) -> list[str]:
    looks = [look for role, look in tables.items() if role != "reports_file"]
    return [
        doubt
        for look in looks
        for doubt in doubt_decimal_commas(look.table, [n for n in look.table.columns if n])
    ]


def _list_absent_sections(tables: Mapping[str, TableLook]) -> list[str]:
    look = tables.get("reports_file")
    columns = REPORT_SECTIONS.values() if look is not None else ()
    absent = [name for name in columns if look is not None and name not in look.table.columns]
    return [f"reports without {', '.join(absent)}: samples have no such section"] if absent else []


def _require(tables: Mapping[str, TableLook]) -> dict[str, list[str]]:
    having = [
        name
        for name, role in (("report", "reports_file"), ("labels", "labels_file"))
        if role in tables
    ]
    return {} if len(having) == 2 else {"requires": having}


def _have_tables(folders: Mapping[str, str], tables: Mapping[str, TableLook]) -> bool:
    """Tell whether each split has tables of its own, as `{split}` in their paths needs."""
    return bool(folders) and all(
        "{split}" in _as_split_pattern(look.table.path, list(folders)) for look in tables.values()
    )


def _as_split_pattern(path: str, splits: Sequence[str]) -> str:
    if len(splits) == 1 or "{split}" in path:
        return path
    for split in splits:
        for name in (name_split_long(split), split):
            if name in path.rpartition("/")[2]:
                return as_pattern(path, name)
    return path


def _list_places(folders: Mapping[str, str], under: str, splits: Sequence[str]) -> dict[str, str]:
    if len(splits) > 1:
        return {"volumes_dir": as_pattern(folders[splits[0]], splits[0])}
    return {"volumes_dir": under} if under else {}


def _find_rule(meta: TableLook, looks: Sequence[VolumeLook]) -> str:
    """Return `none` where the table states no rescaling and values are HU as they are; else empty.

    Raises:
        UsageError: If the table states no rescaling and values show no air.
    """
    if set(_RESCALING) <= set(meta.table.columns):
        return ""
    lows = [look.low for look in looks if look.low is not None]
    if lows and max(lows) <= _AIR_HU:
        return "none"
    what = (
        f"{meta.table.path} has no {' and '.join(_RESCALING)}, and values begin at {min(lows, default=0):g}: say "
        f"`--hu-rule none` if they are HU"
    )
    raise UsageError(field="--hu-rule", what=what)
