"""Decode by plan: packets identify the frames, so only needed packets are decoded."""

from collections.abc import Iterator

import numpy as np
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame

from medassets.errors import DamagedPacketError, UnplannedError
from medassets.video.files.reader import VideoReader
from medassets.video.frames.packet_plan import DecodePlan, PacketRange
from medassets.video.requests import Progress

Delivery = tuple[int, VideoFrame | None]
"""Presentation time of a wanted frame, and the frame; None if it cannot be decoded."""


class PlannedDecoding:
    """One pass over a range of packets."""

    def __init__(self, reader: VideoReader, packets: PacketRange, plan: DecodePlan) -> None:
        """Prepare a pass.

        Args:
            reader: The open video.
            packets: The packets of the range.
            plan: Which of them are needed.
        """
        self._reader, self._packets, self._plan = reader, packets, plan
        self._pts: list[int] = packets.pts[: plan.num_packets].tolist()
        self._latest: list[int] = np.maximum.accumulate(packets.pts[: plan.num_packets]).tolist()
        self._missing = set(np.flatnonzero(plan.wanted).tolist())
        # Sent to the decoder and not output yet, by presentation time.
        self._awaited: dict[int, int] = {}
        self._held: list[tuple[int, VideoFrame]] = []
        self._damages: list[int] = []
        # Where decoding began, and the display time of that frame.
        self._key_index, self._key_pts = 0, 0

    def run(self, on_progress: Progress) -> Iterator[Delivery]:
        """Decode, and yield every wanted frame once, nearly in display order.

        Args:
            on_progress: Called for every packet.

        Raises:
            UnplannedError: If the decoder outputs other frames than the packets announce.
        """
        if not self._plan.num_packets:
            return
        is_broken = False
        self._key_index = int(np.flatnonzero(self._plan.needed)[0])
        self._key_pts = self._pts[self._key_index]
        for index, packet in self._iter_packets():
            on_progress()
            if not self._plan.needed[index]:
                continue
            if self._plan.restarts[index] or (is_broken and self._packets.keys[index]):
                yield from self._drain()
                is_broken, self._key_index, self._key_pts = False, index, self._pts[index]
            if is_broken:
                continue
            frames = self._decode(index, packet)
            if frames is None:
                is_broken = True
                yield from self._drain()
            yield from self._take(frames or [])
        yield from self._drain()
        yield from self._give_up()

    def _iter_packets(self) -> Iterator[tuple[int, Packet]]:
        packets = self._reader.iter_packets_at(self._packets.anchor)
        try:
            for index, pts in enumerate(self._pts):
                packet = next(packets, None)
                if packet is None or packet.pts != pts:
                    msg = "the file reads differently the second time"
                    raise UnplannedError(msg)
                yield index, packet
        except FFmpegError as error:
            msg = f"the file reads differently the second time: {error.strerror}"
            raise UnplannedError(msg) from error

    def _decode(self, index: int, packet: Packet) -> list[VideoFrame] | None:
        """Return the output frames; None if the packet is damaged."""
        # Pictures displayed before the first decoded one cannot be decoded.
        is_leading = self._pts[index] < self._key_pts
        try:
            frames = self._reader.decode(packet)
        except DamagedPacketError:
            if is_leading:
                return []
            self._damages.append(index)
            return None
        if not self._packets.hidden[index]:
            self._awaited[self._pts[index]] = index
        return frames

    def _drain(self) -> Iterator[Delivery]:
        yield from self._take(self._reader.drain())
        self._note_lost(None)
        yield from self._release(None)
        self._awaited.clear()

    def _take(self, frames: list[VideoFrame]) -> Iterator[Delivery]:
        """Take frames from the decoder and yield those that can no longer be affected by damage.

        A picture may be displayed before one that it depends on, which may be damaged.
        """
        for frame in frames:
            pts = frame.pts
            if pts is None or pts not in self._awaited or frame.interlaced_frame:
                msg = "a frame that no packet announces"
                raise UnplannedError(msg)
            index = self._awaited.pop(pts)
            if frame.is_corrupt:
                self._damages.append(index)
            if index in self._missing:
                self._missing.remove(index)
                self._held.append((index, frame))
            self._note_lost(pts)
            yield from self._release(pts)

    def _note_lost(self, shown: int | None) -> None:
        """Note missing frames that are due before the one displayed now."""
        lost = [
            index
            for pts, index in self._awaited.items()
            if pts >= self._key_pts and (shown is None or pts < shown)
        ]
        if lost and self._reader.reports_loss and not self._damages:
            msg = "packets without a frame and without an error"
            raise UnplannedError(msg)
        if self._key_index in lost:
            msg = "decoding cannot begin at the key frame of the packets"
            raise UnplannedError(msg)
        self._damages.extend(lost)
        for index in lost:
            del self._awaited[self._pts[index]]

    def _release(self, shown: int | None) -> Iterator[Delivery]:
        held, self._held = self._held, []
        for index, frame in held:
            if shown is not None and self._latest[index] > shown:
                self._held.append((index, frame))
            else:
                yield self._pts[index], None if self._is_spoiled(index) else frame

    def _is_spoiled(self, index: int) -> bool:
        start, disposable = self._packets.start, self._packets.disposable
        return index in self._damages or any(
            damage < index and start[index] <= start[damage] and not disposable[damage]
            for damage in self._damages
        )

    def _give_up(self) -> Iterator[Delivery]:
        for index in sorted(self._missing):
            if not self._is_spoiled(index):
                msg = "a frame that a packet announces is missing"
                raise UnplannedError(msg)
            yield self._pts[index], None
