"""Files with missing bytes: gaps that the container reveals are rejected, intact files are not."""

import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.errors import SampleRejectedError
from medassets.testing.videos import VideoRecipe, make_video
from medassets.video.files.reader import VideoReader
from medassets.video.frames.decoding import (
    DecodedClip,
    FrameRequest,
    Outcome,
    Segment,
    decode_segments,
)
from medassets_tests.shared_cases import find_case
from medassets_tests.video.cases import read_case_number
from medassets_tests.video.files.test_reader import find_packets

REQUEST = FrameRequest(0, 512, 64, 96, 1, 500)
QUARTERS = [Segment(250 * k, 250 * k + 250) for k in range(20)]
RECIPE = VideoRecipe(num_frames=150, noise=25)
CODECS = ["mpeg4", "libx264"]
CELL_BYTES = 188


def decode(path: Path) -> list[Outcome]:
    return list(decode_segments(path, QUARTERS, REQUEST))


def make(path: Path, codec: str, *, has_audio: bool = False) -> Path:
    recipe = replace(RECIPE, codec=codec, has_audio=has_audio, options=find_options(codec))
    return make_video(path, recipe).path


def find_options(codec: str) -> tuple[tuple[str, str], ...]:
    return (("b", "2M"), ("sc_threshold", "1000000000")) if codec == "mpeg2video" else ()


def cut(path: Path, position: int, size: int) -> Path:
    content = bytearray(path.read_bytes())
    del content[position : position + size]
    shorter = path.with_name(f"cut-{path.name}")
    shorter.write_bytes(content)
    return shorter


def find_refused(outcomes: list[Outcome], whole: list[Outcome]) -> list[int]:
    """Return which segments were rejected; all others must be as in the intact file."""
    refused = []
    for index, (outcome, expected) in enumerate(zip(outcomes, whole, strict=True)):
        assert isinstance(expected, DecodedClip)
        if isinstance(outcome, SampleRejectedError):
            refused.append(index)
        else:
            assert outcome.timestamps_s == expected.timestamps_s
            np.testing.assert_array_equal(outcome.frames, expected.frames)
    return refused


def find_breaks(path: Path) -> list[int]:
    """Return which packets are reported not to follow the one before."""
    with VideoReader(path) as reader:
        breaks = [
            index
            for index, packet in enumerate(reader.iter_packets_at(None))
            if not reader.follows(packet)
        ]
        assert reader.ends_well
    return breaks


@pytest.mark.parametrize("has_audio", [False, True])
@pytest.mark.parametrize("codec", CODECS)
def test_nothing_is_used_after_a_cut_of_an_avi_file(
    codec: str, has_audio: bool, tmp_path: Path
) -> None:
    path = make(tmp_path / "a.avi", codec, has_audio=has_audio)
    whole, packets = decode(path), find_packets(path)
    rng = random.Random(codec)
    for size in (1, 2, 700, 3000, 20_000):
        index = rng.randrange(1, len(packets) - 10)
        position = packets[index][0] + rng.randrange(0, packets[index][1])
        refused = find_refused(decode(cut(path, position, size)), whole)
        assert refused == list(range(refused[0], len(QUARTERS)))
        # A quarter of a second has seven frames and a half.
        assert refused[0] <= index // 7
        assert refused[0] >= index / 7.5 - 2


@pytest.mark.parametrize("codec", [*CODECS, "mpeg2video"])
def test_a_cut_of_a_transport_stream_costs_up_to_the_next_key_frame(
    codec: str, tmp_path: Path
) -> None:
    path = make(tmp_path / "a.ts", codec)
    whole, packets = decode(path), find_packets(path)
    size_bytes, rng = path.stat().st_size, random.Random(codec)
    first = packets[20][0]
    cuts = [
        (rng.randrange(first, size_bytes - 30_000), size) for size in (1, 100, 3000, 3000, 3000)
    ]
    # Whole cells are lost in transmission; only their counters reveal it.
    content = path.read_bytes()
    pid = 256
    cells = range(first, size_bytes - 30_000, CELL_BYTES)
    own = [at for at in cells if (content[at + 1] & 31, content[at + 2]) == (pid >> 8, pid & 255)]
    cuts += [(rng.choice(own), num_cells * CELL_BYTES) for num_cells in (1, 5, 17, 40)]
    for position, size in cuts:
        refused = find_refused(decode(cut(path, position, size)), whole)
        assert refused
        assert refused == list(range(refused[0], refused[-1] + 1))
        # A second from key frame to key frame, and the ends that it reaches into.
        assert len(refused) <= 6


@pytest.mark.parametrize("name", ["a.mkv", "a.webm"])
def test_inserted_bytes_are_detected_in_matroska(name: str, tmp_path: Path) -> None:
    path = make(tmp_path / name, "libx264" if name == "a.mkv" else "libvpx", has_audio=True)
    whole, packets = decode(path), find_packets(path)
    for index, size in ((20, 40), (70, 300), (110, 3500), (125, 300), (140, 3500)):
        position = packets[index][0] + packets[index][1] // 2
        content = bytearray(path.read_bytes())
        content[position:position] = content[position : position + size]
        longer = path.with_name(f"longer-{name}")
        longer.write_bytes(content)
        refused = find_refused(decode(longer), whole)
        assert refused
        assert index / 7.5 - 2 <= refused[0] <= index / 7.5 + 1


@pytest.mark.parametrize("has_audio", [False, True])
@pytest.mark.parametrize("codec", CODECS)
def test_an_intact_avi_file_is_not_taken_for_a_cut_one(
    codec: str, has_audio: bool, tmp_path: Path
) -> None:
    path = make(tmp_path / "a.avi", codec, has_audio=has_audio)
    assert find_breaks(path) == []
    # Without an index, the chunks alone must tell.
    content = bytearray(path.read_bytes())
    index = content.rindex(b"idx1")
    content[index : index + 4] = b"JUNK"
    path.write_bytes(content)
    assert find_breaks(path) == []
    assert all(isinstance(outcome, DecodedClip) for outcome in decode(path))


def test_an_avi_file_whose_chunks_are_not_padded_is_sound(tmp_path: Path) -> None:
    path = make(tmp_path / "a.avi", "mpeg4")
    content, packets = path.read_bytes(), find_packets(path)
    head, tail = content[: packets[0][0] - 8], content[content.rindex(b"idx1") :]
    chunks = [content[position - 8 : position + size] for position, size, _ in packets]
    body = b"".join(chunks)
    assert any(len(chunk) % 2 for chunk in chunks)
    start = head.rindex(b"movi")
    sizes = len(body) + 4, len(head) + len(body) + len(tail) - 8
    head = bytearray(head)
    head[start - 4 : start] = sizes[0].to_bytes(4, "little")
    head[4:8] = sizes[1].to_bytes(4, "little")
    path.write_bytes(bytes(head) + body + tail.replace(b"idx1", b"JUNK", 1))
    assert find_breaks(path) == []


@pytest.mark.parametrize("options", [{}, {"mpegts_m2ts_mode": "1"}, {"muxrate": "3000000"}])
@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video"])
def test_an_intact_transport_stream_is_not_taken_for_a_cut_one(
    codec: str, options: dict[str, str], tmp_path: Path
) -> None:
    import av

    made = make(tmp_path / "a.mkv", codec, has_audio=True)
    path = tmp_path / "b.ts"
    with av.open(str(made)) as source, av.open(str(path), "w", options=options) as output:
        streams = [output.add_stream_from_template(one) for one in source.streams]
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                output.mux(packet)
    assert find_breaks(path) == []
    assert all(isinstance(outcome, DecodedClip) for outcome in decode(path)[:-1])


def write_segments(made: Path, path: Path, *, drop: int = 0) -> Path:
    """Write each group of pictures as a transport stream of its own, and join the files.

    Args:
        made: Source, of any container.
        path: File to write.
        drop: Number of a group to leave out; 0 leaves none out.
    """
    import av

    with av.open(str(made)) as source:
        stream = source.streams.video[0]
        groups: list[list[av.Packet]] = []
        for packet in source.demux(stream):
            if packet.is_keyframe:
                groups.append([])
            groups[-1] += [packet] if packet.size else []
        content = b""
        for group in [group for index, group in enumerate(groups) if not drop or index != drop]:
            with av.open(str(path), "w", format="mpegts") as output:
                copy = output.add_stream_from_template(stream)
                for packet in group:
                    packet.stream = copy
                    output.mux(packet)
            content += path.read_bytes()
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_joined_segments_whose_counters_start_anew_give_all_frames(
    codec: str, tmp_path: Path
) -> None:
    made = make_video(tmp_path / "a.mkv", replace(RECIPE, codec=codec, start_s=2)).path
    path = write_segments(made, tmp_path / "a.ts")
    with VideoReader(path) as reader:
        assert any(packet.is_corrupt for packet in reader.iter_packets_at(None))
    assert find_breaks(path) == []
    for outcome, expected in zip(decode(path), decode(made), strict=True):
        assert isinstance(outcome, DecodedClip)
        assert isinstance(expected, DecodedClip)
        np.testing.assert_array_equal(outcome.frames, expected.frames)


def test_joined_segments_without_one_of_them_are_refused_where_it_is_missing(
    tmp_path: Path,
) -> None:
    made = make_video(tmp_path / "a.mkv", replace(RECIPE, start_s=2)).path
    whole = write_segments(made, tmp_path / "whole.ts")
    outcomes = decode(write_segments(made, tmp_path / "a.ts", drop=2))
    refused = find_refused(outcomes, decode(whole))
    # The third second is missing, and the end of the second one may be incomplete.
    assert set(range(8, 12)) <= set(refused) <= set(range(4, 13))


def write_joined(path: Path, parts: list[tuple[int, int, VideoRecipe]], folder: Path) -> list[int]:
    """Join transport streams with sound whose counters start anew.

    Args:
        path: File to write.
        parts: For each stream its first frame's place, in frames, their number, and how they are encoded.
        folder: For temporary files.

    Returns:
        The place of every frame.
    """
    import av

    content, places = b"", []
    for number, (place, num_frames, recipe) in enumerate(parts):
        recipe = replace(recipe, num_frames=num_frames, seed=number, noise=25)
        made = make_video(folder / f"{number}.mp4", recipe).path
        with av.open(str(made)) as source, av.open(str(path), "w", format="mpegts") as output:
            template = source.streams.video[0]
            picture: Any = output.add_stream_from_template(template)
            sound: Any = output.add_stream("aac", rate=48_000, layout="mono")
            packets = [one for one in source.demux(template) if one.size]
            late = round((2 + Fraction(place, 30)) / (template.time_base or 1))
            for packet in packets:
                packet.pts, packet.dts = (packet.pts or 0) + late, (packet.dts or 0) + late
                packet.stream = picture
            for index in range(num_frames * 1600 // 1024):
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
                frame.sample_rate, frame.time_base = 48_000, Fraction(1, 48_000)
                frame.pts = 96_000 + place * 1600 + index * 1024
                packets += sound.encode(frame)
            packets += sound.encode(None)
            for packet in sorted(packets, key=lambda one: (one.dts or 0) * (one.time_base or 1)):
                output.mux(packet)
        content += path.read_bytes()
        places += range(place, place + num_frames)
    path.write_bytes(content)
    return places


PLAIN, DEEP = VideoRecipe(num_b_frames=0), VideoRecipe(num_b_frames=8)
JOINS = {
    "alike": [(0, 20, PLAIN), (20, 20, PLAIN), (40, 20, PLAIN)],
    "of several lengths": [(0, 7, PLAIN), (7, 23, PLAIN), (30, 5, PLAIN), (35, 25, PLAIN)],
    "with more pictures to reorder": [(0, 20, PLAIN), (20, 20, DEEP), (40, 20, PLAIN)],
    "of another size": [(0, 20, PLAIN), (20, 20, replace(PLAIN, width=160, height=96))],
}


@pytest.mark.parametrize("name", JOINS)
def test_segments_that_were_joined_lose_nothing_where_counters_start_anew(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.ts"
    places = write_joined(path, JOINS[name], tmp_path)
    assert find_breaks(path) == []
    (clip,) = decode_segments(path, [Segment(0, None)], REQUEST)
    assert isinstance(clip, DecodedClip)
    assert [round(time_s * 30) for time_s in clip.timestamps_s] == places
    for begin_ms in range(0, places[-1] * 1000 // 30 - 100, 100):
        (clip,) = decode_segments(path, [Segment(begin_ms, begin_ms + 100)], REQUEST)
        assert isinstance(clip, DecodedClip), (begin_ms, clip)


def count_from(content: bytes, start: int) -> bytes:
    """Return the cells of a transport stream, with counters that are higher by a number."""
    cells = np.frombuffer(content, np.uint8).reshape(-1, CELL_BYTES).copy()
    cells[:, 3] = cells[:, 3] & 0xF0 | (cells[:, 3] + start) & 0xF
    return cells.tobytes()


@pytest.mark.parametrize("name", ["alike", "of several lengths", "with more pictures to reorder"])
def test_counters_may_start_anew_with_any_number(name: str, tmp_path: Path) -> None:
    content, places, rng = b"", [], random.Random(name)
    for part in JOINS[name]:
        places += write_joined(tmp_path / "a.ts", [part], tmp_path)
        content += count_from((tmp_path / "a.ts").read_bytes(), rng.randrange(16))
    (tmp_path / "a.ts").write_bytes(content)
    assert find_breaks(tmp_path / "a.ts") == []
    (clip,) = decode_segments(tmp_path / "a.ts", [Segment(0, None)], REQUEST)
    assert isinstance(clip, DecodedClip)
    assert [round(time_s * 30) for time_s in clip.timestamps_s] == places


@pytest.mark.parametrize("num_missing", [1, 4, 12, 30])
@pytest.mark.parametrize("recipes", [(PLAIN, PLAIN), (DEEP, PLAIN), (PLAIN, DEEP), (DEEP, DEEP)])
def test_frames_that_are_missing_between_joined_segments_are_noticed(
    recipes: tuple[VideoRecipe, VideoRecipe], num_missing: int, tmp_path: Path
) -> None:
    path, (first, second) = tmp_path / "a.ts", recipes
    write_joined(path, [(0, 20, first), (20 + num_missing, 20, second)], tmp_path)
    assert len(find_breaks(path)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("num_cut", [1, 2, 3, 5, 20, 28])
@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video"])
def test_a_segment_that_was_cut_off_spoils_the_clip_across_its_join(
    codec: str, num_cut: int, tmp_path: Path
) -> None:
    path, recipe = (
        tmp_path / "a.ts",
        replace(PLAIN, codec=codec, width=320, height=240, options=find_options(codec)),
    )
    write_joined(tmp_path / "0.ts", [(0, 20, recipe)], tmp_path)
    write_joined(tmp_path / "1.ts", [(20, 20, recipe)], tmp_path)
    parts = [(tmp_path / name).read_bytes() for name in ("0.ts", "1.ts")]
    path.write_bytes(drop_cells(parts[0], num_cut) + parts[1])
    joined = tmp_path / "whole.ts"
    joined.write_bytes(b"".join(parts))
    assert find_breaks(joined) == []
    (clip,) = decode_segments(path, [Segment(0, None)], REQUEST)
    assert isinstance(clip, SampleRejectedError)
    (clip,) = decode_segments(path, [Segment(700, 1300)], REQUEST)
    (whole,) = decode_segments(joined, [Segment(700, 1300)], REQUEST)
    assert isinstance(clip, DecodedClip), clip
    assert isinstance(whole, DecodedClip)
    np.testing.assert_array_equal(clip.frames, whole.frames)


def drop_cells(content: bytes, count: int) -> bytes:
    """Cut a transport stream off before the last cells of its picture."""
    starts = range(0, len(content), CELL_BYTES)
    own = [at for at in starts if content[at + 1] & 31 == 1 and not content[at + 2]]
    return content[: own[-count]]


@pytest.mark.slow
@pytest.mark.parametrize("num_cut", [1, 2, 5, 20])
@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video"])
def test_the_clip_at_the_end_of_a_transport_stream_that_was_cut_off_is_refused(
    codec: str, num_cut: int, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, codec=codec, num_frames=40, width=320, height=240)
    recipe = replace(recipe, num_b_frames=0, options=find_options(codec))
    path = make_video(tmp_path / "a.ts", recipe).path
    segments = [Segment(300, 800), Segment(1000, 1320)]
    whole = list(decode_segments(path, segments, REQUEST))
    content = path.read_bytes()
    path.write_bytes(drop_cells(content, num_cut))
    first, last = decode_segments(path, segments, REQUEST)
    assert isinstance(last, SampleRejectedError)
    assert isinstance(first, DecodedClip)
    assert isinstance(whole[0], DecodedClip)
    assert isinstance(whole[1], DecodedClip)
    np.testing.assert_array_equal(first.frames, whole[0].frames)


def test_a_lost_picture_that_is_displayed_before_the_last_one_is_noticed(tmp_path: Path) -> None:
    import av

    contents = []
    for place in (0, 20):
        write_joined(tmp_path / "a.ts", [(place, 20, DEEP)], tmp_path)
        contents.append((tmp_path / "a.ts").read_bytes())
    (tmp_path / "a.ts").write_bytes(contents[0])
    with av.open(str(tmp_path / "a.ts")) as container:
        packets = [one for one in container.demux(video=0) if one.size]
    latest = max(range(len(packets)), key=lambda index: packets[index].pts or 0)
    assert latest < len(packets) - 1
    end = packets[latest + 1].pos or 0
    (tmp_path / "a.ts").write_bytes(contents[0][:end] + contents[1])
    assert len(find_breaks(tmp_path / "a.ts")) == 1


def test_all_frames_of_five_joined_segments_are_there() -> None:
    path = find_case("video/hls_cat.ts")
    (whole,) = decode_segments(path, [Segment(0, None)], REQUEST)
    assert isinstance(whole, DecodedClip)
    assert [read_case_number(frame) for frame in whole.frames] == list(range(150))
    for begin in range(0, 148, 7):
        segment = Segment(begin * 1000 // 30, (begin + 2) * 1000 // 30)
        (clip,) = decode_segments(path, [segment], REQUEST)
        assert isinstance(clip, DecodedClip), (segment, clip)
        assert read_case_number(clip.frames[-1]) == begin + 1


def test_a_lost_part_of_the_last_frame_of_a_segment_is_not_taken_for_a_join(
    tmp_path: Path,
) -> None:
    path = make(tmp_path / "a.ts", "libx264")
    whole, packets = decode(path), find_packets(path)
    key = next(index for index, packet in enumerate(packets) if index and packet[2])
    # The second cell of the frame before a key frame.
    cells = path.read_bytes()[packets[key - 1][0] : packets[key][0]]
    own = [at for at in range(0, len(cells), CELL_BYTES) if cells[at + 1] & 31 == 1]
    assert len(own) > 2
    refused = find_refused(decode(cut(path, packets[key - 1][0] + own[1], CELL_BYTES)), whole)
    assert refused


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("num_frames", [20, 70])
def test_joined_segments_whose_times_start_anew_are_not_called_damaged(
    num_frames: int, codec: str, tmp_path: Path
) -> None:
    path, recipe = tmp_path / "a.ts", replace(PLAIN, codec=codec)
    write_joined(path, [(0, num_frames, recipe)] * 3, tmp_path)
    for segment in (Segment(0, None), Segment(600, 700 if num_frames == 20 else 3000)):
        (outcome,) = decode_segments(path, [segment], REQUEST)
        assert isinstance(outcome, SampleRejectedError)
        assert "times start anew" in outcome.detail
        assert "damaged" not in outcome.detail
