"""Append-only files of checksummed JSON lines: what a kill cuts short is seen, and dropped."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medassets.storage.checksums import canonical_json, crc32


def encode_lines(*lines: Mapping[str, Any]) -> bytes:
    """Return lines as they are appended, in one write: the CRC-32 of each stands before it."""
    bodies = [canonical_json(line) for line in lines]
    return b"".join(b"%08x %s\n" % (crc32(body), body) for body in bodies)


def iter_lines(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield lines and where they end, until the first one that is not whole.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    end = 0
    with path.open("rb") as file:
        for line in file:
            checksum, _, body = line.removesuffix(b"\n").partition(b" ")
            if not line.endswith(b"\n") or checksum != b"%08x" % crc32(body):
                return
            end += len(line)
            yield json.loads(body), end


def is_cut_short(path: Path, end: int) -> bool:
    """Tell whether nothing but one unfinished line stands behind the whole ones.

    Args:
        path: The file.
        end: Where its last whole line ends.
    """
    with path.open("rb") as file:
        file.seek(end)
        file.readline()
        return not file.read(1)
