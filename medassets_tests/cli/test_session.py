"""The instance and the declared datasets of one command."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from medassets_tests.cli.slow_build import SLOW, wait_for

Medassets = Callable[..., Any]
Declare = Callable[..., Path]


def test_an_unknown_dataset_is_told_with_those_that_are_known(
    medassets: Medassets, lungs: Declare
) -> None:
    for command in ("plan", "build", "status", "retry", "verify"):
        ran = medassets(command, "lung")
        assert ran.code == 2
        known = "clip4mc, ct_rate, demo_ct, demo_video, demo_windows, lungs"
        assert f"'lung' is not declared; declared: {known}" in ran.err


def test_a_home_that_cannot_be_written_is_a_clear_error(
    medassets: Medassets, lungs: Declare, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDASSETS_HOME", str(tmp_path / "file" / "home"))
    ran = medassets("build", "lungs")
    assert ran.code == 2
    assert ran.err.startswith("medassets: MEDASSETS_HOME: cannot keep a Dagster instance in ")


@pytest.mark.parametrize("text", ["telemetry: [", "telemetri: {enabled: false}"])
def test_a_broken_dagster_yaml_is_named(
    medassets: Medassets, lungs: Declare, home: Path, text: str
) -> None:
    file = home / "dagster" / "dagster.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    ran = medassets("build", "lungs")
    assert ran.code == 2
    assert ran.err.startswith(f"medassets: {file}: Dagster cannot use it: ")
    assert "Traceback" not in ran.err


@pytest.mark.slow
def test_a_killed_build_is_on_record_as_failed_once_the_next_command_looks(
    lungs: Declare, home: Path, tmp_path: Path
) -> None:
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


def test_a_dataset_that_is_nearly_named_is_suggested(medassets: Medassets) -> None:
    ran = medassets("status", "ct_rat")
    assert ran.code == 2
    assert "did you mean ct_rate?" in ran.err
