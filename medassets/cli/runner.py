"""The work behind `build`, `retry` and `demo`: selects shards and runs one job for each."""

import os
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import accumulate
from operator import or_
from typing import Any

from medassets.assets.reconcile import restore_partitions
from medassets.cli.build_log import BuildLog, open_build_log
from medassets.cli.build_report import BuildReport, tell_report
from medassets.cli.console import Output, ProgressView, showing_progress
from medassets.cli.ending import interrupted_code
from medassets.cli.main import EXIT_FAILED, exit_code_of
from medassets.cli.notes.sources import (
    explain_demo,
    explain_empty,
    find_table_problems,
)
from medassets.cli.reclaiming import (
    ask_for_confirmation,
    check_may_delete,
    count_excluded,
    list_recorded,
    reclaim_config,
    report_if_done,
)
from medassets.cli.run_result import RunResult
from medassets.cli.selection import (
    BuildOptions,
    Round,
    Selection,
    check_options,
    plan_rounds,
    select_shards,
)
from medassets.cli.session import Session
from medassets.datasets.accounts import take_accounts
from medassets.datasets.build import open_ahead
from medassets.datasets.manifests.problems import explain_kept
from medassets.datasets.manifests.publication import survey_dataset
from medassets.datasets.preflight import check_ready
from medassets.datasets.recovery.restore import (
    explain_loss,
    find_lost_shards,
    require_newest_plan,
)
from medassets.datasets.upstream.move import Upstream, read_upstream
from medassets.errors import (
    CatalogError,
    DiskSpaceError,
    MedassetsError,
    SourceAccessError,
    SourceUnavailableError,
    UsageError,
)
from medassets.io_managers.failures import MOST_SILENT
from medassets.reclaim.claims import Needs
from medassets.reclaim.disk_peak import check_peak
from medassets.reclaim.remaining import find_remaining, measure_deletable
from medassets.shards.account import Account, Left, join_accounts
from medassets.shards.files import read_whole_record
from medassets.stages import CommonStage, VideoStage, VolumeStage

# Every further shard would fail in the same way.
_FATAL = (SourceAccessError, DiskSpaceError, UsageError)
# Ctrl-C at the end of any other job is reported at once, of these with the shard's result.
_SHARD_JOBS = ("build", "clip", "process")


def build_dataset(session: Session, output: Output, dataset: str, options: BuildOptions) -> int:
    """Refresh the catalog, build the shards asked for, write the manifest.

    Returns:
        Exit code: 0, or that of the first thing that failed; every failed shard is named. 1, too,
        when the plan is empty.

    Raises:
        UsageError: If the dataset, a split or a partition is unknown, or the shard size another.
        CatalogError: If there is no catalog and none is to be made.
        MedassetsError: Any other error, before the build has done anything.
    """
    start = time.monotonic()
    report = BuildReport(dataset)
    report.reclaimed.is_confirmed = options.delete_sources and options.yes
    log = open_build_log(dataset, asdict(options))
    build = _Build(session, output, report, options, log)
    try:
        code = build.run()
    except KeyboardInterrupt:
        report.interrupted = True
        code = interrupted_code()
    except MedassetsError as error:
        if not report.did_something:
            log.write("end", error=str(error))
            log.close()
            raise
        # What was built and deleted before must be reported too.
        report.error, code = str(error), exit_code_of(type(error))
    report.accounts = build.take_accounts()
    build.take_survey()
    build.find_kept()
    build.count_remaining()
    report.seconds = round(time.monotonic() - start, 3)
    tell_report(output, report, options, code)
    accounts = {stage: account.as_dict() for stage, account in report.accounts.items()}
    log.write("end", code=code, error=report.error, seconds=report.seconds, accounts=accounts)
    log.close()
    return code


@dataclass
class _Build:
    """One build in progress."""

    session: Session
    output: Output
    report: BuildReport
    options: BuildOptions
    log: BuildLog
    code: int = 0
    may_delete: bool = False

    def run(self) -> int:
        dataset, options, report = self.report.dataset, self.options, self.report
        check_options(self.session.workspace(dataset), options)
        if options.delete_sources:
            check_may_delete(self.session.workspace(dataset), self.session.others(dataset))
        rounds = plan_rounds(self.session, dataset, options)
        report.stages = [stage for one in rounds for stage in one.stages]
        check_ready((self.session.kind(dataset, s) for s in report.stages), device=options.device)
        if options.device and VideoStage.FRAMES not in report.stages:
            self.output.warn("--device: it decodes frames only; clips are cut on the CPU")
        if options.refresh:
            self._tell_of_lost_plan()
            before = self._read_upstream()
            refreshed = self._execute("catalog", config=_catalog_config(dataset, options))
            if not refreshed.ok:
                self._note_failure(CommonStage.CATALOG, refreshed)
                return self.code
            report.has_moved = before is not None and before != self._read_upstream()
        if not self._read_plan():
            return EXIT_FAILED
        if not options.refresh:
            require_newest_plan(self.session.workspace(dataset))
            # A refresh makes them known; this home may be new.
            restore_partitions(self.session.workspace(dataset), self.session.instance)
        if options.delete_sources:
            self._ask()
        for one in rounds:
            selection = select_shards(self.session, dataset, options, one.stages)
            report.kept += selection.num_kept
            report.left += selection.num_left
            if not self._make_shards(one, selection, named=one is not rounds[-1]):
                break
        if self.session.stages(dataset)[0] not in report.stages:
            # The manifest lists the shards to train on.
            return self.code
        if report.built or report.recorded or options.refresh or options.allow_shrink:
            written = self._execute("manifest", config=self._manifest_config())
            if not written.ok:
                self._note_failure(CommonStage.MANIFEST, written)
        return self.code

    def _tell_of_lost_plan(self) -> None:
        """Say that the refresh restores a plan from records: its file is gone or too old."""
        workspace = self.session.workspace(self.report.dataset)
        has_plan = os.path.lexists(workspace.paths.catalog)
        lost = find_lost_shards(workspace, workspace.read_plan() if has_plan else None)
        if lost:
            self.output.warn(explain_loss(workspace, list(lost)))

    def _manifest_config(self) -> dict[str, Any]:
        dataset = self.report.dataset
        is_video = VideoStage.FRAMES in self.session.stages(dataset)
        name = VideoStage.DATASET_INFO if is_video else CommonStage.MANIFEST
        return {f"{dataset}__{name}": {"allow_shrink": self.options.allow_shrink}}

    def _ask(self) -> None:
        """Ask whether sources may be deleted; the catalog says how many these are."""
        dataset, report = self.report.dataset, self.report
        workspace, others = self.session.workspace(dataset), self.session.others(dataset)
        self.may_delete = ask_for_confirmation(
            self.output,
            dataset,
            measure_deletable(workspace, Needs(workspace, others)),
            yes=self.options.yes,
            otherwise="shards are built, and no source is deleted",
        )
        report.reclaimed.is_confirmed = self.may_delete
        if self.may_delete:
            report.reclaimed.excluded = count_excluded(workspace)
            check_peak(workspace, others)

    def count_remaining(self) -> None:
        """Note the source files that are still there, those of failed shards among them.

        A build that was interrupted tells of the files that it looked at.
        """
        if self.may_delete and not self.report.interrupted:
            workspace = self.session.workspace(self.report.dataset)
            reclaimed = self.report.reclaimed
            reclaimed.remaining = find_remaining(
                workspace, reclaimed.reports, failed=self.report.failed
            )

    def _read_upstream(self) -> Upstream | None:
        workspace = self.session.workspace(self.report.dataset)
        if not workspace.paths.catalog.exists():
            return None
        return read_upstream(workspace.read_figures().schema.metadata)

    def take_accounts(self) -> dict[str, Account]:
        """Return the account of each stage that was looked at; empty without a usable catalog."""
        accounts: dict[str, Account] = {}
        # The build has told already that the catalog is missing or cannot be read.
        with suppress(CatalogError):
            for stage in self.report.stages:
                workspace = self.session.workspace(self.report.dataset, stage)
                accounts[stage] = join_accounts(take_accounts(workspace).values())
        return accounts

    def find_kept(self) -> None:
        """Note why manifests stay as they are while shards are stale."""
        account = self.report.account
        if account is None or not account.left.get(Left.STALE):
            return
        workspace = self.session.workspace(self.report.dataset)
        if CommonStage.MANIFEST not in self.report.failed:
            self.report.manifests_kept = explain_kept(workspace)

    def take_survey(self) -> None:
        """Note what the samples of all shards have in common, and doubts about them."""
        with suppress(CatalogError):
            self.report.survey = survey_dataset(self.session.workspace(self.report.dataset))

    def _read_plan(self) -> bool:
        """Note what the catalog leaves out; return whether there is anything to build."""
        report, workspace = self.report, self.session.workspace(self.report.dataset)
        plan = workspace.read_plan()
        report.upstream = self._read_upstream()
        report.held, report.excluded = plan.num_held, plan.excluded_by_reason()
        report.table_problems = find_table_problems(workspace.kind, workspace.read_figures())
        if plan.partitions or self.options.live:
            return True
        rows = workspace.read_exclusions()
        report.error = explain_empty(workspace, rows, num_held=plan.num_held)
        return False

    def _make_shards(self, one: Round, selection: Selection, *, named: bool) -> bool:
        """Run the job once per shard; return False if the next shards would fail in the same way."""
        num_silent = 0
        total = sum(selection.chosen.values())
        stage = one.stages[-1]
        title = f"{self.report.dataset}: {stage}" if named else self.report.dataset
        forced = {key: _find_forced(one, key, self.options, selection) for key in selection.chosen}
        again = [key for key, stages in forced.items() if stage in stages]
        workspace = self.session.workspace(self.report.dataset, stage)
        with (
            showing_progress(self.output, title, total) as progress,
            self._counting_bytes(progress),
            open_ahead(workspace, list(selection.chosen), forced=again) as ahead,
            ahead.serving(),
        ):
            self.report.reclaimed.reports = progress.reclaimed
            # Free space first: delete the sources of complete shards.
            for key in selection.kept if self.may_delete else ():
                self._reclaim(key)
            for key, count in selection.chosen.items():
                name = f"{stage}/{key}" if named else key
                result = self._make_shard(
                    one, key, progress, name=name, count=count, forced=forced[key]
                )
                if result.ok and self.may_delete:
                    self._reclaim(key)
                num_silent = (
                    num_silent + 1 if issubclass(result.kind, SourceUnavailableError) else 0
                )
                if issubclass(result.kind, _FATAL) or num_silent == MOST_SILENT:
                    self.output.warn(
                        "stopped here: the other shards would fail for the same reason"
                    )
                    return False
            for report in [one for one in self.report.reclaimed.reports if one.is_waiting]:
                self.report.reclaimed.reports.remove(report)
                self._reclaim(report.partition_key)
        return True

    @contextmanager
    def _counting_bytes(self, progress: ProgressView) -> Iterator[None]:
        try:
            yield
        finally:
            self.report.fetched_bytes += progress.staged_bytes

    def _make_shard(
        self,
        one: Round,
        key: str,
        progress: ProgressView,
        *,
        name: str,
        count: int,
        forced: Collection[str],
    ) -> RunResult:
        dataset, options = self.report.dataset, self.options
        decoder = options.decoder_config()
        self.log.write("shard_begin", stage=one.stages[-1], partition=key, samples=count)
        started = time.monotonic()
        result = self._execute(
            one.job,
            partition=key,
            config={
                f"{dataset}__{stage}": {
                    "num_workers": options.num_workers,
                    "force": stage in forced,
                }
                for stage in one.stages
            },
            resources={"video_decoder": {"config": decoder}} if decoder else {},
        )
        self.log.write(
            "shard_end",
            stage=one.stages[-1],
            partition=key,
            ok=result.ok,
            adopted=result.adopted,
            run=result.run_id,
            seconds=round(time.monotonic() - started, 3),
            **self._describe_made(one.stages[-1], key, result),
        )
        if not result.ok:
            self._note_failure(name, result)
            progress.finish_shard(count, f"{name} failed")
            return result
        if result.adopted:
            self.report.recorded.append(name)
        else:
            self._count_built(one.stages[-1], key, name)
        progress.finish_shard(count, f"{name} {'recorded' if result.adopted else 'built'}")
        if result.interrupted:
            raise KeyboardInterrupt
        return result

    def _describe_made(self, stage: str, key: str, result: RunResult) -> dict[str, Any]:
        """Return what the log notes of a shard: its samples and rejections, or the error."""
        if not result.ok:
            return {"error": result.error}
        record = read_whole_record(self.session.workspace(self.report.dataset, stage).paths, key)
        if record is None:
            return {}
        return {
            "samples": record.num_samples,
            "bytes": record.size_bytes,
            "rejected": record.rejected_by_reason(),
        }

    @cached_property
    def _recorded(self) -> Collection[str]:
        return list_recorded(self.session, self.report.dataset)

    def _reclaim(self, key: str) -> None:
        """Delete the sources of a whole shard that are proven to be in it."""
        dataset = self.report.dataset
        done = report_if_done(self.session.workspace(dataset), key, self._recorded)
        if done is not None:
            self.report.reclaimed.reports.append(done)
            return
        config = reclaim_config(dataset, self.options.num_workers)
        result = self._execute("reclaim", partition=key, config=config)
        if not result.ok:
            self._note_failure(f"{VolumeStage.RECLAIMED_SOURCES}/{key}", result)

    def _execute(self, job: str, **settings: Any) -> RunResult:
        result = self.session.run(f"{self.report.dataset}_{job}", **settings)
        if result.interrupted and (job not in _SHARD_JOBS or not result.ok):
            raise KeyboardInterrupt
        return result

    def _note_failure(self, what: str, result: RunResult) -> None:
        self.report.failed[what] = result.error
        self.log.write("failure", what=what, error=result.error)
        self.code = self.code or exit_code_of(result.kind)
        self.output.warn(f"{what}: {result.error}")
        if hint := explain_demo(result.error):
            self.output.warn(hint)
        if result.trace:
            self.output.warn(result.trace)

    def _count_built(self, stage: str, key: str, name: str) -> None:
        report = self.report
        report.built.append(name)
        record = read_whole_record(self.session.workspace(report.dataset, stage).paths, key)
        if record is not None:
            report.num_samples += record.num_samples
            report.rejected.update(record.rejected_by_reason())
            report.num_bytes += record.size_bytes


def _find_forced(one: Round, key: str, options: BuildOptions, selection: Selection) -> list[str]:
    """Return the stages whose shard is rebuilt although it is complete."""
    if options.force:
        return list(one.stages)
    again = [key in selection.again.get(stage, ()) for stage in one.stages]
    # A shard that is made from a rebuilt shard is rebuilt too.
    return [stage for stage, after in zip(one.stages, accumulate(again, or_), strict=True) if after]


def _catalog_config(dataset: str, options: BuildOptions) -> dict[str, Any]:
    settings = {
        "limit": options.limit,
        "limit_splits": list(options.splits) or None if options.limit else None,
        "samples_per_shard": options.samples_per_shard,
        "settings": dict(options.settings) or None,
        "revision": options.revision or None,
        "update": options.update or None,
    }
    return {f"{dataset}__catalog": {k: v for k, v in settings.items() if v is not None}}
