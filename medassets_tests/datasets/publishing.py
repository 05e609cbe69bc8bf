"""Make shards and publish manifests without Dagster, for the tests of this folder."""

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.manifests.publication import Publication, plan_publication
from medassets.datasets.workspace import Workspace
from medassets.shards.manifest import write_manifest


def build(workspace: Workspace, *keys: str) -> None:
    """Make shards, all of the plan if none is named."""
    for key in keys or workspace.read_plan().partitions:
        build_shard(workspace, workspace.paths, plan_shard(workspace, key))


def publish(workspace: Workspace, *, allow_shrink: bool = False) -> Publication:
    """Write the manifests that may be written."""
    publication = plan_publication(workspace, allow_shrink=allow_shrink)
    for split, manifest in publication.manifests.items():
        write_manifest(workspace.paths, split, manifest)
    return publication
