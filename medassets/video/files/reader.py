"""An open video file: reading packets from any position, and decoding them."""

from collections.abc import Iterator
from functools import cached_property
from itertools import chain
from pathlib import Path
from types import TracebackType

from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from medassets.errors import (
    DamagedPacketError,
    DecoderUnavailableError,
    Reason,
    SampleRejectedError,
)
from medassets.video.facts import VideoFacts
from medassets.video.files.containers import (
    make_clock,
    open_container,
    pick_stream,
    refuse_single,
)
from medassets.video.files.continuity import Continuity, ElementContinuity, TransportContinuity
from medassets.video.files.cropping import Crop, read_crop
from medassets.video.files.decoders import make_decoder
from medassets.video.files.elements import AviFile, MatroskaFile
from medassets.video.files.orientation import Orientation, read_orientation
from medassets.video.files.picture_headers import Picture, read_picture
from medassets.video.files.truncation import is_truncated
from medassets.video.requests import Progress
from medassets.video.timeline import FIRST_TICK

# One packet is one shown frame, and every packet has its presentation time.
_COUNTABLE_CODECS = frozenset({"h264", "hevc", "av1", "vp9"})
_COUNTABLE_FORMATS = frozenset({"mp4", "matroska"})
# In other formats timestamps are unreliable after seeking; MPEG program streams guess them.
_SEEKABLE_FORMATS = frozenset({"mp4", "matroska", "avi", "mpegts"})
# AVI stores decoding times only; for these codecs libavformat does not derive display times.
_REORDERED_CODECS = frozenset({"h264", "hevc"})
# Compressed pictures contain no long runs of zeros; parts of a file that were never written do.
# Decoders of arithmetic codes silently return pictures for them. dav1d detects it by itself.
_DENSE_CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "mpeg4"})
_HOLE = bytes(48)
_FIELD_ORDER_UNKNOWN, _FIELD_ORDER_PROGRESSIVE = 0, 1


class VideoReader:
    """The first video stream of a file that is not an attached picture; a context manager.

    Attributes:
        clock: Conversion of the stream's timestamps.
        device: What decodes: `cpu` or `cuda:<index>`.
    """

    def __init__(self, path: Path, *, device: str = "cpu") -> None:
        """Open a file.

        Raises:
            SampleRejectedError: MISSING_SOURCE, DECODE_FAILED if it is not a video file,
                NO_VIDEO_STREAM.
            DecoderUnavailableError: If the device cannot decode it.
        """
        self._path, self.device = path, device
        self._facts: VideoFacts | None = None
        self._has_decoded = False
        self._is_in_order: bool | None = None
        self._open()
        self._extradata = self._stream.codec_context.extradata

    def __enter__(self) -> "VideoReader":
        """Return the open reader."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._container.close()
        if "continuity" in vars(self):
            self.continuity.close()

    def _open(self) -> None:
        self._container = open_container(self._path)
        try:
            self._stream = pick_stream(self._container)
            first, self._unread = self._read_first()
            self._first = _identify(first)
            self.clock = make_clock(self._container, self._stream, first)
            self._is_fresh = True
            self.context = make_decoder(self._stream, device=self.device)
        except BaseException:
            self.close()
            raise

    def _read_first(self) -> tuple[Packet | None, Iterator[Packet]]:
        """Return the first packet, and all packets."""
        for stream in self._container.streams:
            if stream.index != self._stream.index:
                stream.discard = Discard.all
        try:
            packets = refuse_single(self._stream, self._demux())
            packet = next(packets, None)
        except FFmpegError as error:
            msg = f"the file cannot be read: {error.strerror}"
            raise SampleRejectedError(Reason.DECODE_FAILED, msg) from error
        self.continuity.jump(to_start=True)
        if packet is not None and not self.follows(packet):
            msg = "the beginning of the file is damaged, so its timestamps cannot be determined"
            raise SampleRejectedError(Reason.DECODE_FAILED, msg)
        return packet, chain([] if packet is None else [packet], packets)

    @property
    def stream(self) -> VideoStream:
        """The stream that is read."""
        return self._stream

    @cached_property
    def codec(self) -> str:
        """Name of the codec, such as `h264`."""
        return self._stream.codec_context.codec.canonical_name

    @property
    def can_count_packets(self) -> bool:
        """Whether each packet is one displayed frame, with its display time."""
        return (
            self.codec in _COUNTABLE_CODECS
            and not _COUNTABLE_FORMATS.isdisjoint(self._formats)
            and self._stream.codec_context.field_order
            in (_FIELD_ORDER_UNKNOWN, _FIELD_ORDER_PROGRESSIVE)
        )

    @property
    def has_presentation_times(self) -> bool:
        """Whether `pts` is the display time of a frame; otherwise it is its decoding time."""
        return not ("avi" in self._formats and self.codec in _REORDERED_CODECS)

    @property
    def reports_loss(self) -> bool:
        """Whether a packet without an error and without a frame lost none: it shows nothing.

        The decoder of H.264 returns no frame for some damaged packets, and no error; that of AV1
        does for a packet of zeros.
        """
        return self.codec in ("hevc", "vp9")

    def can_seek(self, on_progress: Progress) -> bool:
        """Whether frames and timestamps are the same after seeking as without.

        Args:
            on_progress: Called often while the file is read, once, to find out.
        """
        # Used for countable files only after their packets turned out to be wrong.
        if (
            self.can_count_packets
            or not self.has_presentation_times
            or _SEEKABLE_FORMATS.isdisjoint(self._formats)
        ):
            return False
        if self._is_in_order is None:
            self._is_in_order = self._find_order(on_progress)
        return self._is_in_order

    def _find_order(self, on_progress: Progress) -> bool:
        """Whether no packet is missing and decoding times rise."""
        latest = FIRST_TICK
        try:
            for packet in self.iter_packets_at(None):
                on_progress()
                time = latest + 1 if packet.dts is None else packet.dts
                if time <= latest or not self.follows(packet):
                    return False
                latest = time
        except FFmpegError:
            return False
        return self.ends_well

    @cached_property
    def is_truncated(self) -> bool:
        """Whether the file is shorter than its header states."""
        return is_truncated(self._path)

    @cached_property
    def continuity(self) -> Continuity:
        """Check that packets follow one another."""
        if "matroska" in self._formats:
            return ElementContinuity(MatroskaFile(self._path), recovers=True)
        # Digital video may be interleaved with its sound in chunks of another stream.
        if "avi" in self._formats and self.codec != "dvvideo":
            file = AviFile(self._path, self._stream.index)
            return ElementContinuity(file, recovers=False)
        return TransportContinuity(self._path, self.codec) if self._is_transport else Continuity()

    @cached_property
    def crop(self) -> Crop | None:
        """What the container cuts away of the pictures."""
        return read_crop(self._path, self._container, self._stream)

    @property
    def _is_transport(self) -> bool:
        return "mpegts" in self._formats

    def follows(self, packet: Packet) -> bool:
        """Whether nothing is missing between a packet and the one passed before."""
        return packet.pos is None or self.continuity.follows(packet)

    @property
    def ends_well(self) -> bool:
        """Whether nothing is missing after the packet passed last to `follows`."""
        return not self.is_truncated and self.continuity.ends()

    @property
    def _formats(self) -> list[str]:
        return self._container.format.name.split(",")

    @property
    def facts(self) -> VideoFacts:
        """Facts of the video, whose size is that of its first frame.

        Raises:
            SampleRejectedError: DECODE_FAILED if no frame can be decoded.
        """
        if self._facts is None and self._is_fresh and self.device == "cpu":
            self._facts = self._decode_first()
        if self._facts is None:
            # This reader may be in the middle of a video whose size changes, and a GPU returns
            # frames without orientation, in another pixel format.
            with VideoReader(self._path) as reader:
                self._facts = reader._decode_first()
        return self._facts

    def _decode_first(self) -> VideoFacts:
        detail = "no frame can be decoded"
        try:
            for packet in self.iter_packets_at(None):
                try:
                    # Do not wait for more packets; but later pictures depend on a hidden one.
                    frames = self.decode(packet) or (self.drain() if self.shows(packet) else [])
                except DamagedPacketError as error:
                    detail = f"no frame can be decoded: {error}"
                    continue
                if frames:
                    return self._make_facts(frames[0])
        except FFmpegError as error:
            detail = f"the file cannot be read: {error.strerror}"
        raise SampleRejectedError(Reason.DECODE_FAILED, detail)

    def read_orientation(self, frame: VideoFrame) -> Orientation:
        """Return the orientation of a frame."""
        if self.device == "cpu":
            return read_orientation(frame)
        return Orientation(self.facts.rotation, self.facts.mirrored)

    def decode(self, packet: Packet | None) -> list[VideoFrame]:
        """Decode a packet and return the frames that the decoder outputs; None ends the stream.

        Raises:
            DamagedPacketError: If the packet cannot be decoded.
            DecoderUnavailableError: If the device cannot decode the first frame.
        """
        if packet is not None and self._lacks_a_part(packet):
            msg = "a part of the packet is missing"
            raise DamagedPacketError(msg)
        try:
            frames = self.context.decode(packet)
        except FFmpegError as error:
            if self.device == "cpu" or self._has_decoded:
                raise DamagedPacketError(error.strerror) from error
            msg = f"{self.device} cannot decode {self.codec} here: {error.strerror}"
            raise DecoderUnavailableError(msg) from error
        self._has_decoded |= bool(frames)
        return frames

    def _lacks_a_part(self, packet: Packet) -> bool:
        # In transport streams the flag is on another packet; see `TransportContinuity`.
        is_marked = packet.is_corrupt and not self._is_transport
        return is_marked or (self.codec in _DENSE_CODECS and _HOLE in bytes(packet))

    def _make_facts(self, frame: VideoFrame) -> VideoFacts:
        orientation, container = read_orientation(frame), self._container
        sides = (frame.width, frame.height)
        if self.crop is not None:
            sides = self.crop.sides(*sides)
        width, height = sides[::-1] if orientation.swaps_sides else sides
        rate, duration_us = self._stream.average_rate, container.duration
        return VideoFacts(
            codec=self.codec,
            pixel_format=frame.format.name,
            width=width,
            height=height,
            rotation=orientation.rotation,
            mirrored=orientation.mirrored,
            duration_ms=None if duration_us is None else round(duration_us / 1000),
            fps=float(rate) if rate else None,
            has_audio=bool(container.streams.audio),
        )

    def drain(self) -> list[VideoFrame]:
        """Return the frames that remain in the decoder, and reset it."""
        depth = self.context.reorder_depth
        try:
            frames = self.decode(None)
        except DamagedPacketError:
            frames = []
        self.context.flush_buffers()
        # Otherwise pictures of a deeper pyramid than the decoder's first guess would be lost.
        self.context.reorder_depth = depth
        return frames

    def read_picture(self, packet: Packet) -> Picture:
        """Return the role of a packet's picture."""
        return read_picture(
            memoryview(packet),
            codec=self.codec,
            extradata=self._extradata,
            is_key=packet.is_keyframe,
        )

    def shows(self, packet: Packet) -> bool:
        """Whether a packet's picture is displayed, neither hidden by an edit list nor by itself."""
        return not packet.is_discard and self.read_picture(packet).is_shown

    def starts_file(self, packet: Packet) -> bool:
        """Whether a packet is the first of the stream in its file."""
        return _identify(packet) == self._first

    def iter_packets_at(self, tick: int | None) -> Iterator[Packet]:
        """Seek to a key frame near a time, preferably before it, and yield packets from there.

        Resets the decoder and the state of `follows`.

        Args:
            tick: A time of the stream; None starts with the first packet of the file.

        Raises:
            FFmpegError: If the file cannot be read.
        """
        self.continuity.jump(to_start=False)
        if tick is None:
            return self._iter_from_start()
        self._is_fresh = False
        return self._demux() if self._seek(tick) else self._iter_from_start()

    def _iter_from_start(self) -> Iterator[Packet]:
        tick = next((time for time in self._first if time is not None), None)
        if not self._is_fresh and tick is not None and self._seek(tick):
            packets = self._demux()
            packet = next(packets, None)
            if packet is not None and self.starts_file(packet):
                return chain([packet], packets)
        if not self._is_fresh:
            self._container.close()
            self._open()
        self._is_fresh = False
        return self._unread

    def _seek(self, tick: int) -> bool:
        try:
            self._container.seek(tick, stream=self._stream)
        except (FFmpegError, OverflowError):
            return False
        self.context.flush_buffers()
        return True

    def _demux(self) -> Iterator[Packet]:
        for packet in self._container.demux(self._stream):
            # An empty packet would end the decoding; AVI has some, and demux ends with one.
            if packet.size:
                if not self.has_presentation_times:
                    packet.pts = packet.dts
                yield packet


def _identify(packet: Packet | None) -> tuple[int | None, ...]:
    return () if packet is None else (packet.dts, packet.pts, packet.pos, packet.size)
