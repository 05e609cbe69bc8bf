"""`medassets reconcile`: bring catalog, shards and Dagster's record in line, without computing."""

import click

from medassets.assets.reconcile import reconcile
from medassets.cli.completion import complete_datasets
from medassets.cli.console import Output
from medassets.cli.main import EXIT_FAILED
from medassets.cli.session import Session
from medassets.instance.database import database_trouble_explained


@click.command(name="reconcile")
@click.argument("dataset", shell_complete=complete_datasets)
@click.option("--dry-run", is_flag=True, help="Write nothing; say what would be done.")
@click.option(
    "--full",
    is_flag=True,
    help="Read every byte of every shard; make the samples of tars without a record again, and "
    "write the record if they are the same.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(dataset: str, *, dry_run: bool, full: bool, as_json: bool) -> int:
    """Restore the plan of DATASET, its partitions and Dagster's record from the shards on disk.

    Whole shards that Dagster does not know are recorded without a run, renamed and swapped ones are
    put back, and what killed processes left is removed. No sample is computed without --full.

    Exit code 1 when something is left to do, with a line for each: shards that are lost, damaged,
    failed or stale, and files that no plan knows.
    """
    output, session = Output(as_json), Session()
    workspaces = [session.workspace(dataset, stage) for stage in session.stages(dataset)]
    with database_trouble_explained():
        found = reconcile(workspaces, session.instance, dry_run=dry_run, full=full)
    for line in found.lines():
        output.say(f"{dataset}: {line}")
    output.warn_of(found.problems)
    if not found.did_something and not found.problems:
        output.say(f"{dataset}: catalog, shards and Dagster's record agree")
    output.result(found.as_dict())
    return 0 if found.is_settled else EXIT_FAILED
