"""Verify a written clip: open it again and count its packets and frames."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from av.error import EOFError as FFmpegEOFError
from av.error import FFmpegError

from medassets.errors import DamagedPacketError, Reason, SampleRejectedError
from medassets.video.clips.plan import ClipFacts, ClipPlan
from medassets.video.files.reader import VideoReader
from medassets.video.requests import Progress


@contextmanager
def explain_failure() -> Iterator[None]:
    """Turn FFmpeg's errors into rejections; disk errors pass unchanged.

    Raises:
        SampleRejectedError: DECODE_FAILED, with FFmpeg's message, without paths.
    """
    try:
        yield
    except FFmpegError as error:
        if isinstance(error, OSError) and not isinstance(error, FFmpegEOFError):
            raise
        raise SampleRejectedError(Reason.DECODE_FAILED, f"FFmpeg: {error.strerror}") from error
    except DamagedPacketError as error:
        raise SampleRejectedError(Reason.DECODE_FAILED, f"FFmpeg: {error}") from error


def verify_clip(path: Path, plan: ClipPlan, *, on_progress: Progress) -> ClipFacts:
    """Open a clip, count its packets and decode the first of them.

    A copied clip is decoded completely, since its packets have not been decoded yet.

    Args:
        path: The file.
        plan: What it must contain.
        on_progress: Called often.

    Returns:
        Facts of the file.

    Raises:
        SampleRejectedError: DECODE_FAILED if the content differs from the plan.
        av.error.FFmpegError: If it cannot be read.
    """
    with VideoReader(path) as clip:
        num_packets, end = _count(clip, on_progress)
        facts = clip.facts
        num_frames = _decode(clip, on_progress) if plan.is_copy else num_packets
        duration_ms = round((end * clip.clock.time_base - clip.clock.origin_s) * 1000)
    if plan.is_copy:
        # Packet durations are decoding durations; the edit list defines the end of the last frame.
        duration_ms = plan.end_ms - plan.begin_ms
    found = (clip.codec, num_packets, num_frames, facts.has_audio)
    wanted = (plan.codec, plan.num_packets, plan.num_frames, plan.has_audio)
    if found != wanted or duration_ms <= 0:
        detail = f"the written clip contains {found} in {duration_ms} ms, expected {wanted}"
        if plan.is_copy:
            detail += "; declare clips: reencode"
        raise SampleRejectedError(Reason.DECODE_FAILED, detail)
    return ClipFacts(
        begin_ms=plan.begin_ms,
        end_ms=plan.end_ms,
        duration_ms=duration_ms,
        num_frames=num_frames,
        num_hidden=num_packets - num_frames,
        width=facts.width,
        height=facts.height,
        codec=plan.codec,
        has_audio=plan.has_audio,
        num_bytes=path.stat().st_size,
        scan=plan.scan,
        crop=plan.crop,
    )


def _count(clip: VideoReader, on_progress: Progress) -> tuple[int, int]:
    """Return the number of packets, and the timestamp at which the last displayed one ends."""
    num_packets = end = 0
    for packet in clip.iter_packets_at(None):
        on_progress()
        num_packets += 1
        if not packet.is_discard:
            end = max(end, (packet.pts or 0) + (packet.duration or 0))
    return num_packets, end


def _decode(clip: VideoReader, on_progress: Progress) -> int:
    """Return the number of intact decoded pictures."""
    num_frames = 0
    for packet in clip.iter_packets_at(None):
        on_progress()
        num_frames += sum(not frame.is_corrupt for frame in clip.decode(packet))
    return num_frames + sum(not frame.is_corrupt for frame in clip.drain())
