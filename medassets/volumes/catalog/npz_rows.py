"""The catalog of an NPZ tree: files and tables joined by study, with what is missing in either."""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from medassets.errors import CatalogError, Reason
from medassets.specs import SAMPLE_TEXTS, CTSourceSpec
from medassets.storage.foreign_bytes import read_table
from medassets.storage.formats.csv_tables import CsvTable, parse_csv
from medassets.storage.formats.label_rules import LabelRules
from medassets.volumes.catalog.columns import ARRAY_ROW_SCHEMA, LABEL_NAMES_KEY, drop_texts
from medassets.volumes.catalog.ct_rate_names import name_split_long, parse_volume_name
from medassets.volumes.catalog.ct_tables import (
    ASK_FOR_RESCALING,
    LABEL_NAMES,
    REPORT_COLUMNS,
    Exclusion,
    NamedTable,
    Row,
    SplitTables,
    absent_table,
    exclude_by_cells,
    join_texts,
    read_tables,
)
from medassets.volumes.catalog.label_summary import (
    read_label_rules,
    summarize_rows,
    with_summary,
)
from medassets.volumes.catalog.npz_tree import (
    DEEPEST,
    TREES_KEY,
    NpzFile,
    choose_depth,
    describe_tree,
    list_tree,
    name_study,
    read_headers,
    read_trees,
)
from medassets.volumes.catalog.sample_keys import (
    exclude_repeats,
    make_distinct_key,
    make_sample_key,
    read_planned,
)
from medassets.volumes.catalog.table_check import NeededTable, list_missing

_OPTIONAL = ("NumberofSlices",)
_RESCALING = ("RescaleSlope", "RescaleIntercept")


def read_npz_rows(
    spec: CTSourceSpec,
    folder: Path,
    previous: pa.Table | None = None,
    *,
    with_texts: bool = True,
    requires: Collection[str] = SAMPLE_TEXTS,
) -> pa.Table:
    """List the files of all splits and join them with their tables by VolumeName.

    Every file and every row of a table ends in a row: joined, or with its reason in `excluded` and a
    sentence in `detail`. A file without a row lacks metadata, report or labels; a row without a file
    is `missing_source`; a row that repeats one is `duplicate_row`. Files at another depth than that
    which holds the most are `other_depth`.

    Args:
        spec: Declaration: `splits`, `volumes_dir`, `array_key`, the three tables, `hu_rule`.
        folder: Top of the source.
        with_texts: Read reports and labels. Without them, their tables are not needed, and the result
            lacks `TEXT_COLUMNS`.
        requires: Which of both a volume must have; a table of the other need not be declared.
        previous: The last catalog. The depth it used is kept, for most files may have been deleted
            since, and headers of files that are as they were are not read again.

    Returns:
        Table with the columns of `ARRAY_ROW_SCHEMA`; `shape` as stored, `spacing_*` in mm. Of several
        files of a study in different splits, one keeps the key: that which had it before, else the
        first.

    Raises:
        CatalogError: If the folder or a table is missing or malformed; names file, row and column.
    """
    before, known = read_trees(previous), _read_known(previous)
    rules, requires = read_label_rules(spec), frozenset(requires if with_texts else ())
    _check_tables(spec, folder, rules, with_texts=with_texts)
    rows: list[Row] = []
    trees: dict[str, Any] = {}
    names: list[str] = []
    for split in spec.splits:
        files = list_tree(folder, spec.of_split(spec.volumes_dir, split).rstrip("/"))
        depth = before[split]["depth"] if split in before else choose_depth(files)
        trees[split] = describe_tree(files, depth)
        tables = _open_tables(spec, folder, split, rules, requires, with_texts=with_texts)
        if names and names != list(tables.label_names) and with_texts:
            msg = (
                f"{tables.labels.table.path}: the labels of {split} are not {', '.join(names)}; "
                f"declare those of all splits, `labels: {{columns: [...]}}`"
            )
            raise CatalogError(msg)
        names = list(tables.label_names)
        used = [file for file in files if file.depth == depth]
        used = read_headers(used, folder, spec.array_key, known)
        others = [file for file in files if file.depth != depth]
        common = {"split": split, "label_names": list(tables.label_names)}
        found = (
            *_iter_files(used, tables, spec),
            *(_exclude_depth(file, depth) for file in others),
            *_iter_table_only_rows(used, tables, split),
            *_iter_repeats(tables, split),
        )
        rows += [{**common, **row} for row in found]
    exclude_repeats(rows, read_planned(previous))
    table = pa.Table.from_pylist(rows, schema=ARRAY_ROW_SCHEMA)
    metadata = {TREES_KEY: json.dumps(trees).encode()}
    if not with_texts:
        return drop_texts(table).replace_schema_metadata(metadata)
    label_names = json.dumps(names, ensure_ascii=False).encode()
    table = table.replace_schema_metadata({LABEL_NAMES_KEY: label_names, **metadata})
    return with_summary(table, summarize_rows(rows, names, rules))


def _read_known(previous: pa.Table | None) -> dict[str, NpzFile]:
    names = ("path", "num_bytes", "mtime_ns", "shape", "array_dtype")
    if previous is None or not set(names) <= set(previous.column_names):
        return {}
    cells = zip(*(previous[name].to_pylist() for name in names), strict=True)
    return {
        path: NpzFile(path, "", 0, size or 0, mtime or 0, tuple(shape), dtype)
        for path, size, mtime, shape, dtype in cells
        if path is not None and shape is not None
    }


def _check_tables(spec: CTSourceSpec, folder: Path, rules: LabelRules, *, with_texts: bool) -> None:
    """Name everything that the declared tables of all splits lack.

    Raises:
        CatalogError: If a table or a column is missing, or a table cannot be read.
    """
    scaling = _RESCALING if spec.needs_rescaling else ()
    note = ASK_FOR_RESCALING if scaling else ""
    spacing = ("VolumeName", "XYSpacing", "ZSpacing", *scaling)
    declared: list[tuple[str, tuple[str, ...], str]] = [(spec.meta_file, spacing, note)]
    if with_texts and spec.reports_file:
        declared.append((spec.reports_file, ("VolumeName", *REPORT_COLUMNS), ""))
    if with_texts and spec.labels_file:
        declared.append((spec.labels_file, ("VolumeName", *rules.columns), ""))
    needed, found = list[NeededTable](), dict[str, bytes]()
    for split in spec.splits:
        for path, columns, remedy in declared:
            place = _find_table(spec, folder, path, split)
            needed.append(NeededTable(str(place), columns, remedy))
            if (folder / place).exists():
                found[str(place)] = _read(folder / place)
    # A table may be that of several splits.
    if missing := list_missing(dict.fromkeys(needed), found):
        lines = "".join(f"\n  {line}" for line in missing)
        msg = f"source npz needs, and does not find in {folder}:{lines}"
        raise CatalogError(msg)


def _find_table(spec: CTSourceSpec, folder: Path, path: str, split: str) -> Path:
    """Return where a table of a split is; relative to the folder, or absolute."""
    # CT-RATE's own tables call the split valid by its long name.
    places = [Path(spec.of_split(path, s)).expanduser() for s in (split, name_split_long(split))]
    return next((one for one in places if (folder / one).exists()), places[0])


def _read(place: Path) -> bytes:
    try:
        return read_table(place)
    except OSError as error:
        msg = f"{place}: the table cannot be read ({error.strerror})"
        raise CatalogError(msg) from error


def _open_tables(
    spec: CTSourceSpec,
    folder: Path,
    split: str,
    rules: LabelRules,
    requires: Collection[str],
    *,
    with_texts: bool,
) -> SplitTables:
    def read(path: str, columns: Sequence[str] = (), *, is_used: bool = True) -> CsvTable:
        if not is_used or not path:
            return absent_table(path, columns)
        place = _find_table(spec, folder, path, split)
        return parse_csv(_read(folder / place), str(place))

    return read_tables(
        read(spec.meta_file),
        read(spec.reports_file, REPORT_COLUMNS, is_used=with_texts),
        read(spec.labels_file, () if with_texts else LABEL_NAMES, is_used=with_texts),
        with_texts=with_texts,
        requires=requires,
        name_of=name_study,
        optional=(*_OPTIONAL, *_RESCALING),
        rules=rules,
    )


def _iter_files(files: list[NpzFile], tables: SplitTables, spec: CTSourceSpec) -> Iterator[Row]:
    counts = Counter(file.study_id for file in files if file.problem is None)
    for file in files:
        row = _identify(file) | _join(file.study_id, tables)
        if counts[file.study_id] > 1:
            row["key"] = make_distinct_key(file.study_id, of=file.path)
        exclusion = _exclude(file, counts[file.study_id], row=row, tables=tables, spec=spec)
        if exclusion is not None:
            row["excluded"], row["detail"] = str(exclusion[0]), exclusion[1]
        yield row


def _identify(file: NpzFile) -> Row:
    study_id = file.study_id
    volume = parse_volume_name(f"{study_id}.nii.gz", split=study_id.partition("_")[0])
    return {
        "key": make_sample_key(study_id),
        "study_id": study_id,
        "path": file.path,
        "group": volume.patient if volume else study_id,
        "patient": volume.patient if volume else None,
        "scan": volume.scan if volume else None,
        "reconstruction": volume.reconstruction if volume else None,
        "num_bytes": file.num_bytes,
        "mtime_ns": file.mtime_ns,
        "shape": file.shape,
        "array_dtype": file.dtype,
    }


def _join(study_id: str, tables: SplitTables) -> Row:
    row = join_texts(study_id, tables)
    metadata = tables.metadata
    if (index := metadata.first.get(study_id)) is not None:
        row |= {column: cells[index] for column, cells in tables.cells.items()}
        row["xy_spacing"] = metadata.table.rows[index][metadata.table.column_index("XYSpacing")]
    return row


def _exclude(
    file: NpzFile, num_files: int, *, row: Row, tables: SplitTables, spec: CTSourceSpec
) -> Exclusion | None:
    """Return why a file makes no sample: the first rule that applies."""
    if file.problem is not None:
        return file.problem
    if num_files > 1:
        return (
            Reason.AMBIGUOUS_SOURCE,
            f"{file.path}: {num_files} files of {file.study_id}; leave one",
        )
    if file.study_id not in tables.metadata.first:
        return Reason.MISSING_METADATA, f"{file.path}: not in {tables.metadata.table.path}"
    if (conflict := tables.find_conflict(file.study_id)) is not None:
        return Reason.DUPLICATE_ROW, conflict
    return exclude_by_cells(file.study_id, row=row, tables=tables, spec=spec)


def _exclude_depth(file: NpzFile, depth: int) -> Row:
    where = f"at depth {file.depth}; of depths 1 to {DEEPEST} most files are at {depth}"
    reason, detail = file.problem or (Reason.OTHER_DEPTH, f"{file.path}: {where}")
    key = make_distinct_key(file.study_id, of=file.path)
    return _identify(file) | {"key": key, "excluded": str(reason), "detail": detail}


def _iter_table_only_rows(files: list[NpzFile], tables: SplitTables, split: str) -> Iterator[Row]:
    """Yield a row for each study that only the tables know."""
    seen = {file.study_id for file in files}
    for side in (tables.metadata, tables.reports, tables.labels):
        for study_id, index in side.first.items():
            if study_id in seen:
                continue
            seen.add(study_id)
            where = f"{side.table.path}, row {side.table.row_numbers[index]}"
            detail = f"{where}: {split} has no file {study_id}.npz"
            yield {
                "key": make_sample_key(study_id),
                "study_id": study_id,
                "excluded": str(Reason.MISSING_SOURCE),
                "detail": detail,
            }


def _iter_repeats(tables: SplitTables, split: str) -> Iterator[Row]:
    """Yield a row for each row of a table that repeats the name of another."""
    sides: tuple[tuple[str, NamedTable], ...] = (
        ("metadata", tables.metadata),
        ("reports", tables.reports),
        ("labels", tables.labels),
    )
    for kind, side in sides:
        for index, name in enumerate(side.names):
            if side.first[name] == index:
                continue
            number = side.table.row_numbers[index]
            fields: dict[str, Any] = {
                "key": f"{split}-{kind}-row-{number}",
                "study_id": name,
                "excluded": str(Reason.DUPLICATE_ROW),
                "detail": f"{side.table.path}, row {number}: {side.describe_repeat(name)}",
            }
            yield fields
