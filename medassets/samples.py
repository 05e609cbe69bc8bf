"""What flows from a source to a shard: items, staged files, encoded samples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from medassets.arrays import BytesLike
from medassets.errors import Reason, SampleRejectedError


class SampleKind(StrEnum):
    """What the samples of a shard are; manifest and record name it, so that a loader can tell."""

    CT_VOLUME = "ct_volume"
    CT_WINDOWS = "ct_windows"
    VIDEO_FRAMES = "video_frames"
    VIDEO_CLIPS = "video_clips"


def _keep() -> None:
    """Release nothing: the sample owns its buffers."""


@dataclass(frozen=True)
class ListedFile:
    """One file of a source that lists its files, or one link to a folder that is not entered.

    Attributes:
        path: Path inside the source, with forward slashes.
        identity: The same for two names of one file; None where each name has bytes of its own.
        is_link: Whether it is a symbolic link.
        problem: Why it cannot be read, reason and sentence; it must not be opened then.
    """

    path: str
    identity: str | None = None
    is_link: bool = False
    problem: tuple[Reason, str] | None = None


@dataclass(frozen=True)
class Listing:
    """The files of a source.

    Attributes:
        files: Those with the wanted endings, sorted by path.
        num_others: Number of other files.
        hidden_folders: Folders whose names begin with a dot; they are not entered.
    """

    files: tuple[ListedFile, ...]
    num_others: int = 0
    hidden_folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceItem:
    """One row of the catalog, as the processing of one sample sees it.

    Attributes:
        key: Sample key, ``[A-Za-z0-9_-]+``.
        split: Split as the source names it.
        path: Path of the file inside the source, with forward slashes.
        revision: Pinned revision (commit sha) of the source, None where it has none.
        row: All columns of the catalog row, the kind's own among them; JSON-like values.
    """

    key: str
    split: str
    path: str
    revision: str | None
    row: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class StagedFile:
    """One checked source file on a local disk.

    Attributes:
        path: Where the bytes are.
        uri: Where they came from, without credentials or machine paths.
        revision: Revision they belong to, None where the source has none.
        num_bytes: Size of the file.
        sha256: Lower-case hex digest of the file's bytes.
        others: Further files of an item that has several, in the order of its paths.
    """

    path: Path
    uri: str
    revision: str | None
    num_bytes: int
    sha256: str
    others: "tuple[StagedFile, ...]" = ()


@dataclass(frozen=True)
class EncodedSample:
    """One training example, ready to be written to a shard.

    Attributes:
        key: Sample key, ``[A-Za-z0-9_-]+`` (a dot would end the key in a tar member name).
        members: (suffix without dot, content) in the order of the shard. A content is
            any C-contiguous buffer.
        facts: Small JSON-like facts for the shard record. Deterministic: no clock, no paths.
        seconds: Wall seconds per stage, for metadata only; never written to a shard or record.
        release: Called once by the shard writer when the members are on disk; a buffer that came
            from a pool goes back there and must not be touched afterwards.
    """

    key: str
    members: tuple[tuple[str, BytesLike], ...] = field(repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    release: Callable[[], None] = field(default=_keep, repr=False, compare=False)


Staged = StagedFile | SampleRejectedError
"""What bringing one item's file to the local disk gives: the file, or why there is none."""

Encoded = EncodedSample | SampleRejectedError
"""What encoding one item gives: its sample, or why it has none."""

Encode = Callable[[Sequence[SourceItem], StagedFile], Sequence[Encoded]]
"""Encodes all items that come from one file; returns one result per item, in order."""


def each_item(encode: Callable[[SourceItem, StagedFile], EncodedSample]) -> Encode:
    """Return an `Encode` that encodes the items of a file one by one.

    Args:
        encode: Encodes one item; the rejection that it raises becomes the result of this item only.
    """

    def encode_one(item: SourceItem, staged: StagedFile) -> Encoded:
        try:
            return encode(item, staged)
        except SampleRejectedError as error:
            return error

    return lambda items, staged: [encode_one(item, staged) for item in items]
