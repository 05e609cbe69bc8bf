"""Open FFmpeg decoders on the CPU or on a GPU."""

from av.codec import Codec, CodecContext
from av.codec.hwaccel import HWAccel
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from medassets.errors import DecoderUnavailableError, Reason, SampleRejectedError

# 8192 x 8192: limits the memory that a hostile header can make a decoder allocate.
_MOST_PIXELS = 1 << 26


def make_decoder(stream: VideoStream, *, device: str) -> VideoCodecContext:
    """Return an open decoder of a stream.

    Args:
        stream: What it will decode.
        device: `cpu`, with one thread, or `cuda:<index>`, which copies frames to main memory.

    Raises:
        DecoderUnavailableError: If the device cannot be used, or does not support this codec.
        SampleRejectedError: DECODE_FAILED if the stream's headers are invalid.
    """
    context = stream.codec_context if device == "cpu" else _make_gpu_decoder(stream, device)
    context.thread_count = 1
    # dav1d reads this only when it is opened.
    context.skip_frame = "DEFAULT"
    options = {"max_pixels": str(_MOST_PIXELS)}
    if context.codec.canonical_name == "av1":
        # Without it dav1d silently returns corrupt pictures for damaged packets.
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
    """Return a new decoder: the stream's own may not support GPUs, as dav1d does not."""
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
