"""The decoder of a run: shared by its stages, alive until the shards are written, then gone."""

import os
from pathlib import Path

import dagster as dg
import psutil
import pytest

from medassets.errors import SpecError
from medassets.resources.video_decoder import VideoDecoderResource
from medassets.testing.videos import VideoRecipe, make_video
from medassets.video.processes.pool import DecoderPool


class _Probing(dg.IOManager):
    """Works with the pool after the asset has returned, as the writer of shards does."""

    def __init__(self, video: Path) -> None:
        self.video, self.pools, self.pids = video, [], []

    def handle_output(self, context: dg.OutputContext, obj: DecoderPool) -> None:
        assert obj.probe(self.video).codec == "mpeg4"
        self.pools.append(obj)
        self.pids += obj.pids

    def load_input(self, context: dg.InputContext) -> None:
        """Load nothing."""


def run_two_assets(manager: _Probing, *, fail: bool = False) -> dg.ExecuteInProcessResult:
    @dg.asset(io_manager_key="probing")
    def clips(video_decoder: VideoDecoderResource) -> DecoderPool:
        return video_decoder.pool

    @dg.asset(io_manager_key="probing", deps=[clips])
    def frames(video_decoder: VideoDecoderResource) -> DecoderPool:
        pool = video_decoder.pool
        assert not fail
        return pool

    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(
            [clips, frames],
            instance=instance,
            resources={
                "video_decoder": VideoDecoderResource(device="cpu", num_workers=1),
                "probing": manager,
            },
            raise_on_error=False,
        )


@pytest.fixture
def manager(tmp_path: Path) -> _Probing:
    """An IO manager with a video to probe."""
    return _Probing(make_video(tmp_path / "a.avi", VideoRecipe(codec="mpeg4", num_frames=5)).path)


def test_the_stages_of_a_run_share_one_pool_that_ends_with_it(manager: _Probing) -> None:
    assert run_two_assets(manager).success
    first, second = manager.pools
    assert first is second
    assert first.is_closed
    assert len(set(manager.pids)) == 1
    assert not psutil.pid_exists(manager.pids[0])


def test_a_failed_run_ends_its_processes(manager: _Probing) -> None:
    assert not run_two_assets(manager, fail=True).success
    (pool,) = manager.pools
    assert pool.is_closed
    assert not psutil.pid_exists(manager.pids[0])


def test_runs_do_not_share_a_pool(manager: _Probing) -> None:
    run_two_assets(manager)
    run_two_assets(manager)
    assert len({id(pool) for pool in manager.pools}) == 2


def test_outside_of_a_run_the_caller_closes_the_pool() -> None:
    with VideoDecoderResource(device="cpu", num_workers=3).open() as pool:
        assert pool.num_slots == 3
    assert pool.is_closed


def test_a_closed_pool_is_replaced() -> None:
    resource = VideoDecoderResource(device="cpu")
    first = resource.pool
    first.close()
    assert resource.pool is not first
    resource.pool.close()


def test_the_default_is_one_process_per_core() -> None:
    with VideoDecoderResource(device="cpu").open() as pool:
        assert pool.num_slots == len(os.sched_getaffinity(0))


def test_a_wrong_field_is_named() -> None:
    with pytest.raises(SpecError, match="device: expected one of auto, cpu, cuda, got 'gpu'"):
        VideoDecoderResource(device="gpu").open()


def test_fields_come_from_run_config() -> None:
    seen: list[int] = []

    @dg.asset
    def clips(video_decoder: VideoDecoderResource) -> None:
        seen.append(video_decoder.pool.num_slots)

    config = {"device": "cpu", "num_workers": 7, "gpu_ids": [1], "timeout_s": 5.5}
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize(
            [clips],
            instance=instance,
            resources={"video_decoder": VideoDecoderResource.configure_at_launch()},
            run_config={"resources": {"video_decoder": {"config": config}}},
        )
    assert seen == [7]
