"""`medassets reclaim`: delete sources that are proven to be in a shard."""

from pathlib import Path

import click

from medassets.cli.console import Output, showing_progress
from medassets.cli.main import EXIT_FAILED, EXIT_INTERRUPTED
from medassets.cli.reclaiming import (
    Reclaimed,
    ask_for_confirmation,
    list_recorded,
    look_at_done,
)
from medassets.cli.selection import parse_partitions
from medassets.cli.session import Session
from medassets.cli.words import count_words, format_bytes
from medassets.datasets.reclaim import CONFIRMATION, reclaim_partition
from medassets.datasets.reclaim_report import ReclaimReport
from medassets.datasets.source_files import SourceFile, open_source_folder
from medassets.datasets.workspace import Workspace
from medassets.errors import ReclaimError, SpecError
from medassets.shards.writer import read_whole_record

_MOST_FILES = 1000


@click.command(name="reclaim")
@click.argument("dataset")
@click.option(
    "--partitions", help="Shards by key or range: valid-000000,train-000003..train-000009."
)
@click.option("--delete-sources", is_flag=True, help="Delete; asks for the word DELETE.")
@click.option("--yes", is_flag=True, help="With --delete-sources: do not ask.")
@click.option("--num-workers", type=click.IntRange(0), default=0, help="Threads; 0: one per core.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    dataset: str,
    partitions: str | None,
    num_workers: int,
    *,
    delete_sources: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """List the source files of DATASET that are in whole shards, and with --delete-sources delete them.

    A file goes only after every sample of it was made again and equals what the shard holds on disk,
    byte by byte, and while it still has the size and time it was converted from.
    """
    output, session = Output(as_json), Session()
    workspace = session.workspace(dataset)
    check_may_delete(workspace)
    planned = list(workspace.read_plan().partitions)
    keys = parse_partitions(partitions, planned)
    made = [key for key in keys if read_whole_record(workspace.paths, key) is not None]
    if not delete_sources:
        return _list_only(output, workspace, made, len(keys) - len(made))
    if not ask_for_confirmation(output, dataset, yes=yes, otherwise="nothing was deleted"):
        output.result({"dataset": dataset, "confirmed": False, **Reclaimed().as_dict()})
        return EXIT_FAILED
    return _delete(session, output, dataset, made, num_workers)


def check_may_delete(workspace: Workspace) -> None:
    """Refuse to delete sources that the declaration keeps.

    Raises:
        SpecError: If it does.
    """
    spec = workspace.kind.spec
    if not getattr(spec, "delete_sources", False):
        msg = (
            f"delete_sources: the declaration of {spec.name} keeps its sources; write "
            f"`delete_sources: true` there to let them be deleted"
        )
        raise SpecError(msg)


def _list_only(output: Output, workspace: Workspace, keys: list[str], num_missing: int) -> int:
    dataset, found = workspace.kind.spec.name, Reclaimed()
    for key in keys:
        try:
            found.reports.append(reclaim_partition(workspace, key, confirmed=False))
        except ReclaimError as error:
            found.reports.append(ReclaimReport(key, confirmed=False, problems=[str(error)]))
    files = [file for report in found.reports for file in report.deletable]
    sizes = _sizes(open_source_folder(workspace), files)
    for path, size in list(sizes.items())[:_MOST_FILES]:
        output.say(f"{format_bytes(size):>10}  {path}")
    if len(files) > _MOST_FILES:
        output.say(f"and {len(files) - _MOST_FILES:,} more (--json lists all)")
    for line in found.troubles:
        output.warn(line)
    output.say(
        f"{dataset}: {count_words(len(files), 'source')} would be deleted, "
        f"{format_bytes(sum(sizes.values()))}; nothing was. `medassets reclaim {dataset} "
        f"--delete-sources` compares each with its shard, and deletes it"
    )
    if num_missing:
        output.say(f"  {count_words(num_missing, 'shard')} not made yet")
    for line in found.lines()[1:]:
        output.say(line)
    document = {"dataset": dataset, "confirmed": False, **found.as_dict()}
    output.result({**document, "would_free_bytes": sum(sizes.values())})
    return EXIT_FAILED if found.troubles else 0


def _sizes(folder: Path, files: list[SourceFile]) -> dict[str, int]:
    return {file.path: (folder / file.path).stat().st_size for file in files}


def _delete(
    session: Session, output: Output, dataset: str, keys: list[str], num_workers: int
) -> int:
    workspace, recorded = session.workspace(dataset), list_recorded(session, dataset)
    looked_at = {key: look_at_done(workspace, key, recorded) for key in keys}
    pending = [key for key, done in looked_at.items() if done is None]
    code, interrupted = 0, False
    with showing_progress(output, dataset, len(pending), noun="shard") as progress:
        try:
            for key in pending:
                result = session.run(
                    f"{dataset}_reclaim",
                    partition=key,
                    config=reclaim_config(dataset, num_workers),
                )
                if not result.ok:
                    code = EXIT_FAILED
                    output.warn(f"{key}: {result.error}")
                progress.finish_shard(1, key)
                if result.interrupted:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            code, interrupted = EXIT_INTERRUPTED, True
        done = [report for report in looked_at.values() if report is not None]
        found = Reclaimed([*done, *progress.reclaimed])
    for line in found.lines():
        output.say(line)
    if interrupted:
        gone = "; ".join(line.strip() for line in found.lines()) or "no source deleted"
        again = f"`medassets reclaim {dataset} --delete-sources` continues"
        output.warn(f"interrupted after {gone}; {again}")
    output.result(
        {"dataset": dataset, "confirmed": True, "interrupted": interrupted, **found.as_dict()}
    )
    return code


def reclaim_config(dataset: str, num_workers: int) -> dict[str, dict[str, object]]:
    """Return the config of a run that may delete."""
    settings = {"confirm": CONFIRMATION, "num_workers": num_workers}
    return {f"{dataset}__reclaimed_sources": settings}
