"""Declarations of video clip datasets."""

from dataclasses import dataclass
from typing import Literal, get_args

from medassets.errors import SpecError
from medassets.specs.checks import check_absolute, check_choice, check_range
from medassets.specs.dataset import DatasetSpec

SplitMode = Literal["random", "all_train", "all_test"]
ClipMode = Literal["off", "reencode", "copy"]
ClipEncoder = Literal["libx264", "h264_nvenc"]
FramesFrom = Literal["source", "clips"]


@dataclass(frozen=True, kw_only=True)
class VideoClipDatasetSpec(DatasetSpec):
    """A dataset of short video clips with what is said in them.

    Each source kind uses some of these fields and checks them; see `medassets.video.catalog.sources`.

    Attributes:
        videos_dir: Folder of raw videos (source `videos`).
        info_csv: Table `url,filename` of the raw videos; empty matches by names alone.
        metadata: JSON array, or one JSON object per line, of the clips (source `videos`).
        clips_dir: Folder of clips that were cut before (source `clips`).
        pairs_json: `text_video_pairs.json` of those clips; empty takes every video of the folder as a
            clip without text.
        split_mode: `random` gives each video a split by a seeded hash, 80/10/10; or all of them
            to train or test.
        seed: Seed of `random`.
        num_frames: Frames of a sample, or `all` of the clip.
        max_frames: Most frames of a sample when `num_frames` is `all`.
        height: Height of a frame, in pixels.
        width: Width of a frame, in pixels.
        min_frames: A clip that shows fewer different frames is rejected.
        end_tolerance_ms: A clip that ends later than its video by more than this is rejected; one
            by less ends with its video.
        size_length: Expected length of the metadata's `size`; 0 takes any.
        tokenizer: A `tokenizer.json` of CLIP's BPE; empty takes the built-in one.
        clips: Whether a whole build keeps clips as mp4: `reencode` them or `copy` their streams.
            With `off`, clips that are requested by name are re-encoded with default settings.
        clip_encoder: Encoder of `reencode`.
        clip_preset: Its preset.
        clip_crf: Its constant rate factor.
        clip_height: Height of clips in pixels, 0 keeps the source's.
        clip_fps: Frame rate of clips, 0 keeps the source's.
        clip_audio: Keep the sound.
        frames_from: Decode frames from the `source`, or from the `clips` of this dataset.
    """

    source: str = "videos"
    splits: tuple[str, ...] = ("train", "val", "test")
    samples_per_shard: int = 512
    videos_dir: str = ""
    info_csv: str = ""
    metadata: str = ""
    clips_dir: str = ""
    pairs_json: str = ""
    split_mode: SplitMode = "random"
    seed: int = 0
    num_frames: int | str = 16
    max_frames: int = 512
    height: int = 160
    width: int = 256
    min_frames: int = 1
    end_tolerance_ms: int = 500
    size_length: int = 0
    tokenizer: str = ""
    clips: ClipMode = "off"
    clip_encoder: ClipEncoder = "libx264"
    clip_preset: str = "ultrafast"
    clip_crf: int = 28
    clip_height: int = 0
    clip_fps: float = 0.0
    clip_audio: bool = False
    frames_from: FramesFrom = "source"

    def __post_init__(self) -> None:
        """Reject values that no source can use; the message begins with the field."""
        super().__post_init__()
        check_choice("split_mode", self.split_mode, get_args(SplitMode))
        check_choice("clips", self.clips, get_args(ClipMode))
        check_choice("clip_encoder", self.clip_encoder, get_args(ClipEncoder))
        check_choice("frames_from", self.frames_from, get_args(FramesFrom))
        for field, low, high in (
            ("max_frames", 1, 100_000), ("height", 16, 4096), ("width", 16, 4096),
            ("min_frames", 1, 100_000), ("end_tolerance_ms", 0, 86_400_000),
            ("size_length", 0, 100_000), ("clip_crf", 0, 51), ("clip_height", 0, 8192),
            ("clip_fps", 0, 1000), ("seed", -(2**63), 2**63 - 1),
        ):  # fmt: skip
            check_range(field, getattr(self, field), low, high)
        if self.tokenizer:
            check_absolute("tokenizer", self.tokenizer)
        self._check_frames()
        self._check_splits()

    def _check_frames(self) -> None:
        known = self.num_frames == "all" or type(self.num_frames) is int
        if not known or (self.num_frames != "all" and not 1 <= int(self.num_frames) <= 100_000):
            raise SpecError(
                field="num_frames", what=f"expected 1..100000 or 'all', got {self.num_frames!r}"
            )

    def _check_splits(self) -> None:
        if set(self.splits) != {"train", "val", "test"}:
            what = f"a video dataset has train, val and test, got {self.splits}"
            raise SpecError(field="splits", what=what)

    @property
    def keeps_clips(self) -> bool:
        """Whether a whole build keeps clips as mp4."""
        return self.clips != "off"
