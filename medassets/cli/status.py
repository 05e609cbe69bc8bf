"""`medassets status`: what is done, and what is left to do."""

from collections import Counter

import click

from medassets.cli.console import Output
from medassets.cli.main import EXIT_FAILED
from medassets.cli.session import Session
from medassets.datasets.status import ShardState, shard_states
from medassets.storage.paths import split_partition_key


@click.command(name="status")
@click.argument("dataset")
@click.option("--split", multiple=True, help="Only shards of this split; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(dataset: str, split: tuple[str, ...], *, as_json: bool) -> int:
    """Show the state of every shard of DATASET.

    Exit code 1 when a shard failed, is lost or is stale; missing ones are only work to do.
    """
    output, session = Output(as_json), Session()
    workspace = session.workspace(dataset)
    plan = workspace.read_plan()
    states = shard_states(workspace, session.recorded(dataset, list(plan.partitions)))
    if split:
        states = {k: s for k, s in states.items() if split_partition_key(k)[0] in split}
    counts: dict[str, Counter[ShardState]] = {}
    for key, state in states.items():
        counts.setdefault(split_partition_key(key)[0], Counter())[state] += 1
    rows = [[name, *(count[state] for state in ShardState)] for name, count in counts.items()]
    output.table(f"{dataset}: shards", ["split", *ShardState], rows)
    left = {key: state for key, state in states.items() if state is not ShardState.DONE}
    for key, state in list(left.items())[:20]:
        output.say(f"  {key}: {state}")
    if len(left) > 20:
        output.say(f"  ... and {len(left) - 20} more; --json lists all")
    output.result(
        {
            "dataset": dataset,
            "samples": {"planned": sum(plan.partitions.values()), "held": plan.num_held},
            "excluded": plan.excluded_by_reason(),
            "shards": dict(states),
        }
    )
    bad = {ShardState.FAILED, ShardState.LOST, ShardState.STALE}
    return EXIT_FAILED if bad & set(states.values()) else 0
