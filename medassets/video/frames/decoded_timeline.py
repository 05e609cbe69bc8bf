"""Derive the displayed frames of a video from the frames that its decoder outputs."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np
import numpy.typing as npt

from medassets.video.timeline import FIRST_TICK, LAST_TICK, Timeline

MOST_REORDERED = 34
"""A picture is displayed after at most this many pictures that are decoded after it.

Source: H.264 and HEVC hold 16 pictures, of two fields.
"""


@dataclass(frozen=True)
class DecodedNote:
    """One frame as it came out of the decoder.

    Attributes:
        pts: Presentation time in ticks.
        dts: Time of the packet that it came out with, None after the last packet.
        duration: Display duration in ticks, 0 if unknown.
        is_key: It depends on no other frame.
        is_b: It may depend on a frame that is displayed later.
        is_corrupt: The decoder reports damage.
        is_interlaced: It consists of two fields, which may have been two packets.
    """

    pts: int | None
    dts: int | None
    duration: int
    is_key: bool
    is_b: bool
    is_corrupt: bool
    is_interlaced: bool


def place_in_order(
    notes: Sequence[DecodedNote | None], chunks: Sequence[int], *, is_end: bool
) -> list[DecodedNote | None]:
    """Return frames with display times for a container that only counts its chunks.

    AVI stores decoding times, not display times: the first displayed frame takes the time of the
    first chunk, the second that of the second, in whatever order they are decoded.

    Args:
        notes: Frames in the order they came out, `pts` telling the chunk they were in.
        chunks: Times of all chunks from the first of the file on, one for each frame.
        is_end: The last frame is the video's.

    Returns:
        The notes up to the first chunk without a frame; later display times are unknown.
    """
    frames = [note for note in takewhile(lambda note: note is not None, notes) if note is not None]
    is_whole = len(frames) == len(notes)
    come = {frame.pts for frame in frames}
    due = chunks if is_end or not is_whole else chunks[:-MOST_REORDERED]
    lost = next((chunk for chunk in due if chunk not in come), None)
    if lost is not None:
        # Frames that came out before that chunk went in are counted correctly.
        frames = [frame for frame in frames if frame.dts is not None and frame.dts < lost]
    timed: list[DecodedNote | None] = [
        replace(frame, pts=chunk) for frame, chunk in zip(frames, chunks, strict=False)
    ]
    return timed if is_whole and lost is None else [*timed, None]


def learn_timeline(
    notes: Sequence[DecodedNote | None], promised: Sequence[int], *, is_end: bool
) -> tuple[Timeline, npt.NDArray[np.int64]]:
    """Return the frames that a player displays, and their numbers among all decoded frames.

    A frame that comes out after a later one is not displayed, nor is one of zero duration. The
    result for a frame depends on frames around it only, not on where the notes end.

    Args:
        notes: Frames in the order they came out; None where a packet could not be decoded.
        promised: Presentation times of packets that contain one frame each; those without an
            output frame are damaged. Empty if packets do not tell.
        is_end: The last frame is the video's.
    """
    frames = [note for note in notes if note is not None]
    times = _time_frames(frames)
    pts, ordinals = _find_shown(times)
    holes = _find_holes(notes, times, _find_lost(frames, pts, ordinals, promised))
    is_end = is_end and bool(pts) and (not holes or holes[-1][1] < LAST_TICK)
    end = pts[-1] + _last_duration(pts, frames[-1].duration) if is_end else None
    timeline = Timeline(np.array(pts, np.int64), end, tuple(holes))
    return timeline, np.array(ordinals, np.int64)


def _time_frames(frames: Sequence[DecodedNote]) -> list[int | None]:
    """Return the display time of each frame.

    A frame without a presentation time takes the decoding time of the packet that it came out
    with, or follows the frame before if no packet is left.
    """
    times: list[int | None] = []
    for frame in frames:
        before = times[-1] if times else None
        after = None if before is None else before + max(frame.duration, 1)
        known = frame.dts if frame.pts is None else frame.pts
        times.append(after if known is None else known)
    return times


def _find_lost(
    frames: Sequence[DecodedNote],
    pts: Sequence[int],
    ordinals: Sequence[int],
    promised: Sequence[int],
) -> list[int]:
    """Return promised times without a frame.

    Times before the first packet are not missing, nor is the second of two interlaced fields.
    """
    absent = {time for time in promised if time >= promised[0]}.difference(pts)
    lost: list[int] = []
    for time in sorted(absent):
        before = bisect_left(pts, time) - 1
        if before < 0 or not frames[ordinals[before]].is_interlaced:
            lost.append(time)
    return lost


def _find_holes(
    notes: Sequence[DecodedNote | None], times: Sequence[int | None], lost: Sequence[int]
) -> list[tuple[int, int]]:
    """Return the ranges from damaged or missing frames to the next key frame, in ticks."""
    holes: list[tuple[int, int]] = []
    hole: int | None = None
    latest, first_b, frame_times, num_lost = FIRST_TICK, None, iter(times), 0
    for note in notes:
        pts = None if note is None else next(frame_times)
        if note is None or pts is None:
            hole = latest + 1 if hole is None else hole
            continue
        # Pictures that depend on a damaged one may be displayed before it.
        suspect = pts if first_b is None else first_b
        if num_lost < len(lost) and lost[num_lost] < pts:
            hole = min(suspect, lost[num_lost]) if hole is None else hole
            num_lost += sum(time < pts for time in lost[num_lost:])
        if note.is_corrupt:
            hole = suspect if hole is None else hole
        elif hole is not None and note.is_key and pts > hole:
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
