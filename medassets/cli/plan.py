"""`medassets plan`: what a build would cost; nothing is written."""

import click

from medassets.cli.console import Output
from medassets.cli.selection import check_shard_size
from medassets.cli.session import Session
from medassets.cli.source_notes import explain_empty, find_table_problems, list_reasons
from medassets.cli.words import count_words, format_bytes, format_seconds
from medassets.datasets.estimates import PlanEstimate, estimate_plan
from medassets.datasets.refresh import draft_catalog
from medassets.storage.disk import free_bytes


@click.command(name="plan")
@click.argument("dataset")
@click.option("--limit", type=click.IntRange(1), help="A trial: the first so many samples only.")
@click.option("--samples-per-shard", type=click.IntRange(1), help="Shard size.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    dataset: str, limit: int | None, samples_per_shard: int | None, *, as_json: bool
) -> int:
    """Read the tables of DATASET and say how many samples, bytes and hours a build takes."""
    output, workspace = Output(as_json), Session().workspace(dataset)
    check_shard_size(workspace, samples_per_shard)
    draft = draft_catalog(workspace, limit=limit, samples_per_shard=samples_per_shard)
    estimates = estimate_plan(workspace.kind, draft.table)
    free = free_bytes(workspace.paths.folder)
    _show(output, dataset, draft.source_uri, estimates, free)
    if excluded := draft.plan.excluded_by_reason():
        output.say(f"excluded: {list_reasons(excluded)}")
    if draft.plan.num_held:
        held = count_words(draft.plan.num_held, "sample")
        output.say(f"held for a build without --limit: {held}")
    problems = find_table_problems(workspace.kind, draft.table)
    for line in problems.lines():
        output.say(line)
    if not draft.plan.partitions:
        output.warn(explain_empty(workspace, draft.table, num_held=draft.plan.num_held))
    output.result(
        {
            "dataset": dataset,
            "source": draft.source_uri,
            "revision": draft.revision,
            "rows": draft.plan.num_rows,
            "held": draft.plan.num_held,
            "excluded": excluded,
            "table_problems": problems.as_dict(),
            "new_shards": draft.new_partitions,
            "free_bytes": free,
            "splits": {split: vars(estimate) for split, estimate in estimates.items()},
        }
    )
    return 0


def _show(
    output: Output, dataset: str, uri: str, estimates: dict[str, PlanEstimate], free: int
) -> None:
    rows = [
        [
            split,
            one.num_samples,
            one.num_shards,
            format_bytes(one.raw_bytes),
            format_bytes(one.shard_bytes),
            format_seconds(one.seconds),
        ]
        for split, one in estimates.items()
    ]
    columns = ["split", "samples", "shards", "to fetch", "on disk", "work, this machine"]
    output.table(f"{dataset} from {uri}", columns, rows)
    needed = sum(one.shard_bytes for one in estimates.values())
    verdict = "fits" if needed <= free else f"{format_bytes(needed - free)} too little"
    output.say(f"disk: {format_bytes(needed)} needed, {format_bytes(free)} free: {verdict}")
