"""Films whose container cuts away a part of the pictures."""

import struct
from pathlib import Path

_ENTRIES = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
_ENTRY_BYTES = 8 + 78


def add_clap(source: Path, path: Path, numbers: tuple[int, ...]) -> Path:
    """Insert a clean aperture into the first track of an mp4 whose `moov` is at its end.

    Args:
        source: The file.
        path: File to write.
        numbers: Width, height, horizontal and vertical offset of the centre, each as a fraction.
    """
    content, at = bytearray(source.read_bytes()), 0
    parents = []
    for name in _ENTRIES:
        at = _find(content, at, name)
        parents.append(at)
        at += 16 if name == b"stsd" else 8
    parents.append(at)
    assert _find(content, 0, b"mdat") < parents[0]
    box = struct.pack(">I4s8i", 40, b"clap", *numbers)
    content[at + _ENTRY_BYTES : at + _ENTRY_BYTES] = box
    for parent in parents:
        size = int.from_bytes(content[parent : parent + 4])
        content[parent : parent + 4] = (size + len(box)).to_bytes(4)
    path.write_bytes(content)
    return path


def _find(content: bytes | bytearray, at: int, name: bytes) -> int:
    while content[at + 4 : at + 8] != name:
        at += int.from_bytes(content[at : at + 4])
    return at


def copy_packets(source: Path, path: Path) -> Path:
    """Copy the picture into another container, of which FFmpeg writes the cropping."""
    import av

    with av.open(str(source)) as given, av.open(str(path), "w") as output:
        template = given.streams.video[0]
        stream = output.add_stream_from_template(template, opaque=True)
        for packet in given.demux(template):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    return path
