"""A dataset whose source grows by a sample that sorts first."""

import csv
from dataclasses import dataclass

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.workspace import Workspace
from medassets.shards.catalog.plan import CatalogPlan
from medassets.testing.npz_tree import SyntheticTree

FIRST = "train_1_a_1"


@dataclass(frozen=True)
class Growing:
    """A dataset of five of the six studies of a tree; the sixth sorts first."""

    tree: SyntheticTree
    workspace: Workspace

    def hide(self, study: str) -> None:
        """Take a study's file away."""
        place = self.tree.place(study)
        place.rename(place.with_suffix(".hidden"))

    def drop(self, study: str) -> None:
        """Take a study out of every table, and its file away."""
        self.hide(study)
        for table in self.tree.folder.rglob("*.csv"):
            with table.open(newline="") as file:
                rows = [row for row in csv.reader(file) if not any(study in cell for cell in row)]
            with table.open("w", newline="") as file:
                csv.writer(file).writerows(rows)

    def show(self, study: str) -> None:
        """Bring it back."""
        place = self.tree.place(study)
        place.with_suffix(".hidden").rename(place)


def refresh(workspace: Workspace, **options: object) -> CatalogPlan:
    """Plan what the source has, and return the plan."""
    draft = draft_catalog(workspace, **options)  # pyright: ignore[reportArgumentType]
    publish_catalog(workspace.paths, draft)
    return workspace.read_plan()


def build(workspace: Workspace, *keys: str) -> None:
    """Make some shards, or all."""
    for key in keys or workspace.read_plan().partitions:
        build_shard(workspace, workspace.paths, plan_shard(workspace, key))


def read_members(workspace: Workspace) -> dict[str, list[str]]:
    """Return the keys of every planned shard, in order."""
    plan = workspace.read_plan()
    return {key: [i.key for i in workspace.read_partition(key)] for key in plan.partitions}
