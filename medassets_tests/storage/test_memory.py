"""Memory that is left, of the machine and of a container."""

from pathlib import Path

import pytest

from medassets.storage.memory import read_available_bytes


@pytest.fixture
def meminfo(tmp_path: Path) -> Path:
    path = tmp_path / "meminfo"
    path.write_text("MemTotal: 900 kB\nMemFree: 1 kB\nMemAvailable:     800 kB\n")
    return path


def write_group(folder: Path, limit: str) -> Path:
    for name, content in {
        "memory.max": limit,
        "memory.current": "500000",
        "memory.stat": "anon 100\nfile 9\ninactive_file 200000\nactive_file 7\n",
    }.items():
        (folder / name).write_text(content + "\n")
    return folder


def test_without_a_limit_the_machine_counts(tmp_path: Path, meminfo: Path) -> None:
    assert read_available_bytes(meminfo=meminfo, cgroup=tmp_path / "none") == 800 * 1024
    group = write_group(tmp_path, "max")
    assert read_available_bytes(meminfo=meminfo, cgroup=group) == 800 * 1024


def test_a_limit_counts_where_it_is_lower_and_files_can_be_given_up(
    tmp_path: Path, meminfo: Path
) -> None:
    group = write_group(tmp_path, "600000")
    assert read_available_bytes(meminfo=meminfo, cgroup=group) == 300_000
    group = write_group(tmp_path, "100000")
    assert read_available_bytes(meminfo=meminfo, cgroup=group) == 0


def test_this_machine_has_some() -> None:
    assert read_available_bytes() > 0


def test_where_nothing_is_known_half_of_the_memory_is_assumed(tmp_path: Path) -> None:
    assert read_available_bytes(meminfo=tmp_path / "no", cgroup=tmp_path / "no") > 1 << 20
