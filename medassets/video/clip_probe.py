"""Open a finished clip again and count what is in it."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

from av.error import EOFError as FFmpegEOFError
from av.error import FFmpegError
from av.video.frame import VideoFrame

from medassets.errors import Reason, SampleRejectedError
from medassets.video.clip_files import ClipFacts, ClipPlan
from medassets.video.clip_source import ClipSource
from medassets.video.orientation import read_orientation


@contextmanager
def explain_failure() -> Iterator[None]:
    """Turn what FFmpeg says of a video into a rejection; trouble with the disk stays what it is.

    Raises:
        SampleRejectedError: DECODE_FAILED, with FFmpeg's words for it, without paths.
    """
    try:
        yield
    except FFmpegError as error:
        if isinstance(error, OSError) and not isinstance(error, FFmpegEOFError):
            raise
        raise SampleRejectedError(Reason.DECODE_FAILED, f"FFmpeg: {error.strerror}") from error


def probe_clip(
    path: Path, plan: ClipPlan, *, on_progress: Callable[[], None] | None = None
) -> ClipFacts:
    """Open a clip, count its frames and decode the first of them.

    A copied clip is decoded to its end: nobody has looked into its packets yet.

    Args:
        path: The file.
        plan: What it must hold.
        on_progress: Called for every packet read.

    Returns:
        Facts of the file.

    Raises:
        SampleRejectedError: DECODE_FAILED if the file is not what was to be written.
        av.error.FFmpegError: If it cannot be decoded.
    """
    with ClipSource(path, audio=True, on_progress=on_progress) as clip:
        codec, has_audio = clip.video.codec_context.codec.canonical_name, clip.audio is not None
        num_packets, end = _count(clip)
        clip.rewind()
        first, num_frames = _decode(clip, most=None if plan.is_copy else 1)
        duration_ms = round(Fraction(end * 1000, clip.ruler.ticks_per_s))
    found = (codec, num_packets, has_audio)
    if found != (plan.codec, plan.num_packets, plan.has_audio) or first is None or not duration_ms:
        wanted = (plan.codec, plan.num_packets, plan.has_audio)
        detail = f"the clip written holds {found} in {duration_ms} ms, expected {wanted}"
        raise SampleRejectedError(Reason.DECODE_FAILED, detail)
    sides = (first.width, first.height)
    width, height = sides[::-1] if read_orientation(first).swaps_sides else sides
    return ClipFacts(
        begin_ms=plan.begin_ms,
        end_ms=plan.end_ms,
        lead_in_ms=plan.lead_in_ms,
        duration_ms=duration_ms,
        num_frames=num_frames if plan.is_copy else num_packets,
        width=width,
        height=height,
        codec=codec,
        has_audio=has_audio,
        num_bytes=path.stat().st_size,
    )


def _count(clip: ClipSource) -> tuple[int, int]:
    """Return the number of pictures and the tick at which the last one ends."""
    num_packets = end = 0
    for packet in clip.iter_packets():
        if packet.stream_index == clip.video.index:
            num_packets += 1
            pts = clip.ruler.at(packet.pts or 0)
            end = max(end, pts + (packet.duration or 0) * clip.ruler.step)
    return num_packets, end


def _decode(clip: ClipSource, *, most: int | None) -> tuple[VideoFrame | None, int]:
    """Return the first picture, and how many were decoded."""
    first, num_frames = None, 0
    for frame in itertools.islice(clip.iter_frames(), most):
        first = first or frame
        num_frames += 1
    return first, num_frames
