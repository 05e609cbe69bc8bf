"""Open a finished clip again and count what is in it."""

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
    except DamagedPacketError as error:
        raise SampleRejectedError(Reason.DECODE_FAILED, f"FFmpeg: {error}") from error


def verify_clip(path: Path, plan: ClipPlan, *, on_progress: Progress) -> ClipFacts:
    """Open a clip, count its packets and decode the first of them.

    A copied clip is decoded to its end: nobody has looked into its packets yet.

    Args:
        path: The file.
        plan: What it must hold.
        on_progress: Called often.

    Returns:
        Facts of the file.

    Raises:
        SampleRejectedError: DECODE_FAILED if the file is not what was to be written.
        av.error.FFmpegError: If it cannot be read.
    """
    with VideoReader(path) as clip:
        num_packets, end = _count(clip, on_progress)
        facts = clip.facts
        num_frames = _decode(clip, on_progress) if plan.is_copy else num_packets
        duration_ms = round((end * clip.clock.time_base - clip.clock.origin_s) * 1000)
    if plan.is_copy:
        # Packets say when the next one is decoded; the edit list, when the last frame goes.
        duration_ms = plan.end_ms - plan.begin_ms
    found = (clip.codec, num_packets, num_frames, facts.has_audio)
    wanted = (plan.codec, plan.num_packets, plan.num_frames, plan.has_audio)
    if found != wanted or duration_ms <= 0:
        detail = f"the clip written holds {found} in {duration_ms} ms, expected {wanted}"
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
    )


def _count(clip: VideoReader, on_progress: Progress) -> tuple[int, int]:
    """Return the number of pictures and the timestamp at which the last one shown ends."""
    num_packets = end = 0
    for packet in clip.iter_packets_at(None):
        on_progress()
        num_packets += 1
        if not packet.is_discard:
            end = max(end, (packet.pts or 0) + (packet.duration or 0))
    return num_packets, end


def _decode(clip: VideoReader, on_progress: Progress) -> int:
    """Return how many whole pictures come out of the decoder."""
    num_frames = 0
    for packet in clip.iter_packets_at(None):
        on_progress()
        num_frames += sum(not frame.is_corrupt for frame in clip.decode(packet))
    return num_frames + sum(not frame.is_corrupt for frame in clip.drain())
