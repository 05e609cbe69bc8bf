"""A folder of DICOM series, converted, whose sources may be deleted."""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.ct_sources.dicom_files import DicomFiles
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.registry import open_kind
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.reclaim.claims import Others
from medassets.reclaim.partition import reclaim_partition
from medassets.reclaim.report import ReclaimReport
from medassets.shards.reclaim_journal import ReclaimJournal
from medassets.specs import VolumeDatasetSpec
from medassets_tests.dicoms import ROOT_UID, Dataset, write_series
from medassets_tests.npz_source import read_volumes

KEY = "train-000000"
NUM_SLICES = 4
# One slice of the first is there twice.
FILES = {"first-": NUM_SLICES + 1, "second-": NUM_SLICES}


def write_archive(top: Path) -> None:
    """Write two series that can be deleted, one in two folders, beside what must stay.

    That is a series with a localizer in it, an excluded one, a localizer, and a file that is no DICOM.
    """
    first = write_series(top / "a", number=0, num_slices=NUM_SLICES, prefix="first-")
    # A slice that is there twice, pixel by pixel, is a file of the series.
    shutil.copyfile(first.paths[1], top / "a" / "first-again")
    second = write_series(top / "a", number=1, num_slices=NUM_SLICES, prefix="second-")
    (top / "b").mkdir()
    for path in second.paths[2:]:
        path.rename(top / "b" / path.name)

    def scout(k: int, dataset: Dataset) -> None:
        if k == NUM_SLICES - 1:
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    write_series(top / "b", number=2, num_slices=NUM_SLICES, prefix="scouted-", change=scout)
    missing = write_series(top / "a", number=3, num_slices=NUM_SLICES, prefix="missing-")
    missing.paths[1].unlink()
    (top / "a" / "notes.txt").write_text("nothing")


def find_key(number: int) -> str:
    """Return the key of a series by its number."""
    return f"series-{hashlib.sha256(f'{ROOT_UID}.{number}.3'.encode()).hexdigest()[:16]}"


FIRST, SECOND, SCOUTED, MISSING = map(find_key, range(4))


@dataclass(frozen=True)
class Clinic:
    """A dataset of the archive in one shard.

    Attributes:
        folder: The archive.
        root: Where datasets are published.
        files: Path inside the archive -> content, before anything was deleted.
        samples: Key -> voxels as float16, of each sample.
    """

    folder: Path
    root: Path
    files: Mapping[str, bytes] = field(repr=False)
    samples: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def make(cls, top: Path, *, write: Callable[[Path], None] = write_archive) -> "Clinic":
        """Write the archive and convert it."""
        write(top / "source")
        made = cls(top / "source", top / "data", {}, {})
        workspace = made.refresh()
        build_shard(workspace, workspace.paths, plan_shard(workspace, KEY))
        samples = dict(read_volumes(made.root / "clinic"))
        stacks = DicomFiles(made.folder).scan().stacks
        assert samples.keys() == stacks.keys()
        return cls(made.folder, made.root, read_tree(made.folder), samples)

    def copy(self, top: Path) -> "Clinic":
        """Return a copy elsewhere, with the times of its files."""
        folder = Path(shutil.copytree(self.folder, top / "source"))
        root = Path(shutil.copytree(self.root, top / "data"))
        return Clinic(folder, root, self.files, self.samples)

    def open(self, name: str = "clinic", **changes: Any) -> Workspace:
        """Open it as declared, with other fields where given."""
        fields: dict[str, Any] = {
            "source": "dicom",
            "folder": str(self.folder),
            "splits": ("train",),
            "preprocessing": "none",
            "hu_rule": "header",
            "expected_orientation": "LPS",
            "max_excluded_share": 1.0,
            "delete_sources": True,
            **changes,
        }
        return open_workspace(
            open_kind(VolumeDatasetSpec(name=name, **fields)), data_root=str(self.root)
        )

    def refresh(self) -> Workspace:
        """Refresh the catalog."""
        workspace = self.open()
        publish_catalog(workspace.paths, draft_catalog(workspace))
        return workspace

    def reclaim(
        self, *, confirmed: bool = True, others: tuple[Workspace, ...] = (), **options: Any
    ) -> ReclaimReport:
        """Delete the series that may go."""
        return reclaim_partition(
            self.open(), KEY, confirmed=confirmed, others=Others(others), **options
        )

    @property
    def journal(self) -> ReclaimJournal:
        """The journal of the shard."""
        return ReclaimJournal.read(self.open().paths.reclaim_journal(KEY))

    def left(self, prefix: str) -> int:
        """Return how many files of a series are at their places, with their content."""
        found = read_tree(self.folder)
        assert all(self.files.get(path, content) == content for path, content in found.items())
        return sum(path.rpartition("/")[2].startswith(prefix) for path in found)

    def hidden(self) -> list[str]:
        """Return hidden folders and what is in them."""
        return [str(path) for path in self.folder.rglob("*") if "/.medassets-" in str(path)]

    def others(self) -> dict[str, bytes]:
        """Return the files that must stay."""
        return {
            path: content
            for path, content in read_tree(self.folder).items()
            if not path.rpartition("/")[2].startswith(("first-", "second-"))
        }


def read_tree(top: Path) -> dict[str, bytes]:
    """Return path -> content of the files below a folder, but for hidden folders."""
    paths = (path for path in sorted(top.rglob("*")) if path.is_file())
    found = {path.relative_to(top).as_posix(): path for path in paths}
    return {name: path.read_bytes() for name, path in found.items() if "/." not in f"/{name}"}
