"""What the samples of shards are, and which class reads them.

A sound shard that is opened by the wrong class must not be called damaged.
"""

import io
from collections.abc import Sequence

from medassets.errors import MedassetsError, WrongLoaderError
from medassets.loaders.index import IndexedSample, ShardIndex
from medassets.samples import SampleKind
from medassets.storage.formats.npy import NpyHeader, read_npy_header
from medassets.tars.reader import open_tar

_TITLES = {
    SampleKind.CT_VOLUME: "CT volumes",
    SampleKind.CT_WINDOWS: "windows of CT volumes",
    SampleKind.VIDEO_FRAMES: "frames of video clips",
    SampleKind.VIDEO_CLIPS: "video clips as mp4",
}
_READERS = {
    SampleKind.CT_VOLUME: "open them with VolumeDataset (or VolumeStream)",
    SampleKind.CT_WINDOWS: "open them with CTWindowSparseSDF",
    SampleKind.VIDEO_FRAMES: "open them with ClipDataset",
    SampleKind.VIDEO_CLIPS: "train on the stage `frames` with ClipDataset, or read the mp4 files "
    "with any reader of WebDataset",
}
_LARGEST_HEADER_BYTES = 1 << 16


def require_kind(index: ShardIndex, expected: SampleKind) -> None:
    """Refuse shards of another kind than a class reads.

    Manifest and record say what a shard holds. For shards of earlier versions and of other tools,
    the members of the first sample tell; where they do not, the shard is accepted, and the class
    says what a sample lacks.

    Args:
        index: The shards.
        expected: What the class reads.

    Raises:
        WrongLoaderError: Naming the shard, what it holds, and the right class.
    """
    for shard, path in enumerate(index.paths):
        kind = find_kind(index, shard)
        if kind in ("", expected):
            continue
        msg = f"{path}: {explain_other_kind(kind, _TITLES[expected])}"
        raise WrongLoaderError(msg)


def explain_other_kind(kind: str, expected: str = "volumes or frames") -> str:
    """Return what samples of a kind are, and what opens them.

    Args:
        kind: Their kind, perhaps one of a newer version.
        expected: What was expected instead.
    """
    held, how = f"samples of kind {kind!r}", "a newer version of medassets reads them"
    if kind in set(SampleKind):
        held, how = _TITLES[SampleKind(kind)], _READERS[SampleKind(kind)]
    return f"holds {held}, not {expected}; {how}"


def find_kind(index: ShardIndex, shard: int) -> str:
    """Return what a shard holds, a `SampleKind`; empty if nothing tells.

    Args:
        index: The shards.
        shard: Number of the shard.
    """
    if index.kinds[shard]:
        return index.kinds[shard]
    first = int(index.shard_ends[shard - 1]) if shard else 0
    if first == int(index.shard_ends[shard]):
        return ""
    sample = index.locate(first)
    kind = name_kind(list(sample.members))
    if not kind and "npy" in sample.members:
        return _name_array(_read_header(index, sample))
    return kind


def name_kind(suffixes: Sequence[str]) -> str:
    """Return what a sample is, as far as the names of its members tell.

    Args:
        suffixes: Suffixes of its members, without the dot.
    """
    names = set(suffixes)
    if any(
        f"{name.removesuffix('.bits')}.rank" in names for name in names if name.endswith(".bits")
    ):
        return SampleKind.CT_WINDOWS
    if "mp4" in names:
        return SampleKind.VIDEO_CLIPS
    if "tokens.npy" in names:
        return SampleKind.VIDEO_FRAMES
    return SampleKind.CT_VOLUME if "bin" in names else ""


def _name_array(header: NpyHeader | None) -> str:
    """Return what an array is by its axes and dtype: frames are uint8 (t, h, w, 3)."""
    if header is None:
        return ""
    if len(header.shape) == 4 and header.shape[3] == 3 and header.dtype.name == "uint8":
        return SampleKind.VIDEO_FRAMES
    return SampleKind.CT_VOLUME if len(header.shape) == 3 else ""


def _read_header(index: ShardIndex, sample: IndexedSample) -> NpyHeader | None:
    """Return the header of a sample's array; None if it cannot be read, which its reading reports."""
    member = sample.members["npy"]
    try:
        with open_tar(index.paths[sample.shard]) as tar:
            size = min(member.size_bytes, _LARGEST_HEADER_BYTES)
            start = io.BytesIO(tar.read_range(member.offset, size))
        return read_npy_header(start.read)[0]
    except (OSError, ValueError, MedassetsError):
        return None
