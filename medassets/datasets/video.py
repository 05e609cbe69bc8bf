"""Video clips as a kind of dataset: frame tensors, and mp4 clips beside them.

Both stages share one catalog and one plan; each has its own shards, records and status.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pyarrow as pa

from medassets.arrays import FrameBatchArray
from medassets.datasets.clips import ClipShard, cut_clips, open_clip_shard
from medassets.datasets.kind import COMMON_FIELDS, Estimate
from medassets.errors import SampleRejectedError
from medassets.samples import Encode, Encoded, EncodedSample, SampleKind, SourceItem, StagedFile
from medassets.shards.catalog.files import read_partition
from medassets.shards.fingerprint import (
    FORMAT_VERSION,
    plan_fingerprint,
    rows_fingerprint,
    sample_fingerprint,
)
from medassets.shards.made_from import Facts, facts_fingerprint, list_fields, nest_facts
from medassets.shards.record import SampleEntry, ShardRecord
from medassets.sources.base import Source
from medassets.sources.folder import FolderSource
from medassets.specs import FieldRule, VideoClipDatasetSpec
from medassets.stages import VideoStage
from medassets.storage.formats.npy import decode_npy
from medassets.storage.paths import DatasetPaths
from medassets.tars.reader import OpenTar, open_tar
from medassets.video.catalog.clip_row import ClipRow
from medassets.video.catalog.sources.base import VideoSource
from medassets.video.catalog.sources.registry import VIDEO_SOURCES, open_video_source

if TYPE_CHECKING:
    from medassets.video.clips.plan import ClipEncoding
    from medassets.video.frames.decoding import DecodedClip, FrameRequest
    from medassets.video.processes.pool import DecoderPool

# 640 x 360 H.264 at 30 frames per second, on one core of an AMD EPYC.
_DECODED_PER_WALL_S = 100.0
_GUESSED_CLIP_S = 30.0
_CLIP_BYTES_PER_S = 120_000
# 3: positions count from the first picture; fields, cropping; the json says how pixels were made.
_FRAMES_VERSION = 3
# 3: positions count from the first picture; fields, cropping.
_CLIPS_VERSION = 3

_OWN_FIELDS = frozenset(
    {
        *("split_mode", "num_frames", "height", "width", "min_frames", "end_tolerance_ms"),
        *("size_length", "tokenizer"),
    }
)
_CUTTING_FIELDS = frozenset({"clips", "frames_from"})
_REENCODE_FIELDS = frozenset({"clip_encoder", "clip_preset", "clip_crf", "clip_height", "clip_fps"})


def list_video_rules() -> list[FieldRule]:
    """Return which fields of a `VideoClipDatasetSpec` have an effect, and where."""
    cutting = {"source": [name for name, kind in VIDEO_SOURCES.items() if kind.can_cut_clips]}
    return [
        COMMON_FIELDS,
        FieldRule(_OWN_FIELDS),
        *(FieldRule(frozenset(s.PATHS), {"source": [name]}) for name, s in VIDEO_SOURCES.items()),
        FieldRule(_CUTTING_FIELDS, cutting),
        FieldRule(frozenset({"seed"}), {"split_mode": ("random",)}),
        FieldRule(frozenset({"max_frames"}), {"num_frames": ("all",)}),
        FieldRule(_REENCODE_FIELDS, {**cutting, "clips": ("reencode",)}),
        FieldRule(frozenset({"clip_audio"}), {**cutting, "clips": ("reencode", "copy")}),
    ]


@dataclass(frozen=True)
class _VideoClips:
    """The catalog and plan that both stages share.

    Attributes:
        spec: The declaration.
        decoder: Decoder processes; None opens a pool for this process.
    """

    TITLE: ClassVar[str] = "video clips"
    OPTIONS: ClassVar[frozenset[str]] = frozenset(
        {
            *("--mode", "--split-mode", "--seed", "--device", "--use-gpu"),
            *("--gpu-ids", "--workers-per-gpu", "--num-frames", "--frame-height", "--frame-width"),
            *("--format", "--layout", "--relative", "--allow-missing-size"),
        }
    )

    spec: VideoClipDatasetSpec
    decoder: "DecoderPool | None" = field(default=None, repr=False, compare=False)

    def with_decoder(self, decoder: "DecoderPool") -> Self:
        """Return the same kind with decoder processes that the caller ends."""
        return replace(self, decoder=decoder)

    @property
    def ct_source(self) -> None:
        """None: videos."""

    @property
    def video_source(self) -> VideoSource:
        """The source of the videos or clips."""
        return open_video_source(self.spec)

    def check(self) -> None:
        """Check the fields of the source.

        Raises:
            SpecError: Naming the first wrong field.
        """
        self.video_source.check()

    def open_source(self) -> FolderSource:
        """Return the folder of the videos or clips."""
        return FolderSource(self.video_source.folder)

    def plan_settings(self) -> Mapping[str, Any]:
        """Return the settings that assign videos to splits."""
        return {"split_mode": self.spec.split_mode, "seed": self.spec.seed}

    def read_rows(
        self,
        source: Source,
        *,
        revision: str | None,
        previous: pa.Table | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> pa.Table:
        """Return one row per record of the metadata, matched to its file; see `read_video_rows`."""
        from medassets.video.catalog.rows import read_video_rows

        source.resolve_revision()
        decided = {**self.plan_settings(), **(settings or {})}
        return read_video_rows(
            self.video_source,
            previous=previous,
            split_mode=decided["split_mode"],
            seed=decided["seed"],
            probe_all=_probe_all,
        )

    def describe_catalog(self, table: pa.Table) -> Mapping[str, Any]:
        """Return how many records have a video, and why the others do not."""
        from medassets.video.catalog.coverage import summarize_coverage

        return asdict(summarize_coverage(table))

    def judge(self, item: SourceItem, paths: Sequence[Path]) -> None:
        """Look at nothing: the catalog has opened every video."""

    def is_sample_of(self, item: SourceItem, document: Mapping[str, Any]) -> bool:
        """Return False: only samples of remote files are taken over, and videos are local."""
        return False

    def _open_decoder(self) -> "DecoderPool":
        from medassets.video.processes.pool import DecoderPool

        return self.decoder or DecoderPool(device="cpu", num_workers=self.spec.num_workers)

    def _sample_fingerprint(self, own: str, item: SourceItem, staged: StagedFile) -> str:
        return sample_fingerprint(own, item, staged.sha256)


@dataclass(frozen=True)
class VideoFrames(_VideoClips):
    """The stage `frames`: tensors of frames, straight from the videos or from their clips."""

    SAMPLES: ClassVar[SampleKind] = SampleKind.VIDEO_FRAMES
    OLDEST_ALIKE: ClassVar[Mapping[str, int | None]] = {
        **{"format_version": 1, "frames_version": 3},
        **{"request.min_frames": None, "request.end_tolerance_ms": None},
        **{"clips.format_version": 1, "clips.clips_version": 3},
    }

    @property
    def stage(self) -> str:
        """Name of the stage."""
        return VideoStage.FRAMES

    def fingerprint(self) -> str:
        """Return the hash of the facts."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return facts_fingerprint(self.facts())

    def facts(self) -> Facts:
        """Return everything in the declaration that changes the bytes of a sample."""
        from medassets.video.frames.decoding import RESIZE
        from medassets.video.tokens import TOKENIZER, VOCABULARY_SHA256

        spec = self.spec
        return {
            "kind": "video_frames",
            "format_version": FORMAT_VERSION,
            "request": list_fields(self.request()),
            "resize": RESIZE,
            "frames_version": _FRAMES_VERSION,
            "tokenizer": [TOKENIZER, VOCABULARY_SHA256],
            "clips": nest_facts(VideoClips(spec).facts()) if spec.frames_from == "clips" else None,
        }

    def request(self) -> "FrameRequest":
        """Return which frames of a clip are kept, and their size."""
        from medassets.video.frames.decoding import FrameRequest

        spec = self.spec
        return FrameRequest(
            num_frames=0 if spec.num_frames == "all" else int(spec.num_frames),
            max_frames=spec.max_frames,
            height=spec.height,
            width=spec.width,
            min_frames=spec.min_frames,
            end_tolerance_ms=spec.end_tolerance_ms,
        )

    def encoder(self) -> Encode:
        """Return the function that decodes all clips of one video in one call."""
        from medassets.video.samples import encode_clip_sample
        from medassets.video.tokens import open_tokenizer

        decoder, request = self._open_decoder(), self.request()
        tokenizer = open_tokenizer(self.spec.tokenizer)

        def encode(items: Sequence[SourceItem], staged: StagedFile) -> Sequence[Encoded]:
            segments = [ClipRow.read(item.row).segment for item in items]
            started = time.perf_counter()
            clips = decoder.decode(staged.path, segments, request)
            decode_s = (time.perf_counter() - started) / len(items)
            return [
                _name_row(item, clip)
                if isinstance(clip, SampleRejectedError)
                else encode_one(item, staged, clip, decode_s)
                for item, clip in zip(items, clips, strict=True)
            ]

        def encode_one(
            item: SourceItem, staged: StagedFile, clip: "DecodedClip", decode_s: float
        ) -> EncodedSample:
            known_by = self._sample_fingerprint(self._fingerprint, item, staged)
            sample = encode_clip_sample(
                item, staged, clip, tokenizer=tokenizer, fingerprint=known_by
            )
            return replace(sample, seconds={**sample.seconds, "decode": decode_s})

        return encode

    def open_files(self, paths: DatasetPaths, partition_key: str) -> ClipShard | None:
        """Return the shard's clips if the declaration makes frames from clips.

        Raises:
            CatalogError: If they are missing, or were made from other inputs or settings.
        """
        if self.spec.frames_from == "source":
            return None
        clips = replace(paths, stage=VideoStage.CLIPS)
        rows = rows_fingerprint(read_partition(paths.catalog, partition_key))
        return open_clip_shard(
            clips, partition_key, plan_fingerprint(VideoClips(self.spec).fingerprint(), rows)
        )

    def estimate(self, row: Mapping[str, Any]) -> Estimate:
        """Estimate from the length of the clip, without reading files."""
        num_frames = self.spec.max_frames if self.spec.num_frames == "all" else self.spec.num_frames
        frames = int(num_frames) * self.spec.height * self.spec.width * 3
        return Estimate(
            raw_bytes=0, sample_bytes=frames + 8192, seconds=_length_s(row) / _DECODED_PER_WALL_S
        )

    def manifest_fields(self, records: Sequence[ShardRecord]) -> Mapping[str, Any]:
        """Return shape and dtype of every sample; the number of frames is None if it varies."""
        spec = self.spec
        num_frames = None if spec.num_frames == "all" else spec.num_frames
        return {
            "preprocessed": True,
            "sample_shape": [num_frames, spec.height, spec.width, 3],
            "sample_dtype": "uint8",
            "sample_axes": "t h w c",
            "sample_color": "RGB",
        }

    def describe_shard(self, record: ShardRecord) -> Mapping[str, Any]:
        """Return the number of frames of a shard, what decoded them, and how pixels were made."""
        frames = sum(int(sample.facts["num_frames"]) for sample in record.samples)
        devices = Counter(str(sample.facts["device"]) for sample in record.samples)
        reasons = Counter(str(s.facts["fallback"]) for s in record.samples if s.facts["fallback"])
        pixels = Counter(str(s.facts["pixels"]) for s in record.samples if "pixels" in s.facts)
        return {
            "frames": frames,
            "decoders": dict(devices),
            "fallbacks": dict(reasons),
            "pixels": dict(pixels),
        }

    def draw_preview(self, shard: Path, record: ShardRecord) -> bytes | None:
        """Return a contact sheet of the shard's first clips with their texts, as JPEG."""
        from medassets.video.preview import NUM_CLIPS, draw_contact_sheet

        with open_tar(shard) as tar:
            clips = [_read_clip(tar, sample) for sample in record.samples[:NUM_CLIPS]]
        return draw_contact_sheet(clips) if clips else None


@dataclass(frozen=True)
class VideoClips(_VideoClips):
    """The stage `clips`: each clip as an mp4 file."""

    SAMPLES: ClassVar[SampleKind] = SampleKind.VIDEO_CLIPS
    OLDEST_ALIKE: ClassVar[Mapping[str, int | None]] = {"format_version": 1, "clips_version": 3}

    @property
    def stage(self) -> str:
        """Name of the stage."""
        return VideoStage.CLIPS

    def fingerprint(self) -> str:
        """Return the hash of the facts."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return facts_fingerprint(self.facts())

    def facts(self) -> Facts:
        """Return everything in the declaration that changes the bytes of a clip."""
        return {
            "kind": "video_clips",
            "format_version": FORMAT_VERSION,
            "clips_version": _CLIPS_VERSION,
            "encoding": list_fields(clip_encoding(self.spec)),
        }

    def encoder(self) -> Encode:
        """Return the function that cuts the clips of one video."""
        decoder, encoding = self._open_decoder(), clip_encoding(self.spec)

        def encode(items: Sequence[SourceItem], staged: StagedFile) -> Sequence[Encoded]:
            return [
                _name_row(item, clip) if isinstance(clip, SampleRejectedError) else clip
                for item, clip in zip(
                    items,
                    cut_clips(
                        items,
                        staged,
                        decoder=decoder,
                        encoding=encoding,
                        fingerprint=lambda item: self._sample_fingerprint(
                            self._fingerprint, item, staged
                        ),
                    ),
                    strict=True,
                )
            ]

        return encode

    def open_files(self, paths: DatasetPaths, partition_key: str) -> None:
        """Return None: clips are cut from the source's videos."""

    def estimate(self, row: Mapping[str, Any]) -> Estimate:
        """Estimate from the length of the clip, without reading files."""
        length_s = _length_s(row)
        return Estimate(
            raw_bytes=0,
            sample_bytes=int(_CLIP_BYTES_PER_S * length_s) + 8192,
            seconds=length_s / 10,
        )

    def manifest_fields(self, records: Sequence[ShardRecord]) -> Mapping[str, Any]:
        """Return the format of a sample: a clip, not an array."""
        return {"preprocessed": False, "sample_format": "mp4"}

    def describe_shard(self, record: ShardRecord) -> Mapping[str, Any]:
        """Return the total duration of the shard's clips."""
        return {"seconds_of_video": sum(s.facts["duration_ms"] for s in record.samples) / 1000}

    def draw_preview(self, shard: Path, record: ShardRecord) -> bytes | None:
        """Return None; the stage `frames` has previews."""
        return None


def clip_encoding(spec: VideoClipDatasetSpec) -> "ClipEncoding":
    """Return how a dataset's clips are written."""
    from medassets.video.clips.plan import ClipEncoding

    return ClipEncoding(
        mode="copy" if spec.clips == "copy" else "reencode",
        encoder=spec.clip_encoder,
        preset=spec.clip_preset,
        crf=spec.clip_crf,
        height=spec.clip_height,
        fps=spec.clip_fps,
        audio=spec.clip_audio,
        end_tolerance_ms=spec.end_tolerance_ms,
    )


def _read_clip(tar: OpenTar, sample: SampleEntry) -> tuple[FrameBatchArray, str]:
    """Return frames, uint8 (t, h, w, 3), and text of a sample."""
    found = {member.suffix: tar.read(member) for member in sample.members[:2]}
    return decode_npy(found["npy"]), found["txt"].decode()


def _probe_all(files: Mapping[str, Path]) -> Mapping[str, Any]:
    """Probe files in decoder processes, so that a hostile file does not end the run."""
    from medassets.shards.pipeline import iter_in_order
    from medassets.video.processes.pool import DecoderPool

    num_workers = min(os.cpu_count() or 1, max(len(files), 1))
    with DecoderPool(device="cpu", num_workers=num_workers) as pool:
        probe = _rejections_as_values(pool.probe)
        facts = iter_in_order(files.values(), probe, num_workers=num_workers)
        return dict(zip(files, facts, strict=True))


def _rejections_as_values(probe: Callable[[Path], Any]) -> Callable[[Path], Any]:
    def answer(path: Path) -> Any:
        try:
            return probe(path)
        except SampleRejectedError as error:
            return error

    return answer


def _name_row(item: SourceItem, error: SampleRejectedError) -> SampleRejectedError:
    number = ClipRow.read(item.row).row
    if number is None:
        return error
    return SampleRejectedError(error.reason, f"metadata row {number}: {error.detail}")


def _length_s(row: Mapping[str, Any]) -> float:
    length_s = ClipRow.read(row).length_s
    return _GUESSED_CLIP_S if length_s is None else length_s
