"""`medassets verify`: the shards on disk against their records."""

import click

from medassets.cli.console import Output
from medassets.cli.main import EXIT_FAILED
from medassets.cli.selection import name_build, parse_partitions
from medassets.cli.session import Session
from medassets.cli.words import count_words
from medassets.datasets.manifests import find_manifest_problems
from medassets.datasets.verify import verify_dataset
from medassets.shards.verify import Problem


@click.command(name="verify")
@click.argument("dataset")
@click.option("--quick/--full", default=False, help="Sizes only, or every byte (the default).")
@click.option(
    "--partitions", help="Shards by key or range: valid-000000,train-000003..train-000009."
)
@click.option("--stage", default="", help="Stage of shards; the one to train on without it.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(dataset: str, partitions: str | None, stage: str, *, quick: bool, as_json: bool) -> int:
    """Check the published shards of DATASET; exit code 1 and a remedy for each that is damaged."""
    output, workspace = Output(as_json), Session().workspace(dataset, stage)
    planned = list(workspace.read_plan().partitions)
    report = verify_dataset(workspace, parse_partitions(partitions, planned), full=not quick)
    damaged = list(dict.fromkeys(problem.partition for problem in report.problems))
    remedy = f"{name_build(workspace)} --partitions {','.join(damaged)} --force"
    for problem in report.problems:
        output.warn(str(problem))
    others = [] if partitions or stage else find_manifest_problems(workspace)
    for other in others:
        output.warn(other)
    how = "sizes only" if quick else "every byte"
    output.say(
        f"{dataset}: {count_words(len(report.checked), 'shard')} checked ({how}), "
        f"{len(damaged)} damaged, {len(report.absent)} not made yet"
    )
    if damaged:
        output.warn(f"make them again:  {remedy}")
    output.result(
        {
            "dataset": dataset,
            "checked": report.checked,
            "absent": report.absent,
            "damaged": damaged,
            "problems": [_as_dict(problem) for problem in report.problems],
            "manifests": others,
            "remedy": remedy if damaged else None,
        }
    )
    return EXIT_FAILED if report.problems or others else 0


def _as_dict(problem: Problem) -> dict[str, str]:
    return {
        "partition": problem.partition,
        "path": str(problem.path),
        "sample": problem.sample,
        "what": problem.what,
    }
