"""A look at the first samples of any shard, ours or another's."""

import itertools
import json
import math
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from medassets.errors import ShardIntegrityError

_TEXT_START = 80


def describe_samples(shard: Path, *, num_samples: int) -> list[dict[str, Any]]:
    """Return what the first samples of a shard hold.

    Args:
        shard: A WebDataset tar.
        num_samples: Samples to describe.

    Returns:
        Per sample its key and, per member suffix, size in bytes and what could be read of it:
        `shape`, `dtype`, `min`, `max`, `mean` of an array, `start` of a text, `values` of labels,
        `spacing_mm` of the geometry.

    Raises:
        ShardIntegrityError: If the file is not a tar, or ends in the middle of a member.
    """
    try:
        return [_describe(k, m) for k, m in itertools.islice(_iter_raw(shard), num_samples)]
    except (tarfile.TarError, EOFError) as error:
        msg = f"{shard}: not a whole tar file ({error}); build the shard again"
        raise ShardIntegrityError(msg) from error


def _iter_raw(shard: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    with tarfile.open(shard, "r:") as archive:
        files = (info for info in archive if info.isfile())
        for key, infos in itertools.groupby(files, key=lambda info: info.name.partition(".")[0]):
            members = {}
            for info in infos:
                content = archive.extractfile(info)
                members[info.name.partition(".")[2]] = content.read() if content else b""
            yield key, members


def _describe(key: str, members: dict[str, bytes]) -> dict[str, Any]:
    facts = _read_json(members.get("json", b"{}"))
    described: dict[str, Any] = {"key": key, "members": {}}
    for suffix, content in members.items():
        described["members"][suffix] = {"bytes": len(content)} | _read(suffix, content, facts)
    if "geometry" in facts:
        described["spacing_mm"] = facts["geometry"].get("output_spacing_mm")
        described["source_spacing_mm"] = facts["geometry"].get("source_spacing_mm")
    return described


def _read_json(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _read(suffix: str, content: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    if suffix == "txt":
        text = content.decode("utf-8", errors="replace")
        return {"start": text[:_TEXT_START].replace("\n", " "), "characters": len(text)}
    if suffix == "cls" and len(content) % 4 == 0:
        return {"values": np.frombuffer(content, "<f4").tolist()}
    if suffix == "bin" and "shape" in facts and "dtype" in facts:
        return _read_array(content, facts["shape"], facts["dtype"])
    return {"fields": sorted(facts)} if suffix == "json" else {}


def _read_array(content: bytes, shape: list[int], dtype: str) -> dict[str, Any]:
    if math.prod(shape) * np.dtype(dtype).itemsize != len(content):
        return {"problem": f"{len(content)} bytes are not {shape} of {dtype}"}
    array = np.frombuffer(content, dtype)
    return {
        "shape": shape,
        "dtype": dtype,
        "min": float(array.min()),
        "max": float(array.max()),
        "mean": float(array.mean(dtype=np.float64)),
    }
