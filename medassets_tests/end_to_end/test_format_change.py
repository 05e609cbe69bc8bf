"""The format of a dataset changes, and builds are killed at any instant: training never loses a sample."""

import json
import os
import random
import shutil
import signal
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from medassets.errors import ShardIntegrityError
from medassets.loaders.volumes import VolumeDataset
from medassets.testing.npz_tree import make_npz_tree
from medassets_tests.end_to_end.conftest import ForkServer, Home
from medassets_tests.npz_source import write_declaration

# The full size is 20 and 10.
NUM_SHARDS = int(os.environ.get("MEDASSETS_TEST_FORMAT_SHARDS", "6"))
KILLS = int(os.environ.get("MEDASSETS_TEST_KILLS", "2"))
SEED = 20261201
LATER = {"medassets.datasets.volumes._CODEC_VERSION": 2}
# Every sample of the later version has another size.
PAD = 20_000
UNLIKE = {
    **LATER,
    "medassets.datasets.volumes.VolumeDataset.OLDEST_ALIKE": {
        "format_version": 1,
        "codec_version": 2,
    },
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]


@dataclass(frozen=True)
class Bench:
    """A home with a whole dataset by the older format."""

    home: Home
    server: ForkServer
    keys: list[str]

    def copy(self, name: str) -> "Bench":
        """Return the same in another home."""
        folder = self.home.folder.with_name(name)
        shutil.copytree(self.home.folder, folder)
        return replace(self, home=Home(folder))

    def build(self, *arguments: str, of: dict[str, Any]) -> Any:
        """Build by other values to the end."""
        outcome = self.server.run(self.home, "build", "tiny", *arguments, set=of, pad_json=PAD)
        assert "Traceback" not in outcome.text, outcome.text
        return outcome

    def kill(self, *arguments: str, of: dict[str, Any], after_s: float) -> bool:
        """Kill such a build at an instant; return whether it was still at work."""
        outcome = self.server.kill(
            self.home, "build", "tiny", *arguments, set=of, pad_json=PAD, after_s=after_s
        )
        return outcome.code == -signal.SIGKILL

    def list_samples(self) -> list[str]:
        """Return the keys of all samples that a training job reads."""
        with warnings.catch_warnings():
            # That some shards are older.
            warnings.simplefilter("ignore", UserWarning)
            volumes = VolumeDataset(self.home.paths.manifest("train"))
        return sorted(str(volumes[number]["key"]) for number in range(len(volumes)))

    def read_versions(self) -> list[int]:
        """Return the version of every shard on disk."""
        records = self.home.records().values()
        return [record.made_from["spec"].get("codec_version", 1) for record in records]


@pytest.fixture
def bench(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_home: Callable[..., Home],
    fork_server: ForkServer,
) -> Bench:
    """The dataset, one sample a shard."""
    tree = make_npz_tree(tmp_path / "tree", num_volumes=NUM_SHARDS, shape=(5, 7, 11))
    fields = tree.fields(name="tiny", samples_per_shard=1, num_workers=1)
    write_declaration(tmp_path / "declared", fields)
    monkeypatch.setenv("MEDASSETS_DEFS", str(tmp_path / "declared"))
    home = make_home("older")
    warm = fork_server.run(home, "build", "tiny", warm=tmp_path / "modules")
    assert warm.code == 0, warm.text
    return Bench(home, fork_server, sorted(tree.paths))


def choose_keys(bench: Bench) -> list[str]:
    """Return the shards to build, one for each kill."""
    return random.Random(SEED).sample(sorted(bench.home.records()), KILLS)


def test_training_gets_every_sample_while_shards_are_made_by_a_raised_format_version(
    bench: Bench,
) -> None:
    instants = random.Random(SEED)
    seconds = bench.copy("measured").build("--partitions", choose_keys(bench)[0], of=LATER).seconds
    for key in choose_keys(bench):
        after_s = instants.uniform(0, seconds)
        where = f"{SEED = }, {key} killed after {after_s:.3f} of {seconds:.3f} s"
        bench.kill("--partitions", key, of=LATER, after_s=after_s)
        assert bench.list_samples() == bench.keys, where
        assert bench.home.manifest()["total_samples"] == NUM_SHARDS, where
        outcome = bench.build("--partitions", key, of=LATER)
        assert outcome.code == 0, (where, outcome.text)
        assert bench.list_samples() == bench.keys, where
        assert bench.home.manifest()["total_samples"] == NUM_SHARDS, where
    assert sorted(bench.read_versions()) == [1] * (NUM_SHARDS - KILLS) + [2] * KILLS
    assert bench.build(of=LATER).code == 0
    assert bench.home.manifest()["complete"]
    assert bench.list_samples() == bench.keys


def test_training_gets_every_sample_after_a_kill_at_each_rename_of_a_publication(
    bench: Bench, tmp_path: Path
) -> None:
    """Instants in time seldom hit the milliseconds between the renames."""
    key = choose_keys(bench)[0]
    for renames in (1, 2, 3):
        one = bench.copy(f"renamed-{renames}")
        outcome = one.server.run(
            one.home,
            *("build", "tiny", "--partitions", key),
            set=LATER,
            pad_json=PAD,
            op_log=tmp_path / "operations",
            die_at=renames,
            die_among=r"^replace .*shard-",
        )
        assert outcome.code == -signal.SIGKILL, outcome.text
        assert one.list_samples() == one.keys, renames
        assert one.build("--partitions", key, of=LATER).code == 0
        assert one.list_samples() == one.keys, renames


def test_a_manifest_changes_over_in_one_step_to_samples_that_do_not_fit_the_older_ones(
    bench: Bench,
) -> None:
    instants, older = random.Random(SEED), bench.home.paths.manifest("train").read_bytes()
    key = choose_keys(bench)[0]
    first = bench.copy("measured").build("--partitions", key, of=UNLIKE)
    rest = first.seconds * NUM_SHARDS / 4

    def check(where: str) -> bool:
        """Return whether the manifest has changed over; training gets all samples, or is told why not."""
        content = bench.home.paths.manifest("train").read_bytes()
        if content != older:
            assert json.loads(content)["complete"], where
            assert bench.list_samples() == bench.keys, where
            return True
        if 2 in bench.read_versions():
            with pytest.raises(ShardIntegrityError, match=r"made again .* by other settings"):
                bench.list_samples()
        else:
            assert bench.list_samples() == bench.keys, where
        return False

    for number in range(KILLS):
        arguments = ("--partitions", key) if number < KILLS // 2 else ()
        after_s = instants.uniform(0, rest if not arguments else first.seconds)
        bench.kill(*arguments, of=UNLIKE, after_s=after_s)
        is_over = check(f"{SEED = }, {arguments} killed after {after_s:.3f} s")
        assert is_over <= (sum(bench.read_versions()) == 2 * NUM_SHARDS)
    assert bench.build(of=UNLIKE).code == 0
    assert check("at the end")


def test_a_manifest_that_may_shrink_lists_the_new_shards_and_grows_again(bench: Bench) -> None:
    instants, older = random.Random(SEED), bench.home.paths.manifest("train").read_bytes()
    key = choose_keys(bench)[0]
    arguments = ("--partitions", key, "--allow-shrink")
    seconds = bench.copy("measured").build(*arguments, of=UNLIKE).seconds
    for number in range(KILLS):
        one = bench.copy(f"shrunk-{number}")
        after_s = instants.uniform(0, seconds)
        where = f"{SEED = }, killed after {after_s:.3f} of {seconds:.3f} s"
        one.kill(*arguments, of=UNLIKE, after_s=after_s)
        if one.home.paths.manifest("train").read_bytes() != older:
            assert list(one.home.manifest()["shards"][0]["keys"]) == one.list_samples(), where
        one.build(*arguments, of=UNLIKE)
        assert one.home.manifest()["total_samples"] == 1, where
        assert len(one.list_samples()) == 1, where
        assert one.build(of=UNLIKE).code == 0, where
        assert one.home.manifest()["complete"], where
        assert one.list_samples() == one.keys, where
