import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from medassets.testing.npz_tree import make_npz_tree
from medassets_tests.cli.building import digests
from medassets_tests.cli.clusters.slurm_cluster import Slurm, serving_slurm
from medassets_tests.cli.conftest import Medassets
from medassets_tests.npz_source import write_declaration

NUM_SHARDS = 8


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A declared dataset of a few shards, in a home of its own."""
    tree = make_npz_tree(tmp_path / "tree", num_volumes=NUM_SHARDS, shape=(5, 7, 11))
    write_declaration(
        tmp_path / "declared", tree.fields(name="tiny", samples_per_shard=1, num_workers=1)
    )
    monkeypatch.setenv("MEDASSETS_DEFS", str(tmp_path / "declared"))
    monkeypatch.setenv("MEDASSETS_HOME", str(tmp_path / "a home"))
    return "tiny"


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Slurm]:
    """A cluster of one node with two cores."""
    with serving_slurm(tmp_path / "slurm") as cluster:
        yield cluster


def read_shards(home: Path) -> dict[str, str]:
    found = digests(home / "data" / "tiny" / "train")
    # Journals note every publication of a manifest.
    return {name: digest for name, digest in found.items() if not name.startswith(".")}


@pytest.mark.slow
def test_the_tasks_are_what_is_left(
    medassets: Medassets, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_ENDPOINT", "https://me:secret@hub.example")
    ran = medassets("slurm", tiny, "--tasks", "3", "--json")
    assert ran.code == 0, ran.err
    assert ran.document["tasks"] == [
        "train-000000..train-000001",
        "train-000002..train-000004",
        "train-000005..train-000007",
    ]
    assert "secret" not in ran.document["script"]
    assert medassets("build", tiny, "--partitions", "train-000003").code == 0
    left = medassets("slurm", tiny, "--tasks", "2", "--no-refresh", "--json").document
    assert left["tasks"] == [
        "train-000000..train-000002",
        "train-000004..train-000007",
    ]


@pytest.mark.slow
def test_a_built_dataset_has_no_task(medassets: Medassets, tiny: str) -> None:
    assert medassets("build", tiny).code == 0
    ran = medassets("slurm", tiny)
    assert (ran.code, ran.out) == (1, "")
    assert "no shard is left to build" in ran.err


def test_a_source_that_is_gone_is_named(medassets: Medassets, tiny: str, tmp_path: Path) -> None:
    (tmp_path / "tree").rename(tmp_path / "moved")
    ran = medassets("slurm", tiny)
    assert ran.code != 0
    assert "catalog: " in ran.err
    assert not ran.out


@pytest.mark.parametrize(
    "option", ["time=1", "--time=1\n#SBATCH --x", "-t 1", "--comment=$(id)x y"]
)
def test_an_option_that_is_not_one_word_is_refused(
    medassets: Medassets, tiny: str, option: str
) -> None:
    ran = medassets("slurm", tiny, f"--sbatch={option}")
    assert ran.code == 2
    assert "--sbatch: expected one option" in ran.err


@pytest.mark.slow
def test_an_array_job_makes_what_a_build_makes(
    medassets: Medassets, tiny: str, slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = medassets("slurm", tiny, "--tasks", "3", "--cpus-per-task", "1").out
    said = slurm.run("sh", text=script)
    assert "array job" in said
    states = slurm.wait_for_jobs(300)
    assert set(states.values()) == {"COMPLETED"}, read_logs(tmp_path)
    assert len(states) == 4
    status = medassets("status", tiny, "--json").document
    assert status["counts"] == {"done": NUM_SHARDS}, read_logs(tmp_path)
    assert medassets("verify", tiny).code == 0
    made = read_shards(tmp_path / "a home")
    monkeypatch.setenv("MEDASSETS_HOME", str(tmp_path / "local"))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    assert medassets("build", tiny).code == 0
    assert made == read_shards(tmp_path / "local")


@pytest.mark.slow
def test_a_killed_and_a_cancelled_task_hold_up_no_other(
    medassets: Medassets, tiny: str, slurm: Slurm, tmp_path: Path
) -> None:
    script = medassets("slurm", tiny, "--tasks", "4", "--cpus-per-task", "1").out
    array = slurm.run("sh", text=script).split()[2]
    killed, cancelled = wait_for_task(0), wait_for_task(1)
    killed.send_signal(signal.SIGKILL)
    slurm.run("scancel", f"{array}_1")
    states = slurm.wait_for_jobs(300)
    assert not cancelled.is_running()
    tasks = {name: state for name, state in states.items() if "reconcile" not in name}
    assert sorted(tasks.values()) == ["CANCELLED", "COMPLETED", "COMPLETED", "FAILED"], states
    assert states[next(name for name in states if "reconcile" in name)] in ("COMPLETED", "FAILED")
    again = medassets("slurm", tiny, "--no-refresh", "--tasks", "2", "--cpus-per-task", "1")
    slurm.run("sh", text=again.out)
    slurm.wait_for_jobs(300)
    status = medassets("status", tiny, "--json").document
    assert status["counts"] == {"done": NUM_SHARDS}, read_logs(tmp_path)
    assert medassets("verify", tiny).code == 0


def wait_for_task(number: int) -> psutil.Process:
    """Wait for the build of a task and return its process."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        for process in psutil.process_iter(["cmdline", "environ"]):
            words, variables = process.info["cmdline"] or (), process.info["environ"] or {}
            is_build = "medassets" in words and "build" in words
            if is_build and variables.get("SLURM_ARRAY_TASK_ID") == str(number):
                return process
        time.sleep(0.1)
    pytest.fail(f"task {number} did not start")


def read_logs(folder: Path) -> str:
    logs = sorted((folder / "a home" / "slurm").glob("*.log"))
    return "\n".join(f"{log.name}: {log.read_text()}" for log in logs)
