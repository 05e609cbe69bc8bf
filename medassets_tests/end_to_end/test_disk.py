"""Disks and budgets that are too small: what is published stays whole, and the numbers are said."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from medassets.testing.ct_rate import SyntheticRepository, make_ct_rate_repository
from medassets.testing.hub import LocalHub

pytestmark = pytest.mark.slow

REPO_ID = "org/ct-small"
LARGE = {"target_shape": [96, 96, 64], "samples_per_shard": 2}
SAMPLE_BYTES = 2 * 96 * 96 * 64
EXIT_DISK = 4


@pytest.fixture
def repository(tmp_path: Path) -> SyntheticRepository:
    """Four volumes."""
    return make_ct_rate_repository(
        tmp_path / "repository",
        num_patients=2,
        splits=("train",),
        shape_range=((20, 18, 12), (26, 24, 16)),
    )


def volumes_fetched(hub: LocalHub) -> list[str]:
    """Return the volumes that were asked for, each as often as that."""
    return [r.path for r in hub.requests("body") if r.path and r.path.endswith(".nii.gz")]


def numbers(text: str) -> list[int]:
    """Return the byte counts in a message."""
    return [int(found.replace(",", "")) for found in re.findall(r"\d[\d,]{3,}", text)]


def test_a_staging_budget_below_one_shard_fails_at_once_and_says_both_numbers(
    repository: SyntheticRepository,
    declare: Callable[..., None],
    make_home: Callable[..., Any],
    build: Callable[..., Any],
) -> None:
    with LocalHub(repository.folder, REPO_ID) as hub:
        declare(repo_id=REPO_ID, endpoint=hub.endpoint, samples_per_shard=4, staging_budget_gb=5e-6)
        home = make_home("small")
        outcome = build(home)
        # The budget would be waited for, for an hour, if it could ever be enough.
        assert (outcome.code, outcome.seconds < 60) == (EXIT_DISK, True), outcome.text
        assert volumes_fetched(hub) == []
    needed = sum((repository.folder / v.path).stat().st_size for v in repository.volumes[:4])
    assert {needed, 5_000} <= set(numbers(outcome.text)), outcome.text
    assert "staging_budget_gb" in outcome.text
    assert home.shards() == {}
    assert not any(path.startswith("staging/") for path in home.contents())


def test_a_write_that_the_disk_refuses_leaves_published_shards_whole_and_is_taken_up_again(
    repository: SyntheticRepository,
    declare: Callable[..., None],
    make_home: Callable[..., Any],
    fork_server: Any,
    tmp_path: Path,
) -> None:
    declare(source="folder", folder=str(repository.folder), num_workers=1, **LARGE)
    undisturbed, home = make_home("undisturbed"), make_home("full")
    assert fork_server.run(undisturbed, "build", "tiny", warm=tmp_path / "modules").code == 0
    first = fork_server.run(home, "build", "tiny", "--partitions", "train-000000")
    assert first.code == 0, first.text
    published = home.shards()
    assert len(published) == 1

    log = tmp_path / "encoded"
    limit = SAMPLE_BYTES * 3 // 2
    full = fork_server.run(home, "build", "tiny", encode_log=log, largest_file_bytes=limit)
    assert full.code == EXIT_DISK, full.text
    assert "train-000001" in full.text
    missing = max(numbers(full.text))
    assert SAMPLE_BYTES // 4 < missing < 2 * SAMPLE_BYTES, full.text
    assert home.shards() == published
    assert not home.manifest()["complete"]

    healed = fork_server.run(home, "build", "tiny", encode_log=log)
    assert healed.code == 0, healed.text
    assert home.contents() == undisturbed.contents()
    third, fourth = repository.keys("train")[2:]
    assert log.read_text().split() == [third, fourth, fourth]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of five samples."""
    place = tmp_path / "disk"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={5 * SAMPLE_BYTES}", "medassets-test", str(place)]
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small filesystem needs root")
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let root mount a tmpfs")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_fills_up_meanwhile_ends_like_one_that_was_too_small_before(
    small_disk: Path,
    repository: SyntheticRepository,
    declare: Callable[..., None],
    make_home: Callable[..., Any],
    build: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from medassets.volumes import samples

    declare(source="folder", folder=str(repository.folder), num_workers=1, **LARGE)
    home = make_home("full")
    (home.folder / "data").symlink_to(small_disk)
    assert build(home, "--partitions", "train-000000").code == 0
    published = home.paths.shard("train-000000").read_bytes()
    filler = small_disk / "somebody-elses-file"
    filler.write_bytes(bytes(2 * SAMPLE_BYTES))
    outcome = build(home)
    assert outcome.code == EXIT_DISK, outcome.text
    free = os.statvfs(small_disk)
    needed, there = [count for count in numbers(outcome.text) if count > 10_000][:2]
    # What the voxels take, and a little more for headers, texts and json.
    assert 2 * SAMPLE_BYTES < needed < 2 * (SAMPLE_BYTES + 20_000), outcome.text
    assert there == free.f_bavail * free.f_frsize, outcome.text
    filler.unlink()

    encode = samples.encode_volume_sample

    def encode_while_others_write(*arguments: Any, **options: Any) -> Any:
        with filler.open("ab") as file:
            file.write(bytes(SAMPLE_BYTES * 2 // 3))
        return encode(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(samples, "encode_volume_sample", encode_while_others_write)
        outcome = build(home)
    assert outcome.code == EXIT_DISK, outcome.text
    assert "No space left" in outcome.text
    assert "more bytes are needed" in outcome.text
    assert home.paths.shard("train-000000").read_bytes() == published
    filler.unlink()
    assert build(home).code == 0
    assert len(home.shards()) == 2


def test_two_builds_of_one_dataset_at_once_make_each_sample_once(
    repository: SyntheticRepository,
    declare: Callable[..., None],
    make_home: Callable[..., Any],
    start_process: Callable[..., Any],
    build: Callable[..., Any],
) -> None:
    with LocalHub(repository.folder, REPO_ID) as hub:
        declare(repo_id=REPO_ID, endpoint=hub.endpoint, samples_per_shard=2)
        undisturbed = make_home("undisturbed")
        assert build(undisturbed).code == 0
        hub.forget_requests()
        # Slow enough that both are at work in the same shard.
        hub.fail("slow", "*.nii.gz", times=None, bytes_per_s=20_000)
        home = make_home("shared")
        assert build(home, "--partitions", "train-000000", "--no-refresh").code != 0
        both = [start_process(home, "build", "tiny", "--json") for _ in range(2)]
        outcomes = [process.wait() for process in both]
        assert [outcome.code for outcome in outcomes] == [0, 0], outcomes
        fetched = volumes_fetched(hub)
    assert home.contents() == undisturbed.contents()
    assert sorted(fetched) == sorted(set(fetched))
    made = [outcome.result()["num_samples"] for outcome in outcomes]
    assert sum(made) >= 4
