"""Describe the first samples of any WebDataset shard."""

import io
import itertools
import json
import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medassets.errors import DamagedTarError, ShardIntegrityError
from medassets.storage.checksums import parse_json
from medassets.storage.foreign_bytes import Boundary
from medassets.storage.formats.label_rules import NOTHING_STATED, LabelError, StatedLabels
from medassets.storage.formats.labels import find_label_type, read_labels
from medassets.storage.formats.npy import decode_any_npy
from medassets.storage.memory import read_budget_bytes
from medassets.tars.compressed import open_any_tar
from medassets.tars.reader import OpenTar
from medassets.tars.scan import ScannedSample, iter_samples

_TEXT_START = 80
_MOST_SECONDS = 1e9
# Members are read into memory; of larger ones, and of what memory has no room for, only the size.
_MOST_BYTES = 4 << 30
_LABEL_KINDS = frozenset({"cls", "cls2", "labels", "index", "id", "count"})
_TOO_LARGE = {"problem": "too large to read"}
_MOST_ARRAYS = 100
# Errors of parsers and decompressors for bytes in memory; numpy parses a header as Python, and zip
# files have four compressions.
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
"""Returns more facts of a sample, from the suffixes of its members and its json."""


def _explain_nothing(_: Collection[str], __: Mapping[str, Any]) -> Mapping[str, Any]:
    return {}


def describe_samples(
    shard: Path, *, num_samples: int, explain: Explain = _explain_nothing
) -> list[dict[str, Any]]:
    """Return the contents of the first samples of a shard.

    Args:
        shard: A WebDataset tar, plain or compressed.
        num_samples: Samples to describe.
        explain: Adds facts that samples of one kind have.

    Returns:
        Per sample its key and, per member suffix, size in bytes and what could be read of it:
        `shape`, `dtype`, `min`, `max`, `mean` of an array, `arrays` of a `.npz`, `start` of a text,
        `values` and `type` of labels, where these samples make the type certain, `fields` of a JSON object, `value` and `items` of other JSON; `problem`
        where the content does not fit the suffix. Of the sample, `spacing_mm` of a volume,
        `stretch_s` of a clip, and the result of `explain`.

    Raises:
        ShardIntegrityError: If the file is not a tar, ends in the middle of a member, or contains
            no sample.
    """
    if shard.exists() and not shard.is_file():
        # Opening a pipe would block until there is a writer.
        msg = f"{shard}: not a regular file; expected a tar"
        raise ShardIntegrityError(msg)
    labels = _LabelMembers()
    try:
        with open_any_tar(shard) as tar:
            samples = itertools.islice(iter_samples(tar), num_samples)
            boundary = Boundary(lambda _, what: DamagedTarError(what, what))
            found = [boundary(_describe)(tar, sample, explain, labels) for sample in samples]
    except (DamagedTarError, OSError) as error:
        what = error.what if isinstance(error, DamagedTarError) else error.strerror
        msg = f"{shard}: not a whole tar file ({what})"
        raise ShardIntegrityError(msg) from error
    if not found:
        msg = f"{shard}: a tar file without samples (<key>.<suffix>)"
        raise ShardIntegrityError(msg)
    labels.fill()
    return found


def _describe(
    tar: OpenTar, sample: ScannedSample, explain: Explain, labels: "_LabelMembers"
) -> dict[str, Any]:
    contents = {
        suffix: tar.read(member)
        for suffix, member in sample.members.items()
        if member.size_bytes <= _most_bytes()
    }
    facts = _read_json(contents.get("json", b""))
    described: dict[str, Any] = {"key": sample.key, "members": {}}
    described |= explain(sample.members, facts)
    for suffix, member in sample.members.items():
        content = contents.pop(suffix, None)
        read = _TOO_LARGE if content is None else _read(suffix, content, facts)
        described["members"][suffix] = {"bytes": member.size_bytes} | dict(read)
        if content is not None and _kind(suffix) in _LABEL_KINDS:
            labels.add(suffix, content, facts, described["members"][suffix])
    for name, side in (("spacing_mm", "output"), ("source_spacing_mm", "source")):
        spacing = _at(facts, "geometry", side, "spacing_mm")
        if spacing is not None:
            described[name] = spacing
    stretch = [_at(facts, "begin_s"), _at(facts, "end_s")]
    if all(type(time) in (int, float) and 0 <= time < _MOST_SECONDS for time in stretch):
        described["stretch_s"] = stretch
    return described


def _most_bytes() -> int:
    return min(_MOST_BYTES, read_budget_bytes() // 4)


def _at(facts: Any, *names: str) -> Any:
    for name in names:
        facts = facts.get(name) if isinstance(facts, dict) else None
    return facts


def _read_json(content: Any) -> dict[str, Any]:
    try:
        value = parse_json(content)
    except (TypeError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _read(suffix: str, content: bytearray, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Read a member by its last suffix; the content may not match it."""
    kind = _kind(suffix)
    try:
        if kind in ("txt", "text", "transcript"):
            text = content.decode("utf-8")
            return {"start": text[:_TEXT_START].replace("\n", " "), "characters": len(text)}
        if kind == "npy":
            return _summarize(decode_any_npy(content))
        if kind == "npz":
            return _describe_npz(content)
        if kind == "json":
            return _describe_json(parse_json(content))
        if kind == "rank" and len(content) >= 4:
            # The last entry of a rank index is the number of points of a mask.
            return {"value": f"{int.from_bytes(content[-4:], 'little'):,} points"}
        for start in ("", "volume_"):
            if kind == "bin" and f"{start}shape" in facts and f"{start}dtype" in facts:
                return _read_array(content, facts[f"{start}shape"], facts[f"{start}dtype"])
    except _NOT_READABLE as error:
        return {"problem": f"not readable as .{kind}: {error}"}
    return {}


def _kind(suffix: str) -> str:
    return suffix.rpartition(".")[2].lower()


class _LabelMembers:
    """Members of labels by suffix; all samples together say which type they have."""

    def __init__(self) -> None:
        self._found: dict[str, list[tuple[bytes, StatedLabels, dict[str, Any]]]] = {}

    def add(
        self, suffix: str, content: bytearray, facts: Mapping[str, Any], described: dict[str, Any]
    ) -> None:
        """Take a member; `described` receives its values in `fill`."""
        is_of_sample = _kind(suffix) in ("cls", "labels")
        stated = StatedLabels.read(facts) if is_of_sample else NOTHING_STATED
        self._found.setdefault(suffix, []).append((bytes(content), stated, described))

    def fill(self) -> None:
        """Add the values of all members, or why they cannot be read."""
        for suffix, members in self._found.items():
            names = next((stated.names for _, stated, _ in members if stated.names), None)
            for content, stated, described in members:
                try:
                    label_type = find_label_type((c, s) for c, s, _ in members)
                    values = read_labels(content, label_type, stated=stated.order(names))
                except (LabelError, *_NOT_READABLE) as error:
                    described["problem"] = f"not readable as .{suffix}: {error}"
                else:
                    described |= {"values": values.tolist(), "type": label_type}


def _describe_npz(content: bytearray) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()[:_MOST_ARRAYS]
        return {
            "arrays": {m.filename.removesuffix(".npy"): _read_zipped(archive, m) for m in members}
        }


def _read_zipped(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> dict[str, Any]:
    if member.file_size > _most_bytes():
        return {"problem": f"{member.file_size:,} bytes: too large to read"}
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


def _read_array(content: bytearray, shape: list[int], dtype: str) -> dict[str, Any]:
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
