"""What is known of labels beside their bytes: from the declaration, and from the sample's own json."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medassets.storage.formats.label_types import (
    OWN_TYPE,
    RAW_TYPES,
    Values,
    parse_label_type,
    show_values,
)

# A json may round a fraction to so many decimals or more; whole numbers are never rounded.
_FEWEST_DECIMALS = 3
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
            # NaN is an unknown label; whether it may be one was checked before.
            if not np.isnan(value) and np.float32(value) not in allowed:
                shown = show_values(np.array(self.values, np.float64))
                msg = f"label {index} is {value:.9g}; the declaration allows {shown}"
                raise LabelError(msg)


@dataclass(frozen=True)
class StatedLabels:
    """What the json of a sample states of its labels; None for what it does not state.

    Attributes:
        names: Their names, in the order of the member.
        values: Their values, in the order of the names; None for one that is no number.
        count: Their number, or the number of classes.
        problem: Why what it states cannot be used, such as a name that occurs twice.
    """

    names: tuple[str, ...] | None = None
    values: tuple[float | None, ...] | None = None
    count: int | None = None
    problem: str | None = None

    @classmethod
    def read(cls, facts: Mapping[str, Any]) -> "StatedLabels":
        """Return what a json states in `labels`, `label_names` and `num_classes`.

        `label_names` states the order of the names; the keys of an object may have been sorted.

        Args:
            facts: The json; other content under these names states nothing.
        """
        labels, names = facts.get("labels"), _read_names(facts.get("label_names"))
        count = facts.get("num_classes")
        count = count if type(count) is int and count > 0 else None
        values = _read_values(labels)
        if isinstance(labels, dict) and labels and values is not None:
            by_name = dict(zip(labels, values, strict=True))
            names = names or (*labels,)
            if set(names) != set(by_name):
                problem = f"its labels are {_show_names([*labels])}"
                return cls(count=count, problem=f"{_blame(names)}, but {problem}")
            values = tuple(by_name[name] for name in names)
        if names is not None and len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            return cls(count=count, problem=f"{_blame(names)}; {twice} occurs twice")
        if names is not None and values is not None and len(names) != len(values):
            problem = f"{_blame(names)}, but {len(values)} values"
            return cls(count=count, problem=problem)
        return cls(names, values, count)

    @property
    def length(self) -> int | None:
        """Number of labels that it states in any way; names and values come before the count."""
        return next((len(one) for one in (self.names, self.values) if one is not None), self.count)

    @property
    def unknown(self) -> frozenset[int]:
        """Indices of the labels whose value is stated to be none: a json gives null for them."""
        return frozenset(index for index, value in enumerate(self.values or ()) if value is None)

    def order(self, names: Sequence[str] | None, *, may_rename: bool = False) -> "StatedLabels":
        """Return the same in the order of the dataset's names.

        Args:
            names: Names of the dataset.
            may_rename: Take other names, as many, for names that the dataset replaces.

        Raises:
            LabelError: If the names differ, or their order does and the values do not prove it.
        """
        if self.problem is not None:
            raise LabelError(self.problem)
        if names is None or self.names is None or tuple(names) == self.names:
            return self
        if set(names) <= set(self.names):
            by_name = dict(zip(self.names, self.values or (None,) * len(self.names), strict=True))
            values = tuple(by_name[name] for name in names)
            if None not in values:
                return StatedLabels(tuple(names), values)
        if may_rename and self.can_be_renamed(names):
            return StatedLabels(tuple(names), self.values, self.count)
        msg = f"{_blame(self.names)}, not {_show_names(names)}"
        raise LabelError(msg)

    def can_be_renamed(self, names: Sequence[str]) -> bool:
        """Tell whether its names are others throughout, and as many."""
        stated = self.names or ()
        return len(names) == len(stated) and set(names).isdisjoint(stated)

    def contradicts(
        self, values: Values, label_type: str = OWN_TYPE, *, may_be_index: bool = False
    ) -> str | None:
        """Return how values differ from what is stated; None where they do not.

        Args:
            values: The values of the member.
            label_type: Its type, whose rounding a fraction of the json may lack.
            may_be_index: Accept one whole number below the number of classes: the class.
        """
        if self.problem is not None:
            return self.problem
        found = f"{len(values)} label{'s' * (len(values) != 1)} ({show_values(values)})"
        listed = StatedLabels(self.names, self.values).length
        if listed is not None and listed != len(values):
            return f"{found}, but the json states {listed}"
        is_class = may_be_index and self.count is not None and _is_class(values, self.count)
        if self.count not in (None, len(values)) and not is_class:
            return f"{found}, but the json states {self.count} classes"
        for index, stated in enumerate(self.values or ()):
            if stated is not None and not _is_same(float(values[index]), stated, label_type):
                name = self.names[index] if self.names else f"label {index}"
                return f"{name} is {values[index]:.9g}, but {stated:.9g} in the json"
        return None

    def confirms(self, values: Values, label_type: str = OWN_TYPE) -> bool:
        """Tell whether every value is stated, and the same."""
        if self.values is None or None in self.values or len(self.values) != len(values):
            return False
        return self.contradicts(values, label_type) is None


def may_be_class_index(label_type: str, rules: LabelRules) -> bool:
    """Tell whether one number may be a class: its type says so itself, or a declared integer."""
    return label_type not in RAW_TYPES or (rules.label_type is not None and "int" in label_type)


NO_RULES = LabelRules()
"""The rules of a declaration that says nothing of labels."""

NOTHING_STATED = StatedLabels()
"""What a sample without json states."""


def _is_same(value: float, stated: float, label_type: str) -> bool:
    if value == stated or stated == np.trunc(stated):
        return value == stated
    with np.errstate(over="ignore"):
        types = (np.float32, np.float16) if label_type.endswith("float16") else (np.float32,)
        if any(kind(value) == kind(stated) for kind in types):
            return True
    decimals = len(f"{stated!r}".partition(".")[2]) if "e" not in f"{stated!r}" else 0
    return decimals >= _FEWEST_DECIMALS and round(value, decimals) == stated


def _is_class(values: Values, count: int) -> bool:
    return len(values) == 1 and 0 <= values[0] < count and values[0] == np.trunc(values[0])


def _read_names(names: Any) -> tuple[str, ...] | None:
    named = isinstance(names, list) and bool(names) and all(isinstance(n, str) for n in names)
    return tuple(names) if named else None


def _read_values(labels: Any) -> tuple[float | None, ...] | None:
    """Return the values that a json gives as an object, a list or one number."""
    if isinstance(labels, dict) and labels:
        return tuple(map(_read_number, labels.values()))
    if isinstance(labels, bool):
        return None
    listed = labels if isinstance(labels, list) else [labels]
    values = tuple(map(_read_number, listed))
    return values if values and None not in values else None


def _blame(names: Sequence[str]) -> str:
    return f"the json names the labels {_show_names(names)}"


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
