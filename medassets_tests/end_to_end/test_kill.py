"""Kill -9 at any instant, then run again: the same bytes, nothing left over, nothing done twice."""

import itertools
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from medassets.shards.record import ShardRecord
from medassets.storage.checksums import crc32
from medassets.testing.ct_rate import make_ct_rate_repository
from medassets.testing.hub import LocalHub

REPO_ID = "org/ct-small"
# Downloads and encoding take a good part of the build, so that kills hit them, too.
BYTES_PER_S = 60_000
ENCODE_DELAY_S = 0.03
SEED = 20261121
KILLS = int(os.environ.get("MEDASSETS_TEST_MANY_KILLS", "10"))
"""The full size is 50."""


# A machine that does other work as well may take several times the usual minute and a half.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]


@dataclass(frozen=True)
class Bench:
    """An undisturbed build and what makes disturbed ones.

    Attributes:
        server: Forks commands.
        hub: Serves the repository, slowly.
        make_home: Makes an empty home.
        expected: Every file under data and staging after an undisturbed build.
        seconds: How long that took.
        scratch: Folder for logs.
    """

    server: Any
    hub: LocalHub
    make_home: Callable[[str], Any]
    expected: dict[str, bytes]
    seconds: float
    scratch: Path

    def start(self, home: Any, *arguments: str, **disturb: Any) -> Any:
        """Start a build on a home; keys of samples that begin to be encoded go to a log."""
        log = self.scratch / f"{home.folder.name}.encoded"
        return self.server.start(
            home,
            *("build", "tiny", *arguments),
            encode_log=log,
            encode_delay_s=ENCODE_DELAY_S,
            **disturb,
        )

    def encoded(self, home: Any) -> list[str]:
        """Return the keys whose encoding has begun on a home, again and again."""
        log = self.scratch / f"{home.folder.name}.encoded"
        return log.read_text().split() if log.exists() else []


@pytest.fixture
def bench(
    tmp_path: Path,
    make_home: Callable[..., Any],
    declare: Callable[..., None],
    fork_server: Any,
) -> Iterator[Bench]:
    """An undisturbed build of two shards from a slow hub."""
    repository = make_ct_rate_repository(
        tmp_path / "repository",
        num_patients=2,
        splits=("train",),
        shape_range=((20, 18, 12), (26, 24, 16)),
    )
    with LocalHub(repository.folder, REPO_ID) as hub:
        declare(repo_id=REPO_ID, endpoint=hub.endpoint, samples_per_shard=2)
        warm = fork_server.run(make_home("warm"), "build", "tiny", warm=tmp_path / "modules")
        assert warm.code == 0, warm.text
        hub.fail("slow", "*.nii.gz", times=None, bytes_per_s=BYTES_PER_S)
        bench = Bench(fork_server, hub, make_home, {}, 0.0, tmp_path)
        home = bench.make_home("undisturbed")
        outcome = bench.start(home).wait()
        assert outcome.code == 0, outcome.text
        assert sorted(bench.encoded(home)) == repository.keys("train")
        expected = home.contents()
        assert not any(path.startswith("staging/") for path in expected), list(expected)
        yield replace(bench, expected=expected, seconds=outcome.seconds)


def whole_samples(home: Any) -> set[str]:
    """Return the keys of samples that need no further work: in a record, or in a ledger."""
    keys: set[str] = set()
    for path in (*home.paths.folder.glob("*/shard-*.json"), *home.paths.folder.glob("*/.*.record")):
        keys |= {sample.key for sample in ShardRecord.read(path).samples}
    for ledger in home.paths.folder.glob("*/.*.ledger"):
        for line in ledger.read_bytes().split(b"\n"):
            checksum, _, body = line.partition(b" ")
            if checksum == b"%08x" % crc32(body) and b'"sample"' in body:
                keys.add(json.loads(body)["sample"]["key"])
    return keys


def staged_files(home: Any) -> set[str]:
    """Return the source files that are whole in staging."""
    folder = home.folder / "staging" / "tiny"
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*.nii.gz") if p.is_file()}


@dataclass
class Tally:
    """What came of many kills."""

    kills: int = 0
    whole_at_kill: int = 0
    encoded_twice: int = 0
    fetched_twice: list[str] = field(default_factory=list)


@contextmanager
def counting(bench: Bench, home: Any, tally: Tally) -> Iterator[None]:
    """Count what a build does that was done before it."""
    whole, staged, before = whole_samples(home), staged_files(home), len(bench.encoded(home))
    bench.hub.forget_requests()
    yield
    again = Counter(bench.encoded(home)[before:])
    tally.whole_at_kill += len(whole)
    tally.encoded_twice += sum(again[key] for key in whole)
    fetched = {request.path for request in bench.hub.requests("body")}
    tally.fetched_twice += [f"{home.folder.name}: {path}" for path in sorted(staged & fetched)]


def kill_after(bench: Bench, home: Any, tally: Tally, seconds: float) -> bool:
    """Run a build and kill it at an instant, if it is still at work then; return whether it was."""
    with counting(bench, home, tally):
        child = bench.start(home)
        time.sleep(max(child.start + seconds - time.monotonic(), 0))
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
        code = child.wait().code
    assert code in (0, -signal.SIGKILL)
    tally.kills += code == -signal.SIGKILL
    return code == -signal.SIGKILL


def finish(bench: Bench, home: Any, tally: Tally, *arguments: str) -> None:
    """Run a build to its end and compare everything that it left."""
    with counting(bench, home, tally):
        outcome = bench.start(home, *arguments).wait()
    assert outcome.code == 0, outcome.text
    contents = home.contents()
    assert sorted(contents) == sorted(bench.expected)
    different = [path for path, data in contents.items() if data != bench.expected[path]]
    assert different == []


def test_builds_killed_at_random_instants_go_on_to_the_same_bytes(bench: Bench) -> None:
    instants = random.Random(SEED)
    tally, longest = Tally(), bench.seconds
    for number, kills in enumerate(itertools.cycle([1, 1, 2, 6])):
        home = bench.make_home(f"killed-{number}")
        for left in range(kills):
            # The more often it was killed, the less is left to do.
            instant = instants.uniform(0, longest * 0.9**left)
            if not kill_after(bench, home, tally, instant):
                # The machine may be less busy than at the undisturbed build.
                longest *= 0.9
        finish(bench, home, tally)
        if tally.kills >= KILLS:
            break
    assert tally.whole_at_kill > 0
    assert (tally.encoded_twice, tally.fetched_twice) == (0, [])


def test_a_kill_at_any_file_operation_leaves_nothing_behind(bench: Bench) -> None:
    """Instants in time seldom hit the microseconds between a write, a sync and a rename."""
    log = bench.scratch / "operations"
    tally = Tally()
    whole = bench.make_home("operations")
    assert bench.start(whole, op_log=log).wait().code == 0
    for number in choose_operations(log):
        home = bench.make_home(f"operations-{number}")
        outcome = bench.start(home, op_log=log, die_at=number).wait()
        assert outcome.code in (0, -signal.SIGKILL), outcome.text
        tally.kills += outcome.code == -signal.SIGKILL
        finish(bench, home, tally)
    # A shard that was whole before needs no finishing, and yet nothing may be left beside it.
    assert bench.start(whole, "--force", op_log=log).wait().code == 0
    for number in choose_operations(log):
        outcome = bench.start(whole, "--force", op_log=log, die_at=number).wait()
        assert outcome.code in (0, -signal.SIGKILL), outcome.text
        tally.kills += outcome.code == -signal.SIGKILL
        finish(bench, whole, tally)
    # How often the disk is asked to write back meanwhile depends on its speed, so that a build has
    # a few operations more or less than the one that was counted.
    assert tally.kills >= 10
    assert (tally.encoded_twice, tally.fetched_twice) == (0, [])


def choose_operations(log: Path) -> list[int]:
    """Return some of the operations of a log, by number."""
    return random.Random(SEED).sample(range(1, len(log.read_text().splitlines()) + 1), 7)


def test_kills_during_downloads_never_make_a_later_build_wait(bench: Bench) -> None:
    home = bench.make_home("downloading")
    for _ in range(3):
        bench.hub.forget_requests()
        child = bench.start(home)
        while not any(r.path and r.path.endswith(".nii.gz") for r in bench.hub.requests("body")):
            assert time.monotonic() - child.start < 60
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait().code == -signal.SIGKILL
    finish(bench, home, Tally())
