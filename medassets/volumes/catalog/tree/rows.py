"""The catalog of a tree of NIfTI files: a row per file, and one per row of the table without a file."""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from medassets.errors import CatalogError, Reason
from medassets.samples import ListedFile, Listing
from medassets.specs import CTSourceSpec
from medassets.specs.tree_columns import TreeColumns
from medassets.storage.formats.csv_tables import CsvTable
from medassets.volumes.catalog.columns import LABEL_NAMES_KEY, ROW_SCHEMA, drop_texts
from medassets.volumes.catalog.ct_tables import Exclusion, Row
from medassets.volumes.catalog.label_summary import SUMMARY_KEY, read_label_rules, summarize_rows
from medassets.volumes.catalog.sample_keys import make_distinct_key
from medassets.volumes.catalog.tree.figures import (
    FIGURES_KEY,
    JoinFigures,
    TreeFigures,
)
from medassets.volumes.catalog.tree.joined_table import JoinedTable
from medassets.volumes.catalog.tree.names import (
    drop_prefix,
    find_collisions,
    find_pattern,
    find_prefix,
    group_channels,
    make_tree_key,
)
from medassets.volumes.catalog.tree.patients import (
    check_shared_folder,
    describe_leaks,
    doubt_names,
    doubt_patients,
    find_leaks,
    name_patient_folders,
)
from medassets.volumes.catalog.tree.planned import Planned
from medassets.volumes.catalog.tree.splits import (
    check_kept,
    choose_split_mode,
    hash_split,
    read_split_cell,
    read_split_folders,
)

_KEY_START = 60


def read_tree_rows(
    spec: CTSourceSpec,
    listing: Listing,
    table: CsvTable | None = None,
    *,
    revision: str | None = None,
    previous: pa.Table | None = None,
    with_texts: bool = True,
    requires: Collection[str] = (),
) -> pa.Table:
    """Join the files of a tree with its table, and decide their splits.

    Args:
        spec: Declaration.
        listing: The files.
        table: The table; None without one.
        revision: Pinned revision, None where the source has none.
        previous: The last catalog: its decisions are kept, and so are the splits of its samples.
        with_texts: Read report and labels. Without them, the result lacks `TEXT_COLUMNS`.
        requires: What a volume must have, of `report` and `labels`.

    Returns:
        Table with the columns of `ROW_SCHEMA`; spacing is null, for the files state it.

    Raises:
        CatalogError: If the table's rows cannot be joined, a split cannot be decided, or a patient is
            in several splits.
    """
    tree = _Tree.open(spec, listing.files, table, previous=previous)
    tree.exclude_collisions()
    tree.exclude_uncertain()
    mode = tree.assign_splits()
    tree.exclude_lacking(requires)
    tree.exclude_second_names()
    leaks = tree.check_splits()
    common = {"revision": revision}
    rows = [{**common, **row} for row in (*tree.iter_rows(), *tree.joined.iter_rows())]
    figures = TreeFigures(
        prefix=tree.prefix,
        split_by=mode,
        patients_from=tree.patients_from,
        patients=tree.count_patients(),
        leaks=leaks,
        join=tree.describe_join(),
        num_others=listing.num_others,
        hidden_folders=listing.hidden_folders,
        doubts=tree.list_doubts(mode),
    )
    made = pa.Table.from_pylist(rows, schema=ROW_SCHEMA)
    metadata = {FIGURES_KEY: figures.encode()}
    if not with_texts:
        return drop_texts(made).replace_schema_metadata(metadata)
    names = list(tree.columns.labels)
    if names:
        summary = summarize_rows(rows, names, read_label_rules(spec))
        metadata |= {SUMMARY_KEY: summary.encode()}
    metadata[LABEL_NAMES_KEY] = json.dumps(names, ensure_ascii=False).encode()
    return made.replace_schema_metadata(metadata)


@dataclass
class _Tree:
    """The files of a tree while their rows are decided; a file with an exclusion stays excluded.

    Attributes:
        spec: Declaration.
        columns: Columns of the table.
        files: Path -> file.
        joined: The table, and which row is about which file.
        before: The last catalog's planned samples.
        prefix: Folders that all files share.
        excluded: Path -> why it makes no sample.
        patients: Path -> patient; None where it is not known.
        splits: Path -> split.
    """

    spec: CTSourceSpec
    columns: TreeColumns
    files: Mapping[str, ListedFile]
    joined: JoinedTable
    before: Planned
    prefix: tuple[str, ...]
    excluded: dict[str, Exclusion]
    patients: dict[str, str | None] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        spec: CTSourceSpec,
        files: Sequence[ListedFile],
        table: CsvTable | None,
        *,
        previous: pa.Table | None,
    ) -> "_Tree":
        columns, before = TreeColumns.parse(spec.columns), Planned.of(previous)
        shown = [file.path for file in files if not file.path.rpartition("/")[2].startswith(".")]
        prefix = find_prefix(shown) if before.figures is None else tuple(before.figures.prefix)
        tree = cls(
            spec=spec,
            columns=columns,
            files={file.path: file for file in files},
            joined=JoinedTable.read(table, columns, read_label_rules(spec)),
            before=before,
            prefix=prefix,
            excluded={},
        )
        for file in files:
            if (exclusion := tree._judge(file)) is not None:
                tree.excluded[file.path] = exclusion
        return tree

    def _judge(self, file: ListedFile) -> Exclusion | None:
        name = file.path.rpartition("/")[2]
        if name.startswith("."):
            return Reason.HIDDEN_FILE, f"{file.path}: its name begins with a dot"
        found = find_pattern(drop_prefix(file.path, self.prefix), self.spec.exclude)
        if found is not None:
            part, pattern = found
            what = f"{part!r} matches {pattern!r} of `exclude`, as names of masks do"
            return Reason.NAME_EXCLUDED, f"{file.path}: {what}"
        return file.problem

    def list_open(self) -> list[str]:
        """Return the paths that nothing excludes yet."""
        return [path for path in self.files if path not in self.excluded]

    def exclude_collisions(self) -> None:
        """Exclude files whose keys are the same; one that is planned keeps its key."""
        for path, others in find_collisions(self.list_open()).items():
            if self.before.paths.get(make_tree_key(path)) == path:
                continue
            what = f"{path} and {', '.join(others)} make one sample key, {make_tree_key(path)!r}, or differ only in case"
            self.excluded[path] = Reason.AMBIGUOUS_SOURCE, f"{what}; rename or remove one of them"

    def exclude_uncertain(self) -> None:
        """Join the table, and exclude files of which it is not certain which row is about them."""
        self.joined = self.joined.join_with(
            self.list_open(), declared=self.spec.join_by, before=self.before.figures
        )
        self.excluded |= self.joined.list_uncertain()

    @property
    def patients_from(self) -> str:
        """What names patients: `column`, `folder` or `file`."""
        if self.columns.patient:
            return "column"
        return "file" if all(one is None for one in self.patients.values()) else "folder"

    def assign_splits(self) -> str:
        """Find patients and splits, and exclude files without; return how splits are decided."""
        spec, paths = self.spec, self.list_open()
        if self.columns.patient:
            self.patients = {
                path: self.joined.read_cell(path, self.columns.patient) for path in paths
            }
        else:
            self.patients = name_patient_folders(
                paths, self.prefix, splits=spec.splits, mode=spec.patient_from
            )
        folders = read_split_folders(paths, spec.splits, self.prefix)
        mode = choose_split_mode(
            folders,
            declared=spec.split_by,
            has_column=bool(self.columns.split),
            before=self.before.figures.split_by if self.before.figures else None,
        )
        assign = {"folder": self._by_folder, "column": self._by_column, "hash": self._by_hash}[mode]
        for path, found in assign(paths, folders):
            if isinstance(found, str) and found not in spec.splits:
                what = f"{path}: in the split {found}, which the declaration does not list"
                self.excluded[path] = Reason.OTHER_SPLIT, what
            elif isinstance(found, str):
                self.splits[path] = found
            else:
                self.excluded[path] = found[0], f"{path}: {found[1]}"
        return mode

    def _by_folder(
        self, paths: Sequence[str], folders: Mapping[str, str | None]
    ) -> Iterator[tuple[str, str | Exclusion]]:
        for path in paths:
            missing = (Reason.MISSING_METADATA, "no folder of it names a split")
            yield path, folders[path] or missing

    def _by_column(
        self, paths: Sequence[str], _: Mapping[str, str | None]
    ) -> Iterator[tuple[str, str | Exclusion]]:
        for path in paths:
            if self.joined.find_row(path) is None:
                yield (
                    path,
                    (
                        Reason.MISSING_METADATA,
                        f"not in {self.joined.table.path}, which has the split",
                    ),
                )
                continue
            cell = self.joined.read_cell(path, self.columns.split) or ""
            split, exclusion = read_split_cell(cell, self.spec.splits)
            yield path, exclusion or split or ""

    def _by_hash(
        self, paths: Sequence[str], _: Mapping[str, str | None]
    ) -> Iterator[tuple[str, str | Exclusion]]:
        spec = self.spec
        if not self.columns.patient:
            check_shared_folder(
                self.patients, self.prefix, splits=spec.splits, mode=spec.patient_from
            )
        channels = group_channels(paths)
        for path in paths:
            group = self.patients[path]
            if group is None and self.columns.patient:
                what = f"{self.joined.table.path} gives no {self.columns.patient}, by which splits are made"
                yield path, (Reason.MISSING_METADATA, what)
                continue
            name = group or channels.get(path) or make_tree_key(path)
            yield path, hash_split(name, spec.splits, shares=spec.split_shares, seed=spec.seed)

    def exclude_lacking(self, requires: Collection[str]) -> None:
        """Exclude files whose report or labels are required and missing, or cannot be read."""
        for path in self.list_open():
            exclusion = self.joined.find_lack(path, requires)
            if exclusion is not None:
                self.excluded[path] = exclusion[0], f"{path}: {exclusion[1]}"

    def exclude_second_names(self) -> None:
        """Of several names of one file, keep the planned one, else one that is no link, else the first."""
        chosen: dict[str, str] = {}

        def rank(path: str) -> tuple[bool, bool, str]:
            is_planned = self.before.paths.get(make_tree_key(path)) == path
            return not is_planned, self.files[path].is_link, path

        for path in sorted(self.list_open(), key=rank):
            identity = self.files[path].identity
            if identity is not None and (first := chosen.setdefault(identity, path)) != path:
                what = f"{path}: the same file as {first}, by a link"
                self.excluded[path] = Reason.DUPLICATE_ROW, what

    def check_splits(self) -> dict[str, list[str]]:
        """Refuse splits that contradict the plan, or share a patient; return shared ones that are accepted.

        Raises:
            CatalogError: If there are any that are not accepted.
        """
        keys = {path: make_tree_key(path) for path in self.list_open()}
        today = {key: self.splits[path] for path, key in keys.items()}
        check_kept(today, self.before.splits)
        known = {keys[path]: name for path in keys if (name := self.patients[path]) is not None}
        leaks = find_leaks({**self.before.splits, **today}, {**self.before.patients, **known})
        if leaks and not self.spec.accept_leaks:
            msg = (
                f"{describe_leaks(leaks)}: a model would be tested on patients that it was trained on. Correct "
                f"the splits or the column of patients, or declare `accept_leaks: true`"
            )
            raise CatalogError(msg)
        return leaks

    def iter_rows(self) -> Iterator[Row]:
        """Yield a row per file."""
        names = Counter(make_tree_key(path).casefold() for path in self.files)
        for path in self.files:
            key, exclusion = make_tree_key(path), self.excluded.get(path)
            row: Row = {"key": key, "path": path, "split": self.splits.get(path), "metadata": "{}"}
            if exclusion is not None:
                if names[key.casefold()] > 1:
                    row["key"] = make_distinct_key(f"{key[:_KEY_START]}-not", of=path)
                row |= {"excluded": str(exclusion[0]), "detail": exclusion[1]}
            patient = self.patients.get(path)
            row |= {"patient": patient, "group": patient or key}
            self.joined.fill(row, path)
            row["metadata"] = self.joined.read_metadata(path)
            yield row

    def count_patients(self) -> dict[str, int]:
        """Return the number of patients of each split; of files where nothing names patients."""
        groups: dict[str, set[str]] = {split: set() for split in self.spec.splits}
        for path in self.list_open():
            groups[self.splits[path]].add(self.patients[path] or path)
        return {split: len(found) for split, found in groups.items()}

    def describe_join(self) -> JoinFigures | None:
        """Return the counts of the table; None without one."""
        candidates = [p for p in self.files if self._judge(self.files[p]) is None]
        return self.joined.describe(len(candidates))

    def list_doubts(self, mode: str) -> list[str]:
        """Return what a person should look at."""
        counts = Counter(self.splits[path] for path in self.list_open())
        empty = [split for split in self.spec.splits if counts and not counts[split]]
        doubts = [f"split {split} gets no volume, by {mode}" for split in empty]
        if mode == "hash" and self.patients_from == "folder":
            doubts += doubt_patients({p: self.patients[p] for p in self.list_open()})
        unknown = [path for path in self.list_open() if self.patients[path] is None]
        return doubts + doubt_names({path: self.splits[path] for path in unknown})
