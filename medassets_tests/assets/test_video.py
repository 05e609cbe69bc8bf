"""Which assets, jobs and pools a declared dataset of video clips has."""

from pathlib import Path

import dagster as dg
import pytest

from medassets import components
from medassets.components.loading import load_datasets
from medassets.definitions import build_definitions

SHIPPED = Path(components.__file__).parents[1] / "defs"


def test_the_three_ways_to_run_are_jobs() -> None:
    definitions = build_definitions(load_datasets([SHIPPED / "demo_video"]))

    def stages_of(job: str) -> set[str]:
        nodes = definitions.resolve_job_def(f"demo_video_{job}").graph.node_dict
        return {name.removeprefix("demo_video__") for name in nodes if "check" not in name} & {
            "catalog", "clips", "frames", "dataset_info",
        }  # fmt: skip

    assert stages_of("build") == {"clips", "frames"}
    assert stages_of("clip") == {"clips"}
    assert stages_of("process") == {"frames"}
    assert stages_of("manifest") == {"dataset_info"}


@pytest.mark.parametrize(
    ("dataset", "together"),
    [
        ("clip4mc", {"catalog", "frames", "dataset_info"}),
        ("demo_video", {"catalog", "clips", "frames", "dataset_info"}),
    ],
)
def test_the_group_of_a_dataset_is_what_a_whole_build_makes(
    dataset: str, together: set[str]
) -> None:
    definitions = build_definitions(load_datasets([SHIPPED / dataset]))
    graph = definitions.resolve_asset_graph()
    group = dg.AssetSelection.groups(dataset).resolve(graph)
    assert {key.path[1] for key in group} == together


def test_decoding_waits_for_its_pool() -> None:
    definitions = build_definitions(load_datasets([SHIPPED / "demo_video"]))
    for stage in ("clips", "frames"):
        asset = definitions.resolve_assets_def(dg.AssetKey(["demo_video", stage]))
        assert asset.op.pool == "gpu_decode"
