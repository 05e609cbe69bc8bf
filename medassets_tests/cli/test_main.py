"""The command as a whole: help, exit codes, what a program gets to read."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from medassets.cli.main import COMMANDS, cli, exit_code_of
from medassets.errors import (
    CatalogError,
    DiskSpaceError,
    SourceAccessError,
    SourceUnavailableError,
    SpecError,
    TooManyRejectedError,
    UsageError,
)

Medassets = Callable[..., Any]
Declare = Callable[..., Path]

IMPORTED = """
import sys
from medassets.cli.main import run
code = run(sys.argv[1:])
print("modules", *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
sys.exit(code)
"""


def modules_after(*arguments: str) -> set[str]:
    ran = subprocess.run(
        [sys.executable, "-c", IMPORTED, *arguments],
        capture_output=True,
        text=True,
        timeout=400,
        check=True,
    )
    return set(ran.stderr.splitlines()[-1].split()[1:])


def test_help_lists_every_command_and_exit_code_without_dagster(medassets: Medassets) -> None:
    ran = medassets("--help")
    assert ran.code == 0
    for name, words in COMMANDS.items():
        assert f"  {name:<12}{words}" in ran.out
    assert "Exit codes:\n" in ran.out
    assert "130  interrupted; the next run continues" in ran.out
    assert "\\b" not in ran.out
    assert not {"dagster", "numpy", "rich", "huggingface_hub"} & modules_after("--help")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_of_its_own(medassets: Medassets, name: str) -> None:
    ran = medassets(name, "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"Usage: medassets {name} [OPTIONS]")
    assert max(len(line) for line in ran.out.splitlines()) <= 80
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help or parameter.show_default, parameter.name


def test_python_m_medassets_is_the_same_command() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "medassets", "--version"],
        capture_output=True,
        text=True,
        timeout=400,
        check=True,
    )
    assert ran.stdout.startswith("medassets, version ")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (CatalogError, 1),
        (TooManyRejectedError, 1),
        (SpecError, 2),
        (UsageError, 2),
        (SourceAccessError, 3),
        (SourceUnavailableError, 3),
        (DiskSpaceError, 4),
    ],
)
def test_exit_codes_tell_the_sort_of_error(kind: type[Exception], code: int) -> None:
    assert exit_code_of(kind) == code


def test_an_unknown_command_is_wrong_use(medassets: Medassets) -> None:
    ran = medassets("frobnicate")
    assert ran.code == 2
    assert "No such command 'frobnicate'" in ran.err


@pytest.mark.slow
def test_a_build_imports_no_more_than_it_needs(lungs: Declare) -> None:
    # pandas is not among them: pyarrow imports it by itself where it is installed.
    unwanted = {"torch", "webdataset", "ray", "av", "SimpleITK", "dagster_webserver"}
    building = modules_after("build", "lungs", "--limit", "1")
    assert not unwanted & building
    assert "numba" in building
    # Nothing is encoded, so nothing is compiled.
    assert not (unwanted | {"numba"}) & modules_after("build", "lungs", "--limit", "1")


def test_a_reader_that_goes_away_is_no_error(lungs: Declare) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "medassets", "validate"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ),
    )
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    with process.stderr as stderr:
        assert b"Traceback" not in stderr.read()
    process.wait(120)


@pytest.mark.parametrize("variable", ["MEDASSETS_HOME", "DAGSTER_HOME", "MEDASSETS_DEFS"])
def test_a_url_is_refused_where_a_folder_is_meant(
    medassets: Medassets, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, "s3://bucket/home")
    for command in (["build", "demo_ct"], ["doctor"]):
        ran = medassets(*command)
        assert ran.code == 2
        assert f"{variable}: " in ran.err
        assert "got the URL 's3://bucket/home'" in ran.err
    assert not (tmp_path / "s3:").exists()


def test_a_url_is_refused_as_out(
    medassets: Medassets, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = medassets("merge-info", __file__, "--out", "s3://bucket/all.json")
    assert ran.code == 2
    assert "--out: expected a folder or file of this machine" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_what_a_command_makes_in_a_home_is_its_owners_only(
    medassets: Medassets, home: Path
) -> None:
    previous = os.umask(0o022)
    try:
        assert medassets("doctor").code == 0
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(previous)
    made = [home, *home.rglob("*")]
    assert len(made) > 5
    assert {path for path in made if path.stat().st_mode & 0o077} == set()


def test_options_may_be_written_with_underscores(medassets: Medassets) -> None:
    ran = medassets("build", "nothing", "--samples_per_shard", "3", "--num_workers=2")
    assert ran.code == 2
    assert "nothing" in ran.err
    assert "No such option" not in ran.err


def test_an_unknown_command_names_the_nearest(medassets: Medassets) -> None:
    ran = medassets("bild")
    assert ran.code == 2
    assert "No such command 'bild'; did you mean build?" in ran.err
    assert "Did you mean" in medassets("build", "ct_rate", "--num-worker", "3").err
