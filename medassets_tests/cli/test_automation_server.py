"""An unattended dataset: real webserver, daemon, code server, schedule, and a local Hub."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from medassets.datasets.automation.attempts import Attempts, AttemptsLog
from medassets.instance.run_tags import AUTOMATED_TAG, LAUNCHED_BY_TAG
from medassets.storage.paths import DatasetPaths
from medassets.testing.ct_rate import make_ct_rate_repository
from medassets.testing.hub import LocalHub
from medassets_tests.cli.building import build_declared

pytestmark = pytest.mark.slow

DECLARATION = """
type: medassets.components.VolumeDatasetComponent
attributes:
  name: lungs
  repo_id: org/ct
  endpoint: {endpoint}
  splits: [train]
  hu_rule: none
  target_spacing_mm: [4.0, 4.0, 8.0]
  target_shape: [24, 20, 12]
  samples_per_shard: 3
  max_rejected_share: 0.3
  max_excluded_share: 1.0
  num_workers: 1
  automation: "on"
  catalog_cron: "* * * * *"
"""
LONGEST_WAIT_S = 400.0


@dataclass
class Site:
    """A served dataset without a user at work.

    Attributes:
        source: The Hub's repository.
        larger: The same with more patients.
        hub: The Hub.
        home: MEDASSETS_HOME.
    """

    source: Path
    larger: Path
    hub: LocalHub
    home: Path

    @property
    def folder(self) -> Path:
        """The folder of the shards."""
        return self.home / "data" / "lungs" / "train"

    def num_listed(self) -> int:
        """Return the number of samples that the manifest lists."""
        manifest = self.folder / "manifest.json"
        return json.loads(manifest.read_bytes())["total_samples"] if manifest.exists() else 0

    def num_files(self) -> int:
        """Return the number of volumes that the Hub has."""
        return len(list(self.source.rglob("*.nii.gz")))

    def shards(self) -> list[Path]:
        """Return the shards on disk."""
        return sorted(self.folder.glob("shard-*.tar"))

    def attempts(self) -> Attempts:
        """Return what automation noted."""
        return AttemptsLog(DatasetPaths(self.home / "data", "lungs")).read()

    def grow(self) -> None:
        """Let the Hub have more volumes, in a new commit."""
        for file in self.larger.rglob("*"):
            target = self.source / file.relative_to(self.larger)
            if file.is_file() and (file.suffix != ".gz" or not target.exists()):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, target)
        self.hub.refresh()

    def wait_until(self, is_so: Callable[[], bool]) -> list[int]:
        """Wait until something is so; return each number of samples that was listed meanwhile."""
        deadline, listed = time.monotonic() + LONGEST_WAIT_S, [self.num_listed()]
        while not is_so():
            assert time.monotonic() < deadline, self.attempts()
            if self.num_listed() != listed[-1]:
                listed.append(self.num_listed())
            time.sleep(0.2)
        return listed


@pytest.fixture
def site(
    running_ui: Callable[..., AbstractContextManager[Any]], home: Path, tmp_path: Path
) -> Iterator[Site]:
    """Serve a dataset that is automated, with short waits."""
    source, larger = tmp_path / "source", tmp_path / "larger"
    for folder, num_patients in ((source, 2), (larger, 3)):
        make_ct_rate_repository(
            folder, num_patients=num_patients, splits=("train",), special_rows=False
        )
    declaration = tmp_path / "declared" / "lungs" / "defs.yaml"
    declaration.parent.mkdir(parents=True)
    with LocalHub(source, "org/ct") as hub:
        declaration.write_text(DECLARATION.format(endpoint=hub.endpoint))
        variables = {
            "MEDASSETS_DEFS": str(tmp_path / "declared"),
            "MEDASSETS_RETRY_SECONDS": "20,40,60",
        }
        build_declared(tmp_path, "lungs")
        with running_ui(home, **variables):
            yield Site(source, larger, hub, home)


@pytest.mark.timeout(900)
def test_a_dataset_grows_and_outlives_an_outage_hands_off(site: Site) -> None:
    before = site.num_listed()
    # The clock reaches the next minute: the catalog is refreshed, the short last shard made anew.
    site.grow()
    listed = site.wait_until(lambda: site.num_listed() == site.num_files())
    assert min(listed) == before
    with dg.DagsterInstance.from_config(str(site.home / "dagster")) as instance:
        tags = {"dagster/schedule_name": "lungs_catalog_schedule"}
        assert instance.get_runs(dg.RunsFilter(job_name="lungs_catalog", tags=tags))

    # The Hub goes away with shards to make.
    endpoint, shards = site.hub.endpoint, site.shards()
    site.hub.close()
    for shard in shards:
        shard.unlink()
        shard.with_suffix(".json").unlink()
    site.wait_until(lambda: (away := site.attempts().away) is not None and away.looks > 1)
    assert site.shards() == []
    assert all(tries.failures == 0 for tries in site.attempts().tries.values())
    with LocalHub(site.source, "org/ct", port=int(endpoint.rpartition(":")[2])):
        site.wait_until(lambda: site.shards() == shards and site.attempts().away is None)
        site.wait_until(lambda: not site.attempts().tries)
    with dg.DagsterInstance.from_config(str(site.home / "dagster")) as instance:
        runs = [run for run in instance.get_runs() if LAUNCHED_BY_TAG not in run.tags]
        assert all(AUTOMATED_TAG in run.tags for run in runs)
