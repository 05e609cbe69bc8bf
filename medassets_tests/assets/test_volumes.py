"""Which assets and jobs a declared dataset of CT volumes has."""

from typing import Any

import dagster as dg
import pytest

from medassets.assets.volumes import build_volume_assets
from medassets.definitions import build_resources
from medassets.specs import VolumeDatasetSpec

ALL = {"catalog", "raw_volumes", "shards", "manifest", "summary", "reclaimed_sources"}
FOLDER = {"source": "folder", "folder": "/data/ct"}
TARS = {
    "source": "webdataset",
    "folder": "/data/tars",
    "shards": "shard-*.tar",
    "splits": ("train",),
    "label_names": ("one", "two"),
    "preprocessing": "none",
}
HUB = {"source": "huggingface", "repo_id": "org/ct"}


def build(**fields: Any) -> dg.Definitions:
    built = build_volume_assets(VolumeDatasetSpec(name="tiny", **fields))
    return dg.Definitions.merge(built, dg.Definitions(resources=build_resources()))


def stages_of(definitions: dg.Definitions, job: str) -> set[str]:
    nodes = definitions.resolve_job_def(f"tiny_{job}").graph.node_dict
    return {name.removeprefix("tiny__") for name in nodes} & ALL


@pytest.mark.parametrize(
    ("fields", "stages"),
    [
        (FOLDER, ALL - {"raw_volumes", "reclaimed_sources"}),
        (HUB, ALL - {"reclaimed_sources"}),
        ({**TARS, "delete_sources": True}, ALL - {"raw_volumes"}),
    ],
    ids=["folder", "remote", "deleting"],
)
def test_only_remote_sources_are_fetched_and_only_declared_ones_deleted(
    fields: dict[str, Any], stages: set[str]
) -> None:
    assert {key.path[1] for key in build(**fields).resolve_all_asset_keys()} == stages


def test_shards_of_a_remote_source_wait_for_its_files() -> None:
    graph = build(**HUB).resolve_asset_graph()
    parents = graph.get(dg.AssetKey(["tiny", "shards"])).parent_keys
    assert parents == {dg.AssetKey(["tiny", stage]) for stage in ("catalog", "raw_volumes")}
    assert stages_of(build(**HUB), "build") == {"raw_volumes", "shards"}


def test_a_dataset_that_may_delete_its_sources_has_jobs_for_it() -> None:
    definitions = build(**TARS, delete_sources=True)
    assert stages_of(definitions, "build") == {"shards"}
    assert stages_of(definitions, "reclaim") == {"reclaimed_sources"}
    assert stages_of(definitions, "convert") == {"shards", "reclaimed_sources"}


def test_a_dataset_that_keeps_its_sources_has_no_job_that_deletes() -> None:
    names = {job.name for job in build(**TARS).resolve_all_job_defs()}
    assert "tiny_build" in names
    assert not names & {"tiny_reclaim", "tiny_convert"}
