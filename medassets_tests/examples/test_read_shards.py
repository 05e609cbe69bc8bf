"""The example reads what a build wrote."""

import subprocess
import sys
from pathlib import Path

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.manifests.publication import build_manifests
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.workspace import Workspace
from medassets.shards.manifest import write_manifest

EXAMPLE = Path(__file__).parents[2] / "examples" / "read_shards.py"


def test_the_example_finds_every_volume_in_three_ways(workspace: Workspace) -> None:
    publish_catalog(workspace.paths, draft_catalog(workspace))
    for key in workspace.read_plan().partitions:
        build_shard(workspace, workspace.paths, plan_shard(workspace, key))
    manifest = build_manifests(workspace)["train"]
    write_manifest(workspace.paths, "train", manifest)
    folder = workspace.paths.split_folder("train")
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), str(folder)], capture_output=True, text=True, check=True
    )
    assert manifest["total_samples"] == 7
    assert done.stdout.splitlines() == [
        "read_with_tarfile: 7 volumes",
        "read_with_webdataset: 7 volumes",
        "read_by_offset: 7 volumes",
    ]
