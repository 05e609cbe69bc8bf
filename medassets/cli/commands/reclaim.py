"""`medassets reclaim`: delete sources that are proven to be in a shard."""

from dataclasses import dataclass

import click

from medassets.cli.completion import complete_datasets
from medassets.cli.console import Output, showing_progress
from medassets.cli.ending import interrupted_code
from medassets.cli.formatting import count_words, format_bytes
from medassets.cli.main import EXIT_FAILED, exit_code_of
from medassets.cli.reclaiming import (
    Reclaimed,
    ask_for_confirmation,
    check_may_delete,
    count_excluded,
    list_recorded,
    reclaim_config,
    report_if_done,
)
from medassets.cli.selection import parse_partitions
from medassets.cli.session import Session
from medassets.datasets.workspace import Workspace
from medassets.errors import MedassetsError, ReclaimError
from medassets.reclaim.claims import Needs, Others
from medassets.reclaim.partition import finish_all_interrupted, reclaim_partition
from medassets.reclaim.remaining import find_remaining, measure_deletable
from medassets.reclaim.report import ReclaimReport
from medassets.reclaim.units import measure_unit, open_unit
from medassets.shards.files import read_whole_record

_MOST_FILES = 1000


@click.command(name="reclaim")
@click.argument("dataset", shell_complete=complete_datasets)
@click.option(
    "--partitions", help="Shards by key or range: valid-000000,train-000003..train-000009."
)
@click.option("--delete-sources", is_flag=True, help="Delete; asks for the word DELETE.")
@click.option("--yes", is_flag=True, help="With --delete-sources: do not ask.")
@click.option(
    "--num-workers", type=click.IntRange(0), default=0, help="Threads; 0 means one per core."
)
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

    A file is deleted only after each of its samples was made again and equals the sample in the
    shard byte by byte, and only if its size and time did not change since it was converted.
    """
    output, session = Output(as_json), Session()
    if not delete_sources:
        workspace, others = session.workspace(dataset), session.others(dataset)
        check_may_delete(workspace, others)
        return _list_only(output, workspace, others, _find_keys(workspace, partitions))
    deletion = _Deletion(session, output, dataset, num_workers, Reclaimed(is_confirmed=yes))
    try:
        deletion.run(partitions)
    except KeyboardInterrupt:
        deletion.code, deletion.interrupted = interrupted_code(), True
    except MedassetsError as error:
        if not deletion.found.reports:
            raise
        # What was deleted before must be reported too.
        deletion.error, deletion.code = str(error), exit_code_of(type(error))
    deletion.tell()
    return deletion.code


def _find_keys(workspace: Workspace, partitions: str | None) -> list[str]:
    return parse_partitions(partitions, list(workspace.read_plan().partitions))


def _find_made(workspace: Workspace, keys: list[str]) -> list[str]:
    return [key for key in keys if read_whole_record(workspace.paths, key) is not None]


def _list_only(output: Output, workspace: Workspace, others: Others, keys: list[str]) -> int:
    dataset, found = workspace.kind.spec.name, Reclaimed(excluded=count_excluded(workspace))
    made = _find_made(workspace, keys)
    for key in made:
        try:
            found.reports.append(reclaim_partition(workspace, key, confirmed=False, others=others))
        except ReclaimError as error:
            found.reports.append(ReclaimReport(key, confirmed=False, problems=[str(error)]))
    files = [file for report in found.reports for file in report.deletable]
    units = {file.path: measure_unit(open_unit(workspace, file.path)) for file in files}
    for path, (number, size) in list(units.items())[:_MOST_FILES]:
        many = f"  ({number:,} files)" if number > 1 else ""
        output.say(f"{format_bytes(size):>10}  {path}{many}")
    num_bytes = sum(size for _, size in units.values())
    if len(files) > _MOST_FILES:
        output.say(f"and {len(files) - _MOST_FILES:,} more (--json lists all)")
    for line in found.troubles:
        output.warn(line)
    output.say(
        f"{dataset}: {count_words(len(files), 'source')} would be deleted, "
        f"{format_bytes(num_bytes)}; nothing was. `medassets reclaim {dataset} "
        f"--delete-sources` compares each with its shard, and deletes it"
    )
    if num_missing := len(keys) - len(made):
        output.say(f"  {count_words(num_missing, 'shard')} not made yet")
    for line in found.lines()[1:]:
        output.say(line)
    output.result(
        {
            "dataset": dataset,
            "confirmed": False,
            "excluded": found.excluded,
            **found.as_dict(),
            "would_free_bytes": num_bytes,
        }
    )
    return EXIT_FAILED if found.troubles else 0


@dataclass
class _Deletion:
    """One command that deletes, in progress.

    Attributes:
        session: The command's.
        output: Where its result goes.
        dataset: Whose sources.
        num_workers: Threads that compare.
        found: What became of them; confirmed from the start if the command line says so.
        code: Exit code; that of the first thing that failed.
        error: Error that stopped the command before the last shard.
        interrupted: The user stopped it.
    """

    session: Session
    output: Output
    dataset: str
    num_workers: int
    found: Reclaimed
    code: int = 0
    error: str = ""
    interrupted: bool = False

    def run(self, partitions: str | None) -> None:
        """Ask, refresh the catalog, then delete shard by shard.

        Raises:
            UsageError: If the declaration keeps its sources, or a partition is unknown.
            ReclaimError: If it cannot be told what another dataset needs.
            CatalogError: If there is no catalog.
            DiskSpaceError: If there is no room for Dagster's record.
        """
        workspace = self.session.workspace(self.dataset)
        others = self.session.others(self.dataset)
        check_may_delete(workspace, others)
        keys = _find_keys(workspace, partitions)
        made = _find_made(workspace, keys)
        self.found.is_confirmed = ask_for_confirmation(
            self.output,
            self.dataset,
            measure_deletable(workspace, Needs(workspace, others), partitions=made),
            yes=self.found.is_confirmed,
            otherwise="nothing was deleted",
        )
        if not self.found.is_confirmed:
            self.code = EXIT_FAILED
            return
        finish_all_interrupted(workspace)
        if not self._refresh(workspace):
            return
        self.found.excluded = count_excluded(workspace)
        recorded = list_recorded(self.session, self.dataset)
        looked_at = {
            key: report_if_done(workspace, key, recorded) for key in _find_made(workspace, keys)
        }
        self.found.reports = [report for report in looked_at.values() if report is not None]
        pending = [key for key, done in looked_at.items() if done is None]
        with showing_progress(self.output, self.dataset, len(pending), noun="shard") as progress:
            # One list, so that what is deleted is told however this ends.
            progress.reclaimed += self.found.reports
            self.found.reports = progress.reclaimed
            for key in pending:
                self._reclaim(key)
                progress.finish_shard(1, key)
        self.found.remaining = find_remaining(
            workspace, self.found.reports, failed=(), partitions=keys
        )

    def _refresh(self, workspace: Workspace) -> bool:
        """Refresh the catalog; return whether it succeeded.

        Later it is not possible: a shard whose sources were deleted is never rebuilt. Rows that a
        limit holds stay held; only a build plans them.
        """
        limit = sum(workspace.read_plan().partitions.values())
        config = {f"{self.dataset}__catalog": {"limit": limit}}
        result = self.session.run(f"{self.dataset}_catalog", config=config)
        if result.interrupted:
            raise KeyboardInterrupt
        if not result.ok:
            self.error, self.code = f"catalog: {result.error}", exit_code_of(result.kind)
            if result.trace:
                self.output.warn(result.trace)
        return result.ok

    def _reclaim(self, key: str) -> None:
        config = reclaim_config(self.dataset, self.num_workers)
        result = self.session.run(f"{self.dataset}_reclaim", partition=key, config=config)
        if not result.ok and not result.interrupted:
            self.code = self.code or exit_code_of(result.kind)
            self.output.warn(f"{key}: {result.error}")
        if result.interrupted:
            raise KeyboardInterrupt

    def tell(self) -> None:
        """Say what was deleted and kept, in the last line and in the document."""
        for line in self.found.lines():
            self.output.say(line)
        if self.error:
            self.output.warn(self.error)
        if self.error or self.interrupted:
            self.output.warn(
                f"{'interrupted' if self.interrupted else 'stopped'} after "
                f"{self.found.line() or 'no source deleted'}; "
                f"`medassets reclaim {self.dataset} --delete-sources` continues"
            )
        ended = {"error": self.error, "exit_code": self.code} if self.error else {}
        self.output.result(
            {
                "dataset": self.dataset,
                "confirmed": self.found.is_confirmed,
                "interrupted": self.interrupted,
                "excluded": self.found.excluded,
                **self.found.as_dict(),
                **ended,
            }
        )
