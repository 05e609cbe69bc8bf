"""Labels of samples: those of our shards are float32, those of others are what all samples agree on."""

import reprlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from medassets.errors import UsageError
from medassets.loaders.index import IndexedSample
from medassets.loaders.members import ShardReader
from medassets.storage.formats.label_rules import (
    NOTHING_STATED,
    LabelError,
    LabelRules,
    StatedLabels,
)
from medassets.storage.formats.label_types import (
    OWN_TYPE,
    Values,
    parse_label_type,
    show_values,
)
from medassets.storage.formats.labels import (
    describe_content,
    find_label_type,
    find_readings,
    read_labels,
)

_SUFFIXES = ("labels", "cls")
_MOST_ASKED = 64


class LabelReader:
    """Reads the labels of samples and compares them with their json.

    Args:
        reader: Reader of the shards.
        label_type: Type of the labels in shards without a record; None finds it in the samples.

    Raises:
        UsageError: If there is no such type.
    """

    def __init__(self, reader: ShardReader, label_type: str | None = None) -> None:
        self._reader = reader
        try:
            self._type = None if label_type is None else parse_label_type(label_type)
        except ValueError as error:
            raise UsageError(field="label_type", what=str(error)) from error
        self._rules = LabelRules(label_type=self._type)
        self._names: tuple[str, ...] | None = None

    def read(self, sample: IndexedSample, document: dict[str, Any]) -> npt.NDArray[np.float32]:
        """Return the labels of a sample, float32 (num_classes,); (0,) if it has none.

        Args:
            sample: The sample.
            document: Its json.

        Raises:
            ShardIntegrityError: If they are damaged, or contradict the json.
            UsageError: If their type is not certain.
        """
        suffix = _find_suffix(sample)
        if suffix is None:
            return np.zeros(0, np.float32)
        count = document.get("num_classes")
        if count is not None and type(count) is not int:
            what = f"member .json says num_classes {reprlib.repr(count)}; expected a whole number"
            raise self._reader.index.damage(sample, what)
        content = self._reader.read_member(sample, suffix)
        if not content and not count:
            return np.zeros(0, np.float32)
        # A record gives the CRC-32 of each member; then the shard is ours, and its type is known.
        is_ours = sample.members[suffix].crc32 is not None
        rules = LabelRules(label_type=OWN_TYPE) if is_ours else self._rules
        try:
            stated = StatedLabels.read(document)
            stated = stated if is_ours else stated.order(self._find_names(stated))
            label_type = rules.label_type or self._find_type()
            values = read_labels(content, label_type, stated=stated, rules=rules)
            if not is_ours:
                self._compare_others(sample, suffix, values)
        except LabelError as error:
            raise self._reader.index.damage(sample, f"member .{suffix}: {error}") from error
        return values.astype(np.float32)

    def _find_names(self, stated: StatedLabels) -> tuple[str, ...] | None:
        """Return the names of the labels in their order: those that a json states first."""
        if self._names is None and stated.names is not None:
            names = (one.names for _, one in self._iter_samples())
            self._names = next((found for found in names if found is not None), stated.names)
        return self._names

    def _compare_others(self, sample: IndexedSample, suffix: str, values: Values) -> None:
        """Refuse a second member of labels that no reading makes the same.

        Raises:
            LabelError: If they differ.
        """
        for other in _SUFFIXES:
            if other == suffix or other not in sample.members:
                continue
            content = self._reader.read_member(sample, other)
            readings = find_readings(content, NOTHING_STATED).values()
            if not any(np.array_equal(values, found) for found in readings):
                msg = f"{show_values(values)}, but .{other} has {describe_content(content)}"
                raise LabelError(msg)

    def _find_type(self) -> str:
        if self._type is None:
            try:
                self._type = find_label_type(self._iter_samples())
            except LabelError as error:
                what = str(error).partition("; declare")[0]
                how = 'give it, such as label_type="float32"'
                raise UsageError(field="label_type", what=f"{what}; {how}") from error
        return self._type

    def _iter_samples(self) -> Iterator[tuple[bytes, StatedLabels]]:
        """Yield labels and json of some samples, spread over all shards."""
        reader = self._reader
        for number in np.unique(np.linspace(0, len(reader) - 1, _MOST_ASKED).astype(int)).tolist():
            sample = reader.index.locate(number)
            if (suffix := _find_suffix(sample)) is not None:
                document = reader.read_json(sample, "json") if "json" in sample.members else {}
                facts = document if isinstance(document, dict) else {}
                yield bytes(reader.read_member(sample, suffix)), StatedLabels.read(facts)


def _find_suffix(sample: IndexedSample) -> str | None:
    return next((name for name in _SUFFIXES if name in sample.members), None)
