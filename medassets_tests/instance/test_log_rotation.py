"""The daemon's log stays short, and a process that has it open continues to write to it."""

from pathlib import Path

from medassets.instance.log_rotation import rotate_log


def test_a_long_log_moves_on_and_its_writers_stay(tmp_path: Path) -> None:
    path = tmp_path / "daemon.log"
    with path.open("ab", buffering=0) as writer:
        for number in range(5):
            writer.write(b"%d" % number * 11)
            assert rotate_log(path, most_bytes=10, num_kept=3)
            assert path.read_bytes() == b""
        writer.write(b"last")
    assert not rotate_log(path, most_bytes=10, num_kept=3)
    kept = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert kept == {
        "daemon.log": b"last",
        "daemon.log.1": b"4" * 11,
        "daemon.log.2": b"3" * 11,
        "daemon.log.3": b"2" * 11,
    }


def test_a_log_that_does_not_exist_yet_is_no_error(tmp_path: Path) -> None:
    assert not rotate_log(tmp_path / "daemon.log")
    assert list(tmp_path.iterdir()) == []
