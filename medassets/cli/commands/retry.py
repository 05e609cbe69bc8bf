"""`medassets retry`: the shards whose last try failed, or lost samples to the machine."""

import click

from medassets.cli.console import Output
from medassets.cli.runner import build_dataset
from medassets.cli.selection import BuildOptions
from medassets.cli.session import Session


@click.command(name="retry")
@click.argument("dataset")
@click.option("--stage", default="", help="This stage of shards; without it, all there are.")
@click.option("--num-workers", type=click.IntRange(0), default=0, help="Threads; 0: one per core.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(dataset: str, stage: str, num_workers: int, *, as_json: bool) -> int:
    """Try the failed and lost shards of DATASET again, of every stage that was ever begun.

    And those that lack samples for what may pass: a decoder hung or was killed, or the system did
    not let a file be read.
    """
    options = BuildOptions(
        num_workers=num_workers, failed=True, refresh=False, stage=stage, live=True
    )
    return build_dataset(Session(), Output(as_json), dataset, options)
