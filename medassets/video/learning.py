"""Which frames a video shows, from what its decoder gave."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from medassets.video.timeline import FIRST_TICK, LAST_TICK, Timeline


@dataclass(frozen=True)
class DecodedNote:
    """One frame as it came out of the decoder.

    Attributes:
        pts: Presentation time in ticks.
        dts: Time of the packet that it came out with, None after the last packet.
        duration: How long it is shown, 0 if unknown.
        is_key: It hangs on no other frame.
        is_b: It may hang on a frame that is shown later.
        is_corrupt: The decoder knows that it is damaged.
        is_interlaced: It is woven of two fields, which may have been two packets.
    """

    pts: int | None
    dts: int | None
    duration: int
    is_key: bool
    is_b: bool
    is_corrupt: bool
    is_interlaced: bool


def learn_timeline(
    notes: Sequence[DecodedNote | None], promised: Sequence[int], *, is_end: bool
) -> tuple[Timeline, npt.NDArray[np.int64]]:
    """Return the frames that a player shows, and their numbers among all that were decoded.

    A frame that comes out after a later one is not shown, nor is one that is shown for no time.

    Args:
        notes: Frames in the order they came out; None where a packet could not be decoded.
        promised: Presentation times of packets that give a frame each; those that did not are
            damaged. Empty if packets do not tell.
        is_end: The last frame is the video's.
    """
    frames = [note for note in notes if note is not None]
    times = _time_frames(frames)
    lost = [] if any(frame.is_interlaced for frame in frames) else _find_lost(times, promised)
    holes = _find_holes(notes, times, lost)
    pts, ordinals = _find_shown(times)
    is_end = is_end and bool(pts) and (not holes or holes[-1][1] < LAST_TICK)
    end = pts[-1] + _last_duration(pts, frames[-1].duration) if is_end else None
    timeline = Timeline(np.array(pts, np.int64), end, tuple(holes))
    return timeline, np.array(ordinals, np.int64)


def _time_frames(frames: Sequence[DecodedNote]) -> list[int | None]:
    """Return when frames appear: by their presentation times, unless those are not in order.

    A container that has no presentation times makes some up; then the times of the packets that
    frames come out with are better, and one later for each that comes after all packets.
    """
    known = [frame.pts for frame in frames if frame.pts is not None]
    packets = [frame.dts for frame in frames if frame.dts is not None]
    is_sound = len(known) == len(frames) and _is_rising(known)
    if is_sound or not packets or frames[0].dts is None or not _is_rising(packets):
        return [frame.pts for frame in frames]
    times: list[int | None] = []
    for frame in frames:
        before = times[-1] if times else None
        after = None if before is None else before + max(frame.duration, 1)
        times.append(after if frame.dts is None else frame.dts)
    return times


def _is_rising(values: Sequence[int]) -> bool:
    return all(one < other for one, other in pairwise(values))


def _find_lost(times: Sequence[int | None], promised: Sequence[int]) -> list[int]:
    """Return promised times that no frame has; what is shown before the first packet is no loss."""
    return sorted({time for time in promised if time >= promised[0]}.difference(times))


def _find_holes(
    notes: Sequence[DecodedNote | None], times: Sequence[int | None], lost: Sequence[int]
) -> list[tuple[int, int]]:
    """Return the stretches from damaged or missing frames to the next key frame, in ticks."""
    holes: list[tuple[int, int]] = []
    hole: int | None = None
    latest, first_b, frame_times, num_lost = FIRST_TICK, None, iter(times), 0
    for note in notes:
        pts = None if note is None else next(frame_times)
        if note is None or pts is None:
            hole = latest + 1 if hole is None else hole
            continue
        # Pictures that hang on a damaged one may be shown before it.
        suspect = pts if first_b is None else first_b
        if num_lost < len(lost) and lost[num_lost] < pts:
            hole = min(suspect, lost[num_lost]) if hole is None else hole
            num_lost += sum(time < pts for time in lost[num_lost:])
        if note.is_corrupt:
            hole = suspect if hole is None else hole
        elif hole is not None and note.is_key:
            holes.append((hole, pts))
            hole = None
        latest, first_b = pts, suspect if note.is_b else None
    if hole is None and num_lost < len(lost):
        hole = lost[num_lost]
    return holes if hole is None else [*holes, (hole, LAST_TICK)]


def _find_shown(times: Sequence[int | None]) -> tuple[list[int], list[int]]:
    pts: list[int] = []
    ordinals: list[int] = []
    for ordinal, time in enumerate(times):
        if time is None or (pts and time < pts[-1]):
            continue
        if pts and time == pts[-1]:
            ordinals[-1] = ordinal
        else:
            pts.append(time)
            ordinals.append(ordinal)
    return pts, ordinals


def _last_duration(pts: Sequence[int], duration: int) -> int:
    return duration or (pts[-1] - pts[-2] if len(pts) > 1 else 1)
