"""Which columns of its one table a tree of files uses."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class TreeColumns:
    """Columns of the table of `layout: tree`, by what they hold.

    Attributes:
        file: Names the volume: its path, its name, the name without ending, or its folder.
        patient: Names the patient.
        report: Texts of the report, joined in this order.
        labels: One column per label.
        split: Names the split.
        metadata: Further columns that the json of a sample keeps; others stay out of shards.
        sheet: Sheet of a spreadsheet; empty where it has one.
    """

    file: str = ""
    patient: str = ""
    report: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    split: str = ""
    metadata: tuple[str, ...] = ()
    sheet: str = ""

    @classmethod
    def parse(cls, declared: Mapping[str, Any]) -> "TreeColumns":
        """Return the columns that a declaration's mapping names.

        Raises:
            ValueError: If it has another entry, or one that is no name or list of names.
        """
        lists = {one.name: isinstance(one.default, tuple) for one in fields(cls)}
        found: dict[str, Any] = {}
        for name, value in declared.items():
            if name not in lists:
                msg = f"expected {', '.join(lists)}, got {name!r}"
                raise ValueError(msg)
            found[name] = _read_names(name, value) if lists[name] else _read_name(name, value)
        columns = cls(**found)
        if columns != cls() and not columns.file:
            msg = "file: name the column that names each volume's file or folder"
            raise ValueError(msg)
        return columns

    def list_names(self) -> list[str]:
        """Return every column that the table must have, each once."""
        named = (self.file, self.patient, *self.report, *self.labels, self.split, *self.metadata)
        return [name for name in dict.fromkeys(named) if name]


def _read_name(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        msg = f"{name}: expected the name of a column, got {value!r}"
        raise ValueError(msg)
    return value.strip()


def _read_names(name: str, value: Any) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list | tuple):
        msg = f"{name}: expected a list of columns, got {value!r}"
        raise ValueError(msg)
    names = tuple(_read_name(name, one) for one in listed)
    if len({*names}) < len(names):
        msg = f"{name}: expected each column once, got {list(names)}"
        raise ValueError(msg)
    return names
