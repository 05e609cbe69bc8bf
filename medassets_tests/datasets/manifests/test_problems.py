"""What keeps a dataset from being complete, and its manifests from saying what the shards say."""

from collections.abc import Callable

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.manifests.problems import (
    find_manifest_problems,
    find_problems,
)
from medassets.datasets.manifests.publication import build_manifests
from medassets.datasets.workspace import Workspace
from medassets.shards.manifest import write_manifest
from medassets.testing.ct_rate import SyntheticRepository


def test_shards_that_are_missing_or_outdated_are_problems(
    planned: Workspace, open_folder: Callable[..., Workspace], repository: SyntheticRepository
) -> None:
    keys = list(planned.read_plan().partitions)
    assert find_problems(planned) == [f"{key}: not made yet" for key in keys]
    build_shard(planned, planned.paths, plan_shard(planned, keys[0]))
    assert find_problems(planned) == [f"{key}: not made yet" for key in keys[1:]]
    changed = open_folder(repository.folder, target_shape=(8, 8, 8))
    assert find_problems(changed)[0].startswith(f"{keys[0]}: made from other inputs or settings")


def test_manifests_on_disk_must_say_what_the_shards_say(planned: Workspace) -> None:
    assert find_manifest_problems(planned) == []
    build_shard(planned, planned.paths, plan_shard(planned, "train-000000"))
    paths = planned.paths
    problems = find_manifest_problems(planned)
    assert [p.split(": ")[0] for p in problems] == [
        str(paths.manifest("train")), str(paths.wids_index("train")),
    ]  # fmt: skip
    write_manifest(paths, "train", build_manifests(planned)["train"])
    assert find_manifest_problems(planned) == []
