"""Random access to the members of a split's shards, by the offsets of their records."""

import bisect
import json
import os
import threading
from collections import OrderedDict
from itertools import accumulate
from pathlib import Path
from typing import Any

from medassets.errors import ShardIntegrityError
from medassets.shards.record import SampleEntry, ShardRecord
from medassets.storage.checksums import crc32

_MOST_OPEN = 64


class ShardReader:
    """The samples of one split, by number.

    Records and files are opened when they are first needed and the least used closed; threads may
    share a reader, and a copy in another process opens files of its own.

    Args:
        manifest: `manifest.json` of a split.

    Raises:
        ShardIntegrityError: If it is no manifest.
    """

    def __init__(self, manifest: Path) -> None:
        self.manifest = manifest
        document = _read_manifest(manifest)
        self._shards = [manifest.parent / shard["filename"] for shard in document["shards"]]
        counts = [int(shard["num_samples"]) for shard in document["shards"]]
        self._ends = list(accumulate(counts))
        self._forget()

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._ends[-1] if self._ends else 0

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs: neither files nor locks."""
        kept = ("manifest", "_shards", "_ends")
        return {name: self.__dict__[name] for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what a pickle holds."""
        self.__dict__.update(state)
        self._forget()

    def _forget(self) -> None:
        self._open: OrderedDict[int, tuple[_File, ShardRecord]] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, index: int, suffixes: tuple[str, ...]) -> tuple[SampleEntry, list[bytearray]]:
        """Return a sample's entry and the contents of some of its members, checked.

        Args:
            index: Number of the sample; a negative one counts from the end.
            suffixes: Members wanted.

        Raises:
            IndexError: If there is no such sample.
            ShardIntegrityError: If the shard is not what its record says; names shard and sample.
        """
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            msg = f"{self.manifest}: sample {index} of {len(self)}"
            raise IndexError(msg)
        shard = bisect.bisect_right(self._ends, number)
        file, record = self._open_shard(shard)
        sample = record.samples[number - (self._ends[shard - 1] if shard else 0)]
        return sample, [self._read_member(file, shard, sample, suffix) for suffix in suffixes]

    def _open_shard(self, shard: int) -> "tuple[_File, ShardRecord]":
        with self._lock:
            if shard not in self._open:
                path = self._shards[shard]
                self._open[shard] = (_File(path), ShardRecord.read(path.with_suffix(".json")))
                if len(self._open) > _MOST_OPEN:
                    # Closed when the last reader lets go of it.
                    self._open.popitem(last=False)
            self._open.move_to_end(shard)
            return self._open[shard]

    def _read_member(
        self, file: "_File", shard: int, sample: SampleEntry, suffix: str
    ) -> bytearray:
        for member in sample.members:
            if member.suffix == suffix:
                content = bytearray(member.size_bytes)
                got = os.preadv(file.fd, [content], member.offset)
                if got == member.size_bytes and crc32(content) == member.crc32:
                    return content
                what = f"member .{suffix} is damaged; `medassets verify` finds all such"
                break
        else:
            what = f"has no member .{suffix}"
        msg = f"{self._shards[shard]}: {sample.key}: {what}"
        raise ShardIntegrityError(msg)


class _File:
    """A descriptor that is closed with its last user."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
        if isinstance(document["shards"], list):
            return document
    except (KeyError, TypeError, ValueError):
        pass
    msg = f"{path}: not a manifest of medassets; expected the manifest.json beside the shards"
    raise ShardIntegrityError(msg)
