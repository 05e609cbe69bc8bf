"""Headers of NRRD files, `.nrrd` and `.nhdr`."""

import re
from itertools import product

import numpy as np

from medassets.arrays import Affine
from medassets.volumes.files.images.header import (
    LPS_TO_RAS,
    MOST_HEADER_BYTES,
    ImageHeader,
    check_data_name,
    make_volume,
    read_numbers,
    read_sizes,
    reject,
)

_MAGIC = re.compile(rb"NRRD000[1-5]\r?\n")
_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("int64", "int64_t", "longlong", "long long", "long long int"), "i8"),
    **dict.fromkeys(("uint64", "uint64_t", "ulonglong", "unsigned long long"), "u8"),
    **{"float": "f4", "double": "f8", "int16": "i2", "int16_t": "i2"},
    **{"uint16": "u2", "uint16_t": "u2", "ushort": "u2"},
    **{f"{a}short{b}": "i2" for a, b in product(("", "signed "), ("", " int"))},
    **{f"unsigned short{b}": "u2" for b in ("", " int")},
}
_ENCODINGS = {"raw": "raw", "gzip": "gzip", "gz": "gzip"}
_LAS_TO_RAS = np.diag([-1.0, 1.0, 1.0, 1.0])
_SPACES: dict[str, Affine] = {
    **dict.fromkeys(("left-posterior-superior", "lps"), LPS_TO_RAS),
    **dict.fromkeys(("right-anterior-superior", "ras"), np.eye(4)),
    **dict.fromkeys(("left-anterior-superior", "las"), _LAS_TO_RAS),
}
_KINDS = frozenset({"domain", "space", "none", "???"})
_REFUSED = ("lineskip", "byteskip", "oldmin", "oldmax")
_VECTOR = re.compile(r"\(([^()]*)\)")


def parse_nrrd(start: bytes, *, may_be_detached: bool) -> ImageHeader:
    """Read the header of a NRRD file.

    Args:
        start: First bytes of the file, `MOST_HEADER_BYTES` where it has them.
        may_be_detached: Whether the voxels may be in another file; the name of the header says so.

    Raises:
        SampleRejectedError: BAD_HEADER.

    Source: https://teem.sourceforge.net/nrrd/format.html.
    """
    fields, num_bytes = _split(start)
    if fields.get("dimension") != "3":
        reject(f"dimension is {fields.get('dimension', '')[:40]!r}, expected 3")
    for name in _REFUSED:
        if fields.get(name, "0") != "0":
            reject(f"{name} is {fields[name][:40]!r}, which is not read")
    kinds = fields.get("kinds", "").lower().split()
    if set(kinds) - _KINDS:
        reject(f"kinds are {' '.join(kinds)[:60]!r}, expected three of space")
    dtype = _TYPES.get(fields.get("type", "").lower())
    encoding = _ENCODINGS.get(fields.get("encoding", "").lower())
    if dtype is None or encoding is None:
        wrong = "type" if dtype is None else "encoding"
        reject(f"{wrong} {fields.get(wrong, '')[:40]!r} is not read")
    order = {"little": "<", "big": ">"}.get(fields.get("endian", "").lower())
    if order is None and dtype[1] != "1":
        reject(f"endian is {fields.get('endian', '')[:40]!r}, expected little or big")
    spacing, directions, origin, to_ras = _read_geometry(fields)
    volume = make_volume(
        read_sizes("sizes", fields.get("sizes", "")),
        np.dtype((order or "<") + dtype),
        spacing_mm=spacing,
        directions=directions,
        origin=origin,
        to_ras=to_ras,
    )
    data = fields.get("datafile")
    if data is None and num_bytes:
        return ImageHeader(volume, encoding, num_bytes=num_bytes)
    if data is None:
        reject("the header ends without a blank line, and names no data file")
    if not may_be_detached:
        reject("it names a data file, which only a .nhdr file may")
    return ImageHeader(volume, encoding, data_name=check_data_name(data))


def _read_geometry(
    fields: dict[str, str],
) -> tuple[list[float] | None, np.ndarray | None, list[float] | None, Affine]:
    """Return steps, directions, origin, and what turns the space to RAS+."""
    spacings = fields.get("spacings")
    spacing = None if spacings is None else read_numbers("spacings", spacings, 3)
    stated = fields.get("spacedirections")
    if stated is None:
        return spacing, None, None, LPS_TO_RAS
    directions = np.array(_read_vectors("space directions", stated, 3)).T
    to_ras = _SPACES.get(fields.get("space", "").lower())
    if to_ras is None:
        # Steps are known, and what is left and right is not.
        return [float(n) for n in np.linalg.norm(directions, axis=0)], None, None, LPS_TO_RAS
    origins = fields.get("spaceorigin")
    origin = None if origins is None else _read_vectors("space origin", origins, 1)[0]
    return None, directions, origin, to_ras


def _read_vectors(name: str, text: str, count: int) -> list[list[float]]:
    found = _VECTOR.findall(text)
    if len(found) != count or _VECTOR.sub("", text).strip():
        reject(f"{name}: expected {count} vectors, got {text[:60]!r}")
    return [read_numbers(name, one.replace(",", " "), 3) for one in found]


def _split(start: bytes) -> tuple[dict[str, str], int]:
    """Return the fields by name without blanks, and where voxels begin; 0 without a blank line."""
    if not _MAGIC.match(start):
        reject("no NRRD: the first line is not NRRD0001 to NRRD0005")
    fields: dict[str, str] = {}
    position = start.index(b"\n") + 1
    while position < len(start):
        end = start.find(b"\n", position)
        end = len(start) if end < 0 else end
        line = start[position:end].decode("latin-1").strip()
        position = end + 1
        if not line:
            return fields, position
        name, colon, value = line.partition(":")
        if line.startswith("#") or value.startswith("="):
            continue
        if not colon:
            reject(f"no NRRD: expected `name: value`, got {line[:40]!r}")
        key = re.sub(r"\s", "", name).lower()
        if key in fields:
            reject(f"{name[:40]} is stated twice")
        fields[key] = value.strip()
    if len(start) >= MOST_HEADER_BYTES:
        reject(f"no NRRD: its header does not end in {MOST_HEADER_BYTES} bytes")
    return fields, 0
