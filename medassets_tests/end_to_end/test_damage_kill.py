"""Repairs of damaged outputs are killed at any instant: damage is told until it is mended, nothing is lost."""

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from medassets.testing.ct_rate import SyntheticRepository
from medassets_tests.cli.commands.test_every_damage import KINDS, TAR, Kind
from medassets_tests.end_to_end.conftest import ForkServer, Home

# The full size is one kill of each of the kinds, 20.
KILLS = min(int(os.environ.get("MEDASSETS_TEST_KILLS", "2")), len(KINDS))
SEED = 20261202
FORCE = ("build", "lungs", "--partitions", "train-000001", "--force")
REPAIRS = {"force": FORCE, "build": ("build", "lungs"), "hand": ("build", "lungs")}


@dataclass(frozen=True)
class Damaged:
    """A home with one kind of damage.

    Attributes:
        home: The home.
        server: Forks commands.
        kind: The damage.
        before: Every tar and record before it.
    """

    home: Home
    server: ForkServer
    kind: Kind
    before: dict[Path, bytes]

    @property
    def folder(self) -> Path:
        """The folder of the dataset."""
        return self.home.paths.folder

    @property
    def repair(self) -> tuple[str, ...]:
        """The command that mends it, or that refuses to."""
        return REPAIRS.get(self.kind.mended_by, ("reconcile", "lungs"))

    def run(self, *arguments: str) -> Any:
        """Run a command to its end."""
        outcome = self.server.run(self.home, *arguments)
        assert "Traceback" not in outcome.text, outcome.text
        return outcome

    def list_shards(self) -> dict[Path, bytes]:
        """Return every tar and record that is a regular file, by its place."""
        found = (path for path in self.folder.glob("*/shard-*.*") if path.is_file())
        return {path.relative_to(self.folder): path.read_bytes() for path in found}

    def list_leftovers(self) -> list[Path]:
        """Return what killed processes left, without their empty locks."""
        hidden = self.folder.glob("*/.shard-*")
        leftovers = [*hidden, *self.folder.glob("*/.*.tmp")]
        return [path for path in leftovers if path.suffix != ".lock"]

    def tells(self) -> bool:
        """Return whether the command that finds this kind of damage exits with 1."""
        found_by = {"verify": ("verify", "lungs"), "reconcile": ("reconcile", "lungs", "--dry-run")}
        outcome = self.run(*found_by[self.kind.found_by])
        assert outcome.code in (0, 1), outcome.text
        return outcome.code == 1


def check_after_kill(damaged: Damaged, harmed: dict[Path, bytes], where: str) -> None:
    """Check that the damage is told or mended, and that whole and foreign files are there."""
    shards = damaged.list_shards()
    whole = {content for content in harmed.values() if content in damaged.before.values()}
    assert whole <= {*shards.values(), *(p.read_bytes() for p in damaged.list_leftovers())}, where
    if damaged.kind.mended_by == "hand":
        assert {path: shards.get(path) for path in harmed} == harmed, where
    if not damaged.tells():
        assert shards == damaged.before, where
        assert damaged.list_leftovers() == [], where


def mend(damaged: Damaged, where: str) -> None:
    """Run the repair again to its end, and what the user has to do."""
    damaged.run(*damaged.repair)
    if damaged.kind.by_hand is not None:
        assert damaged.tells(), where
        damaged.kind.by_hand(damaged.folder)
    for command in (("build", "lungs"), ("verify", "lungs"), ("reconcile", "lungs", "--dry-run")):
        outcome = damaged.run(*command)
        assert outcome.code == 0, (where, command, outcome.text)
    assert damaged.list_shards() == damaged.before, where


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_repairs_killed_at_any_instant_leave_damage_that_is_told_and_lose_nothing(
    tmp_path: Path,
    make_home: Callable[..., Home],
    declare: Callable[..., None],
    fork_server: ForkServer,
    repository: SyntheticRepository,
) -> None:
    fields = {"samples_per_shard": 4, "num_workers": 1, "max_rejected_share": 0.3}
    declare("lungs", source="folder", folder=str(repository.folder), **fields)
    whole = make_home("whole", dataset="lungs")
    warm = fork_server.run(whole, "build", "lungs", warm=tmp_path / "modules")
    assert warm.code == 0, warm.text
    assert (whole.paths.folder / TAR).exists()
    seconds = fork_server.run(whole, "build", "lungs").seconds
    draw = random.Random(SEED)
    for name in draw.sample(list(KINDS), KILLS):
        folder = whole.folder.with_name(name.replace(" ", "-"))
        shutil.copytree(whole.folder, folder)
        home = Home(folder, "lungs")
        damaged = Damaged(home, fork_server, KINDS[name], {})
        damaged.before.update(damaged.list_shards())
        damaged.kind.harm(damaged.folder)
        harmed = damaged.list_shards()
        after_s = draw.uniform(0, seconds)
        where = f"{SEED = }, {name}: {damaged.repair} killed after {after_s:.3f} of {seconds:.3f} s"
        fork_server.kill(home, *damaged.repair, after_s=after_s)
        check_after_kill(damaged, harmed, where)
        mend(damaged, where)
