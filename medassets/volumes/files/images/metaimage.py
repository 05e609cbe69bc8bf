"""Headers of MetaImage files, `.mha` and `.mhd`."""

import numpy as np

from medassets.volumes.files.images.header import (
    MOST_HEADER_BYTES,
    ImageHeader,
    check_data_name,
    make_volume,
    read_numbers,
    read_sizes,
    reject,
)

_TYPES = {
    **{"MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2"},
    **{"MET_INT": "i4", "MET_UINT": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8"},
    **{"MET_FLOAT": "f4", "MET_DOUBLE": "f8"},
}
# Several names of one field.
_SAME = {
    "elementbyteordermsb": "binarydatabyteordermsb",
    **{"rotation": "transformmatrix", "orientation": "transformmatrix"},
    **{"position": "offset", "origin": "offset"},
    "elementsize": "elementspacing",
}
_MUST_BE = {
    "objecttype": ("image",),
    "ndims": ("3",),
    "binarydata": ("true",),
    "elementnumberofchannels": ("1",),
    "headersize": ("0",),
    "elementtointensityfunctionslope": ("1",),
    "elementtointensityfunctionoffset": ("0",),
}
_LAST = "elementdatafile"
_LOCAL = "LOCAL"


def parse_metaimage(start: bytes, *, may_be_detached: bool) -> ImageHeader:
    """Read the header of a MetaImage file.

    Args:
        start: First bytes of the file, `MOST_HEADER_BYTES` where it has them.
        may_be_detached: Whether the voxels may be in another file; the name of the header says so.

    Raises:
        SampleRejectedError: BAD_HEADER.

    Source: MetaIO of ITK 5.4. Its matrix holds the direction of each axis as a row; positions are LPS.
    """
    fields, num_bytes = _split(start)
    for name, accepted in _MUST_BE.items():
        value = fields.get(name, accepted[0])
        if value.lower() not in accepted:
            reject(f"{name} is {value[:40]!r}, expected {accepted[0]}")
    if "ndims" not in fields:
        reject("no NDims")
    dtype = _TYPES.get(fields.get("elementtype", "").upper())
    if dtype is None:
        reject(f"ElementType {fields.get('elementtype', '')[:40]!r} is not one of CT")
    order = ">" if _is_true(fields, "binarydatabyteordermsb") else "<"
    matrix = fields.get("transformmatrix")
    volume = make_volume(
        read_sizes("DimSize", fields.get("dimsize", "")),
        np.dtype(order + dtype),
        spacing_mm=_read(fields, "elementspacing", 3),
        directions=None
        if matrix is None
        else np.array(read_numbers("TransformMatrix", matrix, 9)).reshape(3, 3).T,
        origin=_read(fields, "offset", 3),
    )
    encoding = "zlib" if _is_true(fields, "compresseddata") else "raw"
    data = fields[_LAST]
    if data.upper() == _LOCAL:
        return ImageHeader(volume, encoding, num_bytes=num_bytes)
    if not may_be_detached:
        reject("ElementDataFile is not LOCAL, as it must be in a .mha file")
    return ImageHeader(volume, encoding, data_name=check_data_name(data))


def _split(start: bytes) -> tuple[dict[str, str], int]:
    fields: dict[str, str] = {}
    position = 0
    while _LAST not in fields:
        end = start.find(b"\n", position)
        if end < 0:
            what = f"in {MOST_HEADER_BYTES} bytes" if len(start) >= MOST_HEADER_BYTES else ""
            reject(f"no MetaImage: its header has no ElementDataFile {what}".rstrip())
        line = start[position:end].decode("latin-1")
        position = end + 1
        name, equals, value = line.partition("=")
        if not equals:
            reject(f"no MetaImage: expected `name = value`, got {line[:40]!r}")
        # A second field of one meaning is refused, whichever of both others would take.
        key = name.strip().lower()
        key = _SAME.get(key, key)
        if key in fields:
            reject(f"{name.strip()[:40]} is stated twice")
        fields[key] = value.strip()
    return fields, position


def _read(fields: dict[str, str], name: str, count: int) -> list[float] | None:
    return read_numbers(name, fields[name], count) if name in fields else None


def _is_true(fields: dict[str, str], name: str) -> bool:
    value = fields.get(name, "false").lower()
    if value not in ("true", "false", "1", "0"):
        reject(f"{name} is {value[:40]!r}, expected True or False")
    return value in ("true", "1")
