import subprocess
from dataclasses import replace
from itertools import product

import pytest

from medassets.cli.clusters.slurm_script import SlurmJob, split_shards, write_script
from medassets.cli.selection import parse_partitions

PLAN = [f"{split}-{index:06d}" for split in ("train", "valid") for index in range(7)]
JOB = SlurmJob(
    dataset="lungs",
    tasks=("train-000000..train-000003", "train-000004,valid-000000"),
    program=("/opt/my env/bin/python", "-m", "medassets"),
    environment={"MEDASSETS_HOME": "/shared/it's $HOME"},
    log_folder="/shared/logs of $USER",
    cpus_per_task=4,
    memory_mb=4300,
)


@pytest.mark.parametrize("num_tasks", [1, 2, 3, 5, 13, 14, 15, 1000])
def test_tasks_have_every_shard_once_and_in_order(num_tasks: int) -> None:
    tasks = split_shards(PLAN, num_tasks)
    parts = [parse_partitions(task, PLAN) for task in tasks]
    assert [key for part in parts for key in part] == PLAN
    assert len(tasks) == min(num_tasks, len(PLAN))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_shards_between_those_asked_for_are_in_no_task() -> None:
    for bits in product([True, False], repeat=7):
        keys = [key for key, bit in zip(PLAN[3:10], bits, strict=True) if bit]
        for num_tasks in (1, 2, 3):
            parts = [parse_partitions(task, PLAN) for task in split_shards(keys, num_tasks)]
            assert [key for part in parts for key in part] == keys


def test_the_script_is_one_for_every_shell() -> None:
    script = write_script(replace(JOB, max_running=5, options=("--time=12:00:00",)))
    for shell in ("sh", "bash"):
        subprocess.run([shell, "-n"], input=script.encode(), check=True)
    assert "#SBATCH --array=0-1%5\n" in script
    assert script.count('#SBATCH --output="/shared/logs of $USER/') == 2
    assert script.count("#SBATCH --time=12:00:00\n") == 2
    assert "export MEDASSETS_HOME='/shared/it'\"'\"'s $HOME'\n" in script
    assert "'/opt/my env/bin/python' -m medassets reconcile lungs\n" in script
