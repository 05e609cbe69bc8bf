"""What is known of a tree as a whole: how it was joined and split, for people and for the next plan."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

FIGURES_KEY = b"medassets.tree"
"""Key of the schema metadata that holds the `TreeFigures` of a catalog."""


@dataclass(frozen=True)
class JoinFigures:
    """How many rows of the table are about a file, and how many files have a row.

    Attributes:
        table: Path of the table.
        form: What its cells are; one of those of `JoinForms`.
        files_matched: Files with a row.
        files_unmatched: Files without a row.
        files_ambiguous: Files of which it is not certain which row is about them, or whose rows differ.
        rows_matched: Rows with a file.
        rows_unmatched: Rows without a file.
        rows_repeated: Rows that repeat another.
        noun: What is counted: `file`, or `volume` where one has many files.
    """

    table: str
    form: str
    files_matched: int
    files_unmatched: int
    files_ambiguous: int
    rows_matched: int
    rows_unmatched: int
    rows_repeated: int
    noun: str = "file"

    def describe(self) -> str:
        """Return all counts in a sentence."""
        ambiguous = f", {self.files_ambiguous:,} ambiguous" if self.files_ambiguous else ""
        repeated = f", {self.rows_repeated:,} repeated" if self.rows_repeated else ""
        return (
            f"{self.table}, joined by {self.form}: {self.files_matched:,} {self.noun}s have a row, "
            f"{self.files_unmatched:,} have none{ambiguous}; {self.rows_matched:,} rows have a {self.noun}, "
            f"{self.rows_unmatched:,} have none{repeated}"
        )


@dataclass(frozen=True)
class TreeFigures:
    """Facts and decisions of a catalog of a tree.

    Attributes:
        prefix: Folders that all files shared when the first plan was made.
        split_by: `folder`, `column` or `hash`; the first plan's decision is kept.
        patients_from: `column`, `folder`, or `file` where nothing names patients.
        patients: Split -> number of patients, or of files where nothing names patients.
        leaks: Patients in several splits that were accepted, with these.
        join: Counts of the table; None without a table.
        num_others: Files of the source with other endings.
        hidden_folders: Folders that were not entered.
        doubts: A sentence for each decision that a person should look at.
    """

    prefix: Sequence[str]
    split_by: str
    patients_from: str
    patients: Mapping[str, int]
    leaks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    join: JoinFigures | None = None
    num_others: int = 0
    hidden_folders: Sequence[str] = ()
    doubts: Sequence[str] = ()

    def encode(self) -> bytes:
        """Return what a catalog stores."""
        return json.dumps(asdict(self), ensure_ascii=False).encode()

    def describe(self) -> dict[str, Any]:
        """Return what a person sees, JSON-like."""
        found = asdict(self)
        if self.join is not None:
            found["join"] = {**found["join"], "sentence": self.join.describe()}
        return found


def read_figures(table: pa.Table | None) -> TreeFigures | None:
    """Return what a catalog states about its tree; None if it states nothing.

    Args:
        table: The catalog; its metadata are enough.
    """
    stated = (table.schema.metadata or {}).get(FIGURES_KEY) if table is not None else None
    if stated is None:
        return None
    found = json.loads(stated)
    join = found.pop("join")
    return TreeFigures(**found, join=None if join is None else JoinFigures(**join))
