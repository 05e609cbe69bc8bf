"""Kill -9 while volumes are converted and their sources deleted: no volume is ever nowhere."""

import os
import random
import re
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from medassets.shards.reclaim_journal import ReclaimJournal
from medassets.testing.npz_tree import SyntheticTree, make_npz_tree
from medassets_tests.npz_source import Originals, write_declaration

# All of the 100 kills take four minutes on a machine at rest, several times as long on a busy one.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

SEED = 20261122
KILLS = int(os.environ.get("MEDASSETS_TEST_RECLAIM_KILLS", "25"))
"""The full size is 100."""
NUM_VOLUMES = 4 * KILLS
SAMPLES_PER_SHARD = 20
# Of a run, until it is at its first shard.
STARTING_S = 1.0
COMMAND = ("build", "tiny", "--delete-sources", "--yes")

# Lines of the log of operations: all that is done to shards, journals and sources; and what is done
# between the note that files are to go and the note that they went.
WORK = r"/train/|\.npz|reclaimed_sources"
DELETING = r"unlink .*\.npz$|reclaimed_sources"


@dataclass
class Tally:
    """What came of many kills.

    Attributes:
        kills: Runs that were killed.
        phases: What they were doing then.
        noted: Kills between the note of what is to go and that of what went: files of the note that
            were gone, and how many the note has.
        deleted: Files found deleted after each kill.
    """

    kills: int = 0
    phases: Counter[str] = field(default_factory=Counter)
    noted: list[tuple[int, int]] = field(default_factory=list)
    deleted: list[int] = field(default_factory=list)

    def describe(self) -> str:
        """Return the figures."""
        phases = ", ".join(f"{name} {count}" for name, count in sorted(self.phases.items()))
        noted = ", ".join(f"{gone}/{total}" for gone, total in self.noted)
        return (
            f"\n{self.kills} kills: {phases}\n"
            f"kills between note and confirmation: {len(self.noted)}; gone of those noted: {noted}\n"
            f"files found deleted after each kill: {', '.join(map(str, self.deleted))}\n"
        )


@dataclass(frozen=True)
class Bench:
    """An undisturbed conversion, and what makes disturbed ones.

    Attributes:
        server: Forks commands.
        make_home: Makes an empty home.
        template: Folder of the tree that is copied.
        originals: The tree that is converted, and what it holds; declared once, so in one place.
        scratch: Folder for logs.
    """

    server: Any
    make_home: Callable[[str], Any]
    template: Path
    originals: Originals
    scratch: Path

    def open(self, name: str) -> "Life":
        """Return a fresh copy of the tree and an empty home."""
        shutil.rmtree(self.originals.tree.folder, ignore_errors=True)
        shutil.copytree(self.template, self.originals.tree.folder)
        return Life(self, self.make_home(name), self.originals)


@dataclass
class Life:
    """One dataset that is converted, however often that is stopped."""

    bench: Bench
    home: Any
    originals: Originals

    @property
    def log(self) -> Path:
        """Operations of the last run."""
        return self.bench.scratch / f"{self.home.folder.name}.operations"

    def start(self, **disturb: Any) -> Any:
        """Start the command."""
        self.log.unlink(missing_ok=True)
        folder = self.originals.tree.folder
        return self.bench.server.start(
            self.home, *COMMAND, op_log=self.log, watch=folder, **disturb
        )

    def operations(self) -> list[str]:
        """Return what the last run did."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    def journals(self) -> dict[str, ReclaimJournal]:
        """Return the journals by file name."""
        paths = sorted(self.home.paths.folder.glob("reclaimed_sources/*/*.jsonl"))
        return {path.name: ReclaimJournal.read(path) for path in paths}

    def check(self) -> tuple[int, int]:
        """Fail if a volume is lost; return how many are in shards, and how many files are left."""
        found = self.originals.check(self.home.paths.folder)
        return len(found.in_shards), len(found.on_disk)

    def outputs(self) -> dict[str, bytes]:
        """Return shards, records and manifest."""
        folder = self.home.paths.folder / "train"
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def bench(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_home: Callable[..., Any],
    fork_server: Any,
) -> Bench:
    """Volumes of twenty shards, declared with deletion."""
    made = make_npz_tree(tmp_path / "template", num_volumes=NUM_VOLUMES, shape=(5, 7, 11))
    remembered = Originals.read(made)
    tree = SyntheticTree(tmp_path / "source", made.split, made.paths)
    fields = tree.fields(
        name="tiny",
        samples_per_shard=SAMPLES_PER_SHARD,
        delete_sources=True,
        num_workers=2,
        max_rejected_share=1.0,
        max_excluded_share=1.0,
    )
    write_declaration(tmp_path / "declared", fields)
    monkeypatch.setenv("MEDASSETS_DEFS", str(tmp_path / "declared"))
    originals = Originals(tree, remembered.files, remembered.values)
    return Bench(fork_server, make_home, made.folder, originals, tmp_path)


def kill_somewhere(life: Life, tally: Tally, instants: random.Random, pace: "Pace") -> None:
    """Run the command and kill it: at an instant, or at an operation."""
    ways = ["start", *["instant", "operation", "deletion"] * 3]
    how = instants.choice(ways)
    if how in ("start", "instant"):
        child = life.start()
        if how == "instant":
            wait_for_work(life, child)
        time.sleep(instants.uniform(0, pace.seconds if how == "instant" else STARTING_S))
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
    else:
        among, most = (WORK, pace.operations) if how == "operation" else (DELETING, pace.deletions)
        child = life.start(die_at=instants.randint(1, max(most, 1)), die_among=among)
    outcome = child.wait()
    assert outcome.code in (0, -signal.SIGKILL), outcome.text
    if outcome.code:
        note(life, tally)


def wait_for_work(life: Life, child: Any) -> None:
    """Wait until a run is at its first shard, or has ended."""
    while not any("/train/" in line for line in life.operations()[-1:]):
        if not (Path("/proc") / str(child.pid) / "cmdline").read_bytes():
            return
        time.sleep(0.005)


def note(life: Life, tally: Tally) -> None:
    """Take down what a kill left."""
    tally.kills += 1
    _, left = life.check()
    tally.deleted.append(NUM_VOLUMES - left)
    tally.phases[name_phase(life)] += 1
    for journal in life.journals().values():
        if journal.intended:
            folder = life.originals.tree.folder
            gone = sum(not (folder / path).exists() for path in journal.intended)
            tally.noted.append((gone, len(journal.intended)))


def name_phase(life: Life) -> str:
    """Return what a run was doing when it was killed, by its last operation."""
    operations = life.operations()
    name, _, place = operations[-1].partition(" ") if operations else ("", "", "")
    if place.endswith(".npz") and name == "unlink":
        return "deleting"
    if "reclaimed_sources" in place:
        return "writing the journal"
    if name in ("pread", "preadv", "posix_fadvise") and "/shard-" in place:
        return "verifying"
    return "making shards" if "/train/" in place else "catalog, manifest or between"


@dataclass(frozen=True)
class Pace:
    """How far a run may come before it is killed, so that kills spread over all of the work."""

    seconds: float
    operations: int
    deletions: int

    def scaled(self, share: float) -> "Pace":
        """Return a share of it."""
        return Pace(self.seconds * share, int(self.operations * share), int(self.deletions * share))


def test_killed_at_random_instants_no_volume_is_lost(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed = bench.open("undisturbed")
    outcome = undisturbed.start(warm=bench.scratch / "modules").wait()
    assert outcome.code == 0, outcome.text
    assert undisturbed.check() == (NUM_VOLUMES, 0)
    lines = undisturbed.operations()
    whole = Pace(
        outcome.seconds,
        *(sum(bool(re.search(among, line)) for line in lines) for among in (WORK, DELETING)),
    )
    instants, tally = random.Random(SEED), Tally()
    for number in range(10):
        life = bench.open(f"killed-{number}")
        while tally.kills < KILLS:
            in_shards, left = life.check()
            share = (NUM_VOLUMES - in_shards + left) / (2 * NUM_VOLUMES)
            if not share:
                break
            # Of a killed run, the shard in work is begun or verified anew.
            pace = whole.scaled(1.5 * share / (KILLS - tally.kills))
            kill_somewhere(life, tally, instants, pace)
        finish(life, undisturbed)
        if tally.kills == KILLS:
            break
    with capsys.disabled():
        sys.stdout.write(tally.describe())
    assert tally.kills == KILLS
    assert (
        min(tally.phases[name] for name in ("deleting", "verifying", "making shards"))
        >= KILLS // 25
    )
    assert any(0 < gone < total for gone, total in tally.noted)


def finish(life: Life, undisturbed: Life) -> None:
    """Run the command to its end and compare everything that it left."""
    outcome = life.start().wait()
    assert outcome.code == 0, outcome.text
    assert life.check() == (NUM_VOLUMES, 0)
    assert life.outputs() == undisturbed.outputs()
    contents = life.home.contents()
    assert sorted(contents) == sorted(undisturbed.home.contents())
    assert not any(Path(path).name.startswith(".") for path in contents)
    for name, journal in life.journals().items():
        expected = undisturbed.journals()[name]
        assert (journal.deleted, journal.intended) == (expected.deleted, {})
