"""The catalog of a tree of DICOM files: a row per volume, and one per series and reason of what is none.

Rows name neither files nor people: keys are hashes, and of a patient only the split is kept.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from medassets.errors import CatalogError
from medassets.specs import CTSourceSpec
from medassets.volumes.catalog.columns import ARRAY_ROW_SCHEMA, LABEL_NAMES_KEY, drop_texts
from medassets.volumes.catalog.ct_tables import Row
from medassets.volumes.catalog.dicom.figures import DICOM_KEY, DicomFigures
from medassets.volumes.catalog.dicom.scan import FolderScan
from medassets.volumes.catalog.dicom.series import Series
from medassets.volumes.catalog.dicom.stacking import Stack, read_header
from medassets.volumes.catalog.tree.figures import FIGURES_KEY, TreeFigures
from medassets.volumes.catalog.tree.names import find_prefix
from medassets.volumes.catalog.tree.patients import find_leaks
from medassets.volumes.catalog.tree.planned import Planned
from medassets.volumes.catalog.tree.splits import (
    check_kept,
    choose_split_mode,
    hash_split,
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
    previous: pa.Table | None = None,
    with_texts: bool = True,
) -> pa.Table:
    """Return the catalog of a tree of DICOM files.

    Args:
        spec: Declaration: `splits`, `split_by`, `split_shares`, `seed`, `accept_leaks`.
        found: The series.
        read_tags: Reads the elements that `tags` declares.
        previous: The last catalog: how it made splits is kept, and so are the splits of its samples.
        with_texts: Keep the columns of report and labels, which are empty.

    Raises:
        CatalogError: If a split cannot be decided, or a patient is in several.
    """
    stacks, before = found.stacks, Planned.of(previous)
    patients = {key: _name_patient(stack) for key, stack in stacks.items()}
    mode, splits = _assign_splits(spec, stacks, patients, before)
    usable = {key: split for key, split in splits.items() if split in spec.splits}
    check_kept(usable, before.splits)
    leaks = _check_leaks(spec, usable, patients)
    figures = _count(found)
    tree = TreeFigures(
        prefix=(),
        split_by=mode,
        patients_from="tag",
        patients=_count_patients(spec.splits, usable, patients),
        leaks=leaks,
        num_others=found.scan.num_others,
        doubts=[*figures.list_doubts(), *_doubt_splits(spec.splits, usable, mode)],
    )
    rows = [
        *(_make_row(stack, splits[key], spec, read_tags) for key, stack in stacks.items()),
        *(row for one in found.series for row in _exclude(one)),
    ]
    table = pa.Table.from_pylist(rows, schema=ARRAY_ROW_SCHEMA)
    metadata = {FIGURES_KEY: tree.encode(), DICOM_KEY: figures.encode()}
    if not with_texts:
        return drop_texts(table).replace_schema_metadata(metadata)
    return table.replace_schema_metadata({LABEL_NAMES_KEY: b"[]", **metadata})


def _name_patient(stack: Stack) -> str:
    """Return what is in one split as a whole; it is not stored."""
    header = read_header(stack.slices[0])
    return header["patient_id"] or header["study_uid"] or stack.key


def _assign_splits(
    spec: CTSourceSpec,
    stacks: Mapping[str, Stack],
    patients: Mapping[str, str],
    before: Planned,
) -> tuple[str, dict[str, str]]:
    folders = _read_folders(stacks, spec.splits)
    declared = spec.split_by
    mode = choose_split_mode(
        folders,
        declared=declared,
        has_column=False,
        before=before.figures.split_by if before.figures else None,
    )
    if mode == "folder":
        return mode, {key: folders[key] or "" for key in stacks}
    shares, seed = spec.split_shares, spec.seed
    return mode, {
        key: hash_split(patient, spec.splits, shares=shares, seed=seed)
        for key, patient in patients.items()
    }


def _read_folders(stacks: Mapping[str, Stack], splits: Collection[str]) -> dict[str, str | None]:
    """Return the split that the folders of each volume name; None where they name none, or several."""
    paths = [file.path for stack in stacks.values() for file in stack.slices]
    named = read_split_folders(paths, splits, find_prefix(paths))
    by_key = {key: {named[file.path] for file in stack.slices} for key, stack in stacks.items()}
    return {key: next(iter(names)) if len(names) == 1 else None for key, names in by_key.items()}


def _check_leaks(
    spec: CTSourceSpec, splits: Mapping[str, str], patients: Mapping[str, str]
) -> dict[str, list[str]]:
    """Return patients in several splits that are accepted, each as the key of one volume.

    Raises:
        CatalogError: If they are not accepted.
    """
    leaks = find_leaks(splits, {key: patients[key] for key in splits})
    first = {patients[key]: key for key in sorted(splits, reverse=True)}
    shown = {f"that of {first[patient]}": found for patient, found in leaks.items()}
    if leaks and not spec.accept_leaks:
        some = ", ".join(f"{name} ({', '.join(of)})" for name, of in [*shown.items()][:_MOST_SHOWN])
        msg = (
            f"{len(leaks):,} patients are in several splits, such as {some}: a model would be tested on "
            f"patients that it was trained on. Correct the folders, declare `split_by: hash`, or "
            f"`accept_leaks: true`"
        )
        raise CatalogError(msg)
    return shown


def _count_patients(
    names: Sequence[str], splits: Mapping[str, str], patients: Mapping[str, str]
) -> dict[str, int]:
    of_split = Counter(split for split, _ in {(splits[key], patients[key]) for key in splits})
    return {name: of_split[name] for name in names}


def _doubt_splits(names: Sequence[str], splits: Mapping[str, str], mode: str) -> list[str]:
    counts = Counter(splits.values())
    return [f"split {one} gets no volume, by {mode}" for one in names if counts and not counts[one]]


def _make_row(stack: Stack, split: str, spec: CTSourceSpec, read_tags: ReadTags) -> Row:
    files, geometry = (*stack.slices, *stack.copies), stack.geometry
    columns, rows = stack.headers[0].shape
    stored = choose_stored(stack.headers)
    tags = dict(read_tags(stack)) if spec.tags else {}
    row: Row = {
        "key": stack.key,
        "path": stack.key,
        "split": split or None,
        "group": stack.key,
        "num_slices": len(stack.slices),
        "rescale_slope": stored.slope,
        "rescale_intercept": stored.intercept,
        "metadata": json.dumps(tags, ensure_ascii=False, sort_keys=True),
        "num_bytes": sum(file.version[0] for file in files),
        "mtime_ns": max(file.version[1] for file in files),
        "shape": [columns, rows, len(stack.slices)],
        "array_dtype": stored.dtype.name,
        "label_names": [],
        "labels": [],
    }
    row |= {f"spacing_{axis}": mm for axis, mm in zip("ijk", geometry.spacing_mm, strict=True)}
    if not split:
        return row | {
            "excluded": "missing_metadata",
            "detail": f"{stack.key}: no folder of it names a split",
        }
    if split not in spec.splits:
        detail = f"{stack.key}: in the split {split}, which the declaration does not list"
        return row | {"split": None, "excluded": "other_split", "detail": detail}
    return row


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
