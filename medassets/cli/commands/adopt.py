"""`medassets adopt`: keep stale shards whose samples a build would make again to the same bytes."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

import click

from medassets.cli.completion import complete_datasets
from medassets.cli.console import Output
from medassets.cli.formatting import count_words
from medassets.cli.main import EXIT_FAILED, exit_code_of
from medassets.cli.selection import parse_partitions
from medassets.cli.session import Session
from medassets.datasets.staleness.adoption import Adoption, adopt_shard
from medassets.datasets.staleness.reasons import Today

_MOST_LINES = 20


@click.command(name="adopt")
@click.argument("dataset", shell_complete=complete_datasets)
@click.option("--stage", default="", help="Only this stage of shards; default: all stages.")
@click.option(
    "--partitions", help="Shards by key or range: valid-000000,train-000003..train-000009."
)
@click.option("--all", "every_sample", is_flag=True, help="Make every sample again to compare it.")
@click.option("--no-refresh", is_flag=True, help="Keep the catalog; do not look for changed files.")
@click.option("--dry-run", is_flag=True, help="Compare by the catalog as it is, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    dataset: str,
    stage: str,
    partitions: str | None,
    *,
    every_sample: bool,
    no_refresh: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Keep the stale shards of DATASET whose samples a build would make again to the same bytes.

    The catalog is refreshed first. Source files that were copied have another time, and a later version of this package may have
    another format version: both make shards stale. A file that has the digest of its samples is
    proof for them; where only a format version changed, the first sample of each shard is made again
    and compared (--all: every sample). Only the record is written anew. Exit code 1 if a stale shard
    is not adopted; `medassets build` makes those again.
    """
    output, session = Output(as_json), Session()
    session.kind(dataset)
    if not no_refresh and not dry_run:
        refreshed = session.run(f"{dataset}_catalog")
        if not refreshed.ok:
            output.warn(f"catalog: {refreshed.error}")
            return exit_code_of(refreshed.kind)
    names = [stage] if stage else _list_stages(session, dataset)
    found: list[tuple[str, Adoption]] = []
    for name in names:
        workspace = session.workspace(dataset, name)
        today = Today(workspace, workspace.read_plan())
        for key in parse_partitions(partitions, list(today.plan.partitions)):
            one = adopt_shard(today, key, every_sample=every_sample, dry_run=dry_run)
            if one is not None:
                found.append((name, one))
    refused = [one for _, one in found if one.refused]
    several = len(names) > 1
    shown = [replace(o, partition=f"{n}/{o.partition}") if several else o for n, o in found]
    for line in _describe(dataset, shown, dry_run=dry_run):
        output.say(line)
    output.result(
        {
            "dataset": dataset,
            "dry_run": dry_run,
            "shards": [{"stage": name, **asdict(one)} for name, one in found],
        }
    )
    return EXIT_FAILED if refused else 0


def _list_stages(session: Session, dataset: str) -> list[str]:
    """Return the stages with shards; those that others are made of come first."""
    order = session.build_stages(dataset)
    live = session.live_stages(dataset)
    return [*(name for name in order if name in live), *(n for n in live if n not in order)]


def _describe(dataset: str, found: Sequence[Adoption], *, dry_run: bool) -> Iterator[str]:
    adopted = [one for one in found if one.changes and not one.refused]
    noted = [one for one in found if not one.changes and not one.refused]
    refused = [one for one in found if one.refused]
    verb = "would be adopted" if dry_run else "adopted"
    yield f"{dataset}: {count_words(len(adopted), 'stale shard')} {verb}, {len(refused)} not"
    if noted:
        yield f"  {count_words(len(noted), 'record')} of current shards got the facts they were made from"
    for one in adopted[:_MOST_LINES]:
        yield f"  {one.partition}: {one.proof}"
    for one in refused[:_MOST_LINES]:
        yield f"  {one.partition}: not adopted: {one.refused}"
    hidden = max(len(adopted) - _MOST_LINES, 0) + max(len(refused) - _MOST_LINES, 0)
    if hidden:
        yield f"  and {count_words(hidden, 'more shard')} (--json lists all)"
    if adopted and not dry_run:
        yield f"`medassets build {dataset}` writes the manifests that list them"
