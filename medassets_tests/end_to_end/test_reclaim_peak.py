"""Disk that a conversion with deletion takes, measured while it runs, beside what was predicted."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from medassets.testing.npz_tree import SyntheticTree, make_npz_tree
from medassets_tests.npz_source import Originals, write_declaration

pytestmark = pytest.mark.slow

NUM_SHARDS = int(os.environ.get("MEDASSETS_TEST_PEAK_SHARDS", "12"))
"""The full size is 50."""
EXIT_DISK = 4
TOLERANCE = 0.10


@dataclass(frozen=True)
class Usage:
    """Bytes of all files of some folders.

    Attributes:
        apparent: Their sizes.
        allocated: The blocks that they take.
    """

    apparent: int = 0
    allocated: int = 0

    @classmethod
    def measure(cls, *folders: Path) -> "Usage":
        """Add up what is there now; files that vanish meanwhile do not count."""
        apparent = allocated = 0
        for folder in folders:
            for top, _, names in os.walk(folder):
                for name in names:
                    with suppress(FileNotFoundError):
                        found = (Path(top) / name).lstat()
                        apparent += found.st_size
                        allocated += 512 * found.st_blocks
        return cls(apparent, allocated)

    def most(self, other: "Usage") -> "Usage":
        """Return the larger of each."""
        return Usage(max(self.apparent, other.apparent), max(self.allocated, other.allocated))


def declare(folder: Path, tree: SyntheticTree, **changes: Any) -> None:
    fields = tree.fields(name="tiny", samples_per_shard=2, delete_sources=True, num_workers=2)
    write_declaration(folder, {**fields, **changes})


@pytest.mark.parametrize(
    ("dtype", "compressed"), [("int16", True), ("float32", False)], ids=["int16", "float32"]
)
def test_the_peak_is_as_predicted(
    dtype: str,
    compressed: bool,
    tmp_path: Path,
    make_home: Callable[..., Any],
    command: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Deflated, shards are larger than their sources; of float32, half as large."""
    tree = make_npz_tree(
        tmp_path / "source",
        num_volumes=2 * NUM_SHARDS,
        shape=(64, 60, 41),
        dtype=dtype,
        compressed=compressed,
    )
    originals = Originals.read(tree)
    declare(tmp_path / "declared", tree)
    monkeypatch.setenv("MEDASSETS_DEFS", str(tmp_path / "declared"))
    home = make_home("peak")
    planned = command(home, "plan", "tiny", "--json")
    assert planned.code == 0, planned.text
    peak = planned.result()["peak"]
    before = Usage.measure(tree.folder / "npz")
    assert peak["source_bytes"] == before.apparent

    most, samples = before, 0
    log = tmp_path / "build.log"
    arguments = [*("build", "tiny", "--delete-sources", "--yes", "--json")]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "medassets", *arguments],
            env={**os.environ, "MEDASSETS_HOME": str(home.folder)},
            stdout=output,
            stderr=output,
        )
        while process.poll() is None:
            most = most.most(Usage.measure(tree.folder / "npz", home.paths.folder))
            samples += 1
            time.sleep(0.005)
    assert process.returncode == 0, log.read_text()
    end = Usage.measure(tree.folder / "npz", home.paths.folder)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{dtype}, sources {before.apparent:,}: peak predicted {peak['peak_bytes']:,}, "
            f"measured {most.apparent:,} ({most.apparent / peak['peak_bytes']:.3f}), allocated "
            f"{most.allocated:,} ({most.allocated / peak['peak_bytes']:.3f}); end predicted "
            f"{peak['end_bytes']:,}, measured {end.apparent:,}; {samples} samples\n"
        )
    assert len(home.records()) == NUM_SHARDS
    found = originals.check(home.paths.folder)
    assert (len(found.in_shards), found.on_disk) == (2 * NUM_SHARDS, set())
    assert samples > 10 * NUM_SHARDS
    assert most.apparent == pytest.approx(peak["peak_bytes"], rel=TOLERANCE)
    assert most.allocated == pytest.approx(peak["peak_bytes"], rel=TOLERANCE)
    assert end.apparent == pytest.approx(peak["end_bytes"], rel=TOLERANCE)


@pytest.fixture
def mount_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Return a function that makes a filesystem of so many bytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounts: list[Path] = []

    def mount(num_bytes: int) -> Path:
        options = ["-t", "tmpfs", "-o", f"size={num_bytes}", "medassets-test", str(place)]
        if os.geteuid() != 0 or shutil.which("mount") is None:
            pytest.skip("mounting a small filesystem needs root")
        if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
            pytest.skip("this machine does not let root mount a tmpfs")
        mounts.append(place)
        return place

    yield mount
    for mounted in mounts:
        subprocess.run(["umount", str(mounted)], check=True)


@dataclass(frozen=True)
class Crowded:
    """A small disk that holds a source of float32 and has to hold its shards."""

    tree: SyntheticTree
    originals: Originals
    home: Any
    peak: dict[str, Any]


NUM_SMALL = 12


@pytest.fixture
def crowd(
    tmp_path: Path,
    mount_disk: Callable[[int], Path],
    make_home: Callable[..., Any],
    command: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Crowded]:
    """Return a function that puts a source onto a disk with room for so many shards beside it."""

    def make(num_shards: float, *, same_disk: bool = True) -> Crowded:
        made = make_npz_tree(
            tmp_path / "made",
            num_volumes=NUM_SMALL,
            shape=(64, 60, 41),
            dtype="float32",
            compressed=False,
        )
        originals = Originals.read(made)
        declare(tmp_path / "declared", made)
        monkeypatch.setenv("MEDASSETS_DEFS", str(tmp_path / "declared"))
        home = make_home("crowded")
        peak = command(home, "plan", "tiny", "--json").result()["peak"]
        shard = peak["needed_bytes"]
        sources = peak["source_bytes"]
        tree = made
        disk = mount_disk(int(num_shards * shard) + (sources + (1 << 17)) * same_disk)
        if same_disk:
            shutil.move(made.folder, disk / "source")
            tree = SyntheticTree(disk / "source", made.split, made.paths)
            declare(tmp_path / "declared", tree)
        (disk / "data").mkdir()
        (home.folder / "data").symlink_to(disk / "data")
        return Crowded(tree, Originals(tree, originals.files, originals.values), home, peak)

    return make


def test_sources_of_two_shards_in_flight_are_room_enough(
    crowd: Callable[..., Crowded], command: Callable[..., Any]
) -> None:
    """There is no room for a second copy: half of the sources' bytes are needed, a quarter is free."""
    crowded = crowd(1.5)
    total = NUM_SMALL // 2 * crowded.peak["needed_bytes"]
    plan = command(crowded.home, "plan", "tiny", "--json")
    assert plan.code == 0, plan.text
    assert plan.result()["peak"]["free_bytes"] < total / 2
    build = command(crowded.home, "build", "tiny", "--delete-sources", "--yes", "--json")
    assert build.code == 0, build.text
    found = crowded.originals.check(crowded.home.paths.folder)
    assert (len(found.in_shards), found.on_disk) == (NUM_SMALL, set())


@pytest.mark.parametrize("same_disk", [True, False])
def test_what_does_not_fit_is_refused_before_anything_is_made_or_deleted(
    crowd: Callable[..., Crowded], command: Callable[..., Any], same_disk: bool
) -> None:
    """On a disk of its own, a shard gets no room from what is deleted elsewhere."""
    crowded = crowd(0.8 if same_disk else 5.5, same_disk=same_disk)
    for arguments in (["plan", "tiny"], ["build", "tiny", "--delete-sources", "--yes"]):
        outcome = command(crowded.home, *arguments, "--json")
        assert outcome.code == EXIT_DISK, outcome.text
        assert "more bytes are needed at the peak" in outcome.text
    assert crowded.home.shards() == {}
    assert len(crowded.originals.left) == NUM_SMALL
    plan = command(crowded.home, "plan", "tiny")
    assert plan.code == EXIT_DISK
    assert "make smaller shards" in plan.text


def test_a_build_that_was_stopped_on_a_crowded_disk_can_go_on(
    crowd: Callable[..., Crowded], command: Callable[..., Any], fork_server: Any
) -> None:
    """What it had written of a shard is not asked for again."""
    crowded = crowd(1.25)
    # The second sample of the first shard is written when it dies.
    log = crowded.home.folder / "operations"
    arguments = ("build", "tiny", "--delete-sources", "--yes")
    first = fork_server.run(
        crowded.home, *arguments, op_log=log, die_at=1, die_among=r"replace .*partial"
    )
    assert first.code == -9, first.text
    partial = list(crowded.home.paths.folder.glob("train/.*.partial"))
    assert [path.stat().st_size > crowded.peak["needed_bytes"] / 2 for path in partial] == [True]
    build = command(crowded.home, *arguments, "--json")
    assert build.code == 0, build.text
    found = crowded.originals.check(crowded.home.paths.folder)
    assert (len(found.in_shards), found.on_disk) == (NUM_SMALL, set())
