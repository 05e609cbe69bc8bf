"""Valid videos with packets that show nothing: `show_frame` of VP8 and VP9, `pic_output_flag` of HEVC."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

_FLAG_BITS = "1" + "111"
"""`output_flag_present_flag`, and seven reserved bits, so that a slice header grows by one byte."""


def hide_vpx(
    source: Path, path: Path, is_hidden: Callable[[int], bool], *, show: bool = False
) -> None:
    """Write VP8, or key frames of VP9, with `show_frame` 0.

    Args:
        source: A WebM file.
        path: File to write.
        is_hidden: Whether the picture with a number in decoding order is not displayed; of VP9 only
            key frames can be hidden without rewriting their headers.
        show: Of VP9, display hidden frames by a packet of their own, 1 ms later.
    """
    import av
    from av.packet import Packet

    # Otherwise the muxer joins hidden frames and the next shown one.
    options = {"fflags": "-autobsf"}
    with av.open(str(source)) as given, av.open(str(path), "w", options=options) as output:
        template = given.streams.video[0]
        show_bit = 0x10 if template.codec_context.codec.canonical_name == "vp8" else 0x02
        stream = output.add_stream_from_template(template)
        for number, packet in enumerate(given.demux(template)):
            if not packet.size:
                continue
            content, is_key = bytearray(packet), packet.is_keyframe
            contents = [content]
            if is_hidden(number) and (is_key or show_bit == 0x10):
                content[0] &= ~show_bit
                # Marker, profile 0, `show_existing_frame`, slot 0.
                contents += [bytearray([0b10001000])] if show else []
            for index, one in enumerate(contents):
                written = Packet(bytes(one))
                written.pts = written.dts = (packet.pts or 0) + index
                written.time_base, written.stream = packet.time_base, stream
                written.is_keyframe = is_key and not index
                output.mux(written)


def split_av1(source: Path, path: Path) -> int:
    """Write hidden frames of AV1 as packets of their own, 1 ms before the shown one.

    Args:
        source: A file of an encoder that joins them.
        path: File to write.

    Returns:
        Number of packets that show nothing.
    """
    import av
    from av.packet import Packet

    num_hidden = 0
    with av.open(str(source)) as given, av.open(str(path), "w") as output:
        template = given.streams.video[0]
        stream = output.add_stream_from_template(template, opaque=True)
        for packet in given.demux(template):
            if not packet.size:
                continue
            groups = _group_obus(bytes(packet))
            for index, content in enumerate(groups):
                late = len(groups) - 1 - index
                one = Packet(content)
                one.pts, one.time_base = (packet.pts or 0) - late, packet.time_base
                one.dts, one.stream = one.pts, stream
                one.is_keyframe = packet.is_keyframe and not index
                output.mux(one)
            num_hidden += len(groups) - 1
    return num_hidden


def _group_obus(packet: bytes) -> list[bytes]:
    """Return the units of a packet in groups, each of which ends with a frame."""
    groups, at, first = [], 0, 0
    while at < len(packet):
        kind, start, size, place = packet[at] >> 3 & 15, at + 1 + (packet[at] >> 2 & 1), 0, 0
        while True:
            size |= (packet[start] & 0x7F) << place
            start, place = start + 1, place + 7
            if packet[start - 1] < 0x80:
                break
        at = start + size
        if kind in (3, 6):
            groups.append(packet[first:at])
            first = at
    if first < at:
        groups[-1] += packet[first:]
    return groups


def hide_hevc(source: Path, path: Path, is_hidden: Callable[[int], bool]) -> None:
    """Write HEVC with `pic_output_flag` 0 in some pictures.

    Args:
        source: A file of x265 with one slice per picture and without wavefronts.
        path: File to write; an mp4 or Matroska.
        is_hidden: Whether the picture with a number in decoding order is not displayed.
    """
    import av
    from av.packet import Packet

    with av.open(str(source)) as given, av.open(str(path), "w") as output:
        template = given.streams.video[0]
        context = template.codec_context
        extradata = context.extradata or b""
        stream = output.add_stream_from_template(template, opaque=True)
        stream.codec_context.extradata = _rewrite_box(extradata)
        for number, packet in enumerate(given.demux(template)):
            if not packet.size:
                continue
            one: Packet = Packet(_rewrite_packet(bytes(packet), is_hidden(number)))
            one.pts, one.dts, one.duration = packet.pts, packet.dts, packet.duration
            one.time_base, one.is_keyframe, one.stream = (
                packet.time_base,
                packet.is_keyframe,
                stream,
            )
            output.mux(one)


def _rewrite_box(box: bytes) -> bytes:
    out, at = bytearray(box[:23]), 23
    for _ in range(box[22]):
        count = int.from_bytes(box[at + 1 : at + 3])
        out += box[at : at + 3]
        at += 3
        for _ in range(count):
            size = int.from_bytes(box[at : at + 2])
            unit = _rewrite_unit(box[at + 2 : at + 2 + size], is_hidden=False)
            out += len(unit).to_bytes(2) + unit
            at += 2 + size
    return bytes(out)


def _rewrite_packet(packet: bytes, is_hidden: bool) -> bytes:
    units = (_rewrite_unit(unit, is_hidden=is_hidden) for unit in _iter_units(packet))
    return b"".join(len(unit).to_bytes(4) + unit for unit in units)


def _iter_units(packet: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(packet):
        size = int.from_bytes(packet[at : at + 4])
        yield packet[at + 4 : at + 4 + size]
        at += 4 + size


def _rewrite_unit(unit: bytes, *, is_hidden: bool) -> bytes:
    kind = unit[0] >> 1 & 0x3F
    bits = "".join(f"{byte:08b}" for byte in unit.replace(b"\0\0\3", b"\0\0"))
    if kind == 34:
        at = _skip_golomb(bits, _skip_golomb(bits, 16))
        bits = bits[: at + 1] + _FLAG_BITS + bits[at + 5 :]
    elif kind <= 31:
        # The number of the parameter set, seven reserved bits, the type of the slice, the flag.
        at = _skip_golomb(bits, 18 if 16 <= kind <= 23 else 17)
        after = _skip_golomb(bits, at)
        bits = bits[:at] + "0" * 7 + bits[at:after] + "01"[not is_hidden] + bits[after:]
    return _escape(bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)))


def _skip_golomb(bits: str, at: int) -> int:
    return at + 2 * bits.index("1", at) - 2 * at + 1


def _escape(content: bytes) -> bytes:
    out, zeros = bytearray(), 0
    for byte in content:
        if zeros >= 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)
