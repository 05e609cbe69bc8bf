"""A dataset behind a local Hub whose history can be squashed and moved, half built."""

import gzip
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.refresh import CatalogDraft, draft_catalog, publish_catalog
from medassets.datasets.volumes import VolumeDataset
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.progress import BytesFetched, Event, listening
from medassets.shards.files import read_whole_record
from medassets.shards.record import ShardRecord
from medassets.specs import VolumeDatasetSpec
from medassets.testing.ct_rate import make_ct_rate_repository
from medassets.testing.hub import LocalHub

REPO_ID = "org/moving"
VOLUMES = "dataset/train_fixed"


@dataclass
class MovingDataset:
    """A dataset of seven volumes in shards of two, behind a local Hub.

    Attributes:
        folder: The repository.
        hub: The hub that serves it, with its history.
        workspace: The dataset.
        grown: The same repository with more patients.
    """

    folder: Path
    hub: LocalHub
    workspace: Workspace
    grown: Path

    def refresh(self, **options: object) -> CatalogDraft:
        """Refresh the catalog."""
        draft = draft_catalog(self.workspace, **options)  # pyright: ignore[reportArgumentType]
        publish_catalog(self.workspace.paths, draft)
        return draft

    def build(self, *numbers: int, force: bool = False) -> int:
        """Build some shards of the plan by their position; return the bytes that were fetched."""
        fetched: list[int] = []

        def note(event: Event) -> None:
            fetched.append(event.num_bytes if isinstance(event, BytesFetched) else 0)

        with listening(note):
            for number in numbers:
                key = list(self.workspace.read_plan().partitions)[number]
                build_shard(
                    self.workspace,
                    self.workspace.paths,
                    plan_shard(self.workspace, key, force=force),
                )
        return sum(fetched)

    def records(self) -> dict[str, ShardRecord]:
        """Return the records of the shards that are built and current in size."""
        keys = self.workspace.read_plan().partitions
        found = {key: read_whole_record(self.workspace.paths, key) for key in keys}
        return {key: record for key, record in found.items() if record is not None}

    def rows(self) -> list[dict[str, object]]:
        """Return the planned rows."""
        table = self.workspace.read_catalog() or pa.table({})
        return [row for row in table.to_pylist() if row["state"] == "planned"]

    def paths(self) -> list[str]:
        """Return the paths of the planned files, in the order of the plan."""
        return [str(row["path"]) for row in self.rows()]

    def upload_again(self, path: str) -> None:
        """Replace a volume by one with other voxels of the same shape."""
        file = self.folder / path
        content = bytearray(gzip.decompress(file.read_bytes()))
        content[-1000] ^= 1
        # Another level gives another size, as another writer would.
        file.write_bytes(gzip.compress(bytes(content), compresslevel=3, mtime=0))

    def delete(self, path: str) -> None:
        """Delete a volume."""
        (self.folder / path).unlink()

    def grow(self) -> None:
        """Add volumes and their rows."""
        for file in self.grown.rglob("*"):
            target = self.folder / file.relative_to(self.grown)
            if file.is_file() and (file.suffix != ".gz" or not target.exists()):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, target)

    def sent(self) -> dict[str, int]:
        """Return the bytes of each volume that the hub has sent."""
        return {p: n for p, n in self.hub.sent_bytes().items() if p.endswith(".nii.gz")}


@pytest.fixture(scope="session")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same repository with three patients (seven volumes) and with four (nine)."""
    folder = tmp_path_factory.mktemp("moving")
    for num_patients in (3, 4):
        make_ct_rate_repository(
            folder / str(num_patients),
            num_patients=num_patients,
            splits=("train",),
            special_rows=False,
            shape_range=((12, 10, 8), (16, 14, 10)),
        )
    return folder / "3", folder / "4"


@pytest.fixture
def open_moving(
    home: Path, tmp_path: Path, repositories: tuple[Path, Path]
) -> Iterator[Callable[..., MovingDataset]]:
    """Return a function that opens the dataset, with other fields of the declaration."""
    folder = Path(shutil.copytree(repositories[0], tmp_path / "moving"))
    with LocalHub(folder, REPO_ID, history=tmp_path / "history") as hub:

        def open_it(**changes: object) -> MovingDataset:
            fields = {
                "name": "moving",
                "repo_id": REPO_ID,
                "endpoint": hub.endpoint,
                "splits": ("train",),
                "target_spacing_mm": (4.0, 4.0, 8.0),
                "target_shape": (12, 10, 8),
                "samples_per_shard": 2,
                "max_rejected_share": 0.0,
                "hu_rule": "none",
                "min_slices": 1,
                **changes,
            }
            spec = VolumeDatasetSpec(**fields)  # pyright: ignore[reportArgumentType]
            return MovingDataset(folder, hub, open_workspace(VolumeDataset(spec)), repositories[1])

        yield open_it


@pytest.fixture
def moving(open_moving: Callable[..., MovingDataset]) -> MovingDataset:
    """The dataset, planned, with the first two of its four shards built."""
    moving = open_moving()
    moving.refresh()
    moving.build(0, 1)
    return moving
