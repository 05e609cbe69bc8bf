"""Decoding by plan: packets tell the frames, so that only what is needed goes into the decoder."""

from collections.abc import Iterator

import numpy as np
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame

from medassets.errors import MedassetsError
from medassets.video.opening import VideoReader
from medassets.video.packets import DecodePlan, Stretch
from medassets.video.requests import Progress

Delivery = tuple[int, VideoFrame | None]
"""Presentation time of a wanted frame, and the frame; None if it cannot be decoded."""


class UnplannedError(MedassetsError, RuntimeError):
    """The decoder does not give the frames that the packets promise."""


class PlannedDecoding:
    """One pass over a stretch."""

    def __init__(self, reader: VideoReader, stretch: Stretch, plan: DecodePlan) -> None:
        """Prepare a pass.

        Args:
            reader: The open video.
            stretch: Its packets.
            plan: Which of them are needed.
        """
        self._reader, self._stretch, self._plan = reader, stretch, plan
        self._pts: list[int] = stretch.pts[: plan.num_packets].tolist()
        self._latest: list[int] = np.maximum.accumulate(stretch.pts[: plan.num_packets]).tolist()
        self._index_of: dict[int, int] = {}
        self._missing = set(np.flatnonzero(plan.wanted).tolist())
        self._held: list[tuple[int, VideoFrame]] = []
        self._damages: list[int] = []

    def run(self, on_progress: Progress) -> Iterator[Delivery]:
        """Decode, and yield every wanted frame once, nearly by presentation time.

        Args:
            on_progress: Called for every packet.

        Raises:
            UnplannedError: If the decoder gives other frames than the packets promise.
        """
        if not self._plan.num_packets:
            return
        is_broken, key_pts = False, self._pts[0]
        for index, packet in self._iter_packets():
            on_progress()
            if not self._plan.needed[index]:
                continue
            if self._plan.restarts[index] or (is_broken and self._stretch.keys[index]):
                yield from self._take(self._reader.drain(), is_end=True)
                is_broken, key_pts = False, self._pts[index]
            if is_broken:
                continue
            frames = self._decode(index, packet)
            # Leading pictures of a key frame that decoding began with cannot be decoded.
            is_broken = frames is None and self._pts[index] >= key_pts
            if is_broken:
                self._damages.append(index)
                yield from self._take(self._reader.drain(), is_end=True)
            yield from self._take(frames or [])
        yield from self._take(self._reader.drain(), is_end=True)
        yield from self._give_up()

    def _iter_packets(self) -> Iterator[tuple[int, Packet]]:
        packets = self._reader.iter_packets_at(self._stretch.anchor)
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
        self._index_of[self._pts[index]] = index
        # A frame that no other hangs on is not decoded where nobody wants it. MP4 does not mark
        # such packets; the decoder sees it in their first bytes.
        self._reader.context.skip_frame = "DEFAULT" if self._plan.wanted[index] else "NONREF"
        try:
            return self._reader.decode(packet)
        except FFmpegError:
            return None

    def _take(self, frames: list[VideoFrame], *, is_end: bool = False) -> Iterator[Delivery]:
        """Take frames from the decoder and yield those that nothing can spoil any more.

        A picture is shown before one that it hangs on, which may turn out to be damaged.
        """
        for frame in frames:
            index = self._index_of.get(frame.pts if frame.pts is not None else -1)
            if index is None or frame.interlaced_frame:
                msg = "a frame that no packet promises"
                raise UnplannedError(msg)
            if frame.is_corrupt:
                self._damages.append(index)
            if index in self._missing:
                self._missing.remove(index)
                self._held.append((index, frame))
            yield from self._release(self._pts[index])
        if is_end:
            yield from self._release(None)

    def _release(self, shown: int | None) -> Iterator[Delivery]:
        held, self._held = self._held, []
        for index, frame in held:
            if shown is not None and self._latest[index] > shown:
                self._held.append((index, frame))
            else:
                yield self._pts[index], None if self._is_spoiled(index) else frame

    def _is_spoiled(self, index: int) -> bool:
        start = self._plan.start[index]
        return any(start <= damage <= index for damage in self._damages)

    def _give_up(self) -> Iterator[Delivery]:
        for index in sorted(self._missing):
            if not self._is_spoiled(index):
                msg = "a frame that a packet promises does not come"
                raise UnplannedError(msg)
            yield self._pts[index], None
