"""A converted dataset of seven volumes in three shards, whose sources may be deleted."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.volumes import VolumeDataset
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.reclaim.claims import Others
from medassets.reclaim.partition import reclaim_partition
from medassets.reclaim.report import ReclaimReport
from medassets.specs import VolumeDatasetSpec
from medassets.testing.npz_tree import SyntheticTree, make_npz_tree
from medassets_tests.npz_source import Originals

KEYS = ("train-000000", "train-000001", "train-000002")
FIRST, SECOND, LAST = KEYS


@dataclass(frozen=True)
class Made:
    """A converted dataset of seven volumes in three shards, the last of them short.

    Attributes:
        tree: Its source.
        originals: What that held.
        root: Where datasets are published.
    """

    tree: SyntheticTree
    originals: Originals
    root: Path

    def open(self, **changes: Any) -> Workspace:
        """Open it as declared, with other fields where given."""
        fields = {
            **self.tree.fields(),
            "name": "tiny",
            "samples_per_shard": 3,
            "delete_sources": True,
            "max_rejected_share": 1.0,
            "max_excluded_share": 1.0,
            "num_workers": 2,
            **changes,
        }
        spec = VolumeDatasetSpec(**{k: _freeze(v) for k, v in fields.items()})
        return open_workspace(VolumeDataset(spec), data_root=str(self.root))

    def reclaim(
        self,
        key: str = FIRST,
        *,
        confirmed: bool = True,
        others: Sequence[Workspace] = (),
        **changes: Any,
    ) -> ReclaimReport:
        """Delete the sources of one shard that may go, beside other datasets."""
        beside = Others(tuple(others))
        return reclaim_partition(self.open(**changes), key, confirmed=confirmed, others=beside)

    def refresh(self, **options: Any) -> Workspace:
        """Refresh the catalog."""
        workspace = self.open()
        publish_catalog(workspace.paths, draft_catalog(workspace, **options))
        return workspace

    def build(self, *keys: str, force: bool = False, **changes: Any) -> None:
        """Make shards, as their assets do."""
        workspace = self.open(**changes)
        for key in keys:
            build_shard(workspace, workspace.paths, plan_shard(workspace, key, force=force))

    def add_files(self, tmp_path: Path) -> list[str]:
        """Add two studies to the tree and its tables; return them."""
        grown = make_npz_tree(tmp_path / "grown", num_volumes=9, shape=(5, 7, 11))
        new = sorted(set(grown.paths) - set(self.tree.paths))
        shutil.copytree(grown.folder / "dataset", self.tree.folder / "dataset", dirs_exist_ok=True)
        for study in new:
            target = self.tree.folder / grown.paths[study]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(grown.place(study), target)
        return new

    def studies(self, key: str = FIRST) -> list[str]:
        """Return the studies of a shard."""
        return [item.key for item in self.open().read_partition(key)]

    def shard(self, key: str = FIRST) -> Path:
        """Return where a shard is."""
        return self.open().paths.shard(key)

    def journal(self, key: str = FIRST) -> Path:
        """Return where the journal of a shard is."""
        return self.open().paths.reclaim_journal(key)

    @property
    def left(self) -> list[str]:
        """Studies whose NPZ is there, untouched, in order."""
        return sorted(self.originals.left)

    @property
    def shards(self) -> dict[str, bytes]:
        """Tars and records by name."""
        folder = self.root / "tiny" / "train"
        return {path.name: path.read_bytes() for path in folder.glob("shard-*")}


def _freeze(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def whys(report: ReclaimReport) -> dict[str, str]:
    """Return why files stay, by name."""
    return {Path(kept.path).stem: kept.why for kept in report.kept}
