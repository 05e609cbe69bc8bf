"""Compare preprocessed samples with samples made again from the original tars."""

import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from medassets.comparison.recipes import Recipe, make_volume, read_recipe
from medassets.comparison.studies import Pair
from medassets.comparison.tars import StudySample
from medassets.comparison.values import ValueDifferences, compare_stream
from medassets.errors import ShardIntegrityError
from medassets.shards.readback import find_damage
from medassets.shards.record import ShardRecord
from medassets.specs import HuRule
from medassets.storage.buffers import BufferPool
from medassets.storage.formats.label_rules import LabelError, LabelRules, StatedLabels
from medassets.storage.formats.label_types import encode_labels
from medassets.storage.formats.labels import (
    UncertainTypeError,
    find_label_type,
    find_readings,
    read_labels,
)
from medassets.storage.formats.npy import read_dtype
from medassets.tars.reader import open_tar
from medassets.volumes.catalog.webdataset_facts import shorten
from medassets.volumes.catalog.webdataset_fields import FieldMap, propose_fields
from medassets.volumes.files.header import VolumeStream

# Samples are compared in the order of their tars, by a few threads.
_KEPT_RECORDS = 8
_HALF = np.dtype(np.float16)


@dataclass(frozen=True)
class CompareSettings:
    """Settings that the jsons do not give.

    Attributes:
        hu_rule: How stored values become HU; None uses that of the jsons, see `read_recipe`.
        array_key: Name of the array in a `.npz`.
        label_type: Type of the labels of the originals; None takes the only one that fits a sample.
    """

    hu_rule: HuRule | None = None
    array_key: str = "data"
    label_type: str | None = None


@dataclass
class Comparison:
    """The result of comparing one sample.

    Attributes:
        sample: The preprocessed sample.
        original: The original it was compared with.
        differences: The differences, a sentence each; empty if there are none.
        recipe: How it was made again; None if that could not be read.
        values: Counts over its values; None if they could not be compared.
    """

    sample: StudySample
    original: StudySample
    differences: list[str] = field(default_factory=list)
    recipe: Recipe | None = None
    values: ValueDifferences | None = None


@dataclass
class _Opened:
    """A sample with its json and the member of each role."""

    sample: StudySample
    facts: dict[str, Any]
    fields: FieldMap

    @classmethod
    def read(cls, sample: StudySample) -> "_Opened":
        facts = sample.read_facts()
        return cls(sample, facts, propose_fields(list(sample.members), facts))

    def read_role(self, role: str) -> bytes | None:
        suffix = getattr(self.fields, role)
        return None if suffix is None else self.sample.read_member(suffix)


def compare_pair(pair: Pair, settings: CompareSettings, buffers: BufferPool) -> Comparison:
    """Make a sample again and compare volume, labels and text; no damage of it raises.

    Of several originals of the study, one that makes the sample is enough.

    Args:
        pair: The sample and its originals.
        settings: Settings that their jsons do not give.
        buffers: Pool of scratch arrays.
    """
    found: list[Comparison] = []
    for original in pair.originals:
        found.append(_compare(pair.preprocessed, original, settings, buffers))
        if not found[-1].differences:
            return found[-1]
    return found[0]


def _compare(
    sample: StudySample, original: StudySample, settings: CompareSettings, buffers: BufferPool
) -> Comparison:
    result = Comparison(sample, original)
    try:
        result.differences += _check_record(sample)
        after = _Opened.read(sample)
    except (OSError, ValueError) as error:
        result.differences.append(_explain(error))
        return result
    try:
        before = _Opened.read(original)
        result.differences += _compare_members(before, after, settings)
        _compare_volume(result, before, after, settings, buffers)
    except (ArithmeticError, OSError, ValueError) as error:
        result.differences.append(f"cannot be compared with {original.place}: {_explain(error)}")
    return result


def _explain(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror})"
    return str(error)


def _check_record(sample: StudySample) -> list[str]:
    """Compare a sample with the record beside its tar, if there is one."""
    path = sample.tar.with_suffix(".json")
    if not path.exists():
        return []
    try:
        record = _read_record(path, path.stat().st_mtime_ns)
    except ShardIntegrityError:
        return ["the record beside its tar cannot be read"]
    entry = next((entry for entry in record.samples if entry.key == sample.key), None)
    if entry is None:
        return ["the record beside its tar does not list it"]
    try:
        with open_tar(sample.tar) as tar:
            found = find_damage(tar, entry)
    except (OverflowError, TypeError) as error:
        # The numbers in the record are invalid.
        return [f"cannot be compared with the record beside its tar ({error})"]
    return [f"{what} (compared with its record)" for what in found]


@lru_cache(maxsize=_KEPT_RECORDS)
def _read_record(path: Path, _: int) -> ShardRecord:
    return ShardRecord.read(path)


def _compare_members(before: _Opened, after: _Opened, settings: CompareSettings) -> list[str]:
    found = []
    for role in ("labels", "text"):
        expected, there = before.read_role(role), after.read_role(role)
        if expected == there:
            continue
        if expected is None or there is None:
            has, lacks = ("original", "sample") if there is None else ("sample", "original")
            found.append(f"{role}: the {has} has them, the {lacks} has none")
        elif role == "text":
            found.append(_describe_text(expected, there))
        else:
            found += _compare_labels(expected, there, before.facts, settings)
    return found


def _compare_labels(
    expected: bytes, there: bytes, facts: Mapping[str, Any], settings: CompareSettings
) -> list[str]:
    """Compare labels of any type with the float32 that are made of them."""
    stated, rules = StatedLabels.read(facts), LabelRules(label_type=settings.label_type)
    try:
        label_type = find_label_type([(expected, stated)], rules)
        values = read_labels(expected, label_type, stated=stated, rules=rules)
    except UncertainTypeError as error:
        readings = find_readings(expected, stated, rules).values()
        if any(encode_labels(one) == there for one in readings):
            what = str(error).partition("; declare")[0]
            return [f"labels: in the original, {what}; give --label-type"]
        return [_describe_labels(expected, there)]
    except LabelError:
        return [_describe_labels(expected, there)]
    made = encode_labels(values)
    return [] if made == there else [_describe_labels(made, there)]


def _describe_labels(expected: bytes, there: bytes) -> str:
    if len(expected) != len(there) or len(expected) % 4:
        return f"labels differ: {len(there)} bytes, {len(expected)} in the original"
    pairs = zip(struct.iter_unpack("<4s", expected), struct.iter_unpack("<4s", there), strict=True)
    number = next(number for number, (right, wrong) in enumerate(pairs) if right != wrong)
    right, wrong = (
        struct.unpack_from("<f", content, 4 * number)[0] for content in (expected, there)
    )
    return f"labels differ: number {number} is {wrong:g}, {right:g} in the original"


def _describe_text(expected: bytes, there: bytes) -> str:
    pairs = zip(expected, there, strict=False)
    same = next((n for n, (right, wrong) in enumerate(pairs) if right != wrong), None)
    start = min(len(expected), len(there)) if same is None else same
    sizes = f"{len(there):,} bytes, {len(expected):,} in the original"
    return f"text differs from byte {start:,} on ({sizes})"


def _compare_volume(
    result: Comparison,
    before: _Opened,
    after: _Opened,
    settings: CompareSettings,
    buffers: BufferPool,
) -> None:
    """Add the differences of the volume."""
    suffixes = (before.fields.volume, after.fields.volume)
    if None in suffixes:
        what = "original" if suffixes[0] is None else "sample"
        result.differences.append(
            f"volume: the {what} has none (bin with shape and dtype, npy, npz)"
        )
        return
    key = settings.array_key
    with after.sample.open_array(str(suffixes[1]), after.facts, key) as stored:
        result.differences += _check_stated(after.facts, stored)
        recipe = read_recipe(
            after.facts, before.facts, shape=stored.header.shape, hu_rule=settings.hu_rule
        )
        result.recipe = recipe
        with before.sample.open_array(str(suffixes[0]), before.facts, key) as stream:
            original_shape = stream.header.shape
        shape = original_shape if recipe.preset is None else recipe.preset.shape
        if stored.header.shape != shape or stored.header.dtype != _HALF:
            what = f"volume: {stored.header.dtype} of {stored.header.shape}, expected float16 of {shape}"
            result.differences.append(what)
            return
        with buffers.borrow(shape, np.float16) as expected:
            open_array = partial(before.sample.open_array, str(suffixes[0]), before.facts, key)
            make_volume(
                before.sample,
                open_array,
                before.facts,
                recipe=recipe,
                out=expected,
                buffers=buffers,
            )
            result.values = compare_stream(stored, expected, tolerance=recipe.tolerance)
    if result.values.num_beyond:
        result.differences.append(f"volume: {result.values}")


def _check_stated(facts: Mapping[str, Any], stored: VolumeStream) -> list[str]:
    """Compare shape and dtype in a json, under each name that readers use, with the volume."""
    there = {"shape": list(stored.header.shape), "dtype": stored.header.dtype.name}
    return [
        f"json: {prefix}{name} is {shorten(facts[prefix + name])}, the volume's is {value}"
        for name, value in there.items()
        for prefix in ("", "volume_")
        if facts.get(prefix + name) is not None and not _is_same(facts[prefix + name], value)
    ]


def _is_same(stated: Any, value: Any) -> bool:
    if isinstance(value, str) and isinstance(stated, str):
        try:
            return read_dtype(stated).name == value
        except ValueError:
            return False
    return stated == value


def describe_comparison(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as the JSON document holds it."""
    sample, original = comparison.sample, comparison.original
    values, recipe = comparison.values, comparison.recipe
    counts = asdict(values) if values is not None else {}
    counts.pop("total", None)
    return {
        "study_id": sample.study_id,
        "shard": str(sample.tar),
        "key": sample.key,
        "original_shard": str(original.tar),
        "original_key": original.key,
        "ok": not comparison.differences,
        "differences": comparison.differences,
        "preset": recipe.name if recipe else None,
        "hu_rule": recipe.hu_rule if recipe and recipe.preset else None,
        "num_values": counts.get("num_values"),
        "num_differing": counts.get("num_differing"),
        "num_beyond_tolerance": counts.get("num_beyond"),
        "share_differing": values.share if values else None,
        "max_difference": values.largest if values else None,
        "mean_difference": values.mean if values else None,
    }
