"""Files that claim more than they hold, or are no files: each takes a few bytes of disk."""

import gzip
import io
import os
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

TERABYTE = 1 << 40


def encode_array_header(shape: tuple[int, ...], dtype: str) -> bytes:
    """Return the header of a `.npy` file."""
    stream = io.BytesIO()
    fields = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, fields)
    return stream.getvalue()


def write_npz_claim(
    path: Path, shape: tuple[int, ...], dtype: str = "float16", *, stored_bytes: int | None = None
) -> Path:
    """Write a `.npz` whose directory and header claim an array that is mostly a hole.

    Args:
        path: File to write.
        shape: Claimed shape of the array `data`.
        dtype: Claimed dtype.
        stored_bytes: Deflated bytes; None stores the array, so that the file is as long as it.
    """
    header = encode_array_header(shape, dtype)
    size = len(header) + int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
    method, start, stored = 0, header, size
    if stored_bytes is not None:
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        start = deflate.compress(header + bytes(1 << 20)) + deflate.flush(zlib.Z_SYNC_FLUSH)
        method, stored = 8, stored_bytes
    name = b"data.npy"
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 45, 0, method, 0, 33, 0, 0, 0, len(name), 0)
    extra = struct.pack("<2H2Q", 1, 16, size, stored)
    most = 0xFFFFFFFF
    entry = struct.pack(
        "<4s6H3L5H2L", b"PK\1\2", 45, 45, 0, method, 0, 33, 0, most, most,
        len(name), len(extra), 0, 0, 0, 0, 0,
    )  # fmt: skip
    directory = entry + name + extra
    at = len(local) + len(name) + stored
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(directory), at)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, at + len(directory), 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(directory), most, 0)
    with path.open("wb") as file:
        file.write(local + name + start)
        file.seek(at)
        file.write(directory + end64 + locator + end)
    return path


def write_npy_claim(path: Path, shape: tuple[int, ...], dtype: str = "uint8") -> Path:
    """Write a `.npy` file of a shape, all of whose values are a hole."""
    header = encode_array_header(shape, dtype)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize)
    return path


def write_hole(path: Path, num_bytes: int = 4 << 30) -> Path:
    """Write a file of zeros that takes no disk."""
    with path.open("wb") as file:
        file.truncate(num_bytes)
    return path


def make_socket(path: Path) -> None:
    """Put a socket at a path, however long that is."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


NO_FILES: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "socket": make_socket,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "nothing behind a link": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "hole": write_hole,
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
    "gzip of zeros": lambda path: path.write_bytes(gzip.compress(bytes(1 << 24))),
}
"""What may be found under the name of any input."""
