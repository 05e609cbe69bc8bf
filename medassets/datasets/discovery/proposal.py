"""What was found in a folder, and the declaration that is proposed for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Hints:
    """What a user says that cannot be seen; empty where nothing is said.

    Attributes:
        hu_rule: How stored values become HU.
        columns: What the columns of the table hold, as `columns` of a declaration.
        table: The one table of a tree.
        meta_file: Table of spacing and scaling of an NPZ tree.
        reports_file: Its table of reports.
        labels_file: Its table of labels.
        info_csv: Names of videos by URL.
        metadata: What is said in videos, and when.
        pairs_json: What is said in clips.
        array_key: Array of each `.npz` file that is the volume.
        sort: Sort of files to take where a folder has several, see `census.SORTS`.
    """

    hu_rule: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict)
    table: str = ""
    meta_file: str = ""
    reports_file: str = ""
    labels_file: str = ""
    info_csv: str = ""
    metadata: str = ""
    pairs_json: str = ""
    array_key: str = ""
    sort: str = ""


@dataclass(frozen=True)
class Proposal:
    """A declaration, and why it is that one.

    Attributes:
        title: What the folder is taken for.
        component: Class of the component, in `medassets.components`.
        fields: Fields of the declaration, without `name`, in order.
        notes: Field -> comment on its line.
        facts: Lines about what was seen.
        doubts: Lines about what is not certain.
        is_small: Whether a plan of all files is drafted within seconds.
    """

    title: str
    component: str
    fields: Mapping[str, Any]
    notes: Mapping[str, str] = field(default_factory=dict)
    facts: Sequence[str] = ()
    doubts: Sequence[str] = ()
    is_small: bool = True


def shorten(names: Sequence[str], most: int = 3) -> str:
    """Return the first names of a list, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
