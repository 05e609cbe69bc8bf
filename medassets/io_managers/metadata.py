"""Metadata of a shard for Dagster; small, since every event row holds a copy."""

import base64
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from medassets.datasets.kind import DatasetKind

if TYPE_CHECKING:
    from medassets.shards.writer import ShardResult

# A picture of 10 KB is 14 KB of text; an event row stays under 32 KB.
_LARGEST_PICTURE_BYTES = 20_000


def shard_metadata(
    kind: DatasetKind, shard: Path, result: "ShardResult"
) -> dict[str, dg.MetadataValue]:
    """Return counts, bytes, times and a picture of one shard."""
    record = result.record
    reasons = Counter(rejected.reason for rejected in record.rejected)
    total = sum(result.seconds.values()) if not result.adopted else 0.0
    metadata: dict[str, dg.MetadataValue] = {
        "dagster/uri": dg.MetadataValue.text(str(shard)),
        "dagster/row_count": dg.MetadataValue.int(record.num_samples),
        "medassets/rejected": dg.MetadataValue.int(len(record.rejected)),
        "medassets/bytes": dg.MetadataValue.int(record.size_bytes),
        "medassets/fingerprint": dg.MetadataValue.text(record.fingerprint),
        "medassets/sha256": dg.MetadataValue.text(record.sha256),
        "medassets/adopted": dg.MetadataValue.bool(result.adopted),
        "medassets/resumed_samples": dg.MetadataValue.int(result.resumed),
    }
    if reasons:
        metadata["medassets/rejected_by_reason"] = dg.MetadataValue.json(dict(reasons))
    if result.seconds:
        rounded = {stage: round(s, 3) for stage, s in sorted(result.seconds.items())}
        metadata["medassets/seconds"] = dg.MetadataValue.json(rounded)
    if total and result.wall_s:
        rate = record.num_samples / result.wall_s
        metadata["medassets/samples_per_s"] = dg.MetadataValue.float(round(rate, 3))
    described = kind.describe_shard(record)
    if described:
        metadata["medassets/contents"] = dg.MetadataValue.json(dict(described))
    if "frames" in described and total and result.wall_s:
        rate = described["frames"] / result.wall_s
        metadata["medassets/frames_per_s"] = dg.MetadataValue.float(round(rate, 3))
    return metadata | _picture(kind.draw_preview(shard, record))


def _picture(jpeg: bytes | None) -> dict[str, dg.MetadataValue]:
    if jpeg is None or len(jpeg) > _LARGEST_PICTURE_BYTES:
        return {}
    text = base64.b64encode(jpeg).decode("ascii")
    return {"medassets/preview": dg.MetadataValue.md(f"![preview](data:image/jpeg;base64,{text})")}
