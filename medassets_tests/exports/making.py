"""Small shards of frames and clips, written by the real writer from arrays made here."""

import io
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medassets.exports.clip4mc import export_clip4mc
from medassets.exports.formats import ExportOptions, ExportResult
from medassets.samples import EncodedSample, SourceItem, StagedFile, each_item
from medassets.shards.record import ShardRecord
from medassets.shards.writer import ShardWork, ensure_shard
from medassets.storage.paths import DatasetPaths, split_partition_key

HEIGHT, WIDTH = 6, 10
MP4_BYTES = 1_300_000
"""More than is read at a time."""


@dataclass(frozen=True)
class Clip:
    """One sample to be.

    Attributes:
        key: Sample key.
        frames: uint8 (t, h, w, 3), R G B; None for frames that tell clip, number and pixel.
        num_frames: How many of those.
        size: The member size.json.
        facts: Fields of the json that replace the usual ones.
        without: Fields of the json that are left out.
    """

    key: str
    frames: npt.NDArray[np.uint8] | None = None
    num_frames: int = 16
    size: Any = "as many as frames"
    facts: Mapping[str, Any] | None = None
    without: tuple[str, ...] = ()

    def rgb(self) -> npt.NDArray[np.uint8]:
        """Return the frames."""
        if self.frames is not None:
            return self.frames
        noise = np.random.default_rng(list(self.key.encode()))
        return noise.integers(0, 256, (self.num_frames, HEIGHT, WIDTH, 3), np.uint8)

    def tokens(self) -> npt.NDArray[np.int64]:
        """Return tokens that depend on the key."""
        return np.arange(77, dtype=np.int64) * len(self.key)

    def sizes(self) -> Any:
        """Return what size.json holds."""
        return [k / 4 for k in range(len(self.rgb()))] if isinstance(self.size, str) else self.size


TRAIN = [Clip("abc_0_1000"), Clip("abc_1000_2500"), Clip("-x_y_0_900")]
VAL = [Clip("def_0_1000"), Clip("def_0_1000-2")]


def npy(array: npt.NDArray[Any]) -> bytes:
    """Return an array as numpy saves it."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def encode_frames(clip: Clip) -> EncodedSample:
    """Return a sample of the stage `frames`."""
    frames = clip.rgb()
    facts = {
        "key": clip.key,
        "vid": clip.key.rsplit("_", 2)[0],
        "axes": "t h w c",
        "color": "RGB",
        **(clip.facts or {}),
    }
    members = (
        ("npy", npy(frames)),
        ("txt", clip.key.encode()),
        ("tokens.npy", npy(clip.tokens())),
        ("size.json", json.dumps(clip.sizes()).encode()),
        ("json", json.dumps(facts).encode()),
    )
    return EncodedSample(clip.key, members, facts={"num_frames": len(frames)})


def encode_mp4(clip: Clip) -> EncodedSample:
    """Return a sample of the stage `clips`; the bytes are no film."""
    vid, begin, end = clip.key.rsplit("_", 2)
    facts = {
        "key": clip.key,
        "vid": vid,
        "begin_s": int(begin) / 1000,
        "end_s": int(end.partition("-")[0]) / 1000,
        "duration_s": 1.5,
        "size": clip.sizes(),
        **(clip.facts or {}),
    }
    content = random.Random(clip.key).randbytes(MP4_BYTES)
    members = (
        ("mp4", content),
        ("txt", f"text of {clip.key} for ½ a second".encode()),
        ("json", json.dumps({k: v for k, v in facts.items() if k not in clip.without}).encode()),
    )
    return EncodedSample(clip.key, members)


def make_shard(
    paths: DatasetPaths, partition: str, clips: Sequence[Clip], *, stage: str = "frames"
) -> ShardRecord:
    """Publish a shard of clips."""
    by_key = {clip.key: clip for clip in clips}
    encode = encode_frames if stage == "frames" else encode_mp4
    split, _ = split_partition_key(partition)
    rows = (SourceItem(clip.key, split, f"{clip.key}.mp4", None, {}) for clip in clips)
    work = ShardWork(
        dataset=paths.dataset,
        partition_key=partition,
        items=tuple(rows),
        plan_fingerprint=f"plan of {[tell_apart(clip) for clip in clips]}",
        stage=lambda items: {i.key: StagedFile(Path(i.path), i.path, None, 1, "00") for i in items},
        encode=each_item(lambda item, _: encode(by_key[item.key])),
        source={"uri": "test://videos", "revision": None},
        num_workers=1,
    )
    return ensure_shard(replace(paths, stage=stage), work).record


def tell_apart(clip: Clip) -> str:
    """Return text that tells clips apart in every process."""
    return f"{clip.key} {clip.rgb().tobytes().hex()[:64]} {clip.sizes()} {clip.facts}"


def export(
    paths: DatasetPaths,
    out: Path,
    partitions: Sequence[str] = ("train-000000", "val-000000"),
    *,
    splits: tuple[str, ...] = (),
    force: bool = False,
    **more: Any,
) -> ExportResult:
    """Export shards for the CLIP4MC trainer."""
    options = ExportOptions(splits=splits, force=force, num_workers=2)
    return export_clip4mc(paths, list(partitions), out, options=options, **more)


def read_tree(folder: Path) -> dict[str, bytes]:
    """Return every file of an export but its journal, by path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "export_journal.jsonl"
    }
