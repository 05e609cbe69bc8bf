"""Read from one sample of a foreign tar what the catalog needs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from medassets.errors import Reason, SampleRejectedError
from medassets.tars.reader import Members, OpenTar
from medassets.volumes.catalog.ct_tables import Row
from medassets.volumes.catalog.webdataset_facts import parse_facts, read_stated_columns, shorten
from medassets.volumes.files.array_files import open_npy_array, open_npz_array

_T = TypeVar("_T")

_MOST_JSON_BYTES = 1 << 24


def call_or_reject(reason: Reason, read: Callable[[], _T], start: str = "") -> _T:
    """Return what a function reads; its ValueError is a rejection.

    Args:
        reason: Code of the rejection.
        read: The function.
        start: How its detail begins.
    """
    try:
        return read()
    except ValueError as error:
        raise SampleRejectedError(reason, f"{start}{error}") from error


@dataclass(frozen=True)
class TarSample:
    """One sample of an open tar.

    Attributes:
        tar: The tar.
        members: Its members.
    """

    tar: OpenTar
    members: Members

    def read_facts(self, suffix: str) -> Row:
        """Return the json.

        Args:
            suffix: Its member.

        Raises:
            SampleRejectedError: BAD_RECORD if it is not there or no JSON object.
        """
        if suffix not in self.members:
            detail = f"has no .{suffix}, which names the study and its spacing"
            dotted = [name for name in self.members if name.endswith(f".{suffix}")]
            if dotted:
                detail = (
                    f"has no .{suffix}, but .{shorten(dotted[0])[1:-1]}: a key ends at the first dot "
                    f"of a name, so rename the members without dots in their keys, or declare "
                    f"`fields` where all samples have the same suffixes"
                )
            raise SampleRejectedError(Reason.BAD_RECORD, detail)
        member = self.members[suffix]
        if member.size_bytes > _MOST_JSON_BYTES:
            detail = f".{suffix} has {member.size_bytes:,} bytes; expected some facts"
            raise SampleRejectedError(Reason.BAD_RECORD, detail)
        content = bytes(self.tar.read(member))
        return call_or_reject(Reason.BAD_RECORD, lambda: parse_facts(content), f".{suffix}: ")

    def read_array_columns(self, suffix: str | None, facts: Row, array_key: str) -> Row:
        """Return shape and dtype of the volume; empty where the build reports the problem.

        Args:
            suffix: Its member; None if the sample has no such member.
            facts: The json.
            array_key: Name of the array in a `.npz`.

        Raises:
            SampleRejectedError: BAD_RECORD if it is missing, or the json states a shape or dtype
                that no array can have.
        """
        if suffix is None:
            detail = f"has no volume (bin with shape and dtype, npy or npz), only {self._list()}"
            raise SampleRejectedError(Reason.BAD_RECORD, detail)
        kind = suffix.rpartition(".")[2]
        if kind not in ("npy", "npz"):
            return call_or_reject(Reason.BAD_RECORD, lambda: read_stated_columns(facts))
        within, path = self.members[suffix], Path(self.tar.path)
        is_npz = kind == "npz"
        opened = open_npz_array(path, array_key, within=within) if is_npz else None
        try:
            with opened or open_npy_array(path, within=within) as array:
                header = array.header
                return {"shape": list(header.shape), "array_dtype": header.dtype.name}
        except SampleRejectedError:
            return {}

    def require(self, suffix: str | None, reason: Reason, what: str) -> None:
        """Reject a sample that lacks a member.

        Args:
            suffix: The member; None if the sample has no such member.
            reason: Code of the rejection.
            what: What a person calls it.

        Raises:
            SampleRejectedError: If it is not there or empty.
        """
        if suffix is None:
            raise SampleRejectedError(reason, f"has no {what}, only {self._list()}")
        if not self.members[suffix].size_bytes:
            raise SampleRejectedError(reason, f".{suffix} is empty")

    def read_small(self, suffix: str, *, most_bytes: int) -> bytes | None:
        """Return the content of a member; None if it is larger."""
        member = self.members[suffix]
        return bytes(self.tar.read(member)) if member.size_bytes <= most_bytes else None

    def _list(self) -> str:
        return ", ".join(f".{shorten(suffix)[1:-1]}" for suffix in self.members)
