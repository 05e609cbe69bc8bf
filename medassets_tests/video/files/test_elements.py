"""Elements of Matroska and AVI files: of bytes made by hand, and of files that FFmpeg wrote."""

from pathlib import Path

import av
import pytest

from medassets.testing.videos import VideoRecipe, make_video
from medassets.video.files.elements import AviFile, Element, ElementFile, MatroskaFile

CLUSTER, SIMPLE_BLOCK, VOID = b"\x1f\x43\xb6\x75", b"\xa3", b"\xec"


def write(folder: Path, content: bytes) -> Path:
    path = folder / "film"
    path.write_bytes(content)
    return path


def chunk(name: bytes, data: bytes) -> bytes:
    return name + len(data).to_bytes(4, "little") + data


def find_packets(path: Path) -> list[tuple[int, int]]:
    """Return position and size of each video packet, as FFmpeg sees them."""
    with av.open(str(path)) as container:
        return [(p.pos or 0, p.size) for p in container.demux(video=0) if p.size]


def walk(file: ElementFile, start: int) -> list[Element]:
    """Return the packets from one on, element by element."""
    found, at = [], file.find_next(start)
    while at is not None and at < file.end:
        element = file.read_element(at)
        assert element is not None
        found += [element] if element.is_packet else []
        at = element.next
    return found


def test_a_parent_continues_with_its_child_and_a_leaf_after_its_data(tmp_path: Path) -> None:
    block = SIMPLE_BLOCK + b"\x85" + b"\x81\0\0\x80x"
    before = VOID + b"\x8e" + bytes(14)
    path = write(tmp_path, before + CLUSTER + b"\x40\x0a" + block + VOID + b"\x81\0")
    file = MatroskaFile(path)
    assert file.read_element(0) == Element(2, 16, False)
    assert file.read_element(16) == Element(22, 22, False)
    assert file.find_next(24) == 29
    assert file.read_element(22) == Element(24, 29, True)
    assert file.read_element(29) == Element(31, 32, False)
    file.close()


def test_blocks_of_another_track_are_not_packets(tmp_path: Path) -> None:
    blocks = [SIMPLE_BLOCK + b"\x85" + track + b"\0\0\x80x" for track in (b"\x81", b"\x82")]
    file = MatroskaFile(write(tmp_path, VOID + b"\x87" + bytes(7) + b"".join([*blocks, blocks[0]])))
    assert [element.start for element in walk(file, 11)] == [25]
    assert [element.start for element in walk(file, 18)] == []
    file.close()


@pytest.mark.parametrize("head", [b"", b"\0\0\0\0", b"\xa3", b"\xa3\0", b"\x01" * 8])
def test_bytes_that_are_no_element_of_matroska_are_not_parsed(head: bytes, tmp_path: Path) -> None:
    file = MatroskaFile(write(tmp_path, head))
    assert file.read_element(0) is None
    file.close()


def test_chunks_of_odd_size_are_padded_or_not(tmp_path: Path) -> None:
    for padding in (b"\0", b""):
        chunks = chunk(b"00dc", b"abc") + padding + chunk(b"01wb", b"ef") + chunk(b"00dc", b"gh")
        movie = b"LIST" + (4 + len(chunks)).to_bytes(4, "little") + b"movi" + chunks
        path = write(tmp_path, b"RIFF" + (4 + len(movie)).to_bytes(4, "little") + b"AVI " + movie)
        file = AviFile(path, 0)
        assert file.read_element(0) == Element(8, 12, False)
        assert file.read_element(12) == Element(20, 24, False)
        second = 24 + 8 + 3 + len(padding)
        assert file.read_element(24) == Element(32, second, True)
        assert [e.start for e in walk(file, 32)] == [second + 8 + 2 + 8]
        file.close()


def test_an_avi_file_ends_with_its_list(tmp_path: Path) -> None:
    path = write(tmp_path, chunk(b"RIFF", b"AVI " + chunk(b"00dc", b"ab")) + b"behind it")
    file = AviFile(path, 0)
    assert file.end == 8 + 4 + 8 + 2
    assert file.read_element(file.end + 100) is None
    file.close()


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.avi", "mpeg4")])
def test_packets_are_those_that_ffmpeg_reads(name: str, codec: str, tmp_path: Path) -> None:
    recipe = VideoRecipe(codec=codec, num_frames=30, has_audio=name.endswith("mkv"))
    path = make_video(tmp_path / name, recipe).path
    packets = find_packets(path)
    file = MatroskaFile(path) if name.endswith("mkv") else AviFile(path, 0)
    sizes = [element.next - element.start for element in walk(file, packets[0][0])]
    file.close()
    assert len(sizes) == len(packets) - 1
    for size, (_, num_bytes) in zip(sizes, packets[1:], strict=True):
        # A block begins with its track, time and flags; a chunk ends at an even position.
        assert size == num_bytes + (4 if name.endswith("mkv") else num_bytes % 2)
