"""Roles of pictures read from packets, checked against the decoder."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medassets.testing.videos import VideoRecipe, make_video
from medassets.video.files.picture_headers import Picture, read_picture, starts_anew

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame

LAYERS = "keyint=40:bframes=4:b-pyramid=1:temporal-layers=3:log-level=none:pools=none"
REFRESH = "keyint=30:intra-refresh=1:bframes=0"
RECIPES = {
    "h264 mp4": ("a.mp4", VideoRecipe(num_b_frames=4, gop_frames=40, noise=20)),
    # No box of settings: units are marked by start codes.
    "h264 ts": ("a.ts", VideoRecipe(num_b_frames=4, gop_frames=40, noise=20)),
    "hevc mp4": ("a.mp4", VideoRecipe(codec="libx265", num_b_frames=4, gop_frames=40, noise=20)),
    "hevc layers": (
        "a.mkv",
        VideoRecipe(codec="libx265", noise=20, options=(("x265-params", LAYERS),)),
    ),
}


def read_packets(path: Path) -> tuple[list["Packet"], list[Picture]]:
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        packets = [packet for packet in container.demux(stream) if packet.size]
        pictures = [
            read_picture(
                memoryview(packet),
                codec=context.codec.canonical_name,
                extradata=context.extradata,
                is_key=packet.is_keyframe,
            )
            for packet in packets
        ]
        return packets, pictures


def decode(path: Path, kept: list[bool]) -> dict[int, np.ndarray]:
    """Return the luma of all frames by time, decoded from some of the packets."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames: list[VideoFrame] = []
        packets = (packet for packet in container.demux(stream) if packet.size)
        for packet, is_kept in zip(packets, kept, strict=True):
            frames += stream.decode(packet) if is_kept else []
        frames += stream.decode(None)
        return {frame.pts or 0: frame.to_ndarray(format="gray") for frame in frames}


@pytest.mark.parametrize("name", RECIPES)
def test_no_other_picture_depends_on_a_disposable_one(name: str, tmp_path: Path) -> None:
    file_name, recipe = RECIPES[name]
    path = make_video(tmp_path / file_name, recipe).path
    packets, pictures = read_packets(path)
    highest = max(picture.layer for picture in pictures)
    kept = [not (one.is_disposable and one.layer == highest) for one in pictures]
    assert 10 <= sum(kept) < len(packets) - 10
    whole, thinned = decode(path, [True] * len(packets)), decode(path, kept)
    assert len(thinned) == sum(kept)
    for pts, picture in thinned.items():
        np.testing.assert_array_equal(picture, whole[pts])


@pytest.mark.parametrize("name", RECIPES)
def test_key_frames_are_entries_and_others_are_not(name: str, tmp_path: Path) -> None:
    file_name, recipe = RECIPES[name]
    packets, pictures = read_packets(make_video(tmp_path / file_name, recipe).path)
    assert [one.is_entry for one in pictures] == [packet.is_keyframe for packet in packets]


def test_where_a_refresh_begins_is_no_entry(tmp_path: Path) -> None:
    recipe = VideoRecipe(num_frames=120, options=(("x264-params", REFRESH),))
    packets, pictures = read_packets(make_video(tmp_path / "a.mp4", recipe).path)
    claimed = [index for index, packet in enumerate(packets) if packet.is_keyframe]
    entries = [index for index, picture in enumerate(pictures) if picture.is_entry]
    assert entries[0] == 0
    assert set(entries) < set(claimed)


def test_other_codings_are_taken_at_their_word() -> None:
    for is_key in (True, False):
        picture = read_picture(memoryview(b"\x00" * 9), codec="av1", extradata=None, is_key=is_key)
        assert picture == Picture(is_entry=is_key)


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("extradata", [None, b"", b"\x01", b"\x01" + b"\xff" * 40])
@pytest.mark.parametrize("content", [b"", b"\x00", b"\x00" * 50, b"\xff" * 50, b"\x00\x00\x01", b"\x00\x00\x00\x02\x65"])  # fmt: skip
def test_nonsense_is_no_entry_and_not_disposable(
    codec: str, extradata: bytes | None, content: bytes
) -> None:
    picture = read_picture(memoryview(content), codec=codec, extradata=extradata, is_key=False)
    assert not picture.is_entry
    assert not picture.is_disposable


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video"])
def test_key_frames_that_pictures_displayed_before_them_follow_do_not_start_anew(
    codec: str, tmp_path: Path
) -> None:
    options = (("sc_threshold", "1000000000"),) if codec == "mpeg2video" else ()
    recipe = VideoRecipe(codec=codec, num_b_frames=2, has_open_gop=True, noise=20, options=options)
    packets, _ = read_packets(make_video(tmp_path / "a.ts", recipe).path)
    name = {"libx264": "h264", "libx265": "hevc"}.get(codec, codec)
    keys = [index for index, packet in enumerate(packets) if packet.is_keyframe]
    is_anew = [starts_anew(memoryview(packets[index]), name) for index in keys]
    for index, anew in zip(keys, is_anew, strict=True):
        later = [packet.pts or 0 for packet in packets[index + 1 :]]
        assert not anew or min(later) > (packets[index].pts or 0)
    assert is_anew[0]
    assert not all(is_anew)
