"""Decoders of FFmpeg, on the processor or on a GPU."""

from av.codec import Codec, CodecContext
from av.codec.hwaccel import HWAccel
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from medassets.errors import DecoderUnavailableError, Reason, SampleRejectedError

# 8192 x 8192: what a header may claim, and so what memory a picture may take.
_MOST_PIXELS = 1 << 26


def make_decoder(stream: VideoStream, *, device: str) -> VideoCodecContext:
    """Return an open decoder of a stream.

    Args:
        stream: What it will decode.
        device: `cpu`, with one thread, or `cuda:<index>`, which hands out frames in memory.

    Raises:
        DecoderUnavailableError: If the device cannot be used, or not for this coding.
        SampleRejectedError: DECODE_FAILED if the stream's headers make no sense.
    """
    context = stream.codec_context if device == "cpu" else _make_gpu_decoder(stream, device)
    context.thread_count = 1
    # dav1d takes a wish to skip frames only when it is opened, and then for good.
    context.skip_frame = "DEFAULT"
    options = {"max_pixels": str(_MOST_PIXELS)}
    if context.codec.canonical_name == "av1":
        # Without it dav1d hands out spoiled pictures of damaged packets without a word.
        options["strict"] = "strict"
    context.options = options
    try:
        context.open(strict=False)
    except FFmpegError as error:
        msg = f"{device} has no decoder of {context.codec.canonical_name} here: {error.strerror}"
        if device == "cpu":
            raise SampleRejectedError(Reason.DECODE_FAILED, msg) from error
        raise DecoderUnavailableError(msg) from error
    return context


def _make_gpu_decoder(stream: VideoStream, device: str) -> VideoCodecContext:
    """Return a decoder of our own: the stream's may be one that no GPU helps, as dav1d is."""
    kind, _, index = device.partition(":")
    if kind != "cuda" or not index.isdecimal():
        msg = f"expected device 'cpu' or 'cuda:<index>', got {device!r}"
        raise DecoderUnavailableError(msg)
    given = stream.codec_context
    name = given.codec.canonical_name
    try:
        acceleration = HWAccel("cuda", index, allow_software_fallback=False)
        context = CodecContext.create(Codec(name, "r"), "r", acceleration)
    except (FFmpegError, RuntimeError, NotImplementedError) as error:
        msg = f"{device} cannot decode here: {error}"
        raise DecoderUnavailableError(msg) from error
    assert isinstance(context, VideoCodecContext)
    if not context.is_hwaccel:
        msg = f"{device} cannot decode {name}"
        raise DecoderUnavailableError(msg)
    context.extradata = given.extradata
    context.reorder_depth = given.reorder_depth
    return context
