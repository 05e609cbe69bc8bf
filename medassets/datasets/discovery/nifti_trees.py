"""Proposes declarations of folders of NIfTI files: any tree, with the one table that names its files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medassets.datasets.discovery.census import Census, Clock
from medassets.datasets.discovery.proposal import Hints, Proposal, shorten
from medassets.datasets.discovery.tables import (
    TableLook,
    choose_columns,
    count_joined,
    doubt_decimal_commas,
    doubt_header,
    list_splits,
    match_table,
    read_one,
    read_tables,
    show_cells,
    show_columns,
    sort_splits,
)
from medassets.datasets.discovery.volume_samples import (
    VolumeLook,
    describe_looks,
    doubt_looks,
    look_at_volumes,
)
from medassets.errors import CatalogError, UsageError
from medassets.specs.ct import MASK_NAMES
from medassets.storage.paths import show_path
from medassets.volumes.catalog.tree.names import NIFTI, drop_prefix, find_pattern, find_prefix
from medassets.volumes.catalog.tree.patients import check_shared_folder, name_patient_folders
from medassets.volumes.catalog.tree.splits import read_split_folders
from medassets.volumes.files.volume_files import open_volume_file

_AIR_HU = -200.0
# A name of a folder of patients holds few volumes; one that holds more is rather a dataset of its own.
_MOST_FOLDERS, _FEWEST_FILES = 5, 10


def propose_tree(census: Census, hints: Hints, clock: Clock) -> Proposal:
    """Propose `layout: tree` for a folder of NIfTI, MetaImage or NRRD files.

    Args:
        census: The folder; it has NIfTI files.
        hints: What the user says.
        clock: Limit of time for reading tables and volumes.

    Raises:
        UsageError: If a table or column that the user names cannot be used.
    """
    paths, exclude = _choose_volumes([show_path(path) for path in census.of("nifti")])
    table, other_tables = _choose_table(census, paths, hints, clock)
    columns = choose_columns(table, hints)
    looks = look_at_volumes(census.top, paths, open_volume_file, clock)
    splits = _choose_splits(paths, table, columns)
    patient = _choose_patients(paths, splits.names, has_column="patient" in columns)
    orientation = _choose_orientation(looks)
    fields: dict[str, Any] = {
        "source": "folder",
        "layout": "tree",
        "folder": str(census.top),
        **({} if exclude is None else {"exclude": exclude}),
        **({"table": table.table.path, "columns": columns} if table else {}),
        **splits.fields(len(paths)),
        **patient.fields,
        "hu_rule": hints.hu_rule or "header",
        **orientation,
        "preprocessing": "ct_clip",
    }
    joined = _describe_join(table, columns, paths)
    if table and ("report" in columns or "labels" in columns):
        fields["requires"] = []
    doubts = [
        *_doubt_sample(census, "nifti"),
        *_doubt_time(census, table, clock),
        *_doubt_join(table, columns, paths),
        *_doubt_unused(table, other_tables, paths),
        *_doubt_cells(table, columns),
        *splits.doubts,
        *patient.doubts,
        *_doubt_datasets(paths, splits.names, has_column="patient" in columns),
        *doubt_looks(looks),
        *_doubt_hu(looks),
    ]
    notes = {
        "hu_rule": "header scales to HU; none: stored values are HU",
        "orientation": "axes of every sample; as_stored keeps those of the files",
        "preprocessing": "0.75 x 0.75 x 1.5 mm, 480 x 480 x 240; see target_spacing_mm, target_shape",
        "requires": "[report, labels] leaves out volumes that lack one",
        "table": joined,
        **patient.notes,
        **splits.notes,
    }
    is_nifti = all(path.lower().endswith(NIFTI) for path in paths)
    kind = "NIfTI tree" if is_nifti else "tree of volumes"
    title = f"{kind}: {census.count_words('nifti', 'files')} in {show_path(str(census.top))}"
    left_out = len(census.of("nifti")) - len(paths)
    facts = [
        *([f"named like masks and left out: {left_out:,}"] if left_out else []),
        *describe_looks(looks),
        *(
            [f"table {table.table.path}: {joined}; columns {show_columns(columns)}"]
            if table
            else []
        ),
        *_list_unused_columns(table, columns),
        *(["no table: samples have neither report nor labels"] if not table else []),
        splits.words,
    ]
    return Proposal(title, "VolumeDatasetComponent", fields, notes, facts, doubts)


@dataclass(frozen=True)
class _Splits:
    """How splits are made.

    Attributes:
        names: Their names.
        by: `column`, `folder` or `hash`; empty where the default finds the same.
        words: The same for a person.
        doubts: What is not certain.
    """

    names: Sequence[str]
    by: str
    words: str
    doubts: Sequence[str] = ()

    @property
    def notes(self) -> Mapping[str, str]:
        return {"splits": self.words}

    def fields(self, num_files: int) -> dict[str, Any]:
        names = list(self.names) if num_files > 1 or self.by != "hash" else ["train"]
        return {"splits": names, "split_by": self.by}


def _choose_volumes(paths: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """Return the files that are not named like masks, and `exclude` where its default takes none."""
    prefix = find_prefix(paths)
    kept = [path for path in paths if find_pattern(drop_prefix(path, prefix), MASK_NAMES) is None]
    return (kept, None) if kept else (list(paths), [])


def _choose_table(
    census: Census, paths: Sequence[str], hints: Hints, clock: Clock
) -> tuple[TableLook | None, list[TableLook]]:
    """Return the table that names the most files, and the others."""
    if hints.table:
        return _use_named(census, paths, hints, clock), []
    looks = [
        look if look.problem else match_table(look, paths, clock)
        for look in read_tables(census, clock, sheet=str(hints.columns.get("sheet", "")))
    ]
    best = max(looks, key=lambda look: look.num_files, default=None)
    if hints.columns and (best is None or not best.num_files):
        if len(looks) != 1:
            what = f"which table? found {shorten([one.table.path for one in looks]) or 'none'}; name it with --table"
            raise UsageError(field="--columns", what=what)
        if looks[0].problem:
            raise UsageError(field="--columns", what=looks[0].problem)
        best = looks[0]
        if "file" not in hints.columns:
            raise UsageError(field="--columns", what=_ask_for_files(best, paths))
    if best is None or not (best.num_files or hints.columns):
        return None, looks
    return best, [look for look in looks if look is not best]


def _use_named(census: Census, paths: Sequence[str], hints: Hints, clock: Clock) -> TableLook:
    look = read_one(census.top, hints.table, sheet=str(hints.columns.get("sheet", "")))
    if look.problem:
        raise UsageError(field="--table", what=look.problem)
    found = match_table(look, paths, clock)
    if not found.num_files and "file" not in hints.columns:
        raise UsageError(field="--table", what=_ask_for_files(look, paths))
    return found


def _ask_for_files(look: TableLook, paths: Sequence[str]) -> str:
    columns = shorten(look.table.columns, 20)
    return (
        f"no column of {look.table.path} names files; it has {columns}; files are {', '.join(paths[:2])}; say which "
        f"one does, such as --columns file=NAME"
    )


def _describe_join(
    table: TableLook | None, columns: Mapping[str, Any], paths: Sequence[str]
) -> str:
    if table is None:
        return ""
    try:
        count = count_joined(table, columns["file"], paths)
    except CatalogError:
        # It is a doubt, in words.
        return f"files by column {columns['file']}"
    return f"names {count:,} of {len(paths):,} files"


def _doubt_join(
    table: TableLook | None, columns: Mapping[str, Any], paths: Sequence[str]
) -> list[str]:
    """Return a doubt where no row of the table in use is about a file, or it is not certain which."""
    if table is None:
        return []
    try:
        if count_joined(table, columns["file"], paths):
            return []
    except CatalogError as error:
        return [str(error)]
    return [
        f"the table {table.table.path} names none of {len(paths):,} files: looked in "
        f"{show_cells(table.table, columns['file'])} for files such as {' and '.join(paths[:2])}, by path, name, name "
        f"without ending, case or folder. {_PASS}"
    ]


_PASS = "Correct the cells, or pass the column that names files: --table FILE --columns file=COLUMN"


def _doubt_unused(
    table: TableLook | None, others: Sequence[TableLook], paths: Sequence[str]
) -> list[str]:
    """Return why each other table is not used."""
    doubts = [other.problem + _ask_for_sheet(other.problem) for other in others if other.problem]
    strange = [other for other in others if not other.problem]
    if table is not None and strange:
        names = shorten([other.table.path for other in strange])
        return [*doubts, f"only one table is used, {table.table.path}; not used: {names}"]
    doubts += [
        f"{one.table.path} is not used, for it has no row" for one in strange if not one.table.rows
    ]
    return doubts + [
        f"{other.table.path} is not used, for no column names files: found {show_cells(other.table)}, and files such "
        f"as {' and '.join(paths[:2])}. {_PASS}"
        for other in strange
        if other.table.rows
    ]


def _ask_for_sheet(problem: str) -> str:
    return "; here: --columns sheet=NAME" if "expected one sheet" in problem else ""


def _doubt_cells(table: TableLook | None, columns: Mapping[str, Any]) -> list[str]:
    if table is None:
        return []
    texts = (columns["file"], *columns.get("report", ()))
    others = [name for name in table.table.columns if name and name not in texts]
    return [*doubt_header(table.table), *doubt_decimal_commas(table.table, others)]


def _list_unused_columns(table: TableLook | None, columns: Mapping[str, Any]) -> list[str]:
    """Return the columns of the table that play no part, and how they would."""
    if table is None:
        return []
    used = {one for v in columns.values() for one in ([v] if isinstance(v, str) else v)}
    others = [name for name in table.table.columns if name and name not in used]
    if not others:
        return []
    return [f"columns without effect: {shorten(others, 6)}; such as --columns labels=A,B uses them"]


def _choose_splits(
    paths: Sequence[str], table: TableLook | None, columns: Mapping[str, Any]
) -> _Splits:
    if table and "split" in columns:
        names = list_splits(table.table, columns["split"])
        return _Splits(names, "column", f"splits are those of column {columns['split']}")
    found = read_split_folders(paths, (), find_prefix(paths))
    named = [split for split in found.values() if split]
    if named and len(named) == len(paths):
        names = sort_splits(named)
        return _Splits(names, "folder", "splits are those that folders name")
    words = "splits are a seeded hash of the patient, 80 % train"
    doubts = []
    if named:
        doubts.append(
            f"{len(named):,} of {len(paths):,} files are in folders that name a split; splits are made by a hash"
        )
    return _Splits(["train", "valid"], "hash", words, doubts)


@dataclass(frozen=True)
class _Patients:
    fields: Mapping[str, Any]
    notes: Mapping[str, str]
    doubts: Sequence[str] = ()


def _choose_patients(paths: Sequence[str], splits: Sequence[str], *, has_column: bool) -> _Patients:
    """Return `patient_from` where the default would ask for it."""
    if has_column:
        return _Patients({}, {})
    prefix = find_prefix(paths)
    found = name_patient_folders(paths, prefix, splits=splits, mode="auto")
    try:
        check_shared_folder(found, prefix, splits=splits, mode="auto")
    except CatalogError:
        doubt = "all files share one folder: each is taken for a patient of its own"
        return _Patients({"patient_from": "file"}, {"patient_from": "folder: one patient"}, [doubt])
    return _Patients({}, {})


def _choose_orientation(looks: Sequence[VolumeLook]) -> dict[str, str]:
    return {"orientation": "LPS"} if any(look.codes for look in looks) else {}


def _doubt_time(census: Census, table: TableLook | None, clock: Clock) -> list[str]:
    """Return a doubt where tables may not have been compared with all files for lack of time."""
    if table is not None or not census.counts["table"] or not clock.is_over:
        return []
    return ["there was no time to compare all tables; name the one that is meant with --table"]


def _doubt_sample(census: Census, sort: str) -> list[str]:
    if not census.is_sample(sort):
        return []
    return [
        f"splits, patients and the table were compared with {len(census.of(sort)):,} of the files only"
    ]


def _doubt_datasets(paths: Sequence[str], splits: Sequence[str], *, has_column: bool) -> list[str]:
    """Return a doubt where a few folders hold many files each: they may be datasets, and no patients."""
    if has_column:
        return []
    folders = name_patient_folders(paths, find_prefix(paths), splits=splits, mode="auto")
    counts: dict[str, int] = {}
    for folder in folders.values():
        if folder is not None:
            counts[folder] = counts.get(folder, 0) + 1
    if not 1 < len(counts) <= _MOST_FOLDERS or min(counts.values()) < _FEWEST_FILES:
        return []
    shown = ", ".join(f"{name} ({count:,} files)" for name, count in counts.items())
    return [f"{shown} are taken for patients; if each is a dataset, run init on each of them"]


def _doubt_hu(looks: Sequence[VolumeLook]) -> list[str]:
    ranges = [
        (look.low, look.high) for look in looks if look.low is not None and look.high is not None
    ]
    odd = [one for one in ranges if one[0] > _AIR_HU]
    if not odd:
        return []
    low, high = min(one[0] for one in odd), max(one[1] for one in odd)
    return [
        f"{len(odd)} of {len(ranges)} volumes hold {low:g} to {high:g} and no air of -1000: no CT, or not in HU; "
        f"such volumes are rejected as hu_implausible; of MR declare `preprocessing: mr_percentile`, without hu_rule"
    ]
