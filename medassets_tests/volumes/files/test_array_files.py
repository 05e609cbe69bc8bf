"""Arrays of `.npz`, `.npy` and plain bytes against np.load, whole, damaged and not what they say."""

import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.tars.reader import Member
from medassets.volumes.files.array_files import (
    open_npy_array,
    open_npz_array,
    open_raw_array,
    read_npz_header,
)
from medassets.volumes.files.header import VolumeStream
from medassets.volumes.files.nifti import MAX_SIDE

DTYPES = ("|i1", "|u1", "<i2", ">i2", "<u2", "<i4", ">u4", "<i8", "<u8", "<f2", "<f4", ">f4", "<f8")
SAVERS = {"stored": np.savez, "deflated": np.savez_compressed}
Opened = AbstractContextManager[VolumeStream]


def make_array(dtype: str = "<i2", shape: tuple[int, ...] = (5, 7, 11)) -> np.ndarray:
    rng = np.random.default_rng(5)
    return rng.integers(0, 100, shape).astype(dtype)


def read_all(opened: Opened, *, num_pieces: int = 1) -> np.ndarray:
    """Return the array as numpy would."""
    with opened as stream:
        values = np.empty(np.prod(stream.header.shape), stream.header.dtype)
        for piece in np.array_split(values, num_pieces):
            stream.read_into(piece)
        stream.finish()
        return values.reshape(stream.header.shape, order="F" if stream.fortran else "C")


def reject(opened: Opened, match: str, reason: Reason = Reason.BAD_HEADER) -> str:
    with pytest.raises(SampleRejectedError, match=match) as caught:
        read_all(opened)
    assert caught.value.reason is reason
    assert "/" not in caught.value.detail
    return caught.value.detail


def write_npz(path: Path, content: bytes, *, name: str = "data.npy", **options: Any) -> Path:
    """Write a zip file with one member of these bytes."""
    with zipfile.ZipFile(path, "w", options.pop("method", zipfile.ZIP_DEFLATED)) as archive:
        archive.writestr(name, content, **options)
    return path


def encode_npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def wrap_header(text: str, num_bytes: int) -> bytes:
    """Return a `.npy` file with a header of this text and zeros behind it."""
    content = text.encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(content)) + content + bytes(num_bytes)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", SAVERS.values(), ids=SAVERS)
def test_an_npz_is_read_as_numpy_reads_it(
    dtype: str, order: Any, save: Callable[..., None], tmp_path: Path
) -> None:
    array, path = make_array(dtype).copy(order), tmp_path / "volume.npz"
    save(path, first=np.arange(3), data=array, last=np.zeros((2, 2)))
    made = read_all(open_npz_array(path, "data"), num_pieces=7)
    np.testing.assert_array_equal(made, np.load(path)["data"])
    assert made.dtype == np.dtype(dtype)
    assert read_npz_header(path, "data") == (array.shape, order == "F", np.dtype(dtype))


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_longer_than_every_buffer_is_read(order: Any, tmp_path: Path) -> None:
    array = np.random.default_rng(1).normal(0, 300, (65, 70, 101)).astype("<f4", order=order)
    for save in SAVERS.values():
        save(tmp_path / "volume.npz", data=array)
        made = read_all(open_npz_array(tmp_path / "volume.npz", "data"), num_pieces=3)
        np.testing.assert_array_equal(made, array)
    np.save(tmp_path / "volume.npy", array)
    np.testing.assert_array_equal(read_all(open_npy_array(tmp_path / "volume.npy")), array)


def test_array_files_inside_a_tar_are_read_in_place(tmp_path: Path) -> None:
    array, path = make_array(">f4"), tmp_path / "shard.tar"
    for save in SAVERS.values():
        save(tmp_path / "volume.npz", data=array)
        with tarfile.open(path, "w") as archive:
            for name, content in [
                ("a.npz", (tmp_path / "volume.npz").read_bytes()),
                ("a.npy", encode_npy(array)),
                ("a.bin", array.tobytes()),
            ]:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        with tarfile.open(path) as archive:
            ranges = {m.name: Member(m.name, m.offset_data, m.size) for m in archive.getmembers()}
        for opened in (
            open_npz_array(path, "data", within=ranges["a.npz"]),
            open_npy_array(path, within=ranges["a.npy"]),
            open_raw_array(path, shape=array.shape, dtype=">f4", within=ranges["a.bin"]),
        ):
            np.testing.assert_array_equal(read_all(opened, num_pieces=2), array)


def test_a_member_without_the_suffix_and_a_zip_behind_other_bytes_are_read(tmp_path: Path) -> None:
    array = make_array()
    path = write_npz(tmp_path / "a.npz", encode_npy(array), name="data")
    path.write_bytes(b"something in front" + path.read_bytes())
    np.testing.assert_array_equal(read_all(open_npz_array(path, "data")), array)


def test_a_missing_array_is_named_along_with_those_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "volume.npz"
    np.savez(path, ct=make_array(), mask=make_array())
    assert "no array 'data'; the file holds 'ct', 'mask'" in reject(
        open_npz_array(path, "data"), "no array"
    )
    np.savez(path)
    reject(open_npz_array(path, "data"), "the file holds none")
    np.savez(path, **{f"a{n}": make_array() for n in range(11)})  # pyright: ignore[reportArgumentType]
    reject(open_npz_array(path, "data"), r"'a7' and 3 more")


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.array([[[{"a": 1}]]], object), r"plain numbers.*never unpickled"),
        (np.zeros((5, 7, 11), [("a", "f4")]), r"plain numbers.*never unpickled"),
        (np.zeros((5, 7, 11), "c8"), r"plain numbers.*never unpickled"),
        (np.full((5, 7, 11), "text"), r"plain numbers.*never unpickled"),
        (np.zeros((5, 7, 11), bool), "an array of bool is not one of CT"),
        (np.zeros((5, 7, 11), np.longdouble), "an array of float128 is not one of CT"),
        (np.zeros((5, 7)), r"expected one 3-D volume, got an array of \(5, 7\)"),
        (np.zeros((1, 5, 7, 11)), r"got an array of \(1, 5, 7, 11\)"),
        (np.array(3.0), r"got an array of \(\)"),
        (np.zeros((5, 0, 11)), "claims a shape of 5 x 0 x 11"),
        (np.zeros((1, MAX_SIDE + 1, 1), "i1"), "claims a shape of 1 x 16385 x 1"),
    ],
)
def test_an_array_that_is_no_volume_is_rejected(
    array: np.ndarray, match: str, tmp_path: Path
) -> None:
    for save in SAVERS.values():
        save(tmp_path / "volume.npz", data=array)
        reject(open_npz_array(tmp_path / "volume.npz", "data"), match)
        with pytest.raises(SampleRejectedError, match=match):
            read_npz_header(tmp_path / "volume.npz", "data")
    np.save(tmp_path / "volume.npy", array)
    reject(open_npy_array(tmp_path / "volume.npy"), match)


@pytest.mark.parametrize("shape", [(2049, 2048, 2048), (16384, 16384, 16384)])
def test_a_header_that_claims_what_no_file_holds_is_rejected(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    text = f"{{'descr': '<i2', 'fortran_order': False, 'shape': {shape}, }}"
    path = write_npz(tmp_path / "volume.npz", wrap_header(text, 100))
    reject(open_npz_array(path, "data"), "claims a shape")


def test_a_header_that_claims_other_bytes_than_the_directory_is_rejected(tmp_path: Path) -> None:
    text = "{'descr': '<i2', 'fortran_order': False, 'shape': (5, 7, 11), }"
    for num_bytes in (769, 771, 0):
        path = write_npz(tmp_path / "volume.npz", wrap_header(text, num_bytes))
        reject(open_npz_array(path, "data"), "header claims 843 bytes; the zip directory says")
    assert read_all(open_npz_array(write_npz(path, wrap_header(text, 770)), "data")).sum() == 0


def test_a_directory_that_claims_more_than_deflate_can_hold_is_rejected(tmp_path: Path) -> None:
    text = "{'descr': '<i2', 'fortran_order': False, 'shape': (2000, 2000, 1000), }"
    path = write_npz(tmp_path / "volume.npz", wrap_header(text, 0))
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\1\2")
    # APPNOTE 4.3.12: the uncompressed size of the directory's entry.
    size = struct.pack("<I", 8_000_000_000 % (1 << 32))
    content[entry + 24 : entry + 28] = size
    path.write_bytes(content)
    match = "zip directory claims 3705032704 bytes"
    reject(open_npz_array(path, "data"), match, Reason.CORRUPT_NPZ)


def test_a_stream_that_holds_more_or_less_than_the_directory_says_is_rejected(
    tmp_path: Path,
) -> None:
    text = "{'descr': '|i1', 'fortran_order': False, 'shape': (5, 7, 11), }"
    for surplus, match in [(2, "more bytes than its array takes"), (-2, "ends before the last")]:
        path = write_npz(tmp_path / "volume.npz", wrap_header(text, 385 + surplus))
        content = bytearray(path.read_bytes())
        entry = content.index(b"PK\1\2")
        (size,) = struct.unpack("<I", content[entry + 24 : entry + 28])
        content[entry + 24 : entry + 28] = struct.pack("<I", size - surplus)
        path.write_bytes(content)
        reject(open_npz_array(path, "data"), match, Reason.CORRUPT_NPZ)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_is_rejected(method: int, tmp_path: Path) -> None:
    path = write_npz(tmp_path / "volume.npz", encode_npy(make_array()), method=method)
    reject(open_npz_array(path, "data"), f"compressed by method {method}; expected deflate")


def test_an_encrypted_member_and_two_of_one_name_are_rejected(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "volume.npz", encode_npy(make_array()))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    reject(open_npz_array(path, "data"), "is encrypted")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.npy", encode_npy(make_array()))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("data.npy", encode_npy(make_array()))
    reject(open_npz_array(path, "data"), "several arrays are called 'data'")


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"<html>no such file</html>" * 40, bytes(600), b"PK\5\6" + bytes(17)]
)
def test_bytes_that_are_no_zip_are_rejected(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "volume.npz"
    path.write_bytes(content)
    reject(open_npz_array(path, "data"), "not a whole zip file", Reason.CORRUPT_NPZ)


def test_a_directory_of_absurd_length_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "volume.npz"
    size = 40 << 20
    end = b"PK\5\6" + struct.pack("<4H2IH", 0, 0, 1, 1, size, 0, 0)
    path.write_bytes(bytes(size) + end)
    reject(open_npz_array(path, "data"), "not a whole zip file", Reason.CORRUPT_NPZ)


def test_disk_errors_are_not_reported_as_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medassets.storage.formats.byte_streams import FileWindow

    np.savez(tmp_path / "volume.npz", data=make_array())

    def fail(*_: Any) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(FileWindow, "read", fail)
    with pytest.raises(OSError, match="Input/output error"):
        read_all(open_npz_array(tmp_path / "volume.npz", "data"))


@pytest.mark.parametrize("save", SAVERS.values(), ids=SAVERS)
def test_a_changed_byte_is_noticed_or_changes_nothing(
    save: Callable[..., None], tmp_path: Path
) -> None:
    array, path = make_array(shape=(13, 17, 19)), tmp_path / "volume.npz"
    save(path, data=array)
    whole, rng = path.read_bytes(), np.random.default_rng(3)
    ends = [*range(120), *range(len(whole) - 140, len(whole))]
    num_rejected = 0
    for place in [*ends, *rng.integers(0, len(whole), 1000).tolist()]:
        content = bytearray(whole)
        content[place] ^= int(rng.integers(1, 256))
        path.write_bytes(content)
        try:
            made = read_all(open_npz_array(path, "data"))
        except SampleRejectedError:
            num_rejected += 1
        else:
            np.testing.assert_array_equal(made, array)
    assert num_rejected > 1000


@pytest.mark.parametrize("save", SAVERS.values(), ids=SAVERS)
def test_a_file_cut_off_anywhere_is_rejected(save: Callable[..., None], tmp_path: Path) -> None:
    path = tmp_path / "volume.npz"
    save(path, data=make_array())
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(SampleRejectedError, match="corrupt_npz"):
            read_all(open_npz_array(path, "data"))


def test_damaged_data_between_a_whole_directory_are_rejected_with_a_sentence(
    tmp_path: Path,
) -> None:
    path = tmp_path / "volume.npz"
    np.savez(path, data=make_array())
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    reject(open_npz_array(path, "data"), "CRC-32 is", Reason.CORRUPT_NPZ)
    np.savez_compressed(path, data=make_array(shape=(50, 60, 70)))
    content = bytearray(path.read_bytes())
    content[60_000:60_100] = bytes(100)
    path.write_bytes(content)
    reject(open_npz_array(path, "data"), "inflate failed|CRC-32|ends|more", Reason.CORRUPT_NPZ)


def test_an_npy_that_is_not_as_long_as_it_says_is_rejected(tmp_path: Path) -> None:
    path, whole = tmp_path / "volume.npy", encode_npy(make_array())
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(SampleRejectedError, match="bad_header" if length < 128 else "corrupt"):
            read_all(open_npy_array(path))
    path.write_bytes(whole[:-1])
    reject(open_npy_array(path), "takes 770 bytes, and there are 769", Reason.CORRUPT_NPZ)
    path.write_bytes(whole + b"\0")
    reject(open_npy_array(path), "takes 770 bytes, and there are 771")


def test_a_range_that_reaches_beyond_the_file_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "shard.tar"
    path.write_bytes(b"1234" + encode_npy(make_array())[:-10])
    opened = open_npy_array(path, within=Member("npy", 4, 128 + 770))
    reject(opened, "ends before the last value", Reason.CORRUPT_NPZ)


@pytest.mark.parametrize(
    ("shape", "dtype", "match", "reason"),
    [
        ((5, 7, 12), "i2", "takes 840 bytes, and there are 770", Reason.CORRUPT_NPZ),
        ((5, 7, 10), "i2", "takes 700 bytes, and there are 770", Reason.BAD_HEADER),
        ((5, 77), "i2", "expected one 3-D volume", Reason.BAD_HEADER),
        ((5, 7, 11), "O", "dtype 'O': expected a dtype of plain numbers", Reason.BAD_HEADER),
        ((5, 7, 11), "i2,i2", "expected a dtype of plain numbers", Reason.BAD_HEADER),
        ((5, 7, 22), "bool", "an array of bool is not one of CT", Reason.BAD_HEADER),
        ((-5, -7, 22), "u1", "claims a shape", Reason.BAD_HEADER),
    ],
)
def test_plain_bytes_that_are_not_what_is_said_of_them_are_rejected(
    shape: tuple[int, ...], dtype: str, match: str, reason: Reason, tmp_path: Path
) -> None:
    path = tmp_path / "sample.bin"
    path.write_bytes(make_array().tobytes())
    reject(open_raw_array(path, shape=shape, dtype=dtype), match, reason)
