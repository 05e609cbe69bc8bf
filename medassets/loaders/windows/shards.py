"""Masks in shards: bits are read, verified and searched in pieces."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medassets.errors import DamagedTarError, ShardIntegrityError
from medassets.loaders.batch_memory import POOL
from medassets.loaders.index import IndexedSample, ShardIndex
from medassets.loaders.windows.points import PIECE_BYTES, KeptMask, Pick, Points
from medassets.storage.checksums import parse_json
from medassets.storage.unreadable import read_regular
from medassets.tars.reader import Member, open_tar
from medassets.volumes.windows.occupancy import (
    BLOCK_BITS,
    BLOCK_BYTES,
    Occupancy,
    Shape,
    check_end,
    check_rank,
    pick_points,
)
from medassets.volumes.windows.occupancy_codec import decode_bits, iter_bits

_BITS, _RANK, _FACTS = "bits", "rank", "json"
_LAYOUT = {"order": "ijk, i fastest", "block_bits": BLOCK_BITS}


def list_windows(index: ShardIndex) -> tuple[str, ...]:
    """Return the windows that samples of these shards have."""
    ends = (suffix.rpartition(".") for suffix in index.suffixes)
    return tuple(name for name, _, end in ends if name and end == _BITS)


def count_points(index: ShardIndex, window: str) -> list[int]:
    """Return the number of points of every sample, from the records or the rank indices.

    Raises:
        ShardIntegrityError: If a sample lacks the window; names shard and sample.
    """
    index.require([f"{window}.{_BITS}"], [f"{window}.{_RANK}"], [_FACTS])
    known = _read_facts(index, window)
    return [
        known[number] if number in known else _read_total(index, number, window)
        for number in range(len(index))
    ]


def _read_facts(index: ShardIndex, window: str) -> dict[int, int]:
    known: dict[int, int] = {}
    first = 0
    for path, end in zip(index.paths, index.shard_ends.tolist(), strict=True):
        record = Path(path).with_suffix(".json")
        if record.exists():
            known.update(_read_counts(record, window, first))
        first = end
    return known


def _read_counts(record: Path, window: str, first: int) -> dict[int, int]:
    try:
        samples = parse_json(read_regular(record))["samples"]
        facts = [sample.get("facts", {}).get("windows", {}).get(window, {}) for sample in samples]
        counts = [entry.get("num_points") for entry in facts]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        msg = f"{record}: not a shard record ({error!r}); build the shard again"
        raise ShardIntegrityError(msg) from error
    return {n: count for n, count in enumerate(counts, first) if isinstance(count, int)}


def _read_total(index: ShardIndex, number: int, window: str) -> int:
    sample = index.locate(number)
    member = sample.members[f"{window}.{_RANK}"]
    with open_tar(index.paths[sample.shard]) as tar:
        size = min(4, member.size_bytes)
        last = tar.read_range(member.offset + member.size_bytes - size, size)
        return int.from_bytes(last, "little")


@dataclass(frozen=True)
class ShardMask:
    """One window of one sample.

    Attributes:
        index: The shards.
        number: Of the sample.
        window: Name of the window.
    """

    index: ShardIndex = field(repr=False)
    number: int
    window: str

    @property
    def most_bytes(self) -> int:
        """What `keep` would take at most: bits are no smaller in a shard than 1 to 200."""
        members = self.index.locate(self.number).members
        # Each entry of four bytes covers 512 bytes of bits.
        return members[f"{self.window}.{_RANK}"].size_bytes * (BLOCK_BYTES // 4 + 1)

    def draw(self, pick: Pick) -> Points:
        """Return the points that `pick` selects.

        Raises:
            ShardIntegrityError: If the sample is damaged; names shard and sample.
        """
        with _Reading(self) as reading:
            shape, rank, encoding = reading.read_index()
            picked = pick(int(rank[-1]))
            out = np.empty((len(picked), 3), np.int64)
            block = 0
            bits = np.empty(0, np.uint8)
            for bits in reading.iter_bits(encoding, (len(rank) - 1) * BLOCK_BYTES):
                pick_points(bits, rank, shape, picked=picked, out=out, first_block=block)
                block += len(bits) // BLOCK_BYTES
            check_end(bits, shape)
            return Points(out, None)

    def keep(self, *, sparse: bool) -> KeptMask:
        """Return the mask in memory, a bit per voxel."""
        with _Reading(self) as reading:
            shape, rank, encoding = reading.read_index()
            num_bytes = (len(rank) - 1) * BLOCK_BYTES
            content = reading.read(_BITS)
            bits = decode_bits(content, encoding, num_bytes=num_bytes)
            return KeptMask(Occupancy(bits, rank.copy(), shape))


class _Reading:
    """Open shard of one sample; its errors name shard and sample."""

    def __init__(self, mask: ShardMask) -> None:
        self._index = mask.index
        self._window = mask.window
        self._sample: IndexedSample = mask.index.locate(mask.number)
        self._path = mask.index.paths[self._sample.shard]

    def __enter__(self) -> "_Reading":
        try:
            self._tar = open_tar(self._path)
        except OSError as error:
            raise self._index.damage(self._sample, f"cannot be read ({error})") from error
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._tar.close()
        if isinstance(error, DamagedTarError):
            raise self._index.damage(self._sample, error.what) from error
        if isinstance(error, ShardIntegrityError) and self._path not in str(error):
            raise self._index.damage(self._sample, f"window {self._window}: {error}") from error

    def read_index(self) -> tuple[Shape, npt.NDArray[np.uint32], str]:
        """Return the checked shape, rank index and encoding of the bits."""
        shape, encoding = self._read_facts()
        content = self.read(_RANK)
        if len(content) % 4:
            msg = f"rank: {len(content):,} bytes are not a number of uint32"
            raise ShardIntegrityError(msg)
        rank = content.view("<u4")
        check_rank(rank, shape)
        return shape, rank, encoding

    def _read_facts(self) -> tuple[Shape, str]:
        try:
            facts: dict[str, Any] = parse_json(bytes(self.read(_FACTS)))
            i, j, k = (int(side) for side in facts["shape"])
            encoding = str(facts["windows"][self._window].get("encoding", "raw"))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, ShardIntegrityError):
                raise
            msg = f"its json does not describe a mask ({error!r})"
            raise ShardIntegrityError(msg) from error
        for name, expected in _LAYOUT.items():
            if facts.get(name, expected) != expected:
                msg = f"{name}: expected {expected!r}, got {facts[name]!r}"
                raise ShardIntegrityError(msg)
        return (i, j, k), encoding

    def iter_bits(self, encoding: str, num_bytes: int) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the bits in pieces of whole blocks; a piece is valid until the next one."""
        if encoding == "raw":
            yield from self._iter_raw(num_bytes)
        else:
            content = self.read(_BITS)
            buffer = POOL.lend((PIECE_BYTES,), "u1")
            yield from iter_bits(content, encoding, num_bytes=num_bytes, buffer=buffer)

    def _iter_raw(self, num_bytes: int) -> Iterator[npt.NDArray[np.uint8]]:
        member = self._member(_BITS)
        if member.size_bytes != num_bytes:
            msg = f"bits: expected {num_bytes:,} bytes, got {member.size_bytes:,}"
            raise ShardIntegrityError(msg)
        for chunk in self._tar.iter_chunks(member, POOL.lend((PIECE_BYTES,), "u1")):
            yield np.frombuffer(chunk, np.uint8)

    def read(self, suffix: str) -> npt.NDArray[np.uint8]:
        """Return the content of a member whose checksum was compared."""
        member = self._member(suffix)
        content = POOL.lend((member.size_bytes,), "u1")
        self._tar.fill(member, [content])
        return content

    def _member(self, suffix: str) -> Member:
        return self._sample.members[suffix if suffix == _FACTS else f"{self._window}.{suffix}"]
