"""PyTorch dataset of video clips: frames, tokens and sizes."""

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch.utils.data import Dataset

from medassets.loaders.arrays import StoredArray, describe_npy, read_array, read_stack
from medassets.loaders.batch_memory import empty_tensor
from medassets.loaders.collate import Sample, StackedSamples, collate_samples
from medassets.loaders.index import IndexedSample, ShardIndex
from medassets.loaders.members import Check, ShardReader
from medassets.loaders.sample_kinds import require_kind
from medassets.samples import SampleKind
from medassets.tars.lists import Source

FrameLayout = Literal["tchw", "thwc"]

_MEMBERS = ("npy", "tokens.npy", "size.json", "txt")


@dataclass(frozen=True)
class DescribedClip:
    """One sample before its frames are read.

    Attributes:
        stored: Where the frames are.
        facts: Everything else of the sample.
    """

    stored: StoredArray
    facts: Sample


class ClipDecoder:
    """Makes samples of clips from the members that a reader gives.

    Args:
        reader: Reader of the shards.
        layout: Axes of `frames`.

    Raises:
        ValueError: If `layout` is unknown.
    """

    def __init__(self, reader: ShardReader, *, layout: FrameLayout) -> None:
        _check_layout(layout)
        self._reader = reader
        self._layout = layout

    def decode(self, sample: IndexedSample) -> Sample:
        """Return one clip, as `ClipDataset` describes it.

        Raises:
            ShardIntegrityError: If the clip is damaged.
        """
        described = self.describe(sample)
        out = empty_tensor(described.stored.shape, torch.uint8)
        read_array(self._reader, described.stored, out)
        return {"frames": self.arrange(out), **described.facts}

    def arrange(self, frames: torch.Tensor) -> torch.Tensor:
        """Return frames (..., h, w, 3) with the axes of the layout, as a view."""
        return frames.movedim(-1, -3) if self._layout == "tchw" else frames

    def describe(self, sample: IndexedSample) -> DescribedClip:
        """Return where the frames of a sample are, and everything else of it.

        Raises:
            ShardIntegrityError: If the sample is damaged.
        """
        reader = self._reader
        stored = describe_npy(reader, sample, "npy")
        if len(stored.shape) != 4 or stored.shape[3] != 3 or stored.dtype.name != "uint8":
            what = f"frames are {stored.dtype.name} of shape {stored.shape}; expected uint8 (t, h, w, 3)"
            raise self._reader.index.damage(sample, what)
        tokens = describe_npy(reader, sample, "tokens.npy")
        if tokens.dtype.str != "<i8" or len(tokens.shape) != 1:
            what = f"tokens are {tokens.dtype.name} of shape {tokens.shape}; expected int64 (77,)"
            raise self._reader.index.damage(sample, what)
        content = reader.read_member(sample, "tokens.npy")
        values = torch.frombuffer(content, dtype=torch.int64, offset=tokens.header_bytes)
        facts = {
            "tokens": values.view(tokens.shape),
            "size": self._read_sizes(sample, stored.shape[0]),
            "text": reader.read_text(sample, "txt"),
            "key": sample.key,
        }
        return DescribedClip(stored, facts)

    def _read_sizes(self, sample: IndexedSample, num_frames: int) -> torch.Tensor:
        sizes = self._reader.read_json(sample, "size.json")
        if sizes is None:
            return torch.full((num_frames,), torch.nan, dtype=torch.float32)
        try:
            if type(sizes) is not list or any(type(size) not in (int, float) for size in sizes):
                raise TypeError
            if len(sizes) != num_frames:
                raise ValueError
            return torch.tensor([float(size) for size in sizes], dtype=torch.float32)
        except (OverflowError, TypeError, ValueError) as error:
            what = (
                f"member .size.json is {reprlib.repr(sizes)}; expected {num_frames} numbers or null"
            )
            raise self._reader.index.damage(sample, what) from error


def _check_layout(layout: FrameLayout) -> None:
    if layout not in get_args(FrameLayout):
        msg = f"layout: expected one of {', '.join(get_args(FrameLayout))}, got {layout!r}"
        raise ValueError(msg)


class ClipDataset(Dataset[Sample]):
    """Map-style dataset of the clips of one split.

    A sample is a dict:

    - `frames`: uint8 (t, 3, h, w) or (t, h, w, 3), channels red, green, blue;
    - `tokens`: int64 (77,);
    - `size`: float32 (t,), NaN where the metadata has no sizes;
    - `text` and `key`.

    The memory of frames is reused after the last tensor, view or array of it is released.

    Args:
        source: `manifest.json` of a split's frames, such as
            `data/clip4mc/frames/train/manifest.json`; or a folder, a pattern or a list of tars.
        layout: Axes of `frames`. `tchw` is a view: its strides are those of (t, h, w, 3).
        check: When contents are compared with their checksums: at their `first` read by this
            process, `always` or `never`.
        require_complete: Refuse a manifest that lacks samples of its plan, or lists older shards than
            today's. Otherwise one warning says what it lacks.

    Raises:
        ShardIntegrityError: If the file is not a manifest, or a shard is missing, cut off, or differs from
            its record.
        IncompleteManifestError: If the manifest must be complete, and is not.
        WrongLoaderError: If the shards hold samples of another kind.
        ValueError: If `layout` or `check` is unknown.
    """

    def __init__(
        self,
        source: Source,
        *,
        layout: FrameLayout = "tchw",
        check: Check = "first",
        require_complete: bool = False,
    ) -> None:
        _check_layout(layout)
        self._reader = ShardReader(source, check=check, require_complete=require_complete)
        self._decoder = ClipDecoder(self._reader, layout=layout)
        require_kind(self.index, SampleKind.VIDEO_FRAMES)
        self.index.require(*([name] for name in _MEMBERS))

    @property
    def index(self) -> ShardIndex:
        """Keys, shards and offsets of the clips."""
        return self._reader.index

    @property
    def sample_bytes(self) -> int:
        """Bytes of the first clip's frames."""
        return describe_npy(self._reader, self.index.locate(0), "npy").num_bytes

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self._reader)

    def __getitem__(self, index: int) -> Sample:
        """Return one clip.

        Raises:
            IndexError: If the index is out of range.
            ShardIntegrityError: If the clip is damaged; the message names shard, sample and remedy.
        """
        return self._decoder.decode(self.index.locate(index))

    def __getitems__(self, indices: Sequence[int]) -> StackedSamples:
        """Return several clips, read into one batch that `collate_fn` returns as it is.

        Raises:
            ValueError: If the numbers or sizes of frames differ; the message names two clips.
        """
        described = [self._decoder.describe(self.index.locate(index)) for index in indices]
        stored = [one.stored for one in described]
        batch = self._decoder.arrange(read_stack(self._reader, stored, torch.uint8))
        samples = [
            {"frames": frames, **one.facts} for frames, one in zip(batch, described, strict=True)
        ]
        return StackedSamples(samples, "frames", batch)

    collate_fn = staticmethod(collate_samples)
    """Makes `frames (b, t, 3, h, w)`, `tokens (b, 77)`, `size (b, t)` and lists of texts and keys."""
