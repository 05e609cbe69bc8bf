"""Read a picture's role from its packet where the container does not state it, or states it wrongly."""

from dataclasses import dataclass

from medassets.video.files.hidden_pictures import is_av1_shown, is_hevc_shown, is_vp9_shown
from medassets.video.files.nal_units import find_units, read_bits, read_golomb

_H264_SLICES, _H264_IDR = (1, 5), 5
_H264_SETTINGS = frozenset({7, 8, 13, 15})
_H264_INTRA_SLICES = frozenset({2, 4, 7, 9})
_HEVC_LAST_SLICE, _HEVC_ENTRIES = 31, range(16, 24)
_HEVC_LAST_PLAIN = 14
_HEVC_SETTINGS = frozenset({32, 33, 34})
_HEVC_IDR = frozenset({19, 20})
_MPEG2_GROUP, _MPEG2_CLOSED = b"\0\0\1\xb8", 0x40


@dataclass(frozen=True)
class Picture:
    """The role of a packet's picture in decoding.

    Attributes:
        is_entry: It does not depend on other pictures, nor do later pictures depend on earlier ones.
        is_disposable: No other picture of its layer or a lower one depends on it.
        layer: Temporal layer; pictures of a higher layer may depend on a disposable one.
        is_shown: It is displayed; others depend on a picture that is not.
    """

    is_entry: bool
    is_disposable: bool = False
    layer: int = 0
    is_shown: bool = True


_PLAIN, _KEY = Picture(is_entry=False), Picture(is_entry=True)


def read_picture(data: memoryview, *, codec: str, extradata: bytes | None, is_key: bool) -> Picture:
    """Return the role of a packet's picture.

    H.264 streams may refresh pictures part by part (intra refresh). Containers mark the start of a
    refresh as a key frame, but a decoder that starts there silently returns corrupt pictures. MP4
    files do not mark disposable pictures, and no container marks those that are only decoded.

    Args:
        data: The packet.
        codec: Name of the coding; for others than `h264` and `hevc`, `is_key` decides.
        extradata: The stream's avcC or hvcC box, if the container has one.
        is_key: Whether the container marks it as a key frame.

    Source: ITU-T H.264, 7.3.1, 7.3.3, 7.4.1; H.265, 7.3.1.2, 7.4.2.2; ISO/IEC 14496-15, 5.3.3,
    8.3.3.
    """
    if codec == "h264":
        return _read_h264(data, extradata or b"", is_key=is_key)
    if codec == "hevc":
        return _read_hevc(data, extradata or b"", is_key=is_key)
    if codec == "vp9":
        return Picture(is_entry=is_key, is_shown=is_vp9_shown(data))
    if codec == "av1":
        return Picture(is_entry=is_key, is_shown=is_av1_shown(data))
    return _KEY if is_key else _PLAIN


def starts_anew(data: memoryview, codec: str) -> bool:
    """Whether no picture that follows a key frame is displayed before it; False if unknown.

    Args:
        data: The key frame's packet, with start codes.
        codec: Name of the coding.

    Source: ITU-T H.264, 7.4.1.2.4; H.265, 7.4.2.2; H.262, 6.2.2.6.
    """
    if codec == "mpeg2video":
        group = bytes(data).find(_MPEG2_GROUP)
        return 0 <= group < len(data) - 7 and bool(data[group + 7] & _MPEG2_CLOSED)
    kinds = [data[start] for start in find_units(data, b"", at=0)]
    if codec == "hevc":
        return any(kind >> 1 & 0x3F in _HEVC_IDR for kind in kinds)
    return codec == "h264" and any(kind & 0x1F == _H264_IDR for kind in kinds)


def _read_h264(data: memoryview, extradata: bytes, *, is_key: bool) -> Picture:
    has_settings = False
    for start in find_units(data, extradata, at=4):
        kind = data[start] & 0x1F
        if kind in _H264_SLICES:
            if is_key:
                is_whole = kind == _H264_IDR or _read_slice_type(data[start:]) in _H264_INTRA_SLICES
                return _KEY if is_whole else _PLAIN
            return Picture(False, not data[start] & 0x60 and not has_settings)
        has_settings |= kind in _H264_SETTINGS
    return _PLAIN


def _read_hevc(data: memoryview, extradata: bytes, *, is_key: bool) -> Picture:
    has_settings = False
    for start in find_units(data, extradata, at=21):
        kind, layer = data[start] >> 1 & 0x3F, (data[start + 1] & 7) - 1
        if kind <= _HEVC_LAST_SLICE:
            is_plain = layer >= 0 and kind <= _HEVC_LAST_PLAIN and not has_settings
            is_disposable = is_plain and kind % 2 == 0
            is_shown = is_hevc_shown(data[start:], kind, extradata)
            return Picture(is_key and kind in _HEVC_ENTRIES, is_disposable, layer, is_shown)
        has_settings |= kind in _HEVC_SETTINGS
    return _PLAIN


def _read_slice_type(unit: memoryview) -> int:
    _, bits = read_golomb(read_bits(unit[1:]))
    return read_golomb(bits)[0]
