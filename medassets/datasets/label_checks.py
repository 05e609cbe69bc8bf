"""Labels in published shards: their names and values over a split, and whether they can be right."""

from collections.abc import Iterator, Sequence
from typing import Any

from medassets.errors import ShardIntegrityError
from medassets.shards.contents import OpenShard, open_shard
from medassets.shards.record import SampleEntry, ShardRecord
from medassets.shards.verify import Problem
from medassets.specs import CTSourceSpec, DatasetSpec
from medassets.storage.checksums import parse_json
from medassets.storage.formats.label_rules import NO_RULES, LabelError, LabelRules, StatedLabels
from medassets.storage.formats.label_types import OWN_TYPE, decode_as, is_text
from medassets.storage.paths import DatasetPaths
from medassets.volumes.catalog.label_summary import count_values, read_label_rules
from medassets.volumes.catalog.webdataset_fields import LABEL_SUFFIXES

# A whole number that was read as float32 is far below every value that a label has.
_SMALLEST = 1e-30


def count_labels(records: Sequence[ShardRecord]) -> dict[str, Any]:
    """Return the manifest's facts about labels: their names, and how often each has each value.

    Args:
        records: Records of the shards of a split.

    Returns:
        `label_names` in order and `label_values`, name -> value -> number of samples; both null
        where a shard of an older version does not state them, or where shards differ in names.
    """
    facts = [sample.facts for record in records for sample in record.samples]
    names = {tuple(one.get("label_names") or ()) for one in facts}
    if len(names) != 1 or not (listed := names.pop()):
        return {"label_names": None, "label_values": None}
    counts = count_values((one["labels"] for one in facts), listed)
    return {"label_names": list(listed), "label_values": counts}


def find_label_problems(
    paths: DatasetPaths, partition_key: str, spec: DatasetSpec
) -> list[Problem]:
    """Return the samples of a whole shard whose labels contradict their json or the declaration.

    Args:
        paths: Paths of the dataset.
        partition_key: The shard.
        spec: The declaration.
    """
    rules = read_label_rules(spec) if isinstance(spec, CTSourceSpec) else NO_RULES
    record = ShardRecord.read(paths.record(partition_key))
    labelled = [one for one in record.samples if _list_labels(one) and _has(one, "json")]
    if not labelled:
        return []
    path = paths.shard(partition_key)
    with open_shard(record, path) as shard:
        found = list(_iter_troubles(shard, labelled, rules))
    return [Problem(partition_key, path, sample, what) for sample, what in found]


def _iter_troubles(
    shard: OpenShard, samples: Sequence[SampleEntry], rules: LabelRules
) -> Iterator[tuple[str, str]]:
    for sample in samples:
        try:
            _check_labels(shard, sample, rules)
        except (LabelError, ShardIntegrityError) as error:
            yield sample.key, f"labels: {error}"
        except ValueError as error:
            yield sample.key, f"labels: they are not float32 ({error})"


def _list_labels(sample: SampleEntry) -> list[str]:
    """Return the suffixes of its members with labels."""
    return [suffix for suffix in LABEL_SUFFIXES if _has(sample, suffix)]


def _has(sample: SampleEntry, suffix: str) -> bool:
    return any(member.suffix == suffix for member in sample.members)


def _check_labels(shard: OpenShard, sample: SampleEntry, rules: LabelRules) -> None:
    content, *others = (shard.read(sample, suffix) for suffix in _list_labels(sample))
    if any(other != content for other in others):
        msg = f".{' and .'.join(_list_labels(sample))} differ"
        raise LabelError(msg)
    facts = parse_json(bytes(shard.read(sample, "json")))
    stated = StatedLabels.read(facts if isinstance(facts, dict) else {})
    stated = stated.order(rules.columns or None, may_rename=True)
    if not len(content) and not stated.length:
        # A dataset without labels.
        return
    values = decode_as(content, OWN_TYPE, unknown=stated.unknown)
    if (difference := stated.contradicts(values)) is not None:
        raise LabelError(difference)
    rules.check_values(values.tolist())
    tiny = next((value for value in values.tolist() if 0 < abs(value) < _SMALLEST), None)
    if rules.label_type is None and (tiny is not None or is_text(content)):
        what = "they are the bytes of a text" if tiny is None else f"{tiny:.3g} is a whole number"
        msg = f"{what} that was read as float32 when the shard was made"
        raise LabelError(msg)
