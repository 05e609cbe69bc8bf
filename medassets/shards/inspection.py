"""A look at the first samples of any shard, ours or another's."""

import io
import itertools
import json
import lzma
import math
import re
import struct
import tarfile
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medassets.errors import ShardIntegrityError
from medassets.storage.formats.npy import decode_any_npy

_TEXT_START = 80
_MOST_SECONDS = 1e9
# As webdataset splits names: the key ends at the first dot of the last part of the path.
_NAME = re.compile(r"(?P<key>(?:.*/)?[^./][^./]*)\.(?P<suffix>[^/]*)")
# A member is held in memory; what is larger is named with its size only.
_MOST_BYTES = 4 << 30
_MOST_ARRAYS = 100
# What parsers and decompressors raise for bytes that are held in memory; numpy reads a header as
# Python, and zip files have four ways to be compressed.
_NOT_READABLE = (
    EOFError,
    IndexError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)

Explain = Callable[[Collection[str], Mapping[str, Any]], Mapping[str, Any]]
"""Says more of a sample, from the suffixes of its members and its json."""


def _explain_nothing(_: Collection[str], __: Mapping[str, Any]) -> Mapping[str, Any]:
    return {}


def describe_samples(
    shard: Path, *, num_samples: int, explain: Explain = _explain_nothing
) -> list[dict[str, Any]]:
    """Return what the first samples of a shard hold.

    Args:
        shard: A WebDataset tar, plain or compressed.
        num_samples: Samples to describe.
        explain: Says what samples of a kind have besides.

    Returns:
        Per sample its key and, per member suffix, size in bytes and what could be read of it:
        `shape`, `dtype`, `min`, `max`, `mean` of an array, `arrays` of a `.npz`, `start` of a text,
        `values` of labels, `fields` of a JSON object, `value` and `items` of other JSON; `problem`
        where it is not what its suffix says. Of the sample, `spacing_mm` of a volume, `stretch_s` of
        a clip, and what `explain` says.

    Raises:
        ShardIntegrityError: If the file is not a tar, ends in the middle of a member, or holds no
            sample.
    """
    if shard.exists() and not shard.is_file():
        # Opening a pipe would wait for whoever writes into it.
        msg = f"{shard}: not a plain file, so no tar that could be read twice"
        raise ShardIntegrityError(msg)
    try:
        raw = itertools.islice(_iter_raw(shard), num_samples)
        found = [_describe(key, members, explain) for key, members in raw]
    except (tarfile.TarError, EOFError, OSError) as error:
        # Of an unreadable file, tarfile lists every compression it tried, a line each.
        msg = f"{shard}: not a whole tar file ({str(error).partition(':')[0]})"
        raise ShardIntegrityError(msg) from error
    if not found:
        msg = f"{shard}: a tar file without a single sample (<key>.<suffix>)"
        raise ShardIntegrityError(msg)
    return found


def _iter_raw(shard: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with tarfile.open(shard, "r:*") as archive:
        named = ((_NAME.fullmatch(info.name), info) for info in archive if info.isfile())
        pairs = ((match, info) for match, info in named if match is not None)
        for key, group in itertools.groupby(pairs, key=lambda pair: pair[0]["key"]):
            members: dict[str, Any] = {}
            for match, info in group:
                content = archive.extractfile(info) if info.size <= _MOST_BYTES else None
                members[match["suffix"]] = content.read() if content else info.size
            yield key, members


def _describe(key: str, members: Mapping[str, Any], explain: Explain) -> dict[str, Any]:
    facts = _read_json(members.get("json", b""))
    described: dict[str, Any] = {"key": key, "members": {}} | dict(explain(members, facts))
    for suffix, content in members.items():
        if isinstance(content, int):
            described["members"][suffix] = {"bytes": content, "problem": "too large to look into"}
            continue
        described["members"][suffix] = {"bytes": len(content)} | _read(suffix, content, facts)
    for name, side in (("spacing_mm", "output"), ("source_spacing_mm", "source")):
        spacing = _at(facts, "geometry", side, "spacing_mm")
        if spacing is not None:
            described[name] = spacing
    stretch = [_at(facts, "begin_s"), _at(facts, "end_s")]
    if all(type(time) in (int, float) and 0 <= time < _MOST_SECONDS for time in stretch):
        described["stretch_s"] = stretch
    return described


def _at(facts: Any, *names: str) -> Any:
    for name in names:
        facts = facts.get(name) if isinstance(facts, dict) else None
    return facts


def _read_json(content: Any) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (TypeError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _read(suffix: str, content: bytes, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Read a member as its last suffix says; a foreign one may lie about itself."""
    kind = suffix.rpartition(".")[2].lower()
    try:
        if kind in ("txt", "text", "transcript"):
            text = content.decode("utf-8")
            return {"start": text[:_TEXT_START].replace("\n", " "), "characters": len(text)}
        if kind in ("cls", "cls2", "labels", "index", "id", "count"):
            return {"values": _read_labels(content)}
        if kind == "npy":
            return _summarize(decode_any_npy(content))
        if kind == "npz":
            return _describe_npz(content)
        if kind == "json":
            return _describe_json(json.loads(content))
        if kind == "rank" and len(content) >= 4:
            # The last entry of an index of ranks counts all points of a mask.
            return {"value": f"{int.from_bytes(content[-4:], 'little'):,} points"}
        for start in ("", "volume_"):
            if kind == "bin" and f"{start}shape" in facts and f"{start}dtype" in facts:
                return _read_array(content, facts[f"{start}shape"], facts[f"{start}dtype"])
    except _NOT_READABLE as error:
        return {"problem": f"not readable as .{kind}: {error}"}
    return {}


def _describe_npz(content: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()[:_MOST_ARRAYS]
        return {
            "arrays": {m.filename.removesuffix(".npy"): _read_zipped(archive, m) for m in members}
        }


def _read_zipped(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> dict[str, Any]:
    if member.file_size > _MOST_BYTES:
        return {"problem": f"{member.file_size:,} bytes: too large to look into"}
    try:
        return _summarize(decode_any_npy(archive.read(member)))
    except _NOT_READABLE as error:
        return {"problem": f"not readable: {error}"}


def _describe_json(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return {"fields": sorted(value)}
    text = json.dumps(value)
    shown = text if len(text) <= _TEXT_START else text[: _TEXT_START - 3] + "..."
    return {"value": shown} | ({"items": len(value)} if isinstance(value, list) else {})


def _read_labels(content: bytes) -> list[float | None]:
    # webdataset writes a class as decimal digits; ours are one float32 per label.
    if re.fullmatch(rb"\s*[+-]?[0-9]{1,18}\s*", content):
        return [int(content)]
    if content.lstrip()[:1] == b"[" and (listed := _read_list(content)) is not None:
        return listed
    return [_number(value) for value in np.frombuffer(content, "<f4")]


def _read_list(content: bytes) -> list[float | None] | None:
    """Return a JSON list of numbers, None for what is none: float32 can begin with any byte."""
    try:
        values = json.loads(content)
    except ValueError:
        return None
    is_numbers = all(type(value) in (int, float, bool) for value in values)
    return [_number(value) for value in values] if is_numbers else None


def _read_array(content: bytes, shape: list[int], dtype: str) -> dict[str, Any]:
    if math.prod(shape) * np.dtype(dtype).itemsize != len(content):
        return {"problem": f"{len(content)} bytes are not {shape} of {dtype}"}
    return _summarize(np.frombuffer(content, dtype).reshape(shape))


def _summarize(array: np.ndarray) -> dict[str, Any]:
    facts: dict[str, Any] = {"shape": list(array.shape), "dtype": str(array.dtype)}
    if array.dtype.kind not in "biuf":
        return facts
    finite = array if array.dtype.kind != "f" else array[np.isfinite(array)]
    if finite.size < array.size:
        facts["not_finite"] = array.size - finite.size
    if finite.size:
        facts |= {"min": float(finite.min()), "max": float(finite.max())}
        facts["mean"] = float(finite.mean(dtype=np.float64))
    return facts


def _number(value: Any) -> float | None:
    """Return a float, None for what JSON cannot say."""
    return float(value) if np.isfinite(value) else None
