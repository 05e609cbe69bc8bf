"""The catalog as a file, and its partition keys, made known by several builds at once."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets.io_managers.catalog import CatalogFile
from medassets_tests.io_managers.contract import UnpartitionedIOManagerContract, load_input
from medassets_tests.location import Location

pytestmark = pytest.mark.slow  # whole builds


class TestCatalog(UnpartitionedIOManagerContract):
    """The catalog of a folder that a test may change."""

    stage = "catalog"
    manager = "catalog_io_manager"

    @pytest.fixture
    def location(self, locate: Callable[..., Location], own_repository: Path) -> Location:
        location = locate(own_repository)
        location.materialize("catalog")
        return location

    def files(self, location: Location) -> list[Path]:
        return [location.workspace.paths.catalog]

    def expect(self, location: Location) -> Any:
        return CatalogFile(location.workspace.paths.catalog)

    def change(self, location: Location) -> Location:
        volume = sorted(Path(location.spec.folder).rglob("*.nii.gz"))[0]
        volume.write_bytes(volume.read_bytes() + b"\0")
        return location


def test_a_catalog_is_handed_over_unread(location: Location) -> None:
    path = location.workspace.paths.catalog
    assert load_input(location, "catalog_io_manager", "catalog") == CatalogFile(path)
    assert not path.exists()


def test_the_catalog_is_published_before_its_partitions_are_known(location: Location) -> None:
    location.materialize("catalog")
    location.instance.delete_dynamic_partition(location.spec.partitions_name, "valid-000001")
    # As after a kill between the two: the next refresh finds nothing new, and adds the key.
    location.materialize("catalog")
    assert "valid-000001" in location.keys


NUM_ROUNDS = 40


BUILDER = """
import os, sys, time
from pathlib import Path
import dagster as dg
from medassets.io_managers.catalog import sync_partitions

own, other = Path(sys.argv[1]), Path(sys.argv[2])
keys = [f"train-{n:06d}" for n in range(40)]
with dg.DagsterInstance.get() as instance:
    for number in range(int(sys.argv[3])):
        Path(f"{own}-{number}").touch()
        while not Path(f"{other}-{number}").exists():
            time.sleep(0.001)
        sync_partitions(instance, f"plan_{number}", keys, beside=own.with_name("catalog.parquet"))
        assert set(instance.get_dynamic_partitions(f"plan_{number}")) == set(keys)
"""


def test_two_builds_that_plan_at_once_both_succeed(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path)}
    opened = "import dagster as dg; dg.DagsterInstance.get().get_dynamic_partitions('any')"
    subprocess.run([sys.executable, "-c", opened], check=True, env=environment)
    places = [str(tmp_path / "a"), str(tmp_path / "b")]
    commands = [
        [sys.executable, "-c", BUILDER, *order, str(NUM_ROUNDS)] for order in (places, places[::-1])
    ]
    builders = [
        subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    said = [builder.communicate(timeout=120)[1] for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0], said
    assert not list(tmp_path.glob("*.lock"))
