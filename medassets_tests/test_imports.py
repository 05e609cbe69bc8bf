"""A training job pays nothing for the orchestrator, and definitions load without heavy modules."""

import subprocess
import sys

import pytest

PURE_ROOMS = (
    "medassets",
    "medassets.errors",
    "medassets.arrays",
    "medassets.specs",
    "medassets.samples",
    "medassets.storage",
    "medassets.sources.hub",
    "medassets.sources.folder",
    "medassets.sources.staging",
    "medassets.sources.webdataset",
    "medassets.volumes.catalog.ct_rate",
    "medassets.volumes.samples",
    "medassets.volumes.raw_samples",
    "medassets.volumes.catalog.npz_rows",
    "medassets.volumes.catalog.webdataset_rows",
    "medassets.shards.writer",
    "medassets.shards.catalog.planning",
    "medassets.shards.manifest",
    "medassets.exports.clip4mc",
    "medassets.exports.clips",
    "medassets.exports.merge_info",
    "medassets.datasets.volumes",
    "medassets.datasets.build",
    "medassets.reclaim.partition",
    "medassets.comparison.samples",
    "medassets.testing.hub",
)


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("room", PURE_ROOMS)
def test_a_pure_room_does_not_import_dagster(room: str) -> None:
    assert "dagster" not in modules_after(f"import {room}")


def test_definitions_load_without_the_heavy_modules() -> None:
    loaded = modules_after("from medassets.definitions import defs; defs()")
    assert "dagster" in loaded
    assert not {"torch", "webdataset", "numba", "av", "huggingface_hub", "pandas"} & loaded


def test_the_help_of_the_command_needs_neither_dagster_nor_torch() -> None:
    loaded = modules_after("from medassets.cli.main import run; run(['--version'])")
    assert not {"dagster", "torch"} & loaded


@pytest.mark.parametrize("name", ["medassets.loaders", "medassets.exports.windows"])
def test_other_systems_than_linux_are_told_at_import(name: str) -> None:
    code = f"import sys, torch; sys.platform = 'win32'; import {name}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "medassets runs on Linux, and this is win32: use WSL 2" in done.stderr.splitlines()[-1]
