"""The labels of existing WebDatasets: one type, one length and one list of names for all samples."""

import json
import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from medassets.errors import CatalogError, Reason, SpecError
from medassets.specs import CTSourceSpec
from medassets.storage.checksums import canonical_json
from medassets.storage.formats.label_rules import LabelError, LabelRules, StatedLabels
from medassets.storage.formats.label_types import OWN_TYPE
from medassets.storage.formats.labels import UncertainTypeError, find_label_type, read_labels
from medassets.volumes.catalog.ct_tables import Row
from medassets.volumes.catalog.label_summary import (
    LabelSummary,
    count_values,
    find_doubts,
    read_label_rules,
)

_MOST_SHOWN = 3
_MOST_SIZES = 8
_COLUMNS = {"names": "label_names", "values": "labels"}
_IN_ROW = "row"
_REMEDY = (
    "declare the right ones, `labels: {columns: [...]}`; samples with others are excluded then"
)


def store_labels(content: bytes, facts: Mapping[str, Any], row: Row) -> str:
    """Return what the catalog keeps of a sample's labels: the member, and what its json states.

    Names and values that are columns of the row already are not repeated.

    Args:
        content: The member.
        facts: The json of the sample.
        row: What is known of the sample.
    """
    stated: dict[str, Any] = dict(vars(StatedLabels.read(facts)))
    if stated["problem"] is None:
        del stated["problem"]
    for name, column in _COLUMNS.items():
        if stated[name] is not None and row.get(column) == list(stated[name]):
            stated[name] = _IN_ROW
    return canonical_json({"content": content.hex(), **stated}).decode()


def settle_labels(rows: Sequence[Row], spec: CTSourceSpec) -> LabelSummary | None:
    """Decide type and names of the labels of a dataset, and exclude samples that they do not fit.

    Args:
        rows: Rows of all splits; `label_type`, `label_names`, `excluded` and `detail` are changed.
        spec: The declaration.

    Returns:
        Names, type and counts of values of the usable rows; None without such rows.

    Raises:
        SpecError: If the type is neither declared nor certain.
        CatalogError: If samples have labels of several lengths or names, and none are declared.
    """
    rules = read_label_rules(spec)
    found = [_Stored(row) for row in rows if _is_open(row)]
    names = rules.columns or _agree(found, "names", lambda one: one.stated.names, _show_names)
    may_rename = bool(rules.columns) and _may_rename(found, rules.columns)
    try:
        label_type = find_label_type(_ordered(found, names, may_rename=may_rename), rules)
    except UncertainTypeError as error:
        sizes = sorted({len(one.content) for one in found})
        shown = ", ".join(map(str, sizes[:_MOST_SIZES]))
        what = f"{error}; members such as that of {found[0].row['path']} have {shown} bytes"
        raise SpecError(field="labels", what=what) from error
    for one in found:
        one.settle(label_type, names, rules, may_rename=may_rename)
    usable = [one for one in found if one.row.get("excluded") is None]
    count = _agree(usable, "numbers of labels", lambda one: len(one.values), str)
    if count is None:
        return None
    names = names or tuple(f"label_{index}" for index in range(count))
    # Samples without labels, where they are not required: all of them are unknown.
    bare = [row for row in rows if _is_bare(row)]
    for row in bare:
        row["label_names"] = list(names)
    unknown: list[list[float | None]] = [[None] * len(names) for _ in bare]
    known = [[_none_if_nan(value) for value in one.values] for one in usable]
    counts = count_values([*known, *unknown], names)
    return LabelSummary(list(names), label_type, counts, find_doubts(counts, rules))


def _is_open(row: Row) -> bool:
    """Tell whether a row waits for a decision; one that was excluded for its labels does again."""
    if row.get("excluded") == Reason.BAD_LABELS and row.get("stored_labels"):
        row["excluded"] = row["detail"] = None
    return row.get("excluded") is None and bool(row.get("stored_labels"))


def _is_bare(row: Row) -> bool:
    return row.get("excluded") is None and not row.get("stored_labels")


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


class _Stored:
    """The labels of one row."""

    def __init__(self, row: Row) -> None:
        stored = json.loads(row["stored_labels"])
        self.row = row
        self.content = bytes.fromhex(stored["content"])
        found = {
            name: row[column] if stored[name] == _IN_ROW else stored[name]
            for name, column in _COLUMNS.items()
        }
        names, values = (None if v is None else tuple(v) for v in found.values())
        self.stated = StatedLabels(names, values, stored["count"], stored.get("problem"))
        self.values: list[float] = []

    def settle(
        self,
        label_type: str,
        names: Sequence[str] | None,
        rules: LabelRules,
        *,
        may_rename: bool,
    ) -> None:
        """Read the labels, or exclude the row."""
        row = self.row
        row["label_type"] = None if label_type == OWN_TYPE else label_type
        if names:
            row["label_names"] = list(names)
        try:
            stated = self.stated.order(names, may_rename=may_rename)
            values = read_labels(self.content, label_type, stated=stated, rules=rules)
            self.values = values.astype(np.float32).astype(float).tolist()
        except LabelError as error:
            detail = f"{row['path']}: {error}"
            row |= {"excluded": str(Reason.BAD_LABELS), "detail": detail}


def _may_rename(found: Sequence[_Stored], names: Sequence[str]) -> bool:
    """Tell whether declared names replace those of the jsons: all state the same other names.

    Raises:
        CatalogError: If they state several lists of other names, and none states the declared ones.
    """
    if any(one.stated.names and set(names) & set(one.stated.names) for one in found):
        return False
    others = [one for one in found if one.stated.can_be_renamed(names)]
    return _agree(others, "names", lambda one: one.stated.names, _show_names) is not None


def _ordered(
    found: Iterable[_Stored], names: Sequence[str] | None, *, may_rename: bool
) -> Iterable[tuple[bytes, StatedLabels]]:
    for one in found:
        try:
            yield one.content, one.stated.order(names, may_rename=may_rename)
        except LabelError:
            continue


def _agree(
    found: Sequence[_Stored],
    what: str,
    read: Callable[[_Stored], Any],
    show: Callable[[Any], str],
) -> Any:
    """Return what all samples that state it have in common; None if none states it.

    Raises:
        CatalogError: If they differ.
    """
    places: dict[Hashable, list[str]] = {}
    for one in found:
        if (value := read(one)) is not None:
            places.setdefault(value, []).append(one.row["path"])
    if len(places) <= 1:
        return next(iter(places), None)
    counts = Counter({value: len(paths) for value, paths in places.items()}).most_common()
    shown = [f"{show(value)} ({n:,}, such as {places[value][0]})" for value, n in counts]
    more = f" and {len(shown) - _MOST_SHOWN} more" if len(shown) > _MOST_SHOWN else ""
    msg = (
        f"labels: samples have different {what}: {'; '.join(shown[:_MOST_SHOWN])}{more}; {_REMEDY}"
    )
    raise CatalogError(msg)


def _show_names(names: Sequence[str]) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > _MOST_SHOWN else ""
    return ", ".join(names[:_MOST_SHOWN]) + more
