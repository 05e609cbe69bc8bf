"""The catalog is deleted after the source grew, and what restores it is killed at any instant."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from medassets.shards.catalog.files import read_partition
from medassets.testing.npz_tree import make_npz_tree
from medassets_tests.end_to_end.conftest import ForkServer, Home
from medassets_tests.npz_source import write_declaration

# The full size is 10.
KILLS = int(os.environ.get("MEDASSETS_TEST_KILLS", "2"))
SEED = 20261203
FIRST, SIZE = "train_1_a_1", 2
COMMANDS = (("reconcile", "tiny"), ("build", "tiny"))


def read_members(home: Home, keys: list[str]) -> dict[str, list[str]]:
    """Return the planned samples of some shards."""
    return {key: [i.key for i in read_partition(home.paths.catalog, key)] for key in keys}


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_plan_whose_restoration_is_killed_gives_every_shard_its_members_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_home: Callable[..., Home],
    fork_server: ForkServer,
) -> None:
    tree = make_npz_tree(tmp_path / "tree", num_volumes=8, shape=(5, 7, 11))
    fields = tree.fields(name="tiny", samples_per_shard=SIZE, num_workers=1, max_excluded_share=1.0)
    write_declaration(tmp_path / "declared", fields)
    monkeypatch.setenv("MEDASSETS_DEFS", str(tmp_path / "declared"))
    first = tree.place(FIRST)
    first.rename(tmp_path / "hidden")
    whole, log = make_home("whole"), tmp_path / "encoded"
    warm = fork_server.run(whole, "build", "tiny", warm=tmp_path / "modules")
    assert warm.code == 0, warm.text
    full = [key for key, record in whole.records().items() if record.num_samples == SIZE]
    assert len(full) == 3
    members, shards = read_members(whole, full), whole.shards()
    old = {path: data for path, data in shards.items() if any(k[-6:] in path for k in full)}
    (tmp_path / "hidden").rename(first)
    draw = random.Random(SEED)

    def lose(name: str) -> Home:
        home = Home(whole.folder.with_name(name))
        shutil.copytree(whole.folder, home.folder)
        home.paths.catalog.unlink()
        return home

    def check(home: Home, where: str) -> None:
        found = home.shards()
        assert {path: found[path] for path in old} == old, where
        assert len(found) == len(shards), where
        if home.paths.catalog.exists():
            assert read_members(home, full) == members, where

    seconds = {
        command: fork_server.run(lose(f"measured-{command[0]}"), *command).seconds
        for command in COMMANDS
    }
    for number in range(KILLS):
        home, command = lose(f"killed-{number}"), COMMANDS[number % 2]
        after_s = draw.uniform(0, seconds[command])
        where = f"{SEED = }, {command} killed after {after_s:.3f} of {seconds[command]:.3f} s"
        fork_server.kill(home, *command, after_s=after_s, encode_log=log)
        check(home, where)
        again = fork_server.run(home, "reconcile", "tiny")
        assert "Traceback" not in again.text, where
        check(home, where)
        ended = fork_server.run(home, "build", "tiny")
        assert ended.code == 0, (where, ended.text)
        check(home, where)
        assert home.manifest()["total_samples"] == len(tree.paths), where
        assert home.manifest()["complete"], where
