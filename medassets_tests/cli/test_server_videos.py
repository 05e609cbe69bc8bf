"""Videos as a user of the UI builds them: real webserver, daemon, code server and instance."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from medassets.testing.clip4mc import SyntheticVideos, make_clip4mc_folder
from medassets_tests.cli.test_server import (
    BACKFILL,
    LAUNCH_BACKFILL,
    LAUNCH_JOB,
    PARTITIONS,
    RUN,
    SELECTOR,
)

pytestmark = pytest.mark.slow

# The job that the UI takes for a selection of assets.
ASSET_JOB = "__ASSET_JOB"
PARTITION_TAG = "dagster/partition"
GROUPS = """{ assetNodes { assetKey { path } groupName jobNames } }"""


@dataclass(frozen=True)
class Site:
    """A served dataset of videos: its UI and its folder."""

    ui: Any
    folder: Path
    films: SyntheticVideos

    def group(self) -> list[dict[str, Any]]:
        """Return the assets that *Materialize all* of the dataset's group is about."""
        nodes = self.ui.ask(GROUPS)["assetNodes"]
        found = [node for node in nodes if node["groupName"] == "films"]
        assert all(ASSET_JOB in node["jobNames"] for node in found)
        return [node["assetKey"] for node in found]

    def keys(self) -> list[str]:
        """Return the partition keys that the dialog offers."""
        node = self.ui.ask(PARTITIONS, key={"path": ["films", "frames"]})["assetNodeOrError"]
        return node["partitionKeys"]

    def materialize(self, assets: list[dict[str, Any]], partition: str = "") -> str:
        """Launch one run, as the UI does without partitions or with one; return how it ended."""
        tags = [{"key": PARTITION_TAG, "value": partition}] if partition else []
        selector = {**SELECTOR, "jobName": ASSET_JOB, "assetSelection": assets}
        params = {"selector": selector, "mode": "default", "executionMetadata": {"tags": tags}}
        (result,) = self.ui.ask(LAUNCH_JOB, params=params).values()
        assert result["__typename"] == "LaunchRunSuccess", result
        deadline = time.monotonic() + 400
        while time.monotonic() < deadline:
            status = self.ui.ask(RUN, id=result["run"]["runId"])["runOrError"]["status"]
            if status in ("SUCCESS", "FAILURE", "CANCELED"):
                return status
            time.sleep(0.3)
        raise AssertionError(result)

    def backfill(self, assets: list[dict[str, Any]], partitions: list[str]) -> str:
        """Launch what the UI launches for several partitions; return how it ended."""
        params = {"assetSelection": assets, "partitionNames": partitions, "fromFailure": False}
        (result,) = self.ui.ask(LAUNCH_BACKFILL, params=params).values()
        assert result["__typename"] == "LaunchBackfillSuccess", result
        # The daemon looks every 30 seconds: catalog, shards, dataset_info, end.
        deadline, found = time.monotonic() + 900, {}
        while time.monotonic() < deadline:
            found = self.ui.ask(BACKFILL, id=result["backfillId"])["partitionBackfillOrError"]
            if found["status"] in ("COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"):
                return found["status"]
            time.sleep(0.5)
        raise AssertionError(found)

    def shards(self, stage: str) -> int:
        """Return how many shards of a stage are on disk."""
        return len(list((self.folder / stage).glob("*/shard-*.tar")))

    def info(self) -> dict[str, list[str]]:
        """Return `dataset_info.json`."""
        return json.loads((self.folder / "dataset_info.json").read_text())


@pytest.fixture(params=["off", "reencode"])
def site(
    running_ui: Callable[..., AbstractContextManager[Any]],
    home: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Site]:
    """Serve a dataset of twelve clips in several shards, without and with mp4 clips."""
    films = make_clip4mc_folder(tmp_path / "films", num_videos=3)
    attributes = {
        "name": "films",
        "videos_dir": str(films.videos_dir),
        "info_csv": str(films.info_csv),
        "metadata": str(films.metadata),
        "split_mode": "all_train",
        "clips": request.param,
        "samples_per_shard": 4,
        "num_workers": 1,
        "max_rejected_share": 1.0,
        "max_excluded_share": 1.0,
    }
    document = {
        "type": "medassets.components.VideoClipDatasetComponent",
        "attributes": attributes,
    }
    file = tmp_path / "declared" / "films" / "defs.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(yaml.safe_dump(document))
    with running_ui(home, MEDASSETS_DEFS=str(tmp_path / "declared")) as ui:
        yield Site(ui, home / "data" / "films", films)


@pytest.mark.timeout(1800)
def test_the_catalog_and_then_the_whole_group_is_a_full_build(
    site: Site, request: pytest.FixtureRequest
) -> None:
    keeps_clips = "reencode" in request.node.name
    whole = site.group()
    stages = {key["path"][1] for key in whole}
    assert stages == {"catalog", "frames", "dataset_info"} | ({"clips"} if keeps_clips else set())
    # Before the catalog there is nothing to choose in the dialog.
    assert site.keys() == []
    assert site.materialize([{"path": ["films", "catalog"]}]) == "SUCCESS"
    keys = site.keys()
    assert keys == [f"train-{index:06d}" for index in range(3)]

    # One partition is one run of everything; several are a backfill.
    assert site.materialize(whole, keys[0]) == "SUCCESS"
    assert (site.shards("frames"), len(site.info()["train"])) == (1, 4)
    assert site.backfill(whole, keys) == "COMPLETED_SUCCESS"

    assert site.shards("frames") == 3
    assert site.shards("clips") == (3 if keeps_clips else 0)
    num_good = len(site.films.records) - len(site.films.reasons)
    assert len(set(site.info()["train"])) == num_good

    if not keeps_clips:
        # Clips only, in the group of its own.
        assert site.backfill([{"path": ["films", "clips"]}], keys) == "COMPLETED_SUCCESS"
        assert site.shards("clips") == 3
