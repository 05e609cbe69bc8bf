"""The one decoder of labels: what type a member has, and whether its values can be right.

Labels are raw numbers of any type, decimal text, a JSON list or `.npy`. Raw numbers do not say what
they are, so their type is declared, or it is certain: one reading only agrees with the count, the
names and the json of every sample of the dataset.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from medassets.arrays import BytesLike
from medassets.storage.formats.label_rules import (
    NO_RULES,
    NOTHING_STATED,
    LabelError,
    LabelRules,
    StatedLabels,
    may_be_class_index,
)
from medassets.storage.formats.label_types import (
    JSON,
    LARGEST_INTEGER,
    NPY,
    OWN_TYPE,
    RAW_TYPES,
    TEXT,
    Values,
    decode_as,
    is_json_list,
    is_npy,
    is_text,
    read_decimal_comma,
    shorten_text,
    show_values,
)

# Read with the wrong type, small whole numbers become floats far below it.
_SMALLEST = 1e-6
_MOST_READINGS = 4
# A reading that makes text uncertain; no type of labels.
_DECIMAL = "a decimal comma"
# Of so many samples every type is tried; of the others only those that fit nearly all of these.
_TRY_ALL = 500
_NEARLY_ALL = 0.9


class UncertainTypeError(LabelError):
    """Several types could be meant; the message says which, and asks for a declaration."""


def read_labels(
    content: BytesLike,
    label_type: str = OWN_TYPE,
    *,
    stated: StatedLabels = NOTHING_STATED,
    rules: LabelRules = NO_RULES,
) -> Values:
    """Decode the labels of one sample and compare them with all that is known of them.

    Args:
        content: The member.
        label_type: The type of the dataset, from `find_label_type` or its declaration.
        stated: What the json of the sample states, in the order of the dataset.
        rules: What the declaration says. A type that it names is not doubted.

    Returns:
        Float64, shape (labels,); NaN where the json states that a label is unknown.

    Raises:
        LabelError: If the content has another type, or the values contradict json or declaration.
    """
    try:
        values = decode_as(content, label_type, unknown=stated.unknown)
    except ValueError as error:
        why = _explain_unreadable(content) if rules.label_type is None else None
        msg = f"{why or error}; found {describe_content(content)}"
        raise LabelError(msg) from error
    may_be_index = may_be_class_index(label_type, rules)
    difference = stated.contradicts(values, label_type, may_be_index=may_be_index)
    if difference is not None:
        raise LabelError(difference)
    if rules.columns and len(values) != len(rules.columns):
        msg = f"{len(values)} labels, but {len(rules.columns)} names of labels"
        raise LabelError(msg)
    rules.check_values(values.tolist())
    if rules.label_type is None and not stated.confirms(values, label_type):
        _doubt(content, label_type, values)
    return values


def find_label_type(
    samples: Iterable[tuple[BytesLike, StatedLabels]], rules: LabelRules = NO_RULES
) -> str:
    """Return the type of the labels of a dataset: the declared one, or the only one that fits.

    Samples that no type fits are left out; `read_labels` says what is wrong with them.

    Args:
        samples: Members of labels, each with what the json of its sample states.
        rules: What the declaration says.

    Raises:
        UncertainTypeError: If several types fit and give different values.
    """
    if rules.label_type is not None:
        return rules.label_type
    survey = _Survey(rules)
    for content, stated in samples:
        survey.add(bytes(content), stated)
    return survey.decide()


def find_readings(
    content: BytesLike, stated: StatedLabels, rules: LabelRules = NO_RULES
) -> dict[str, Values]:
    """Return each type that a member could have, with the values that it would give.

    Args:
        content: The member.
        stated: What the json of the sample states.
        rules: What the declaration says.
    """
    if is_npy(content):
        kinds: tuple[str, ...] = (NPY,)
    elif is_text(content):
        kinds = (JSON if is_json_list(content) else TEXT, *RAW_TYPES)
    else:
        kinds = RAW_TYPES
    return _read_as(kinds, content, stated, rules)


def describe_content(content: BytesLike) -> str:
    """Return what a member holds, as far as it can be told, for a message."""
    size = f"{len(content):,} bytes"
    if is_npy(content):
        return f"{size} of a .npy file"
    if is_text(content):
        return f"{size} of text, {shorten_text(content)}"
    readings = _group(find_readings(content, NOTHING_STATED))
    if not readings:
        return f"{size} that are labels of no known type"
    shown = [f"{label_type} ({values})" for values, label_type in readings.items()]
    more = f" and {len(shown) - _MOST_READINGS} more" if len(shown) > _MOST_READINGS else ""
    return f"{size} that could be {', '.join(shown[:_MOST_READINGS])}{more}"


def _explain_unreadable(content: BytesLike) -> str | None:
    """Return why a member is labels of no type at all; None if some type could be declared."""
    own = NPY if is_npy(content) else TEXT if is_text(content) else None
    if own is None or find_readings(content, NOTHING_STATED):
        return None
    try:
        decode_as(content, JSON if own == TEXT and is_json_list(content) else own)
    except ValueError as error:
        return str(error)
    return None


def _read_as(
    kinds: Iterable[str], content: BytesLike, stated: StatedLabels, rules: LabelRules
) -> dict[str, Values]:
    found: dict[str, Values] = {}
    for kind in kinds:
        try:
            values = decode_as(content, kind, unknown=stated.unknown)
            rules.check_values(values.tolist())
        except ValueError:
            continue
        may_be_index = may_be_class_index(kind, rules)
        if stated.contradicts(values, kind, may_be_index=may_be_index):
            continue
        if rules.columns and len(values) != len(rules.columns):
            continue
        if stated.confirms(values, kind) or _is_plausible(content, kind, values):
            found[kind] = values
    if TEXT in found and stated.length is None and not rules.columns:
        number = read_decimal_comma(content)
        found |= {} if number is None else {_DECIMAL: np.array([number], np.float64)}
    return found


def _is_plausible(content: BytesLike, label_type: str, values: Values) -> bool:
    """Tell whether values could be labels: text is text, and raw numbers are of their usual size."""
    if label_type not in RAW_TYPES:
        return True
    sizes = np.abs(values[(values != 0) & ~np.isnan(values)])
    usual = bool(np.all((sizes >= _SMALLEST) & (sizes < LARGEST_INTEGER)))
    return usual and not is_text(content) and not is_npy(content)


def _doubt(content: BytesLike, label_type: str, values: Values) -> None:
    if not _is_plausible(content, label_type, values):
        if (why := _explain_unreadable(content)) is not None:
            msg = f"{why}; found {describe_content(content)}"
            raise LabelError(msg)
        msg = (
            f"read as {label_type} the labels would be {show_values(values)}; found "
            f"{describe_content(content)}; declare `labels: {{dtype: ...}}` if that is right"
        )
        raise LabelError(msg)


@dataclass
class _Survey:
    """How many of a dataset's samples each type fits, and which types give the same values."""

    rules: LabelRules
    num_used: int = 0
    fits: Counter[str] = field(default_factory=Counter)
    binary: Counter[str] = field(default_factory=Counter)
    classes: dict[str, int] = field(default_factory=dict)
    example: tuple[bytes, StatedLabels] = (b"", NOTHING_STATED)
    known: dict[tuple[bytes, StatedLabels], dict[str, Values]] = field(default_factory=dict)

    def add(self, content: bytes, stated: StatedLabels) -> None:
        found = self._read(content, stated)
        if not found:
            return
        if len(_group(found)) > 1 or not self.num_used:
            self.example = (content, stated)
        self.num_used += 1
        self.fits.update(found.keys())
        self.binary.update(kind for kind, v in found.items() if np.isin(v, (0, 1)).all())
        for kind in {*found, *self.classes}:
            values = found[kind].tobytes() if kind in found else None
            self.classes[kind] = hash((self.classes.get(kind, self.num_used), values))

    def _read(self, content: bytes, stated: StatedLabels) -> dict[str, Values]:
        if (content, stated) in self.known:
            return self.known[content, stated]
        if len(self.known) >= _TRY_ALL:
            return _read_as(self._fitting(_NEARLY_ALL), content, stated, self.rules)
        found = self.known[content, stated] = find_readings(content, stated, self.rules)
        return found

    def decide(self) -> str:
        """Return the type; without a sample that any type fits, our own."""
        if not self.num_used:
            return OWN_TYPE
        fitting = self._fitting(1)
        # Zeros and ones are what labels are; a wrong type gives them throughout by chance only.
        binary = [kind for kind in fitting if self.binary[kind] == self.num_used]
        nearly = [k for k in self.fits if self.binary[k] >= _NEARLY_ALL * self.num_used]
        for kinds in (fitting, binary, nearly):
            if len({self.classes[kind] for kind in kinds}) == 1:
                return min(kinds, key=_rank)
        raise UncertainTypeError(self._explain())

    def _fitting(self, share: float) -> list[str]:
        return [kind for kind, count in self.fits.items() if count >= share * self.num_used]

    def _explain(self) -> str:
        content, stated = self.example
        readings = _group(find_readings(content, stated, self.rules))
        shown = " or ".join(f"{kind} ({values})" for values, kind in readings.items())
        return (
            f"the type of the labels is not certain: {len(content):,} bytes may be {shown}; declare "
            f"`labels: {{dtype: ...}}`"
        )


def _rank(label_type: str) -> int:
    return RAW_TYPES.index(label_type) if label_type in RAW_TYPES else -1


def _group(readings: Mapping[str, Values]) -> dict[str, str]:
    """Return the first type of each reading, by its values as a message shows them."""
    found: dict[str, str] = {}
    for kind, values in readings.items():
        found.setdefault(show_values(values), kind)
    return found
