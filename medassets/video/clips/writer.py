"""Write a segment of a video as an mp4 file, re-encoded or copied."""

from collections.abc import Callable
from pathlib import Path

from medassets.storage.atomic import publishing
from medassets.storage.ownership import is_plain_file
from medassets.video.clips.plan import ClipEncoding, ClipFacts
from medassets.video.timeline import Segment


def write_clip(
    video: Path,
    segment: Segment,
    encoding: ClipEncoding,
    target: Path,
    *,
    on_progress: Callable[[], None] | None = None,
) -> ClipFacts:
    """Write one segment of a video as an mp4 file.

    The file is written under a private name beside `target`, verified, and then renamed. The bytes
    depend only on the arguments and the library; with h264_nvenc, on the GPU, too.

    Args:
        video: The source.
        segment: The segment.
        encoding: How to make it.
        target: Final name, in a scratch folder of the caller; an earlier clip is replaced.
        on_progress: Called for every packet read.

    Returns:
        Facts of the file.

    Raises:
        SampleRejectedError: MISSING_SOURCE; NO_VIDEO_STREAM; TOO_SHORT if the segment is empty;
            END_BEYOND_DURATION if the video ends before it by more than the tolerance; DECODE_FAILED if it cannot be
            read, encoded or copied.
        SpecError: If the encoder is not available.
        DiskSpaceError: If the disk is full.
    """
    from medassets.video.clips.verify import explain_failure, verify_clip

    with publishing(target, is_ours=is_plain_file) as private, explain_failure():
        if encoding.mode == "copy":
            from medassets.video.clips.stream_copy import copy_streams as write
        else:
            from medassets.video.clips.reencode import reencode as write
        plan = write(video, segment, encoding, private, on_progress=on_progress or _ignore)
        return verify_clip(private, plan, on_progress=on_progress or _ignore)


def _ignore() -> None:
    """Ignore progress."""
