"""What is known of labels beside their bytes: from the declaration, and from the sample's own json."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medassets.storage.formats.label_types import Values, parse_label_type, show_values

# A json may round a fraction; 0 and 1 are never rounded.
_ROUNDED = 5e-4
_LARGEST = 3.4e38
_FIELDS = frozenset({"columns", "member", "dtype", "values"})


class LabelError(ValueError):
    """Labels cannot be read with certainty, or contradict what is known of them."""


@dataclass(frozen=True)
class LabelRules:
    """What a declaration says of the labels of a dataset.

    Attributes:
        columns: Names of the labels in their order; empty where nothing is said.
        member: Suffix of the member that holds them, in an existing WebDataset.
        label_type: Their type, see `parse_label_type`; None where nothing is said.
        values: The values that a label may have; empty allows all.
    """

    columns: tuple[str, ...] = ()
    member: str | None = None
    label_type: str | None = None
    values: tuple[float, ...] = ()

    @classmethod
    def parse(cls, declared: Mapping[str, Any]) -> "LabelRules":
        """Return the rules that a declaration's mapping states.

        Raises:
            ValueError: If it has another field, or a value that cannot be used.
        """
        if unknown := sorted(declared.keys() - _FIELDS):
            msg = f"expected columns, member, dtype or values, got {unknown[0]!r}"
            raise ValueError(msg)
        dtype = declared.get("dtype")
        return cls(
            columns=_parse_columns(declared.get("columns", ())),
            member=_parse_member(declared.get("member")),
            label_type=None if dtype is None else parse_label_type(dtype),
            values=_parse_values(declared.get("values", ())),
        )

    def check_values(self, values: Iterable[float]) -> None:
        """Refuse a value that the declaration does not allow.

        Raises:
            LabelError: Naming the first such value.
        """
        if not self.values:
            return
        allowed = {np.float32(value) for value in self.values}
        for index, value in enumerate(values):
            if np.float32(value) not in allowed:
                shown = show_values(np.array(self.values, np.float64))
                msg = f"label {index} is {value:.9g}; the declaration allows {shown}"
                raise LabelError(msg)


@dataclass(frozen=True)
class StatedLabels:
    """What the json of a sample states of its labels; None for what it does not state.

    Attributes:
        names: Their names.
        values: Their values, in the order of the names; None for one that is no number.
        count: Their number.
    """

    names: tuple[str, ...] | None = None
    values: tuple[float | None, ...] | None = None
    count: int | None = None

    @classmethod
    def read(cls, facts: Mapping[str, Any]) -> "StatedLabels":
        """Return what a json states in `labels`, `label_names` and `num_classes`.

        Args:
            facts: The json; other content under these names states nothing.
        """
        labels, names = facts.get("labels"), facts.get("label_names")
        count = facts.get("num_classes")
        values: tuple[float | None, ...] | None = None
        if isinstance(labels, dict) and labels:
            names, values = [*labels], tuple(map(_read_number, labels.values()))
        elif isinstance(labels, list) and labels:
            values = tuple(map(_read_number, labels))
            values = None if None in values else values
        named = isinstance(names, list) and bool(names) and all(isinstance(n, str) for n in names)
        return cls(
            names=tuple(names) if named and names else None,
            values=values,
            count=count if type(count) is int and count > 0 else None,
        )

    @property
    def length(self) -> int | None:
        """Number of labels that it states in any way; names and values come before the count."""
        return next((len(one) for one in (self.names, self.values) if one is not None), self.count)

    def order(self, names: Sequence[str] | None) -> "StatedLabels":
        """Return the same in the order of the dataset's names.

        Other names, as many, in the same places are names that the dataset replaces.

        Raises:
            LabelError: If some of the names differ, and others do not.
        """
        if names is None or self.names is None or tuple(names) == self.names:
            return self
        if set(names) <= set(self.names) and self.values is not None:
            by_name = dict(zip(self.names, self.values, strict=True))
            return StatedLabels(tuple(names), tuple(by_name[name] for name in names))
        if set(names) == set(self.names):
            return StatedLabels(tuple(names), None, len(names))
        if len(names) == len(self.names) and set(names).isdisjoint(self.names):
            return StatedLabels(tuple(names), self.values, self.count)
        msg = f"the json names the labels {_show_names(self.names)}, not {_show_names(names)}"
        raise LabelError(msg)

    def contradicts(self, values: Values) -> str | None:
        """Return how values differ from what is stated; None where they do not."""
        for length in (self.length, self.count):
            if length is not None and length != len(values):
                return f"{len(values)} labels ({show_values(values)}), but the json states {length}"
        for index, stated in enumerate(self.values or ()):
            if stated is not None and not _is_same(float(values[index]), stated):
                name = self.names[index] if self.names else f"label {index}"
                return f"{name} is {values[index]:.9g}, but {stated:.9g} in the json"
        return None

    def confirms(self, values: Values) -> bool:
        """Tell whether every value is stated, and the same."""
        if self.values is None or None in self.values or len(self.values) != len(values):
            return False
        return self.contradicts(values) is None


NO_RULES = LabelRules()
"""The rules of a declaration that says nothing of labels."""

NOTHING_STATED = StatedLabels()
"""What a sample without json states."""


def _is_same(value: float, stated: float) -> bool:
    if value == stated or stated == np.trunc(stated):
        return value == stated
    return abs(value - stated) <= _ROUNDED


def _read_number(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if not isinstance(value, int | float) or not abs(value) <= _LARGEST:
        return None
    return float(value)


def _show_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _parse_columns(value: Any) -> tuple[str, ...]:
    names = tuple(value) if isinstance(value, list | tuple) else ("",)
    if not all(isinstance(name, str) and name for name in names) or len({*names}) < len(names):
        msg = f"columns: expected names of labels, each once, got {value!r}"
        raise ValueError(msg)
    return names


def _parse_member(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value or value != value.lower().strip("."):
        msg = f"member: expected a suffix such as cls or labels.npy, got {value!r}"
        raise ValueError(msg)
    return value


def _parse_values(value: Any) -> tuple[float, ...]:
    listed = value if isinstance(value, list | tuple) else ("",)
    if not all(isinstance(one, int | float) and _read_number(one) is not None for one in listed):
        msg = f"values: expected the numbers that a label may be, such as [0, 1], got {value!r}"
        raise ValueError(msg)
    return tuple(map(float, listed))
