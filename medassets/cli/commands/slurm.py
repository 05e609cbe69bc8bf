"""`medassets slurm`: print the script that builds a dataset on a SLURM cluster."""

import os
import shlex
import sys

import click

from medassets.cli.clusters.slurm_script import SlurmJob, split_shards, write_script
from medassets.cli.completion import complete_datasets
from medassets.cli.console import Output
from medassets.cli.formatting import count_words
from medassets.cli.main import EXIT_FAILED, exit_code_of
from medassets.cli.selection import BuildOptions, Mode, plan_rounds, select_shards
from medassets.cli.session import Session
from medassets.errors import UsageError
from medassets.storage.paths import medassets_home

_MOST_TASKS = 100
# The budget of a build, whatever the shard's size: see docs/benchmarks.md.
_BASE_MB, _WORKER_MB = 1500, 700
# Not HF_ENDPOINT, which may hold a password: sbatch hands on the environment anyway.
_PASSED_ON = ("MEDASSETS_DEFS", "HF_HOME")


@click.command(name="slurm")
@click.argument("dataset", shell_complete=complete_datasets)
@click.option(
    "--tasks",
    type=click.IntRange(1),
    help=f"Tasks of the array.  [default: one per shard, at most {_MOST_TASKS}]",
)
@click.option(
    "--max-running",
    type=click.IntRange(0),
    default=0,
    help="Tasks that run at the same time, to spare a Hub or a disk.  [default: SLURM's]",
)
@click.option(
    "--cpus-per-task", type=click.IntRange(1), default=4, show_default=True, help="Cores of a task."
)
@click.option(
    "--mem-mb",
    type=click.IntRange(1),
    help=f"Memory of a task in MB.  [default: {_BASE_MB} + {_WORKER_MB} per core]",
)
@click.option(
    "--sbatch",
    "options",
    multiple=True,
    metavar="OPTION",
    help="Option of sbatch for every job, such as --sbatch=--time=12:00:00; may be repeated.",
)
@click.option(
    "--mode",
    type=click.Choice(["full", "clip", "process"]),
    default="full",
    help="Videos: everything, clips only, or frames only.",
)
@click.option("--no-refresh", is_flag=True, help="Keep the catalog; do not look for new files.")
@click.option("--json", "as_json", is_flag=True, help="Print the script and its tasks as JSON.")
def command(
    dataset: str,
    tasks: int | None,
    max_running: int,
    cpus_per_task: int,
    mem_mb: int | None,
    options: tuple[str, ...],
    mode: Mode,
    *,
    no_refresh: bool,
    as_json: bool,
) -> int:
    r"""Print a script that builds the shards of DATASET that are not done, by an array job.

    It needs MEDASSETS_HOME, the source and this installation on a disk that all nodes see. Each task
    builds some shards; a task that fails or is lost holds up no other. When all have ended, one job
    reconciles: it records the shards in Dagster, so that status and UI show them.

    \b
        medassets slurm DATASET | sh
    """
    session, output = Session(), Output(as_json)
    asked = BuildOptions(mode=mode)
    stages = [stage for one in plan_rounds(session, dataset, asked) for stage in one.stages]
    _check_options(options)
    if not no_refresh:
        # Here, because tasks that planned at once would wait for each other.
        refreshed = session.run(f"{dataset}_catalog")
        if not refreshed.ok:
            output.warn(f"catalog: {refreshed.error}")
            output.result({"dataset": dataset, "error": refreshed.error})
            return exit_code_of(refreshed.kind)
    keys = list(select_shards(session, dataset, asked, stages).chosen)
    if not keys:
        output.warn(f"{dataset}: no shard is left to build; `medassets status {dataset}`")
        return EXIT_FAILED
    home = medassets_home()
    passed = {name: os.environ[name] for name in _PASSED_ON if os.environ.get(name)}
    job = SlurmJob(
        dataset=dataset,
        tasks=split_shards(keys, tasks or min(len(keys), _MOST_TASKS)),
        program=(sys.executable, "-m", "medassets"),
        environment={"MEDASSETS_HOME": str(home), **passed},
        log_folder=str(home / "slurm"),
        cpus_per_task=cpus_per_task,
        memory_mb=mem_mb or _BASE_MB + _WORKER_MB * cpus_per_task,
        max_running=max_running,
        options=options,
        build_options=() if mode == "full" else ("--mode", mode),
    )
    script = write_script(job)
    output.warn(f"{dataset}: {count_words(len(keys), 'shard')} by {len(job.tasks)} tasks")
    output.say(script.removesuffix("\n"))
    output.result({"dataset": dataset, "shards": len(keys), "tasks": job.tasks, "script": script})
    return 0


def _check_options(options: tuple[str, ...]) -> None:
    """Refuse what would become another line of the script.

    Raises:
        UsageError: If an option is not one word that begins with a dash.
    """
    for option in options:
        if not option.startswith("-") or shlex.split(option) != [option]:
            what = f"expected one option of sbatch such as --time=12:00:00, got {option!r}"
            raise UsageError(field="--sbatch", what=what)
