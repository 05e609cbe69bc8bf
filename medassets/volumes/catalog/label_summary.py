"""The labels of a dataset: what its declaration says, and which values its catalog holds."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from medassets.errors import CatalogError, SpecError
from medassets.specs import CTSourceSpec
from medassets.storage.formats.label_rules import LabelRules
from medassets.storage.later_versions import take_fields

SUMMARY_KEY = b"medassets.labels"
"""Key of the schema metadata that holds the `LabelSummary` of a catalog."""

UNKNOWN = "unknown"
"""Stands for the value of labels that are not known, where labels are not required."""

_MOST_VALUES = 8
# Read with the wrong type, small whole numbers become floats far below it.
_SMALLEST = 1e-6


def read_label_rules(spec: CTSourceSpec) -> LabelRules:
    """Return what a declaration says of labels.

    Raises:
        SpecError: If a field of `labels` cannot be used, or contradicts `label_names` or `fields`.
    """
    if not isinstance(spec.labels, Mapping):
        what = f"expected a mapping such as {{columns: [A, B]}}, got {spec.labels!r}"
        raise SpecError(field="labels", what=what)
    declared = {k: [*v] if isinstance(v, tuple) else v for k, v in spec.labels.items()}
    _merge(declared, "columns", list(spec.label_names), "label_names")
    _merge(declared, "member", spec.fields.get("labels"), "fields")
    try:
        return LabelRules.parse(declared)
    except ValueError as error:
        raise SpecError(field="labels", what=str(error)) from error


def _merge(declared: dict[str, Any], name: str, other: Any, other_field: str) -> None:
    if not other:
        return
    if declared.setdefault(name, other) != other:
        what = f"{name}: {declared[name]!r} contradicts {other_field}, {other!r}; leave one out"
        raise SpecError(field="labels", what=what)


def read_summary(table: pa.Table) -> "LabelSummary | None":
    """Return what a catalog states about its labels, None if it states nothing.

    Args:
        table: The catalog; its metadata are enough.
    """
    stated = (table.schema.metadata or {}).get(SUMMARY_KEY)
    return None if stated is None else take_fields(LabelSummary, json.loads(stated), "catalog")


def with_summary(table: pa.Table, summary: "LabelSummary | None") -> pa.Table:
    """Return a catalog that states a summary of its labels."""
    stated = {} if summary is None else {SUMMARY_KEY: summary.encode()}
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **stated})


def describe_counts(counts: Mapping[str, int]) -> str:
    """Return how often a label has each value, such as `0 x 12, 1 x 3`."""
    if len(counts) <= _MOST_VALUES:
        return ", ".join(f"{value} x {count:,}" for value, count in counts.items())
    numbers = [float(value) for value in counts if value != UNKNOWN]
    unknown = f", {UNKNOWN} x {counts[UNKNOWN]:,}" if UNKNOWN in counts else ""
    return f"{len(numbers):,} values from {min(numbers):g} to {max(numbers):g}{unknown}"


def summarize_rows(
    rows: Iterable[Mapping[str, Any]], names: Sequence[str], rules: LabelRules
) -> "LabelSummary":
    """Return the summary of the rows of tables that are not excluded.

    Args:
        rows: Rows with `labels` and `excluded`.
        names: Names of the labels.
        rules: What the declaration says of them.
    """
    usable = (row for row in rows if row.get("excluded") is None)
    counts = count_values((row["labels"] for row in usable if row.get("labels")), names)
    return LabelSummary([*names], None, counts, find_doubts(counts, rules))


def merge_summaries(tables: Mapping[str, pa.Table], rules: LabelRules) -> "LabelSummary | None":
    """Return the summary of the catalogs of several splits; None if none states anything.

    Args:
        tables: Split -> its catalog.
        rules: What the declaration says of labels.

    Raises:
        CatalogError: If two splits have different labels.
    """
    found = {split: one for split, table in tables.items() if (one := read_summary(table))}
    first = next(iter(found), None)
    if first is None:
        return None
    merged = found[first]
    for split, one in found.items():
        if one.names != merged.names:
            msg = (
                f"labels: {first} has {_list_names(merged.names)}, {split} has "
                f"{_list_names(one.names)}; declare those of both, `labels: {{columns: [...]}}`"
            )
            raise CatalogError(msg)
        merged = merged if split == first else merged.merge(one)
    return replace(merged, doubts=find_doubts(merged.counts, rules))


def count_values(
    rows: Iterable[Sequence[float | None]], names: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Return for each label how many samples have each value, from the smallest value on.

    Args:
        rows: Values of each sample; None for an unknown one, which is counted as `UNKNOWN`, last.
        names: Names of the labels.
    """
    counters: list[Counter[str]] = [Counter() for _ in names]
    for values in rows:
        for counter, value in zip(counters, values, strict=True):
            counter[UNKNOWN if value is None else f"{value:.9g}"] += 1
    return {name: _sort_counts(one) for name, one in zip(names, counters, strict=True)}


def find_doubts(counts: Mapping[str, Mapping[str, int]], rules: LabelRules) -> list[str]:
    """Return a sentence per label with values outside 0 to 1, or hardly above 0, if none are declared."""
    if rules.values:
        return []
    numbers = {
        name: [float(value) for value in found if value != UNKNOWN]
        for name, found in counts.items()
    }
    tiny = [name for name in counts if any(0 < abs(one) < _SMALLEST for one in numbers[name])]
    odd = [name for name in counts if any(not 0 <= one <= 1 for one in numbers[name])]
    return [
        f"{name} has values beyond 0 and 1: {describe_counts(counts[name])}; if they are right, "
        f"declare `labels: {{values: [...]}}`"
        for name in odd
    ] + [
        f"{name} has values that are nearly 0, as whole numbers have that are read as floats: "
        f"{describe_counts(counts[name])}; compare the type with `labels: {{dtype: ...}}`"
        for name in tiny
    ]


def _sort_counts(counts: Mapping[str, int]) -> dict[str, int]:
    return {
        value: counts[value]
        for value in sorted(counts, key=lambda one: math.inf if one == UNKNOWN else float(one))
    }


def _list_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_VALUES} more" if len(names) > _MOST_VALUES else ""
    return f"{len(names)} labels, {', '.join(names[:_MOST_VALUES])}{more}"


@dataclass(frozen=True)
class LabelSummary:
    """The labels of all usable rows of a catalog.

    Attributes:
        names: Their names, in order.
        label_type: Type in which the source stores them; None for tables.
        counts: Name -> value -> number of samples.
        doubts: A sentence per label that is read, but that may be no label.
    """

    names: list[str]
    label_type: str | None
    counts: dict[str, dict[str, int]]
    doubts: list[str] = field(default_factory=list)

    def encode(self) -> bytes:
        """Return what a catalog stores."""
        return json.dumps(vars(self), ensure_ascii=False).encode()

    def merge(self, other: "LabelSummary") -> "LabelSummary":
        """Return the summary of both, which have the same names."""
        counts = {
            name: _sort_counts(Counter(values) + Counter(other.counts[name]))
            for name, values in self.counts.items()
        }
        doubts = list(dict.fromkeys([*self.doubts, *other.doubts]))
        return replace(self, counts=counts, doubts=doubts)

    def describe(self) -> dict[str, Any]:
        """Return what a person sees: how often each label has each value, and the doubts."""
        described: dict[str, Any] = {
            "label_values": {name: describe_counts(self.counts[name]) for name in self.names}
        }
        return described | ({"label_doubts": self.doubts} if self.doubts else {})
