"""The catalog of a tree of DICOM files: a row per volume, and one per series and reason of what is none.

Rows name neither files nor people: keys are hashes, and of a patient only the split is kept.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from medassets.errors import CatalogError, Reason
from medassets.specs import CTSourceSpec
from medassets.specs.tree_columns import TreeColumns
from medassets.storage.formats.csv_tables import CsvTable
from medassets.volumes.catalog.columns import ARRAY_ROW_SCHEMA, LABEL_NAMES_KEY, drop_texts
from medassets.volumes.catalog.ct_tables import Exclusion, Row
from medassets.volumes.catalog.dicom.figures import DICOM_KEY, DicomFigures
from medassets.volumes.catalog.dicom.join import make_forms
from medassets.volumes.catalog.dicom.scan import FolderScan
from medassets.volumes.catalog.dicom.series import Series
from medassets.volumes.catalog.dicom.stacking import Stack, read_header
from medassets.volumes.catalog.label_summary import SUMMARY_KEY, read_label_rules, summarize_rows
from medassets.volumes.catalog.tree.figures import FIGURES_KEY, TreeFigures
from medassets.volumes.catalog.tree.joined_table import JoinedTable
from medassets.volumes.catalog.tree.names import find_prefix
from medassets.volumes.catalog.tree.patients import find_leaks
from medassets.volumes.catalog.tree.planned import Planned
from medassets.volumes.catalog.tree.splits import (
    check_kept,
    choose_split_mode,
    hash_split,
    read_split_cell,
    read_split_folders,
)
from medassets.volumes.files.dicom.reader import choose_stored

_MOST_SHOWN = 3

ReadTags = Callable[[Stack], Mapping[str, str | None]]
"""Returns the declared elements of a volume's first slice."""


@dataclass(frozen=True)
class Found:
    """What a scan found.

    Attributes:
        scan: The files.
        series: Their series.
    """

    scan: FolderScan
    series: Sequence[Series]

    @property
    def stacks(self) -> dict[str, Stack]:
        """Key -> volume."""
        return {stack.key: stack for one in self.series for stack in one.stacks}


def make_dicom_rows(
    spec: CTSourceSpec,
    found: Found,
    *,
    read_tags: ReadTags,
    table: CsvTable | None = None,
    previous: pa.Table | None = None,
    with_texts: bool = True,
    requires: Collection[str] = (),
) -> pa.Table:
    """Return the catalog of a tree of DICOM files.

    Args:
        spec: Declaration: `columns`, `join_by`, `labels`, `splits`, `split_by`, `split_shares`, `seed`,
            `accept_leaks`.
        found: The series.
        read_tags: Reads the elements that `tags` declares.
        table: The declared table; None without one.
        previous: The last catalog: how it made splits is kept, and so are the splits of its samples.
        with_texts: Keep the columns of report and labels.
        requires: What a volume must have, of `report` and `labels`.

    Raises:
        CatalogError: If the table's rows cannot be joined, a split cannot be decided, or a patient is in several.
    """
    volumes = _Volumes.open(spec, found.stacks, table, previous=previous)
    mode = volumes.assign_splits()
    volumes.exclude_lacking(requires)
    leaks = volumes.check_splits()
    figures = _count(found)
    tree = TreeFigures(
        prefix=(),
        split_by=mode,
        patients_from="column" if volumes.joined.columns.patient else "tag",
        patients=_count_patients(spec.splits, volumes.usable, volumes.patients),
        leaks=leaks,
        join=volumes.joined.describe(len(found.stacks)),
        num_others=found.scan.num_others,
        doubts=[*figures.list_doubts(), *_doubt_splits(spec.splits, volumes.usable, mode)],
    )
    rows = [
        *volumes.iter_rows(read_tags),
        *(row for one in found.series for row in _exclude(one)),
        *volumes.joined.iter_rows(),
    ]
    made = pa.Table.from_pylist(rows, schema=ARRAY_ROW_SCHEMA)
    metadata = {FIGURES_KEY: tree.encode(), DICOM_KEY: figures.encode()}
    if not with_texts:
        return drop_texts(made).replace_schema_metadata(metadata)
    names = list(volumes.joined.columns.labels)
    if names:
        summary = summarize_rows(rows, names, read_label_rules(spec))
        metadata |= {SUMMARY_KEY: summary.encode()}
    metadata[LABEL_NAMES_KEY] = json.dumps(names, ensure_ascii=False).encode()
    return made.replace_schema_metadata(metadata)


@dataclass
class _Volumes:
    """The volumes of a tree while their rows are decided; one with an exclusion stays excluded.

    Attributes:
        spec: Declaration.
        stacks: Key -> volume.
        joined: The table, and which row is about which volume.
        patients: Key -> patient; it is not stored. None where the table names none.
        before: The last catalog's planned samples.
        excluded: Key -> why it makes no sample.
        splits: Key -> split.
    """

    spec: CTSourceSpec
    stacks: Mapping[str, Stack]
    joined: JoinedTable
    patients: Mapping[str, str | None]
    before: Planned
    excluded: dict[str, Exclusion]
    splits: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        spec: CTSourceSpec,
        stacks: Mapping[str, Stack],
        table: CsvTable | None,
        *,
        previous: pa.Table | None,
    ) -> "_Volumes":
        before, columns = Planned.of(previous), TreeColumns.parse(spec.columns)
        joined = JoinedTable.read(table, columns, read_label_rules(spec)).join_with(
            [*stacks], declared=spec.join_by, before=before.figures, forms=make_forms(stacks)
        )
        patients: dict[str, str | None] = {
            key: joined.read_cell(key, columns.patient) if columns.patient else _name_patient(stack)
            for key, stack in stacks.items()
        }
        return cls(spec, stacks, joined, patients, before, joined.list_uncertain())

    @property
    def usable(self) -> dict[str, str]:
        """Key -> split of the volumes that nothing excludes."""
        return {key: split for key, split in self.splits.items() if key not in self.excluded}

    def assign_splits(self) -> str:
        """Find the split of each volume, and exclude those without; return how splits are decided."""
        spec, before = self.spec, self.before.figures
        folders = _read_folders(self.stacks, spec.splits)
        mode = choose_split_mode(
            folders,
            declared=spec.split_by,
            has_column=bool(self.joined.columns.split),
            before=before.split_by if before else None,
        )
        for key in self.stacks:
            split = self._find_split(key, mode, folders)
            if isinstance(split, str) and split not in spec.splits:
                what = f"in the split {split}, which the declaration does not list"
                self.excluded.setdefault(key, (Reason.OTHER_SPLIT, what))
            elif isinstance(split, str):
                self.splits[key] = split
            else:
                self.excluded.setdefault(key, split)
        return mode

    def _find_split(
        self, key: str, mode: str, folders: Mapping[str, str | None]
    ) -> str | Exclusion:
        spec, joined = self.spec, self.joined
        if mode == "folder":
            return folders[key] or (Reason.MISSING_METADATA, "no folder of it names a split")
        if mode == "column":
            if joined.find_row(key) is None:
                what = f"not in {joined.table.path}, which has the split"
                return Reason.MISSING_METADATA, what
            cell = joined.read_cell(key, joined.columns.split) or ""
            split, exclusion = read_split_cell(cell, spec.splits)
            if exclusion is not None and exclusion[0] is Reason.BAD_RECORD:
                # The cell may be of another column than was meant, and name a person.
                return Reason.BAD_RECORD, f"its cell in {joined.columns.split} names no split"
            return exclusion or split or ""
        patient = self.patients[key]
        if patient is None:
            what = (
                f"{joined.table.path} gives no {joined.columns.patient}, by which splits are made"
            )
            return Reason.MISSING_METADATA, what
        return hash_split(patient, spec.splits, shares=spec.split_shares, seed=spec.seed)

    def exclude_lacking(self, requires: Collection[str]) -> None:
        """Exclude volumes whose report or labels are required and missing, or cannot be read."""
        for key in self.usable:
            exclusion = self.joined.find_lack(key, requires)
            if exclusion is not None:
                self.excluded[key] = exclusion

    def check_splits(self) -> dict[str, list[str]]:
        """Refuse splits that contradict the plan; return patients in several, each as the key of one volume.

        Raises:
            CatalogError: If splits contradict the plan, or patients in several are not accepted.
        """
        usable = self.usable
        check_kept(usable, self.before.splits)
        known = {key: name for key in usable if (name := self.patients[key]) is not None}
        leaks = find_leaks(usable, known)
        first = {known[key]: key for key in sorted(known, reverse=True)}
        shown = {f"that of {first[patient]}": found for patient, found in leaks.items()}
        if leaks and not self.spec.accept_leaks:
            raise _refuse_leaks(shown)
        return shown

    def iter_rows(self, read_tags: ReadTags) -> Iterator[Row]:
        """Yield a row per volume."""
        for key, stack in self.stacks.items():
            row = _make_row(stack) | {"split": self.splits.get(key)}
            kept = json.loads(self.joined.read_metadata(key))
            kept |= read_tags(stack) if self.spec.tags else {}
            row["metadata"] = json.dumps(kept, ensure_ascii=False, sort_keys=True)
            self.joined.fill(row, key)
            if (exclusion := self.excluded.get(key)) is not None:
                row |= {"excluded": str(exclusion[0]), "detail": f"{key}: {exclusion[1]}"}
            yield row


def _name_patient(stack: Stack) -> str:
    """Return what is in one split as a whole; it is not stored."""
    header = read_header(stack.slices[0])
    return header["patient_id"] or header["study_uid"] or stack.key


def _read_folders(stacks: Mapping[str, Stack], splits: Collection[str]) -> dict[str, str | None]:
    """Return the split that the folders of each volume name; None where they name none, or several."""
    paths = [file.path for stack in stacks.values() for file in stack.slices]
    named = read_split_folders(paths, splits, find_prefix(paths))
    by_key = {key: {named[file.path] for file in stack.slices} for key, stack in stacks.items()}
    return {key: next(iter(names)) if len(names) == 1 else None for key, names in by_key.items()}


def _refuse_leaks(shown: Mapping[str, Sequence[str]]) -> CatalogError:
    some = ", ".join(f"{name} ({', '.join(of)})" for name, of in [*shown.items()][:_MOST_SHOWN])
    return CatalogError(
        f"{len(shown):,} patients are in several splits, such as {some}: a model would be tested on "
        f"patients that it was trained on. Correct the folders or the table, declare `split_by: hash`, or "
        f"`accept_leaks: true`"
    )


def _count_patients(
    names: Sequence[str], splits: Mapping[str, str], patients: Mapping[str, str | None]
) -> dict[str, int]:
    of_split = Counter(
        split for split, _ in {(splits[key], patients[key] or key) for key in splits}
    )
    return {name: of_split[name] for name in names}


def _doubt_splits(names: Sequence[str], splits: Mapping[str, str], mode: str) -> list[str]:
    counts = Counter(splits.values())
    return [f"split {one} gets no volume, by {mode}" for one in names if counts and not counts[one]]


def _make_row(stack: Stack) -> Row:
    """Return what the files say of a volume."""
    files, geometry = (*stack.slices, *stack.copies), stack.geometry
    columns, rows = stack.headers[0].shape
    stored = choose_stored(stack.headers)
    spacing = {f"spacing_{axis}": mm for axis, mm in zip("ijk", geometry.spacing_mm, strict=True)}
    return {
        "key": stack.key,
        "path": stack.key,
        "group": stack.key,
        "num_slices": len(stack.slices),
        "rescale_slope": stored.slope,
        "rescale_intercept": stored.intercept,
        "num_bytes": sum(file.version[0] for file in files),
        "mtime_ns": max(file.version[1] for file in files),
        "shape": [columns, rows, len(stack.slices)],
        "array_dtype": stored.dtype.name,
        **spacing,
    }


def _exclude(series: Series) -> list[Row]:
    """Return a row per reason for which files of a series are in no volume."""
    found: list[Row] = []
    for number, (reason, (detail, num_files)) in enumerate(series.excluded.items()):
        is_only = not series.stacks and not number
        found.append(
            {
                "key": series.key if is_only else f"{series.key}-{reason}".replace("_", "-"),
                "excluded": str(reason),
                "detail": f"{series.key}, {num_files:,} files: {detail}",
                "metadata": "{}",
            }
        )
    return found


def _count(found: Found) -> DicomFigures:
    by_reason: Counter[str] = Counter()
    for one in found.series:
        for reason, (_, number) in one.excluded.items():
            by_reason[str(reason)] += number
    stacks = [stack for one in found.series for stack in one.stacks]
    return DicomFigures(
        num_files=len(found.scan.files),
        num_others=found.scan.num_others,
        num_series=len(found.series),
        num_volumes=len(stacks),
        num_copies=sum(len(stack.copies) for stack in stacks),
        num_parts=sum(len(one.stacks) for one in found.series if len(one.stacks) > 1),
        no_series_uid=sum(not one.has_uid for one in found.series if one.stacks),
        no_patient_id=sum(not read_header(stack.slices[0])["patient_id"] for stack in stacks),
        files_by_reason=dict(sorted(by_reason.items())),
    )
