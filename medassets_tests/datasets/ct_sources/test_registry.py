"""A new kind of source is one class and one entry of the table; all faces then know it."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from medassets.datasets.ct_sources.base import CTSource, require_fields
from medassets.datasets.ct_sources.registry import (
    CT_SOURCES,
    ONE_LAYOUT,
    list_kinds,
    list_layout_rules,
)
from medassets.datasets.refresh import draft_catalog
from medassets.datasets.registry import open_kind
from medassets.datasets.status import Recorded, ShardState, shard_states
from medassets.datasets.verify import verify_dataset
from medassets.datasets.workspace import open_workspace
from medassets.errors import ReclaimError, SpecError
from medassets.reclaim.claims import Others
from medassets.reclaim.partition import reclaim_partition
from medassets.samples import SourceItem, StagedFile
from medassets.sources.base import Source
from medassets.specs import CTWindowDatasetSpec
from medassets.volumes.catalog.columns import ARRAY_ROW_SCHEMA, drop_texts
from medassets.volumes.files.array_files import open_npy_array
from medassets.volumes.files.header import VolumeStream
from medassets.volumes.reports_and_labels import SampleTexts
from medassets_tests.datasets.ct_sources.contract import VolumeSourceContract
from medassets_tests.location import Location
from medassets_tests.npz_source import read_volumes

SPACING = (0.9, 1.3, 2.1)


class NpyFolder(CTSource):
    """A folder of `.npy` volumes per split, and one JSON of their spacing."""

    FIELDS = frozenset({"folder"})

    def check(self) -> None:
        require_fields(self.spec, folder="source npy_folder needs the folder of the .npy files")

    def read_rows(
        self, files: Source, *, revision: str | None, previous: pa.Table | None = None
    ) -> pa.Table:
        spacing = json.loads(files.read_table("spacing.json", revision=revision))
        rows: list[dict[str, Any]] = [
            {
                "key": place.stem,
                "split": split,
                "path": f"{split}/{place.name}",
                "group": place.stem,
                **{f"spacing_{axis}": step for axis, step in zip("ijk", spacing, strict=True)},
                "metadata": "{}",
            }
            for split in self.spec.splits
            for place in sorted((self.folder / split).glob("*.npy"))
        ]
        table = pa.Table.from_pylist(rows, schema=ARRAY_ROW_SCHEMA)
        table = table.drop_columns(["num_bytes", "mtime_ns"])
        return table if self.with_texts else drop_texts(table)

    def open_volume(self, item: SourceItem, path: Path) -> AbstractContextManager[VolumeStream]:
        return open_npy_array(path)

    def read_texts(self, item: SourceItem, staged: StagedFile) -> SampleTexts:
        return SampleTexts(b"", np.ones(1, "<f4").tobytes(), {"chest": 1.0})


@pytest.fixture(autouse=True)
def npy_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one line that adds the kind."""
    monkeypatch.setitem(CT_SOURCES, "npy_folder", {ONE_LAYOUT: NpyFolder})


def make_folder(folder: Path, num_volumes: int = 3) -> Path:
    (folder / "train").mkdir(parents=True)
    for number in range(num_volumes):
        hu = np.random.default_rng(number).integers(-900, 300, (5, 7, 11)).astype(np.int16)
        np.save(folder / "train" / f"study_{number}.npy", hu)
    (folder / "spacing.json").write_text(json.dumps(SPACING))
    return folder


class TestNpyFolder(VolumeSourceContract):
    def make(self, folder: Path) -> dict[str, Any]:
        return {"source": "npy_folder", "folder": str(make_folder(folder))}

    def read_expected(self, fields: dict[str, Any], item: SourceItem) -> np.ndarray:
        return np.load(Path(fields["folder"]) / item.path)


@pytest.fixture
def declared(locate: Callable[..., Location], tmp_path: Path) -> Location:
    folder = make_folder(tmp_path / "source")
    fields = {"target_shape": (), "target_spacing_mm": (), "samples_per_shard": 2}
    return locate(folder, source="npy_folder", splits=("train",), preprocessing="none", **fields)


def test_dagster_builds_plans_and_verifies_it(declared: Location) -> None:
    declared.build()
    workspace = declared.workspace
    assert declared.keys == ["train-000000", "train-000001"]
    known = Recorded(materialized=declared.keys, failed=())
    assert set(shard_states(workspace, known).values()) == {ShardState.DONE}
    assert not verify_dataset(workspace, declared.keys, full=True).problems
    manifest = json.loads(workspace.paths.manifest("train").read_bytes())
    assert (manifest["complete"], manifest["total_samples"]) == (True, 3)
    expected = {
        place.stem: np.load(place).astype("<f2").tobytes()
        for place in (workspace.source_folder / "train").iterdir()
    }
    assert dict(read_volumes(workspace.paths.folder)) == expected


def test_a_changed_file_makes_its_shard_stale(declared: Location) -> None:
    declared.build()
    workspace = declared.workspace
    np.save(workspace.source_folder / "train" / "study_0.npy", np.zeros((3, 3, 3), np.int16))
    declared.materialize("catalog")
    known = Recorded(materialized=declared.keys, failed=())
    states = shard_states(workspace, known)
    assert states == {"train-000000": ShardState.STALE, "train-000001": ShardState.DONE}


def test_its_files_are_deleted_only_when_allowed_and_proven(declared: Location) -> None:
    declared.build()
    key, others = declared.keys[0], Others()
    with pytest.raises(ReclaimError, match="declare `delete_sources: true`"):
        reclaim_partition(declared.workspace, key, confirmed=True, others=others)
    deleting = open_workspace(open_kind(replace(declared.spec, delete_sources=True)))
    place = deleting.source_folder / "train" / "study_0.npy"
    place.touch()
    report = reclaim_partition(deleting, key, confirmed=True, others=others)
    assert [kept.path for kept in report.kept] == ["train/study_0.npy"]
    assert place.exists()
    assert not (deleting.source_folder / "train" / "study_1.npy").exists()


def test_a_wrong_field_is_named() -> None:
    with pytest.raises(SpecError, match=r"^folder: source npy_folder needs"):
        open_kind(CTWindowDatasetSpec(name="masks", source="npy_folder", hu_rule="none"))
    known = "huggingface, folder, dicom, npz, webdataset, processed, npy_folder"
    with pytest.raises(SpecError, match=f"^source: expected one of {known}, got 'ftp'"):
        open_kind(CTWindowDatasetSpec(name="masks", source="ftp"))


def test_a_limit_plans_a_trial(declared: Location) -> None:
    draft = draft_catalog(declared.workspace, limit=1)
    assert (draft.plan.num_held, draft.new_partitions) == (2, ["train-000000"])


def test_a_layout_belongs_to_sources_that_have_several() -> None:
    with pytest.raises(SpecError, match=r"^layout: expected one of ct_rate.*, got 'bids'"):
        CTWindowDatasetSpec(name="masks", source="folder", folder="/data", layout="bids")  # pyright: ignore[reportArgumentType]
    rules = list_layout_rules(list_kinds())
    assert [rule.describe() for rule in rules] == ["source: huggingface or folder"]
