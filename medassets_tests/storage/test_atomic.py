import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from medassets.errors import DiskSpaceError
from medassets.storage.atomic import publish_bytes, publish_file, publishing
from medassets.storage.ownership import is_plain_file
from medassets.storage.private_names import sweep_private


@contextmanager
def _largest_file(num_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_published_bytes_replace_the_old_and_leave_nothing(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.json"
    publish_bytes(target, b"one", is_ours=is_plain_file)
    publish_bytes(target, b"two", is_ours=is_plain_file)
    assert target.read_bytes() == b"two"
    assert [p.name for p in target.parent.iterdir()] == ["a.json"]


def test_a_full_disk_keeps_the_old_bytes_and_says_how_much_is_needed(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    publish_bytes(target, b"old", is_ours=is_plain_file)
    with (
        _largest_file(1000),
        pytest.raises(DiskSpaceError, match=r"a\.json.*5,000 more bytes are needed"),
    ):
        publish_bytes(target, bytes(5000), is_ours=is_plain_file)
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_writer_that_opens_its_file_itself_is_published_when_it_is_done(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.mp4"
    with publishing(target, is_ours=is_plain_file) as private:
        private.write_bytes(b"whole")
        # A second writer of the same file sweeps what is left over, not what is in the making.
        sweep_private(target)
        assert private.exists()
        assert not target.exists()
    assert [p.name for p in target.parent.iterdir()] == ["a.mp4"]
    assert target.read_bytes() == b"whole"


def test_a_writer_that_fails_leaves_the_old_file_alone(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    target.write_bytes(b"old")
    with (
        pytest.raises(UnicodeEncodeError, match="surrogates"),
        publishing(target, is_ours=is_plain_file) as private,
    ):
        private.write_text("half \ud800", "utf-8")
    with (
        _largest_file(1000),
        pytest.raises(DiskSpaceError, match=r"a\.mp4.*more bytes are needed"),
        publishing(target, is_ours=is_plain_file) as private,
    ):
        private.write_bytes(bytes(5000))
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
    assert target.read_bytes() == b"old"


def test_leftovers_of_a_killed_writer_are_swept(tmp_path: Path) -> None:
    (tmp_path / ".a.json.0123456789abcdef.tmp").write_bytes(b"half")
    (tmp_path / ".b.json.0123456789abcdef.tmp").write_bytes(b"other file")
    publish_bytes(tmp_path / "a.json", b"new", is_ours=is_plain_file)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        ".b.json.0123456789abcdef.tmp",
        "a.json",
    ]


def test_many_writers_of_one_file_leave_one_whole_winner(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    contents = [bytes([i]) * 50_000 for i in range(8)]

    def publish_often(data: bytes) -> None:
        for _ in range(5):
            publish_bytes(target, data, is_ours=is_plain_file)

    threads = [threading.Thread(target=publish_often, args=(data,)) for data in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() in contents
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_finished_file_gets_its_final_name(tmp_path: Path) -> None:
    private = tmp_path / ".x.partial"
    private.write_bytes(b"whole")
    publish_file(private, tmp_path / "x", is_ours=is_plain_file)
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"whole"
