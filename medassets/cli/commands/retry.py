"""`medassets retry`: rebuilds shards that failed, are lost, or lack samples because of a transient failure."""

import click

from medassets.cli.completion import complete_datasets
from medassets.cli.console import Output
from medassets.cli.runner import build_dataset
from medassets.cli.selection import BuildOptions
from medassets.cli.session import Session


@click.command(name="retry")
@click.argument("dataset", shell_complete=complete_datasets)
@click.option("--stage", default="", help="Only this stage of shards.  [default: all]")
@click.option(
    "--num-workers", type=click.IntRange(0), default=0, help="Threads; 0 means one per core."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(dataset: str, stage: str, num_workers: int, *, as_json: bool) -> int:
    """Retry the failed and lost shards of DATASET, in every stage that has shards.

    Also rebuilds shards that lack samples because of a transient failure: a decoder that hung or
    was killed, or a file that the system could not read; or of a missing file that is back.
    """
    options = BuildOptions(
        num_workers=num_workers, failed=True, refresh=False, stage=stage, live=True
    )
    return build_dataset(Session(), Output(as_json), dataset, options)
