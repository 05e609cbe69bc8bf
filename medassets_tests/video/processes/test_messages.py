"""What goes through the pipes comes out the same, and what is no message is refused."""

import errno
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from medassets.errors import (
    DecoderUnavailableError,
    DiskSpaceError,
    GarbledMessageError,
    MedassetsError,
    Reason,
    SampleRejectedError,
    SpecError,
)
from medassets.video.facts import PixelFacts, VideoFacts
from medassets.video.processes.messages import (
    Bytes,
    Message,
    decode_error,
    decode_outcome,
    encode_error,
    encode_message,
    encode_outcome,
    read_message,
)
from medassets.video.requests import DecodedClip

FACTS = VideoFacts("h264", "yuv420p", 640, 360, 90, True, None, 30000 / 1001, False)
PIXELS = PixelFacts(
    "bt709", True, "limited", False, "unspecified", "progressive", (1, 2, 3, 4), "area"
)


def feed(data: bytes) -> Callable[[memoryview], None]:
    """Return a `fill` that gives some bytes and then ends."""
    rest = memoryview(data)

    def fill(view: memoryview) -> None:
        nonlocal rest
        if len(rest) < len(view):
            raise EOFError
        view[:] = rest[: len(view)]
        rest = rest[len(view) :]

    return fill


def pass_on(buffers: Sequence[Bytes]) -> Message:
    return read_message(feed(b"".join(bytes(buffer) for buffer in buffers)))


def test_a_clip_arrives_as_it_was_sent() -> None:
    frames = np.random.default_rng(5).integers(0, 256, (3, 5, 7, 3), np.uint8)
    clip = DecodedClip(frames, (0.1, 1 / 3, 2e9), 7, -5, 40, FACTS, PIXELS, "cuda:1", "a reason")
    got = decode_outcome(pass_on(encode_outcome(clip)))
    assert isinstance(got, DecodedClip)
    np.testing.assert_array_equal(got.frames, frames)
    assert got.frames.flags.writeable
    assert (got.timestamps_s, got.facts, got.pixels) == (clip.timestamps_s, FACTS, PIXELS)
    assert (got.num_segment_frames, got.begin_ms, got.end_ms) == (7, -5, 40)
    assert (got.device, got.fallback) == ("cuda:1", "a reason")


def test_frames_need_not_be_contiguous() -> None:
    frames = np.arange(2 * 3 * 5 * 3, dtype=np.uint8).reshape(2, 3, 5, 3)[:, ::-1]
    clip = DecodedClip(frames, (0.0, 1.0), 2, 0, 2, FACTS, PIXELS, "cpu", None)
    got = decode_outcome(pass_on(encode_outcome(clip)))
    assert isinstance(got, DecodedClip)
    np.testing.assert_array_equal(got.frames, frames)


def test_a_rejection_arrives_as_it_was_sent() -> None:
    sent = SampleRejectedError(Reason.TOO_SHORT, "é: 2 frames")
    got = decode_outcome(pass_on(encode_outcome(sent)))
    assert isinstance(got, SampleRejectedError)
    assert (got.reason, got.detail) == (sent.reason, sent.detail)


@pytest.mark.parametrize(
    "name", ["a/b.mp4", "\uff0f\uff1f.mp4", b"\xff\xfe.mp4".decode(errors="surrogateescape")]
)
def test_every_file_name_passes(name: str) -> None:
    assert pass_on(encode_message({"path": name})).header == {"path": name}


@pytest.mark.parametrize(
    "error",
    [
        SampleRejectedError(Reason.DECODER_TIMEOUT, "why"),
        DecoderUnavailableError("no GPU"),
        DiskSpaceError("12 more bytes are needed"),
        SpecError(field="clip_encoder", what="none"),
        PermissionError(errno.EACCES, "Permission denied", "/a/b"),
        OSError("no number"),
    ],
)
def test_an_error_keeps_its_type_and_its_words(error: MedassetsError | OSError) -> None:
    got = decode_error(pass_on(encode_message(encode_error(error))).header)
    assert type(got) is type(error)
    assert str(got) == str(error)
    assert getattr(got, "errno", None) == getattr(error, "errno", None)
    assert getattr(got, "reason", None) == getattr(error, "reason", None)


@pytest.mark.parametrize(
    "data",
    [
        b"Segmentation fault (core dumped)",
        b"mda1" + b"\xff" * 12,
        b"mda1\x02\0\0\0" + b"\0" * 8 + b"{]",
        b"mda1\x02\0\0\0" + b"\0" * 8 + b"[]",
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(GarbledMessageError, match="expected"):
        read_message(feed(data))


@pytest.mark.parametrize(
    "header",
    [
        {"kind": "surprise"},
        {"kind": "clip", "shape": [1, 2, 3, 3], "values": {"facts": {}, "timestamps_s": []}},
        {"kind": "rejected", "reason": "no such", "detail": ""},
    ],
)
def test_a_message_that_answers_no_segment_is_refused(header: dict[str, object]) -> None:
    with pytest.raises(GarbledMessageError, match="answer of a segment"):
        decode_outcome(pass_on(encode_message(header)))


def test_a_message_cut_short_is_the_end() -> None:
    data = b"".join(bytes(part) for part in encode_message({"a": 1}, b"12345"))
    for end in range(len(data)):
        with pytest.raises(EOFError):
            read_message(feed(data[:end]))
