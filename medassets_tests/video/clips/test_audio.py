"""Audio of clips."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from medassets.video.clips.plan import ClipEncoding
from medassets.video.clips.writer import write_clip
from medassets.video.timeline import Segment
from medassets_tests.video.clips.shots import write_video


def decode_sound(path: Path) -> tuple[np.ndarray, int]:
    """Return the samples of a clip from its time 0 on, and their rate."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        parts = [(f.time or 0.0, f.to_ndarray()[0]) for f in container.decode(stream)]
        rate = stream.codec_context.sample_rate
    samples = np.zeros(round(parts[-1][0] * rate) + parts[-1][1].size, np.float32)
    for begin_s, part in parts:
        samples[round(begin_s * rate) :][: part.size] = part
    return samples, rate


@pytest.mark.parametrize("mode", ["reencode", "copy"])
def test_sound_is_cut_to_the_same_stretch(mode: Any, tmp_path: Path) -> None:
    seconds = np.arange(16_000 * 3) / 16_000
    beep = ((seconds > 1.5) & (seconds < 1.6)) * 0.5 * np.sin(2 * np.pi * 440 * seconds)
    source = write_video(tmp_path / "v.mp4", range(0, 3000, 40), sound=beep.astype(np.float32))
    encoding = ClipEncoding(mode=mode, audio=True)
    facts = write_clip(source, Segment(1010, 2010), encoding, tmp_path / "clip.mp4")
    samples, rate = decode_sound(tmp_path / "clip.mp4")
    loud = np.flatnonzero(np.abs(samples) > 0.1)
    begin_s = 1.5 - 1.01
    # AAC rings around the beep, for a few milliseconds.
    assert loud[[0, -1]] / rate == pytest.approx([begin_s, begin_s + 0.1], abs=0.012)
    assert samples.size / rate == pytest.approx(1.0, abs=0.13)
    assert facts.has_audio
    with av.open(str(tmp_path / "clip.mp4")) as clip:
        assert clip.start_time == 0
        assert [stream.type for stream in clip.streams] == ["video", "audio"]
    assert not write_clip(source, Segment(0, 500), ClipEncoding(), tmp_path / "q.mp4").has_audio
