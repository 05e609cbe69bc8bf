"""Which assets, jobs and pools a declared dataset of video clips has."""

from pathlib import Path

import dagster as dg
import pytest

from medassets import components
from medassets.assets.video import build_video_assets
from medassets.components.loading import load_datasets
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.video import VideoFrames
from medassets.datasets.workspace import open_workspace
from medassets.definitions import build_definitions, build_resources
from medassets.specs import VideoClipDatasetSpec
from medassets.testing.clip4mc import make_clip4mc_folder

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


@pytest.mark.parametrize("frames_from", ["source", "clips"])
def test_frames_of_clips_wait_for_their_clips(tmp_path: Path, home: Path, frames_from: str) -> None:
    films = make_clip4mc_folder(tmp_path / "films", num_videos=2, num_frames=10)
    spec = VideoClipDatasetSpec(
        name="films",
        videos_dir=str(films.videos_dir),
        info_csv=str(films.info_csv),
        metadata=str(films.metadata),
        max_excluded_share=1.0,
        automation="on",
        clips="copy",
        frames_from=frames_from,  # pyright: ignore[reportArgumentType]
    )
    kind = VideoFrames(spec)
    workspace = open_workspace(kind)
    publish_catalog(workspace.paths, draft_catalog(workspace))
    keys = set(workspace.read_plan().partitions)
    shared = dg.Definitions(resources=build_resources(), executor=dg.in_process_executor)
    definitions = dg.Definitions.merge(build_video_assets(spec), shared)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(spec.partitions_name, sorted(keys))
        result = dg.evaluate_automation_conditions(defs=definitions, instance=instance)
    asked = {
        stage: set(result.get_requested_partitions(dg.AssetKey(["films", stage])))
        for stage in ("clips", "frames")
    }
    assert asked == {"clips": keys, "frames": keys if frames_from == "source" else set()}
