"""Bytes behind the end of a film cost nothing, and clusters that are not there are missing."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from medassets.errors import SampleRejectedError
from medassets.testing.videos import make_video
from medassets.video.frames.decoding import DecodedClip, Segment, decode_segments
from medassets_tests.video.files.test_continuity import RECIPE, REQUEST

TAILS = {
    "zeros": bytes(3000),
    "text": b"<html>",
    "noise": random.Random(1).randbytes(5000),
    "the name of a cluster": b"\x1f\x43\xb6\x75" + bytes(40),
}


@pytest.mark.parametrize("name", ["a.webm", "live.webm", "a.mkv", "a.avi", "a.ts", "a.mp4"])
def test_bytes_behind_the_end_cost_nothing(name: str, tmp_path: Path) -> None:
    import av

    codecs = {"webm": "libvpx", "avi": "mpeg4"}
    codec = codecs.get(name.split(".")[1], "libx264")
    recipe = replace(RECIPE, codec=codec, num_frames=40, gop_frames=15, num_b_frames=0)
    path = make_video(tmp_path / name, recipe).path
    if name == "live.webm":
        live = tmp_path / "b.webm"
        with av.open(str(path)) as source, av.open(str(live), "w", options={"live": "1"}) as output:
            stream = output.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                packet.stream = stream
                output.mux([packet] if packet.size else [])
        path = live
    content = path.read_bytes()
    segments = {Segment(0, None): 40, Segment(1000, None): 10, Segment(1200, 1300): 3}
    for said, tail in TAILS.items():
        path.write_bytes(content + tail)
        for segment, count in segments.items():
            (clip,) = decode_segments(path, [segment], REQUEST)
            assert isinstance(clip, DecodedClip), (said, segment, clip)
            assert len(clip.frames) == count


def test_clusters_that_were_never_downloaded_are_missing(tmp_path: Path) -> None:
    path = make_video(
        tmp_path / "a.webm", replace(RECIPE, codec="libvpx-vp9", num_frames=45, gop_frames=15)
    ).path
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)
    (outcome,) = decode_segments(path, [Segment(0, None)], REQUEST)
    assert isinstance(outcome, SampleRejectedError)
