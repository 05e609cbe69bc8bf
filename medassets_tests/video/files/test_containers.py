"""Files that must not be opened as videos."""

from pathlib import Path

import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.testing.videos import VideoRecipe, make_video
from medassets.video.frames.decoding import (
    FrameRequest,
    Segment,
    decode_segments,
)

REQUEST = FrameRequest(16, 512, 160, 256, 1, 500)


@pytest.mark.parametrize(
    "content",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\nother.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile 'other.ts'\n",
    ],
)
def test_a_playlist_that_is_called_a_video_opens_nothing_else(content: str, tmp_path: Path) -> None:
    make_video(tmp_path / "other.ts", VideoRecipe())
    (tmp_path / "a.mp4").write_text(content)
    (outcome,) = decode_segments(tmp_path / "a.mp4", [Segment(0, 1000)], REQUEST)
    assert isinstance(outcome, SampleRejectedError)
    assert outcome.reason is Reason.DECODE_FAILED
