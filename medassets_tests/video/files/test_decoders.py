"""Devices that decoders are opened on."""

from pathlib import Path

import pytest

from medassets.errors import DecoderUnavailableError
from medassets.video.frames.decoding import (
    FrameRequest,
    Segment,
    decode_segments,
)

REQUEST = FrameRequest(16, 512, 160, 256, 1, 500)


@pytest.mark.parametrize("device", ["cuda", "cuda:x", "gpu:0", ""])
def test_a_device_without_sense_is_refused(device: str, short_video: Path) -> None:
    with pytest.raises(DecoderUnavailableError, match="expected device 'cpu' or 'cuda:<index>'"):
        list(decode_segments(short_video, [Segment(0, 100)], REQUEST, device=device))
