"""Damaged videos: correct pictures or a rejection; undamaged segments are not affected."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.testing.videos import VideoRecipe, make_video
from medassets.video.files.truncation import is_truncated
from medassets.video.frames.decoding import DecodedClip, FrameRequest, Segment, decode_segments

REQUEST = FrameRequest(0, 512, 64, 96, 1, 0)
NUM_FRAMES, GOP, FPS = 90, 30, 30
# The frames of a tenth of a second, one segment after another.
TENTHS = [Segment(100 * k, 100 * k + 100) for k in range(NUM_FRAMES * 10 // FPS)]
BASE = VideoRecipe(num_frames=NUM_FRAMES, gop_frames=GOP, noise=25, width=192, height=128)
RECIPES = {
    "h264.mp4": BASE,
    "hevc.mp4": VideoRecipe(**{**vars(BASE), "codec": "libx265"}),
    "vp9.webm": VideoRecipe(**{**vars(BASE), "codec": "libvpx-vp9"}),
    "av1.mp4": VideoRecipe(**{**vars(BASE), "codec": "libsvtav1"}),
    "mpeg4.avi": VideoRecipe(**{**vars(BASE), "codec": "mpeg4"}),
    "h264.mkv": BASE,
}
Spoil = Callable[[bytearray, int, int], None]
Outcomes = list[DecodedClip | SampleRejectedError]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damage")
    for name, recipe in RECIPES.items():
        make_video(folder / name, recipe)
    return folder


def find_packets(path: Path) -> list[tuple[int, int, bool]]:
    """Return position, size and whether it is a key frame, of each video packet."""
    import av

    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        return [(packet.pos or 0, packet.size, packet.is_keyframe) for packet in packets]


def spoil_file(path: Path, position: int, size: int, spoil: Spoil) -> Path:
    content = bytearray(path.read_bytes())
    spoil(content, position, size)
    spoiled = path.with_name(f"spoiled-{path.name}")
    spoiled.write_bytes(content)
    return spoiled


def decode_tenths(path: Path) -> Outcomes:
    return list(decode_segments(path, TENTHS, REQUEST))


def assert_right_or_refused(outcomes: Outcomes, whole: Outcomes) -> list[int]:
    """Return which segments were rejected; all others must be as in the intact file."""
    refused = []
    for index, (outcome, expected) in enumerate(zip(outcomes, whole, strict=True)):
        assert isinstance(expected, DecodedClip)
        if isinstance(outcome, SampleRejectedError):
            assert outcome.reason is Reason.DECODE_FAILED
            refused.append(index)
        else:
            np.testing.assert_array_equal(outcome.frames, expected.frames)
    return refused


def lose_packet(content: bytearray, position: int, size: int) -> None:
    content[position : position + size] = bytes(size)


def lose_end_of_packet(content: bytearray, position: int, size: int) -> None:
    lose_packet(content, position + size // 2, size - size // 2)


def lose_blocks(content: bytearray, position: int, size: int) -> None:
    # Parts that were not downloaded yet are zeros, in blocks.
    start = (position + size // 3) // 512 * 512
    lose_packet(content, max(start, position), 4096)


@pytest.mark.parametrize("spoil", [lose_packet, lose_end_of_packet, lose_blocks])
@pytest.mark.parametrize("name", RECIPES)
def test_a_hole_in_the_file_costs_the_pictures_that_depend_on_it(
    name: str, spoil: Spoil, folder: Path
) -> None:
    path = folder / name
    whole, packets, rng = decode_tenths(path), find_packets(path), random.Random(name)
    indices = {0, *rng.sample(range(len(packets)), 3)}
    for index in indices:
        position, size, _ = packets[index]
        outcomes = decode_tenths(spoil_file(path, position, size, spoil))
        refused = assert_right_or_refused(outcomes, whole)
        assert refused
        if "damaged, so its timestamps" in str(outcomes[0]):
            # If the first second is lost, the times of the others are unknown.
            assert index == 0
            assert len(refused) == len(TENTHS)
        elif name.endswith("mp4"):
            # Two groups of a second each, at most: the damaged one, and the next if the hole
            # reaches it or its first pictures hang on the one before.
            assert refused[-1] - refused[0] < 22, refused


@pytest.mark.parametrize("name", [name for name in RECIPES if name.endswith("mp4")])
def test_a_group_after_a_lost_key_frame_is_unchanged(name: str, folder: Path) -> None:
    path = folder / name
    whole, packets = decode_tenths(path), find_packets(path)
    keys = [packet for packet in packets if packet[2]]
    assert len(keys) >= 3
    position, size, _ = keys[1]
    outcomes = decode_tenths(spoil_file(path, position, size, lose_packet))
    refused = assert_right_or_refused(outcomes, whole)
    assert 9 <= len(refused) <= 12
    assert refused[0] in (8, 9, 10)


@pytest.mark.parametrize("name", ["av1.mp4", "h264.mp4"])
def test_flipped_bits_are_noticed_where_the_decoder_can(name: str, folder: Path) -> None:
    path, rng = folder / name, random.Random(name)
    whole, packets = decode_tenths(path), find_packets(path)

    def scramble(content: bytearray, position: int, size: int) -> None:
        content[position + size // 2 : position + size] = rng.randbytes(size - size // 2)

    num_noticed = 0
    for position, size, _ in rng.sample(packets, 8):
        outcomes = decode_tenths(spoil_file(path, position, size, scramble))
        if name == "av1.mp4":
            num_noticed += bool(assert_right_or_refused(outcomes, whole))
        else:
            num_noticed += any(isinstance(one, SampleRejectedError) for one in outcomes)
    assert num_noticed >= (8 if name == "av1.mp4" else 2)


@pytest.mark.parametrize("name", ["vp9.webm", "h264.mkv", "mpeg4.avi"])
def test_a_video_without_its_end_is_refused_from_there_on(name: str, folder: Path) -> None:
    path = folder / name
    whole, packets = decode_tenths(path), find_packets(path)
    assert not is_truncated(path)
    for index in (35, 52, 70):
        position, size, _ = packets[index]

        def cut(content: bytearray, position: int, size: int) -> None:
            del content[position + size // 2 :]

        spoiled = spoil_file(path, position, size, cut)
        assert is_truncated(spoiled)
        refused = assert_right_or_refused(decode_tenths(spoiled), whole)
        # From there on, but for pictures that are shown before one that is missing.
        assert refused == list(range(refused[0], len(TENTHS)))
        assert (index * 10 // FPS) - 4 <= refused[0] <= index * 10 // FPS + 1


@pytest.mark.parametrize(
    "options", [{"live": "1"}, {"cluster_time_limit": "200"}, {"cluster_size_limit": "3000"},
                {"write_crc32": "1"}, {"reserve_index_space": "4096", "cues_to_front": "1"}],
)  # fmt: skip
def test_no_sound_matroska_file_is_taken_for_a_damaged_one(
    options: dict[str, str], tmp_path: Path
) -> None:
    import av

    made = make_video(tmp_path / "a.mkv", VideoRecipe(num_frames=90, has_audio=True))
    path = tmp_path / "b.mkv"
    with av.open(str(made.path)) as source, av.open(str(path), "w", options=options) as output:
        streams = [output.add_stream_from_template(one) for one in source.streams]
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                output.mux(packet)
    for one, other in zip(decode_tenths(path), decode_tenths(made.path), strict=True):
        assert isinstance(one, DecodedClip)
        assert isinstance(other, DecodedClip)
        np.testing.assert_array_equal(one.frames, other.frames)


def test_an_mp4_without_its_end_is_refused_from_there_on(folder: Path, tmp_path: Path) -> None:
    import av

    # Its index is in front, as on the web; otherwise it could not be opened at all.
    path = tmp_path / "a.mp4"
    with (
        av.open(str(folder / "h264.mp4")) as source,
        av.open(str(path), "w", options={"movflags": "faststart"}) as output,
    ):
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            packet.stream = stream
            output.mux([packet] if packet.size else [])
    whole, (position, size, _) = decode_tenths(path), find_packets(path)[50]
    path.write_bytes(path.read_bytes()[: position + size // 2])
    refused = assert_right_or_refused(decode_tenths(path), whole)
    assert refused == list(range(refused[0], len(TENTHS)))
    assert 14 <= refused[0] <= 17


def test_a_clip_of_sixteen_frames_survives_damage_that_none_of_them_depends_on(
    folder: Path,
) -> None:
    path = folder / "h264.mp4"
    packets = find_packets(path)
    # No other packet depends on the last one of a group.
    position, size, _ = packets[2 * GOP - 1]
    spoiled = spoil_file(path, position, size, lose_packet)
    request = FrameRequest(16, 512, 64, 96, 1, 0)
    (whole,) = decode_segments(path, [Segment(0, 3000)], request)
    (clip,) = decode_segments(spoiled, [Segment(0, 3000)], request)
    assert isinstance(whole, DecodedClip)
    assert isinstance(clip, DecodedClip)
    np.testing.assert_array_equal(clip.frames, whole.frames)


@pytest.mark.parametrize("seed", range(4))
def test_garbage_in_front_or_in_between_never_raises(seed: int, folder: Path) -> None:
    rng = random.Random(seed)
    for name in RECIPES:
        content = bytearray((folder / name).read_bytes())
        for _ in range(rng.randrange(1, 6)):
            start = rng.randrange(len(content)) if seed % 2 else rng.randrange(2000)
            chunk = rng.randbytes(rng.randrange(1, 200))
            content[start : start + len(chunk)] = chunk
        path = folder / f"garbage-{name}"
        path.write_bytes(content)
        for outcome in decode_segments(path, TENTHS[::5], REQUEST):
            assert isinstance(outcome, DecodedClip | SampleRejectedError)
            assert str(folder) not in str(outcome)
