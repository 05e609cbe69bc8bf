"""`medassets verify`: the shards on disk against their records."""

import click

from medassets.cli.console import Output
from medassets.cli.main import EXIT_FAILED
from medassets.cli.runner import parse_partitions
from medassets.cli.session import Session
from medassets.datasets.verify import verify_dataset


@click.command(name="verify")
@click.argument("dataset")
@click.option("--quick/--full", default=False, help="Sizes only, or every byte (the default).")
@click.option(
    "--partitions", help="Shards by key or range: valid-000000,train-000003..train-000009."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(dataset: str, partitions: str | None, *, quick: bool, as_json: bool) -> int:
    """Check the published shards of DATASET; exit code 1 and a remedy for each that is damaged."""
    output, workspace = Output(as_json), Session().workspace(dataset)
    planned = list(workspace.read_plan().partitions)
    keys = parse_partitions(partitions, planned) or planned
    report = verify_dataset(workspace, keys, full=not quick)
    for problem in report.problems:
        output.warn(str(problem))
    output.say(
        f"{dataset}: {len(report.checked)} shards checked, {len(report.absent)} not made yet, "
        f"{len(report.problems)} problems"
    )
    output.result(
        {
            "dataset": dataset,
            "checked": report.checked,
            "absent": report.absent,
            "problems": [str(problem) for problem in report.problems],
        }
    )
    return EXIT_FAILED if report.problems else 0
