"""The manifest of a split, and the index that `wids` opens."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from medassets.errors import ForeignFileError
from medassets.shards.account import Account
from medassets.shards.record import ShardRecord
from medassets.storage.checksums import fingerprint, parse_json
from medassets.storage.made_file import MadeFile
from medassets.storage.ownership import content_says
from medassets.storage.paths import DatasetPaths, split_partition_key
from medassets.storage.unreadable import read_regular
from medassets.tars.lists import require_known_manifest

Manifest = Mapping[str, Any]
Document = Mapping[str, Any]


def build_manifest(
    split: str,
    records: Sequence[ShardRecord],
    *,
    dataset: str,
    kind: str,
    sample_fields: Mapping[str, Any],
    source: Mapping[str, Any],
    account: Account,
    planned: Sequence[str],
    num_held: int,
    samples_per_shard: int,
    describe_shard: Callable[[ShardRecord], Mapping[str, Any]],
    stale: Mapping[str, Sequence[str]] | None = None,
    meaning: str = "",
) -> Manifest:
    """Return the manifest of one split.

    Member offsets are in the record that each shard names; everything else that readers need to
    choose and verify shards is here. A MB is 10**6 bytes, a GB 10**9.

    Args:
        split: The split.
        records: Records of the shards that are on disk whole, in order.
        dataset: Dataset name.
        kind: What the samples are.
        sample_fields: `preprocessed, sample_shape, sample_dtype, num_classes` of the kind.
        source: `repo`, `uri` and `revision` of the source; `revisions` if there are several.
        account: State of every source item of the split.
        planned: Partition keys of the whole plan of the split.
        num_held: Rows of the dataset that are not planned yet.
        samples_per_shard: Samples of a full shard.
        describe_shard: Returns more facts of a shard, written as `contents` unless empty.
        stale: Partition key -> why the listed shard is to be made again.
        meaning: What samples made today mean; see `medassets.shards.made_from`.
    """
    stale = stale or {}
    samples = sum(record.num_samples for record in records)
    total = sum(record.size_bytes for record in records)
    there = {record.partition for record in records}
    return {
        "dataset": dataset,
        "split": split,
        "format": "webdataset",
        "kind": str(kind),
        **sample_fields,
        "total_shards": len(records),
        "num_shards": len(records),
        "samples_per_shard": samples_per_shard,
        "total_samples": samples,
        "total_size_bytes": total,
        "total_size_mb": round(total / 1e6, 3),
        "total_size_gb": round(total / 1e9, 6),
        "average_sample_size_mb": round(total / samples / 1e6, 3) if samples else 0.0,
        "complete": len(records) == len(planned) and not num_held and not stale,
        "missing_partitions": [key for key in planned if key not in there],
        "stale_partitions": {key: list(lines) for key, lines in stale.items()},
        "sample_meaning": meaning,
        "held_samples": num_held,
        "source": dict(source),
        "account": account.as_dict(),
        "excluded": dict(account.excluded),
        "rejected": sum(len(record.rejected) for record in records),
        "fingerprint": fingerprint([record.fingerprint for record in records]),
        "shards": [_describe_shard(record, describe_shard(record)) for record in records],
    }


def build_wids_index(manifest: Manifest) -> dict[str, Any]:
    """Return the index of a split for `wids.ShardListDataset`.

    Source: `wids-shard-index-v1`, as `widsindex create` of webdataset 1.0 writes it.
    """
    shards = [
        {"url": s["filename"], "nsamples": s["num_samples"], "filesize": s["size_bytes"]}
        for s in manifest["shards"]
    ]
    name = f"{manifest['dataset']}-{manifest['split']}"
    return {"__kind__": "wids-shard-index-v1", "wids_version": 1, "name": name, "shardlist": shards}


def write_manifest(paths: DatasetPaths, split: str, manifest: Manifest) -> None:
    """Publish a split's manifest and `wids` index, each atomically.

    Raises:
        ForeignFileError: If a file that this package did not write has one of their names, or one
            of them was changed since.
        LaterVersionError: If a later version wrote the manifest on disk.
        DiskSpaceError: If the disk is full.
    """
    index = build_wids_index(manifest)
    documents = (
        (paths.manifest(split), manifest, ("dataset", "split", "format")),
        (paths.wids_index(split), index, ("__kind__", "wids_version", "name")),
    )
    files = [
        (_made_document(path, {name: document[name] for name in names}), document)
        for path, document, names in documents
    ]
    with suppress(OSError):
        there = _read_document(read_regular(paths.manifest(split)))
        require_known_manifest(paths.manifest(split), there or {})
    for file, _ in files:
        file.require_ours()
    for file, document in files:
        file.publish(encode_document(document))


def _describe_shard(record: ShardRecord, contents: Mapping[str, Any]) -> dict[str, Any]:
    rejected = [{"key": r.key, "reason": r.reason, "detail": r.detail} for r in record.rejected]
    return {
        "shard_index": split_partition_key(record.partition)[1],
        "filename": record.filename,
        "num_samples": record.num_samples,
        "size_bytes": record.size_bytes,
        "sha256": record.sha256,
        "record": record.filename.removesuffix(".tar") + ".json",
        "keys": [sample.key for sample in record.samples],
        "rejected": rejected,
        **({"contents": dict(contents)} if contents else {}),
    }


def _made_document(path: Path, fields: Mapping[str, Any]) -> MadeFile:
    """Return a document that may be replaced unless a user changed it.

    Args:
        path: The file.
        fields: Those that say what the document is about; `encode_document` writes them first.
    """
    head = encode_document(fields).removesuffix(b"\n}\n") + b","

    def is_damaged(content: bytes) -> bool:
        return _read_document(content) is None and content.startswith(head)

    def says(content: bytes) -> bool:
        return fields.items() <= (_read_document(content) or {}).items()

    return MadeFile(path, is_ours=content_says(is_damaged), was_ours=content_says(says))


def read_published(paths: DatasetPaths, split: str) -> Manifest | None:
    """Return the manifest of a split as it was published.

    None without one that can be read, and if a user changed it: what it lists was not published.

    Raises:
        LaterVersionError: If a later version wrote it.
    """
    path = paths.manifest(split)
    try:
        _made_document(path, {"dataset": paths.dataset, "split": split}).require_ours()
        document = _read_document(read_regular(path))
    except (OSError, ForeignFileError):
        return None
    if document is None or not isinstance(document.get("shards"), list):
        return None
    require_known_manifest(path, document)
    return document


def list_shard_keys(manifest: Manifest) -> dict[str, list[str]]:
    """Return the sample keys of each shard that a manifest lists, by file name.

    Those of earlier versions and those that were changed by hand may lack some.
    """
    shards = [shard for shard in manifest["shards"] if isinstance(shard, dict)]
    return {str(shard.get("filename")): list(shard.get("keys") or ()) for shard in shards}


def _read_document(content: bytes) -> Document | None:
    """Return a JSON object, None if the bytes are no such object."""
    try:
        document = parse_json(content)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def encode_document(document: Mapping[str, Any]) -> bytes:
    """Return the bytes of a manifest or index as published."""
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()
