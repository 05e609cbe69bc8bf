"""A converted NPZ tree whose sources the command may delete."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from medassets.testing.npz_tree import SyntheticTree
from medassets_tests.location import Shell
from medassets_tests.npz_source import Originals, write_declaration

ASSET = dg.AssetKey(["scans", "reclaimed_sources"])
KEYS = ["train-000000", "train-000001", "train-000002"]


def declare_scans(folder: Path, tree: SyntheticTree, **changes: Any) -> None:
    fields = tree.fields(
        name="scans",
        samples_per_shard=2,
        delete_sources=True,
        num_workers=2,
        max_rejected_share=0.5,
        max_excluded_share=1.0,
    )
    write_declaration(folder, {**fields, **changes})


@dataclass(frozen=True)
class Scans:
    """A dataset `scans` of five volumes in three shards, converted and known to the instance.

    Attributes:
        shell: Its home and declaration.
        originals: What its source held.
    """

    shell: Shell
    originals: Originals

    @property
    def folder(self) -> Path:
        """Where it is published."""
        return self.shell.home / "data" / "scans"

    @property
    def left(self) -> list[str]:
        """Studies whose NPZ is there, untouched, in order."""
        return sorted(self.originals.left)

    def declare(self, **changes: Any) -> None:
        """Declare it anew."""
        declare_scans(self.shell.folder / "declared", self.originals.tree, **changes)

    def place(self, index: int) -> Path:
        """Return one source."""
        return self.originals.tree.place(sorted(self.originals.files)[index])

    def shard(self, index: int) -> Path:
        """Return one shard."""
        return self.folder / "train" / f"shard-{index:06d}.tar"

    def green(self) -> list[str]:
        """Return the partitions that the UI shows as reclaimed."""
        with self.shell.instance() as instance:
            return sorted(instance.get_materialized_partitions(ASSET))

    def check(self) -> dg.AssetCheckEvaluation | None:
        """Return the last result of the asset's check."""
        key = dg.AssetCheckKey(ASSET, "every_source_proven")
        with self.shell.instance() as instance:
            (record, *_) = instance.event_log_storage.get_asset_check_execution_history(key, 1)
        assert record.event is not None
        assert record.event.dagster_event is not None
        evaluation = record.event.dagster_event.event_specific_data
        assert isinstance(evaluation, dg.AssetCheckEvaluation)
        return evaluation

    def nothing_deleted(self) -> bool:
        """Tell whether all files are there, and no partition is green."""
        return len(self.left) == 5 and self.green() == [] and not self.journals()

    def journals(self) -> list[Path]:
        """Return the journals of deleted files."""
        return sorted(self.folder.glob("reclaimed_sources/*/*"))

    def check_volumes(self) -> None:
        """Fail if a volume is nowhere."""
        self.originals.check(self.folder)
