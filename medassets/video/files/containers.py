"""Open untrusted media files, choose the video stream and convert its timestamps."""

from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.error import FileNotFoundError as MissingFileError
from av.stream import Disposition
from av.video.stream import VideoStream

from medassets.errors import Reason, SampleRejectedError
from medassets.storage.unreadable import unreadable_as_rejection
from medassets.video.timeline import Clock

# A playlist named like a video would open other files, or connect to other machines.
_FORMATS = (
    "mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,ivf,obu,h264,hevc,m4v,mjpeg,mxf,nut,dv,"
    "rm,gif"
)
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
_US_PER_S = 1_000_000


def open_container(path: Path) -> InputContainer:
    """Open a media file.

    Raises:
        SampleRejectedError: MISSING_SOURCE; UNREADABLE_SOURCE if permissions or the disk
            prevent reading; DECODE_FAILED if it is not a media file.
        OSError: If the machine, not the file, caused the failure.
    """
    try:
        # An absolute path is never interpreted as a protocol.
        return av.open(
            str(path.absolute()), "r", container_options=_OPTIONS, metadata_errors="replace"
        )
    except MissingFileError as error:
        msg = "the file does not exist"
        raise SampleRejectedError(Reason.MISSING_SOURCE, msg) from error
    except FFmpegError as error:
        # FFmpeg reports "input/output error" for damaged files, too; reading a byte tells them apart.
        with unreadable_as_rejection(), path.open("rb") as file:
            file.read(1)
        msg = f"the file cannot be opened: {error.strerror}"
        raise SampleRejectedError(Reason.DECODE_FAILED, msg) from error


def pick_stream(container: InputContainer) -> VideoStream:
    """Return the first video stream that is not an attached picture.

    Raises:
        SampleRejectedError: NO_VIDEO_STREAM.
    """
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None:
            return stream
    msg = "the file has no video stream that can be decoded"
    raise SampleRejectedError(Reason.NO_VIDEO_STREAM, msg)


def make_clock(container: InputContainer, stream: VideoStream) -> Clock:
    """Return the clock of a stream; 0 is the container's start time."""
    start_us = container.start_time or 0
    origin_s = Fraction(start_us, _US_PER_S)
    for one in (stream, *container.streams):
        if one.start_time is not None and one.time_base:
            start_s = one.start_time * one.time_base
            # The container's start is the earliest stream's, rounded to microseconds.
            if abs(start_s - origin_s) * _US_PER_S < 1:
                return Clock(Fraction(stream.time_base or 1), start_s)
    return Clock(Fraction(stream.time_base or 1), origin_s)
