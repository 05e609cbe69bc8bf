"""Clips as mp4 files: encoded again frame by frame, or copied from a key frame on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medassets.storage.atomic import publishing
from medassets.video.timeline import Segment


@dataclass(frozen=True)
class ClipEncoding:
    """How clips are made.

    Attributes:
        mode: `reencode` encodes the frames of the stretch; `copy` takes the streams as they are,
            from the last key frame at or before it, and hides what is too much by an edit list.
        encoder: Encoder of `reencode`.
        preset: Its preset, in the words of libx264.
        crf: Its constant rate factor; the constant quality of h264_nvenc.
        height: Height in pixels, 0 keeps the source's; for `reencode`.
        fps: Frames per second, 0 keeps the source's times; for `reencode`.
        audio: Keep the sound.
    """

    mode: Literal["reencode", "copy"] = "reencode"
    encoder: Literal["libx264", "h264_nvenc"] = "libx264"
    preset: str = "ultrafast"
    crf: int = 28
    height: int = 0
    fps: float = 0.0
    audio: bool = False


@dataclass(frozen=True)
class ClipFacts:
    """One clip that was written and opened again.

    Attributes:
        begin_ms: First millisecond of the stretch in the source.
        end_ms: First millisecond after it: the segment's end, or the video's where that is earlier.
        duration_ms: From the first frame to the end of the last, rounded; the source's `begin_ms`
            is at 0 of the clip.
        num_frames: Frames that the file shows.
        num_hidden: Frames in the file that an edit list hides; 0 when encoded again.
        width: As displayed, in pixels.
        height: As displayed, in pixels.
        codec: Of the picture.
        has_audio: Whether there is sound.
        num_bytes: Size of the file.
    """

    begin_ms: int
    end_ms: int
    duration_ms: int
    num_frames: int
    num_hidden: int
    width: int
    height: int
    codec: str
    has_audio: bool
    num_bytes: int


@dataclass(frozen=True)
class ClipPlan:
    """What a written file must turn out to hold; the other fields as in `ClipFacts`.

    Attributes:
        num_packets: Packets of picture that were written, those of hidden frames among them.
        is_copy: Nothing of it was decoded.
    """

    begin_ms: int
    end_ms: int
    num_packets: int
    num_frames: int
    codec: str
    has_audio: bool
    is_copy: bool


def make_clip(
    video: Path,
    segment: Segment,
    encoding: ClipEncoding,
    target: Path,
    *,
    on_progress: Callable[[], None] | None = None,
) -> ClipFacts:
    """Write one stretch of a video as an mp4 file.

    The file is written under a private name beside `target`, opened and counted, and only then
    given its name. The bytes depend on the arguments and the library alone; with h264_nvenc, on
    the GPU, too.

    Args:
        video: The source.
        segment: The stretch.
        encoding: How to make it.
        target: Final name; replaced if it exists.
        on_progress: Called for every packet read.

    Returns:
        Facts of the file.

    Raises:
        SampleRejectedError: MISSING_SOURCE; NO_VIDEO_STREAM; TOO_SHORT if the stretch is empty;
            END_BEYOND_DURATION if the video ends before it begins; DECODE_FAILED if it cannot be
            read, encoded or copied.
        SpecError: If the encoder asked for is not there.
        DiskSpaceError: If there is no room.
    """
    from medassets.video.clips.probe import explain_failure, probe_clip

    with publishing(target) as private, explain_failure():
        if encoding.mode == "copy":
            from medassets.video.clips.stream_copy import copy_streams as write
        else:
            from medassets.video.clips.reencode import reencode as write
        plan = write(video, segment, encoding, private, on_progress=on_progress or _ignore)
        return probe_clip(private, plan, on_progress=on_progress or _ignore)


def _ignore() -> None:
    """Do nothing with a sign of life."""
