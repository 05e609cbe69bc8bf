"""Dagster's run launcher of one machine, which also sees that a run's process is gone.

`dagster.yaml` of a home names it: every process that opens the instance imports this module.
"""

import os
import signal

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError

# What a launcher is given and returns has no public name.
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus

from medassets.instance.run_processes import inspect_process
from medassets.instance.run_tags import LAUNCHER_TAG, PROCESS_TAG, format_tag
from medassets.storage.processes import Existence, ProcessIdentity, this_process


class LocalRunLauncher(dg.DefaultRunLauncher):
    """Launches runs through the code server as Dagster does, and looks after their processes."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Dagster's run monitoring asks `check_run_worker_health` about every started run."""
        return True

    def launch_run(self, context: LaunchRunContext) -> None:
        """Launch a run, and note the machine and process that did."""
        run_id = context.dagster_run.run_id
        self._instance.add_run_tags(run_id, {LAUNCHER_TAG: format_tag(this_process(), run_id)})
        super().launch_run(context)

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Tell Dagster whether the process of a started run is gone; it then fails the run.

        A run of a command, of another machine, or with a process not known yet counts as running.
        """
        found = inspect_process(self._instance, run)
        if found.existence is Existence.ENDED:
            return CheckRunHealthResult(WorkerStatus.FAILED, f"{found.detail}: it was killed")
        if found.process is not None:
            self._note_process(run, found.process)
        return CheckRunHealthResult(WorkerStatus.RUNNING)

    def _note_process(self, run: dg.DagsterRun, process: ProcessIdentity) -> None:
        """Tag a run with its process, which is then known whatever happens to the clock."""
        tag = format_tag(process, run.run_id)
        if run.tags.get(PROCESS_TAG) != tag:
            self._instance.add_run_tags(run.run_id, {PROCESS_TAG: tag})

    def terminate(self, run_id: str) -> bool:
        """Interrupt a run; its process is signalled where its code server cannot be asked.

        Returns:
            Whether the run will end, or has ended, as canceled.
        """
        try:
            if super().terminate(run_id):
                return True
        except DagsterUserCodeUnreachableError:
            # It died; its runs go on.
            pass
        return self._interrupt(run_id)

    def _interrupt(self, run_id: str) -> bool:
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        found = inspect_process(self._instance, run)
        if found.existence is Existence.ENDED:
            self._instance.report_run_canceled(run, f"its process was gone: {found.detail}")
            return True
        if found.process is None:
            return False
        try:
            os.kill(found.process.pid, signal.SIGINT)
        except (ProcessLookupError, PermissionError) as error:
            text = f"process {found.process.pid} cannot be interrupted: {error.strerror}"
            self._instance.report_engine_event(text, run, cls=type(self))
            return False
        return True
