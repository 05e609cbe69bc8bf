"""Open untrusted media files, choose the video stream and convert its timestamps."""

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path

import av
from av.container import InputContainer
from av.error import ArgumentError, FFmpegError
from av.error import FileNotFoundError as MissingFileError
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from medassets.errors import Reason, SampleRejectedError
from medassets.storage.formats.lfs_pointers import explain_pointer_file
from medassets.storage.unreadable import unreadable_as_rejection
from medassets.video.files.foreign_files import (
    name_embedding,
    name_foreign,
    name_single,
    name_still,
    name_unwritten,
)
from medassets.video.timeline import Clock

# A playlist named like a video would open other files, or connect to other machines.
_FORMATS = (
    "mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,ivf,obu,h264,hevc,m4v,mjpeg,mxf,nut,dv,"
    "rm,gif"
)
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
_US_PER_S = 1_000_000
# Samples of a frame of MP3, the longest lead-in of common encoders; AAC has 1024, Opus 312.
_SOUND_FRAME = 1152


def open_container(path: Path) -> InputContainer:
    """Open a media file.

    Raises:
        SampleRejectedError: MISSING_SOURCE; UNREADABLE_SOURCE if permissions or the disk
            prevent reading; LFS_POINTER; DECODE_FAILED if it is not a media file.
        OSError: If the machine, not the file, caused the failure.
    """
    _refuse_unwritten(path)
    try:
        # An absolute path is never interpreted as a protocol.
        container = av.open(
            str(path.absolute()), "r", container_options=_OPTIONS, metadata_errors="replace"
        )
    except MissingFileError as error:
        msg = "the file does not exist"
        raise SampleRejectedError(Reason.MISSING_SOURCE, msg) from error
    except FFmpegError as error:
        # FFmpeg reports "input/output error" for damaged files, too; reading bytes tells them apart.
        with unreadable_as_rejection():
            found = name_foreign(path)
        if (pointer := explain_pointer_file(path)) is not None:
            raise SampleRejectedError(Reason.LFS_POINTER, pointer) from error
        msg = f"the file cannot be opened: {error.strerror}"
        if isinstance(error, ArgumentError):
            # FFmpeg knows the format, but this reader does not accept it.
            msg = "the file is in no format of videos"
        if found is not None:
            msg = f"the file is not a video: it is {found}"
        raise SampleRejectedError(Reason.DECODE_FAILED, msg) from error
    found = name_still(container.metadata.get("major_brand", ""))
    if container.format.name == "mjpeg":
        found = name_embedding(path)
    if found is not None:
        container.close()
        msg = f"the file is not a video: it is {found}"
        raise SampleRejectedError(Reason.DECODE_FAILED, msg)
    return container


def _refuse_unwritten(path: Path) -> None:
    with suppress(FileNotFoundError), unreadable_as_rejection():
        if (found := name_unwritten(path)) is not None:
            msg = f"the file is not a video: it is {found}"
            raise SampleRejectedError(Reason.DECODE_FAILED, msg)


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


def refuse_single(stream: VideoStream, packets: Iterator[Packet]) -> Iterator[Packet]:
    """Return the packets of a stream, unless they are one still picture.

    Args:
        stream: The stream.
        packets: Its packets from the first on.

    Raises:
        SampleRejectedError: DECODE_FAILED if it is a picture.
        FFmpegError: If the file cannot be read.
    """
    found = name_single(stream.codec_context.codec.canonical_name)
    if found is None:
        return packets
    head = list(islice(packets, 2))
    if len(head) == 1:
        msg = f"the file is not a video: it is {found}"
        raise SampleRejectedError(Reason.DECODE_FAILED, msg)
    return chain(head, packets)


def make_clock(container: InputContainer, stream: VideoStream, first: Packet | None) -> Clock:
    """Return the clock of a stream.

    0 is the container's start, or the first picture if that is less than a frame later, of picture
    or of sound: encoders of sound need a lead-in, which some containers hide and others show, so
    that the picture of the same film begins at 0 in mp4, at 7 ms in mkv and at 21 ms in a
    transport stream.

    Args:
        container: The open file.
        stream: Its video stream.
        first: The first packet of the stream.
    """
    base, origin_s = Fraction(stream.time_base or 1), _find_start_s(container, stream)
    picture_s = _find_picture_s(container, stream, first)
    if picture_s is not None and _is_lead(container, stream, picture_s - origin_s):
        origin_s = picture_s
    return Clock(base, origin_s)


def _find_start_s(container: InputContainer, stream: VideoStream) -> Fraction:
    """Return the container's start time."""
    origin_s = Fraction(container.start_time or 0, _US_PER_S)
    for one in (stream, *container.streams):
        if one.start_time is not None and one.time_base:
            start_s = one.start_time * one.time_base
            # The container's start is the earliest stream's, rounded to microseconds.
            if abs(start_s - origin_s) * _US_PER_S < 1:
                return start_s
    return origin_s


def _find_picture_s(
    container: InputContainer, stream: VideoStream, first: Packet | None
) -> Fraction | None:
    """Return when the first picture is displayed, None if unknown."""
    start = stream.start_time
    if _is_avi(container) and first is not None:
        # AVI stores decoding times, of which the stream's start is the first.
        start = first.pts
    return None if start is None or not stream.time_base else start * stream.time_base


def _is_lead(container: InputContainer, stream: VideoStream, lead_s: Fraction) -> bool:
    """Whether a picture that begins so much later than its container is at 0 all the same."""
    rate = stream.guessed_rate or stream.average_rate
    frame_s = 1 / Fraction(rate) if rate else Fraction(0)
    if _is_avi(container):
        # FFmpeg displays MPEG-4 with B-frames exactly one frame late.
        return 0 < lead_s <= frame_s
    rates_hz = [s.codec_context.sample_rate for s in container.streams.audio if s.codec_context]
    sound_s = max((Fraction(_SOUND_FRAME, hz) for hz in rates_hz if hz), default=Fraction(0))
    return 0 < lead_s < frame_s or 0 < lead_s <= sound_s


def _is_avi(container: InputContainer) -> bool:
    return "avi" in container.format.name.split(",")
