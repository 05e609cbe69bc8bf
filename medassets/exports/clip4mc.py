"""The folder that the CLIP4MC trainer reads: pickled frames and tokens, one folder per sample.

Source: PKU-RL/CLIP4MC, `process/static.py` (August 2024 on): folders opened as `dataset_info.json`
names them, hence absolute; `transpose(0, 3, 1, 2)`, then `video[::N // 16, ::-1]`, so (t, h, w, c) in B,
G, R on disk and a number of frames that 16 divides; `pickle.load(...)["tokens"]`; `json.load` of the
sizes.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from medassets.arrays import BytesLike, FrameBatchArray
from medassets.exports import dataset_info
from medassets.exports.formats import ExportOptions, ExportResult, Listed
from medassets.exports.pickles import encode_array_pickle, encode_dict_pickle
from medassets.exports.run import run_export
from medassets.exports.target import Target, Written
from medassets.shards.contents import OpenShard
from medassets.shards.record import SampleEntry
from medassets.stages import VideoStage
from medassets.storage.checksums import parse_json
from medassets.storage.formats.npy import decode_npy
from medassets.storage.paths import DatasetPaths

FRAME_MULTIPLE = 16
"""The trainer takes every N/16-th frame."""

NUM_TOKENS = 77
MISSING_SIZE = "missing_size"
"""Reason code: the metadata has no `size` for the sample."""

FrameLayout = Literal["thwc", "tchw"]
FILES: tuple[str, ...] = ("video_input.pkl", "text_input.pkl", "size.json")

_KEY = re.compile(r"(.+)_[0-9]+_[0-9]+(-[0-9]+)?")
# Blocks of the folder and of its three files.
_EXTRA_BYTES = 4 * 4096
_NULL_MOST_BYTES = 16


def export_clip4mc(
    paths: DatasetPaths,
    partitions: Sequence[str],
    out: Path,
    *,
    options: ExportOptions | None = None,
    allow_missing_size: bool = False,
    layout: FrameLayout | None = None,
    relative: bool = False,
    on_wait: Callable[[], None] | None = None,
) -> ExportResult:
    """Write the `frames` of a dataset in the layout of the CLIP4MC trainer.

    Args:
        paths: Paths of the dataset.
        partitions: All partition keys of its plan, in order; numbers follow them.
        out: Target folder.
        options: What the user asked for.
        allow_missing_size: Export a sample without sizes, with `null` in its `size.json`;
            otherwise it is left out.
        layout: Axes of the frames on disk. `thwc` for a loader that transposes what it has read
            with (0, 3, 1, 2), as the trainer does; `tchw` for one that slices it at once. None
            is `thwc`, and refuses a folder of `tchw`.
        relative: Name folders in `dataset_info.json` from the target folder, so that it can be
            moved; otherwise by absolute paths, so that the trainer finds them from any folder.
        on_wait: Called once if another export of this folder is running.

    Raises:
        CatalogError: If no shard exists, or the folder's journal is damaged.
        UsageError: If the folder holds another export, or another layout that was not asked for; if
            its path is not UTF-8 and `relative` is False.
        ForeignFileError: If a file that this export did not make is where it would write.
        DiskSpaceError: If the disk cannot hold what is to be written.
    """
    if not relative:
        dataset_info.check_absolute(out, field="--out")
    form = Clip4mcFormat(
        allow_missing_size=allow_missing_size,
        layout=layout or "thwc",
        is_layout_chosen=layout is not None,
        relative=relative,
    )
    return run_export(
        paths, partitions, out, form=form, options=options or ExportOptions(), on_wait=on_wait
    )


@dataclass(frozen=True)
class Clip4mcFormat:
    """One folder per sample, `sample_000000_<vid>`; see `export_clip4mc`."""

    allow_missing_size: bool = False
    layout: FrameLayout = "thwc"
    is_layout_chosen: bool = True
    relative: bool = False
    name: str = "clip4mc"
    stage: str = VideoStage.FRAMES

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything but the sample that its files' bytes depend on."""
        return {"version": 1, "layout": self.layout}

    @property
    def unasked(self) -> Mapping[str, Mapping[str, Any]]:
        """The layout of earlier versions, where none was chosen."""
        return (
            {} if self.is_layout_chosen else {"--layout tchw": {**self.settings, "layout": "tchw"}}
        )

    def place(self, number: int, key: str) -> str:
        """Return the name of a sample's folder."""
        match = _KEY.fullmatch(key)
        return f"sample_{number:06d}_{match[1] if match else key}"

    @property
    def file_names(self) -> tuple[str, ...]:
        """Names of the files in a sample's folder."""
        return FILES

    @property
    def index_name(self) -> str:
        """Name of the file that lists all samples."""
        return dataset_info.NAME

    def estimate_bytes(self, sample: SampleEntry) -> int:
        """Return about how many bytes the sample will take."""
        num_frames = int(sample.facts.get("num_frames", FRAME_MULTIPLE))
        frames = sum(m.size_bytes for m in sample.members if m.suffix == "npy")
        exported = max(num_frames // FRAME_MULTIPLE, 1) * FRAME_MULTIPLE
        return frames * exported // max(num_frames, 1) + _EXTRA_BYTES

    def find_reason_to_skip(self, shard: OpenShard, sample: SampleEntry) -> str | None:
        """Return why a sample is left out: its size is unknown."""
        if self.allow_missing_size or shard.find(sample, "size.json").size_bytes > _NULL_MOST_BYTES:
            return None
        return MISSING_SIZE if shard.read_json(sample, "size.json") is None else None

    def write(self, shard: OpenShard, sample: SampleEntry, target: Target) -> Written:
        """Publish a sample's folder.

        Raises:
            ShardIntegrityError: If the shard does not hold frames, tokens and sizes.
            ForeignFileError: If something else is at the place.
            DiskSpaceError: If the disk is full.
        """
        contents = dict(zip(FILES, self._encode(shard, sample), strict=True))
        return target.adopt(contents) or target.publish_folder(contents)

    def encode_index(self, listed: Iterable[Listed], *, folder: Path | None = None) -> bytes:
        """Return `dataset_info.json`: split -> the samples' folders, by number."""
        prefix = "" if folder is None or self.relative else f"{folder}/"
        splits: dict[str, list[str]] = {}
        for place, split, _ in listed:
            splits.setdefault(split, []).append(prefix + place)
        return dataset_info.encode_dataset_info(splits)

    def read_index(self, content: bytes) -> set[str]:
        """Return the folders that a `dataset_info.json` names.

        Raises:
            ValueError: If it is not an object of lists.
        """
        splits = parse_json(content)
        if not isinstance(splits, dict) or not all(isinstance(s, list) for s in splits.values()):
            msg = f"{dataset_info.NAME}: expected an object of lists"
            raise ValueError(msg)
        return {Path(str(place)).name for places in splits.values() for place in places}

    def _encode(self, shard: OpenShard, sample: SampleEntry) -> list[list[BytesLike]]:
        frames, tokens = _read_frames(shard, sample), _read_tokens(shard, sample)
        sizes = _read_sizes(shard, sample)
        chosen = choose_frames(len(frames))
        return [
            encode_array_pickle(arrange_frames(frames, chosen, layout=self.layout)),
            encode_dict_pickle({"tokens": tokens}),
            [json.dumps(_resample(sizes, len(chosen))).encode()],
        ]


def choose_frames(num_frames: int) -> list[int]:
    """Return the indices of the exported frames; their number is a multiple of 16.

    The number N is the largest multiple of 16 up to `num_frames`, and at least 16. Exported frame k
    is frame floor(k * num_frames / N), so that fewer than 16 frames are repeated.

    Args:
        num_frames: Frames of the sample, at least 1.
    """
    wanted = max(num_frames // FRAME_MULTIPLE, 1) * FRAME_MULTIPLE
    return [k * num_frames // wanted for k in range(wanted)]


def arrange_frames(
    frames: FrameBatchArray, chosen: Sequence[int], *, layout: FrameLayout
) -> npt.NDArray[np.uint8]:
    """Return frames in the trainer's order of axes and colours.

    Args:
        frames: Shape (t, h, w, c), c = R, G, B.
        chosen: Indices along t.
        layout: Axes of the result.

    Returns:
        uint8, C-contiguous, axes as in `layout`, c = B, G, R.
    """
    _, height, width, _ = frames.shape
    if layout == "thwc":
        return np.ascontiguousarray(frames[list(chosen)][..., ::-1])
    arranged = np.empty((len(chosen), 3, height, width), np.uint8)
    for k, index in enumerate(chosen):
        for channel in range(3):
            arranged[k, channel] = frames[index, :, :, 2 - channel]
    return arranged


def _resample(sizes: list[Any] | None, num_frames: int) -> list[Any] | None:
    """Return one size per exported frame, by floor index as the frames are chosen."""
    if sizes is None:
        return None
    return [sizes[k * len(sizes) // num_frames] for k in range(num_frames)]


def _read_frames(shard: OpenShard, sample: SampleEntry) -> FrameBatchArray:
    facts = shard.read_json(sample, "json")
    said = (facts.get("axes"), facts.get("color")) if isinstance(facts, dict) else None
    if said != ("t h w c", "RGB"):
        raise shard.complain(sample, f"expected frames as t h w c in RGB, its json says {said}")
    frames = _read_npy(shard, sample, "npy")
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not frames.size:
        what = f"expected uint8 frames (t, h, w, 3), got {frames.dtype} {frames.shape}"
        raise shard.complain(sample, what)
    return frames


def _read_tokens(shard: OpenShard, sample: SampleEntry) -> npt.NDArray[np.int64]:
    tokens = _read_npy(shard, sample, "tokens.npy")
    if tokens.dtype != np.int64 or tokens.shape != (NUM_TOKENS,):
        what = f"expected int64 tokens ({NUM_TOKENS},), got {tokens.dtype} {tokens.shape}"
        raise shard.complain(sample, what)
    return tokens


def _read_sizes(shard: OpenShard, sample: SampleEntry) -> list[Any] | None:
    sizes = shard.read_json(sample, "size.json")
    numbers = isinstance(sizes, list) and all(type(size) in (int, float) for size in sizes)
    if sizes is not None and not (numbers and sizes):
        raise shard.complain(sample, "expected a list of numbers or null in size.json")
    return sizes


def _read_npy(shard: OpenShard, sample: SampleEntry, suffix: str) -> npt.NDArray[Any]:
    """Return an array of a `.npy` member; it stays in the member's own bytes."""
    content = shard.read(sample, suffix)
    try:
        array = decode_npy(content)
    except ValueError as error:
        raise shard.complain(sample, f"member .{suffix} is not an array ({error})") from error
    if not array.flags.c_contiguous:
        raise shard.complain(sample, f"member .{suffix} is not an array in C order")
    return array
