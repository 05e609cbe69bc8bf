"""Synthetic trees of `.npz` volumes with tables, as made by custom conversions of CT-RATE."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medassets.arrays import VolumeArray
from medassets.testing.ct_rate_tables import VolumeEntry, write_tables
from medassets.testing.phantoms import make_chest_phantom
from medassets.volumes.catalog.ct_rate_names import table_paths

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class SyntheticTree:
    """Content of the tree.

    Attributes:
        folder: Root of the source; the tree is in `npz`, the tables are in `dataset`.
        split: The only split.
        paths: Study -> path of its file inside `folder`.
    """

    folder: Path
    split: str
    paths: dict[str, str]

    def fields(self, **changes: Any) -> dict[str, Any]:
        """Return the fields of a declaration of this tree, updated with the given ones."""
        tables = table_paths(self.split)
        return {
            "source": "npz",
            "folder": str(self.folder),
            "volumes_dir": "npz",
            "splits": [self.split],
            "meta_file": tables.metadata,
            "reports_file": tables.reports,
            "labels_file": tables.labels,
            "preprocessing": "none",
            **changes,
        }

    def place(self, study: str) -> Path:
        """Return the path of a study's file."""
        return self.folder / self.paths[study]

    def read(self, study: str, key: str = "data") -> VolumeArray:
        """Return the array of a study, as numpy reads it."""
        with np.load(self.place(study), allow_pickle=False) as arrays:
            return arrays[key]


def make_npz_tree(
    folder: Path,
    *,
    num_volumes: int = 6,
    split: str = "train",
    depth: int = 2,
    shape: Shape = (15, 17, 19),
    dtype: str = "int16",
    order: Literal["C", "F"] = "C",
    compressed: bool = True,
    key: str = "data",
) -> SyntheticTree:
    """Make a tree of chest phantoms in HU, with spacing, report and labels of each.

    Args:
        folder: Top of the source; made if it is missing.
        num_volumes: Files to make; two of each patient.
        split: Name of the split, with which the studies begin.
        depth: 1 puts all files into one folder, 2 into one per patient, 3 into one per scan.
        shape: Sides (i, j, k) of the first; the others are a little longer, each in its own way.
        dtype: Of the arrays.
        order: Of the arrays in memory.
        compressed: Whether the files are deflated.
        key: Name of the array.
    """
    entries = list(_iter_entries(num_volumes, split, shape))
    write_tables(folder, split=split, entries=entries, no_chest=[])
    paths: dict[str, str] = {}
    for number, entry in enumerate(entries):
        patient, scan = entry.key.rsplit("_", 2)[0], entry.key.rsplit("_", 1)[0]
        parents = [patient, scan][: depth - 1]
        paths[entry.key] = "/".join(["npz", *parents, f"{entry.key}.npz"])
        place = folder / paths[entry.key]
        place.parent.mkdir(parents=True, exist_ok=True)
        volume = make_chest_phantom(entry.shape, seed=number, round_field_of_view=False)
        save: Any = np.savez_compressed if compressed else np.savez
        save(place, **{key: np.asarray(volume.astype(dtype), order=order)})
    return SyntheticTree(folder, split, paths)


def _iter_entries(num_volumes: int, split: str, shape: Shape) -> Iterator[VolumeEntry]:
    i, j, k = shape
    for number in range(num_volumes):
        patient = number // 2 + 1
        yield VolumeEntry(
            key=f"{split}_{patient}_a_{number % 2 + 1}",
            patient_index=patient,
            scan_index=patient,
            shape=(i + number % 3, j + number % 2, k + number % 5),
            spacing_mm=(0.8, 0.8, 1.25 + number % 4 / 4),
            intercept=0,
        )
