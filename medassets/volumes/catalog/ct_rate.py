"""The layout of CT-RATE: where its tables and volumes are, and what their rows mean."""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from medassets.errors import CatalogError, Reason
from medassets.specs import SAMPLE_TEXTS, CTSourceSpec
from medassets.storage.formats.csv_tables import CsvTable, parse_csv
from medassets.storage.formats.label_rules import LabelRules
from medassets.volumes.catalog.columns import LABEL_NAMES_KEY, ROW_SCHEMA
from medassets.volumes.catalog.ct_rate_names import (
    VolumeName,
    parse_volume_name,
    table_paths,
    volume_path,
    volumes_pattern,
)
from medassets.volumes.catalog.ct_tables import (
    LABEL_NAMES,
    METADATA_COLUMNS,
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
    SUMMARY_KEY,
    read_label_rules,
    summarize_rows,
)
from medassets.volumes.catalog.table_check import NeededTable


def read_rows(
    source: "TableSource",
    spec: CTSourceSpec,
    split: str,
    revision: str | None,
    *,
    with_texts: bool = True,
    requires: Collection[str] = SAMPLE_TEXTS,
    absent: Collection[str] = (),
    label_names: Sequence[str] = (),
) -> pa.Table:
    """Read the tables of one split and join them: one row per row of the metadata table.

    A row that cannot become a sample is kept, with its reason in `excluded` and a sentence in
    `detail`. A volume that only the reports or the labels know gets a row of its own, so that
    every row of every table ends in exactly one row.

    Args:
        source: Where the tables are.
        spec: Declaration; `volumes_dir`, `labels` and `hu_rule` are used.
        split: One of the splits of the declaration.
        revision: Pinned revision, None where the source has none.
        with_texts: Read reports and labels. Without them, their columns are null, and no volume is
            excluded for lack of them.
        requires: Which of both a volume must have.
        absent: Paths of tables that are not required and do not exist.
        label_names: Names of the labels of a split that has no table of them.

    Returns:
        Table with the columns of `ROW_SCHEMA`, in the order of the metadata table. All keys
        differ: a row without a usable name, or that repeats one, has a key made of the table
        and the row number.

    Raises:
        CatalogError: If a table is missing or malformed; the message names file, row and column.
    """
    rules = read_label_rules(spec)
    paths = table_paths(split)

    def read(path: str, columns: Sequence[str] = ()) -> CsvTable:
        if path in absent or (path != paths.metadata and not with_texts):
            return absent_table(path, columns)
        return parse_csv(source.read_table(path, revision=revision), path)

    joined = read_tables(
        read(paths.metadata),
        read(paths.reports, REPORT_COLUMNS),
        read(paths.labels, rules.columns or label_names if with_texts else LABEL_NAMES),
        with_texts=with_texts,
        requires=requires,
        rules=rules,
    )
    no_chest = _read_no_chest(source, paths.no_chest, split=split, revision=revision)
    tables = _Split(**vars(joined), split=split, no_chest=no_chest)
    common = {"split": split, "revision": revision, "label_names": list(tables.label_names)}
    rows = [{**common, **row} for row in _iter_rows(tables, spec)]
    names = json.dumps(tables.label_names, ensure_ascii=False).encode()
    table = pa.Table.from_pylist(rows, schema=ROW_SCHEMA)
    summary = summarize_rows(rows, tables.label_names, rules)
    return table.replace_schema_metadata({LABEL_NAMES_KEY: names, SUMMARY_KEY: summary.encode()})


def list_needed(
    splits: Sequence[str], rules: LabelRules, *, requires: Collection[str]
) -> list[NeededTable]:
    """Return the tables that splits must have.

    Args:
        splits: The splits of the declaration.
        rules: What the declaration says of labels.
        requires: What a volume must have, of `report` and `labels`.
    """
    needed: list[NeededTable] = []
    for paths in map(table_paths, splits):
        needed.append(NeededTable(paths.metadata, METADATA_COLUMNS))
        if "report" in requires:
            columns = ("VolumeName", *REPORT_COLUMNS)
            needed.append(NeededTable(paths.reports, columns))
        if "labels" in requires:
            needed.append(NeededTable(paths.labels, ("VolumeName", *rules.columns)))
        needed.append(NeededTable(paths.no_chest, note="empty where every volume shows a chest"))
    return needed


def list_tables(splits: Sequence[str], *, with_texts: bool) -> list[str]:
    """Return the paths of all tables and lists of splits.

    Args:
        splits: The splits of the declaration.
        with_texts: Include the tables of reports and labels.
    """
    wanted: list[str] = []
    for paths in map(table_paths, splits):
        texts = [paths.reports, paths.labels] if with_texts else []
        wanted += [paths.metadata, *texts, paths.no_chest]
    return wanted


def list_optional(splits: Sequence[str], found: Collection[str]) -> list[str]:
    """Return the tables of reports and labels that do not exist."""
    paths = [path for one in map(table_paths, splits) for path in (one.reports, one.labels)]
    return [path for path in paths if path not in found]


def _iter_rows(tables: "_Split", spec: CTSourceSpec) -> Iterator[Row]:
    """Yield a row per metadata row, then a row per volume that only another table knows."""
    for index, name in enumerate(tables.metadata.names):
        yield _make_row(name, index, tables=tables, spec=spec)
    for side in (tables.reports, tables.labels):
        for name, index in side.first.items():
            known = name in tables.metadata.first
            if known or (side is tables.labels and name in tables.reports.first):
                continue
            yield _make_table_only_row(name, index, side=side, tables=tables, spec=spec)


def _make_row(name: str, index: int, *, tables: "_Split", spec: CTSourceSpec) -> Row:
    volume = parse_volume_name(name, split=tables.split)
    row: Row = {column: cells[index] for column, cells in tables.cells.items()}
    row |= _identify(volume, spec, split=tables.split)
    row |= join_texts(name, tables)
    first = tables.metadata.first[name] == index
    if volume is None or not first:
        row["key"] = f"{tables.split}-metadata-row-{tables.metadata.table.row_numbers[index]}"
    exclusion = _exclude(name, volume, row=row, first=first, tables=tables, spec=spec)
    if exclusion is not None:
        row["excluded"], row["detail"] = str(exclusion[0]), exclusion[1]
    return row


def _make_table_only_row(
    name: str, index: int, *, side: NamedTable, tables: "_Split", spec: CTSourceSpec
) -> Row:
    volume = parse_volume_name(name, split=tables.split)
    row_number = side.table.row_numbers[index]
    where = f"{side.table.path}, row {row_number}: {name!r}"
    row = _identify(volume, spec, split=tables.split) | join_texts(name, tables)
    if volume is None:
        kind = "reports" if side is tables.reports else "labels"
        row["key"] = f"{tables.split}-{kind}-row-{row_number}"
        row["excluded"] = str(Reason.BAD_NAME)
        row["detail"] = f"{where} is not the name of a {tables.split} volume"
    else:
        row["excluded"] = str(Reason.MISSING_METADATA)
        row["detail"] = f"{where} is not in {tables.metadata.table.path}"
    return row


def _identify(volume: VolumeName | None, spec: CTSourceSpec, *, split: str) -> Row:
    if volume is None:
        return {}
    return {
        "key": volume.key,
        "path": volume_path(volume, volumes_dir=volumes_pattern(spec), split=split),
        "group": volume.patient,
        "patient": volume.patient,
        "scan": volume.scan,
        "reconstruction": volume.reconstruction,
    }


def _exclude(
    name: str,
    volume: VolumeName | None,
    *,
    row: Row,
    first: bool,
    tables: "_Split",
    spec: CTSourceSpec,
) -> Exclusion | None:
    """Say why a row cannot become a sample: the first rule that applies."""
    metadata, split = tables.metadata, tables.split
    if volume is None:
        return Reason.BAD_NAME, f"{name!r} is not the name of a {split} volume"
    if not first:
        return Reason.DUPLICATE_ROW, metadata.describe_repeat(name)
    if (conflict := tables.find_conflict(name)) is not None:
        return Reason.DUPLICATE_ROW, conflict
    if {volume.key, volume.scan} & tables.no_chest:
        return Reason.NO_CHEST, f"listed in {table_paths(split).no_chest}"
    return exclude_by_cells(name, row=row, tables=tables, spec=spec)


def _read_no_chest(
    source: "TableSource", path: str, *, split: str, revision: str | None
) -> frozenset[str]:
    """Read the keys (`train_1_a_1`) and scans (`train_1_a`) that show no chest."""
    try:
        content = source.read_table(path, revision=revision)
    except CatalogError as error:
        msg = f"{error}; if every volume shows a chest, put an empty file there"
        raise CatalogError(msg) from error
    stems = set()
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    for row_number, line in enumerate(lines, start=1):
        # The paths are those of CT-RATE's first version, so only the base name can match.
        stem = line.strip().rsplit("/", 1)[-1].removesuffix(".nii.gz")
        if stem and not re.fullmatch(rf"{re.escape(split)}_\d+_[a-z]+(_\d+)?", stem, re.ASCII):
            msg = f"{path}, row {row_number}: expected the path of a {split} volume, got {line!r}"
            raise CatalogError(msg)
        stems.add(stem)
    return frozenset(stems)


class TableSource(Protocol):
    """What reading the tables needs of a source."""

    def read_table(self, path: str, *, revision: str | None) -> bytes:
        """Return a small file; a CatalogError names it if it is missing."""
        ...


@dataclass(frozen=True)
class _Split(SplitTables):
    """The tables of one split, and the keys and scans that show no chest."""

    split: str
    no_chest: frozenset[str]
