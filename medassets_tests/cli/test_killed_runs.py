"""Runs whose process was killed are put on record as failed."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from medassets_tests.cli.slow_build import SLOW, wait_for

Declare = Callable[..., Path]


@pytest.mark.slow
def test_a_killed_build_is_on_record_as_failed_once_the_next_command_looks(
    lungs: Declare, home: Path, tmp_path: Path
) -> None:
    import dagster as dg

    lungs()
    command = [sys.executable, "-c", SLOW, "build", "lungs"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(home.glob("data/lungs/*/.*.partial")), process)
    process.kill()
    process.communicate()
    status = [sys.executable, "-m", "medassets", "status", "lungs", "--json"]
    shown = json.loads(subprocess.run(status, capture_output=True, text=True).stdout)
    assert "failed" in shown["counts"]
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        statuses = {run.status for run in instance.get_runs()}
    assert statuses == {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}
