"""The shell script that submits a build to SLURM as an array job."""

import itertools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medassets.storage.paths import split_partition_key

_WARN_S = 120
"""Seconds before the time limit at which a task is told to end; a build ends in a few."""


@dataclass(frozen=True, kw_only=True)
class SlurmJob:
    """What is submitted.

    Attributes:
        dataset: Dataset name.
        tasks: Shards of each task of the array, as `--partitions` takes them.
        program: Words that run the command on every node.
        environment: Variables that every task needs, none of them secret.
        log_folder: Folder of the tasks' output; on the shared disk.
        cpus_per_task: Cores of a task.
        memory_mb: Memory of a task, in MB.
        max_running: Tasks that run at the same time; 0 leaves it to SLURM.
        options: Further options of `sbatch`, such as `--time=12:00:00`.
        build_options: Further options of `medassets build`.
    """

    dataset: str
    tasks: Sequence[str]
    program: Sequence[str]
    environment: Mapping[str, str]
    log_folder: str
    cpus_per_task: int
    memory_mb: int
    max_running: int = 0
    options: Sequence[str] = ()
    build_options: Sequence[str] = ()


def split_shards(keys: Sequence[str], num_tasks: int) -> list[str]:
    """Divide shards among tasks, in order and as evenly as whole shards allow.

    Args:
        keys: Partition keys, in the order of the plan.
        num_tasks: Number of tasks; at most one per shard is used.

    Returns:
        What `--partitions` of each task is: keys and ranges of the task's own shards and no others.
    """
    count = min(num_tasks, len(keys))
    bounds = [len(keys) * task // count for task in range(count + 1)] if count else [0]
    return [_name_ranges(keys[start:stop]) for start, stop in itertools.pairwise(bounds)]


def _name_ranges(keys: Sequence[str]) -> str:
    runs: list[list[str]] = []
    for key in keys:
        split, index = split_partition_key(key)
        if runs and split_partition_key(runs[-1][-1]) == (split, index - 1):
            runs[-1].append(key)
        else:
            runs.append([key])
    return ",".join(run[0] if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs)


def write_script(job: SlurmJob) -> str:
    """Return the script; `sh` runs it on a node where `sbatch` works.

    A task that is told to end passes that on to its build, which then ends with its whole samples
    kept; one whose node is lost is queued again and continues. The reconciliation starts when all tasks
    have ended, whatever became of them (`afterok` would never start it after one failure).
    """
    limit = f"%{job.max_running}" if job.max_running else ""
    array = [
        *_head(f"medassets-{job.dataset}", f"{job.log_folder}/%x-%A_%a.log"),
        f"#SBATCH --array=0-{len(job.tasks) - 1}{limit}",
        f"#SBATCH --cpus-per-task={job.cpus_per_task}",
        f"#SBATCH --mem={job.memory_mb}M",
        f"#SBATCH --requeue --open-mode=append --signal=B:TERM@{_WARN_S}",
        *(f"#SBATCH {option}" for option in job.options),
        *_exports(job),
        "shards=(",
        *(f"  {part}" for part in job.tasks),
        ")",
        "# Each task has a Dagster instance of its own: many tasks would wait for one database.",
        "# Without a folder of its own it must not open the one that all tasks share.",
        'DAGSTER_HOME=$(mktemp -d "${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/medassets-XXXXXXXX") || exit 1',
        "export DAGSTER_HOME",
        f'{_build(job)} --partitions "${{shards[$SLURM_ARRAY_TASK_ID]}}" &',
        "build=$!",
        "trap 'kill -TERM \"$build\"' TERM INT",
        'wait "$build"; code=$?',
        "# A signal ends the wait before the build has ended.",
        'while kill -0 "$build" 2>/dev/null; do wait "$build"; code=$?; done',
        'rm -rf "$DAGSTER_HOME"',
        'exit "$code"',
    ]
    reconcile = [
        *_head(f"medassets-{job.dataset}-reconcile", f"{job.log_folder}/%x-%j.log"),
        *(f"#SBATCH {option}" for option in job.options),
        *_exports(job),
        f"exec {shlex.join([*job.program, 'reconcile', job.dataset])}",
    ]
    return "\n".join(
        [
            "#!/bin/sh",
            f"# Builds {job.dataset} by {len(job.tasks)} tasks; made by `medassets slurm`.",
            "set -eu",
            f"mkdir -p {shlex.quote(job.log_folder)}",
            "array=$(sbatch --parsable <<'ARRAY'",
            *array,
            "ARRAY",
            ")",
            'echo "array job $array"',
            "after=$(sbatch --parsable --dependency=\"afterany:${array%%;*}\" <<'RECONCILE'",
            *reconcile,
            "RECONCILE",
            ")",
            'echo "reconciliation, when all tasks have ended: job $after"',
            "",
        ]
    )


def _head(name: str, log: str) -> list[str]:
    # In double quotes, because sbatch splits these lines at blanks as a shell does.
    return ["#!/bin/bash", f"#SBATCH --job-name={name}", f'#SBATCH --output="{log}"']


def _exports(job: SlurmJob) -> list[str]:
    return [f"export {name}={shlex.quote(value)}" for name, value in job.environment.items()]


def _build(job: SlurmJob) -> str:
    words = [*job.program, "build", job.dataset, "--no-refresh"]
    return shlex.join([*words, "--num-workers", str(job.cpus_per_task), *job.build_options])
