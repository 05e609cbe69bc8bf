"""What every kind of CT source must do; each implementation subclasses one of these classes."""

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.ct_sources.base import CTSource
from medassets.datasets.ct_sources.registry import CT_SOURCES
from medassets.datasets.kind import DatasetKind
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.registry import explain_unused_fields, open_kind
from medassets.datasets.verify import verify_dataset
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.errors import SpecError
from medassets.loaders import VolumeDataset
from medassets.samples import SourceItem, StagedFile
from medassets.specs import CTWindowDatasetSpec, VolumeDatasetSpec
from medassets.storage.buffers import BufferPool
from medassets.volumes.catalog.columns import TEXT_COLUMNS
from medassets.volumes.files.slices import open_slices

ROW_COLUMNS = {"key", "split", "path", "revision", "excluded", "detail"}


class CTSourceContract(ABC):
    """A source of volumes or masks, behind a dataset of windows."""

    required: tuple[str, ...] = ("folder",)
    """Fields without which the source cannot work."""

    @abstractmethod
    def make(self, folder: Path) -> dict[str, Any]:
        """Make a small source below a folder; return the fields of its declaration."""

    @pytest.fixture
    def fields(self, tmp_path: Path) -> dict[str, Any]:
        """Fields of a declaration of a source that exists."""
        fields = {
            "splits": ("train",),
            "max_rejected_share": 1.0,
            "max_excluded_share": 1.0,
            **self.make(tmp_path / "source"),
        }
        has_masks = any(kind.stores_masks for kind in CT_SOURCES[fields["source"]].values())
        return fields if has_masks else {"hu_rule": "none", **fields}

    def declare(self, fields: dict[str, Any]) -> DatasetKind:
        """Return the kind of dataset that the contract looks at."""
        return open_kind(CTWindowDatasetSpec(name="contract", **fields))

    def open(self, fields: dict[str, Any], tmp_path: Path) -> Workspace:
        """Return the workspace of the dataset, without a catalog."""
        return open_workspace(
            self.declare(fields),
            data_root=str(tmp_path / "data"),
            staging_root=str(tmp_path / "staging"),
        )

    def test_its_fields_are_those_of_a_declaration(self, fields: dict[str, Any]) -> None:
        source = find_source(self.declare(fields))
        specs = (VolumeDatasetSpec, CTWindowDatasetSpec)
        declared = {field.name for spec in specs for field in dataclasses.fields(spec)}
        assert source.used_fields <= declared

    def test_every_field_that_it_reads_has_an_effect(self, fields: dict[str, Any]) -> None:
        kind = self.declare(fields)
        declared = {field.name for field in dataclasses.fields(kind.spec)}
        read = find_source(kind).used_fields & declared
        assert read
        assert explain_unused_fields(kind.spec, read) == {}

    def test_a_missing_field_is_named(self, fields: dict[str, Any]) -> None:
        for name in self.required:
            with pytest.raises(SpecError) as caught:
                self.declare({**fields, name: ""})
            assert caught.value.field == name

    def test_opening_it_touches_no_disk(self, fields: dict[str, Any]) -> None:
        gone = {name: "/nowhere" if name == "folder" else value for name, value in fields.items()}
        kind = self.declare(gone)
        assert kind.open_source().is_local is find_source(kind).is_local

    def test_each_row_has_a_key_of_its_own_and_files_of_the_source(
        self, fields: dict[str, Any], tmp_path: Path
    ) -> None:
        workspace = self.open(fields, tmp_path)
        source = find_source(workspace.kind)
        table = read_rows(workspace)
        keys = table["key"].to_pylist()
        assert set(table.column_names) >= ROW_COLUMNS
        assert len(set(keys)) == len(keys) > 0
        planned = [row for row in table.to_pylist() if row["excluded"] is None]
        paths = [path for row in planned for path in source.list_paths(row)]
        found = workspace.source.describe(paths, revision=workspace.source.resolve_revision())
        assert set(found) == set(paths)
        assert all(source.has_file(row["path"]) for row in planned)

    def test_a_second_reading_gives_the_same_rows(
        self, fields: dict[str, Any], tmp_path: Path
    ) -> None:
        workspace = self.open(fields, tmp_path)
        first = draft_catalog(workspace)
        publish_catalog(workspace.paths, first)
        assert draft_catalog(workspace).plan.version == first.plan.version

    def test_items_are_staged_with_all_their_files(
        self, fields: dict[str, Any], tmp_path: Path
    ) -> None:
        workspace = self.open(fields, tmp_path)
        for item, staged in stage_all(workspace):
            files = [staged, *staged.others]
            names = [file.uri.split(":")[-1].rsplit("/", 1)[-1] for file in files]
            expected = [path.rsplit("/", 1)[-1] for path in workspace.list_paths(item)]
            assert names == expected

    def test_shards_are_built_and_verified(self, fields: dict[str, Any], tmp_path: Path) -> None:
        workspace = self.open(fields, tmp_path)
        publish_catalog(workspace.paths, draft_catalog(workspace))
        keys = list(workspace.read_plan().partitions)
        for key in keys:
            made = build_shard(workspace, workspace.paths, plan_shard(workspace, key))
            assert not made.record.rejected
        report = verify_dataset(workspace, keys, full=True)
        assert report.checked == keys
        assert not report.problems


class VolumeSourceContract(CTSourceContract):
    """A source of volumes with reports and labels, behind a dataset of stored values."""

    @abstractmethod
    def read_expected(self, fields: dict[str, Any], item: SourceItem) -> np.ndarray:
        """Return the stored values of an item, axes (i, j, k), read by numpy or nibabel."""

    def declare(self, fields: dict[str, Any]) -> DatasetKind:
        """Return a dataset that keeps stored values."""
        return open_kind(VolumeDatasetSpec(name="contract", preprocessing="none", **fields))

    def test_a_stream_gives_the_stored_values(self, fields: dict[str, Any], tmp_path: Path) -> None:
        workspace = self.open(fields, tmp_path)
        source, buffers = find_source(workspace.kind), BufferPool()
        for item, staged in stage_all(workspace):
            expected = self.read_expected(fields, item)
            with open_slices(source.open_volume(item, staged.path), buffers=buffers) as stream:
                values = np.empty(expected.size, stream.header.dtype)
                # Pieces that end anywhere, and the rest.
                for piece in (values[:17], values[17:]):
                    stream.read_into(piece)
                stream.finish()
                assert stream.header.shape == expected.shape
            np.testing.assert_array_equal(values.reshape(expected.shape, order="F"), expected)

    def test_windows_need_neither_reports_nor_labels(
        self, fields: dict[str, Any], tmp_path: Path
    ) -> None:
        texts = find_source(self.declare(fields)).TEXT_FIELDS
        bare = {name: value for name, value in fields.items() if name not in texts}
        workspace = open_workspace(
            open_kind(CTWindowDatasetSpec(name="windows", **bare)), data_root=str(tmp_path / "data")
        )
        table = read_rows(workspace)
        assert table["excluded"].null_count
        assert not TEXT_COLUMNS & set(table.column_names)

    def check_without_texts(
        self, fields: dict[str, Any], tmp_path: Path, names: tuple[str, ...] = ()
    ) -> None:
        """Build a source without report and labels; look at shards, loader, manifest and verification.

        Args:
            fields: Declaration of a source that has neither.
            tmp_path: Where to build.
            names: Names of labels that are known, although all values are not.
        """
        workspace = self.open({**fields, "requires": ()}, tmp_path)
        draft = draft_catalog(workspace)
        publish_catalog(workspace.paths, draft)
        keys = list(draft.plan.partitions)
        records = [
            build_shard(workspace, workspace.paths, plan_shard(workspace, key)).record
            for key in keys
        ]
        described = workspace.kind.describe_catalog(draft.table)["texts"]
        assert described == {"samples": draft.plan.num_planned, "report": 0, "labels": 0}
        samples = [sample for record in records for sample in record.samples]
        assert [m.suffix for m in samples[0].members] == ["bin", "txt", "cls", "json"]
        sizes = {m.suffix: m.size_bytes for m in samples[0].members}
        assert (sizes["txt"], sizes["cls"]) == (0, 4 * len(names))
        assert samples[0].facts["labels"] == [None] * len(names)
        volumes = VolumeDataset([str(workspace.paths.shard(key)) for key in keys])
        assert len(volumes) == len(samples) > 0
        for sample in (volumes[number] for number in range(len(volumes))):
            assert sample["report"] == ""
            assert np.isnan(sample["labels"].numpy()).tolist() == [True] * len(names)
        assert not verify_dataset(workspace, keys, full=True).problems
        manifest = workspace.kind.manifest_fields(records)
        assert manifest["num_classes"] == len(names)
        assert manifest["label_values"] == (
            {name: {"unknown": len(samples)} for name in names} if names else None
        )

    def test_files_hold_nothing_beside_their_samples(
        self, fields: dict[str, Any], tmp_path: Path
    ) -> None:
        workspace = self.open(fields, tmp_path)
        by_file: dict[Path, list[SourceItem]] = {}
        for item, staged in stage_all(workspace):
            by_file.setdefault(staged.path, []).append(item)
        for place, items in by_file.items():
            assert find_source(workspace.kind).find_unused(place, items, ignored=()) == ""

    def test_only_files_of_this_machine_can_be_deleted(self, fields: dict[str, Any]) -> None:
        kind = self.declare(fields)
        deleting: Any = replace(kind.spec, delete_sources=True)
        if find_source(kind).has_headers and find_source(kind).is_local:
            with pytest.raises(SpecError, match=r"^expected_orientation: delete_sources needs"):
                open_kind(deleting)
            deleting = replace(deleting, expected_orientation="LPS")
        if find_source(kind).is_local:
            assert open_kind(deleting).spec == deleting
        else:
            with pytest.raises(SpecError, match=r"^delete_sources: only files of this machine"):
                open_kind(deleting)


def find_source(kind: DatasetKind) -> CTSource:
    assert kind.ct_source is not None
    return kind.ct_source


def read_rows(workspace: Workspace) -> pa.Table:
    files = workspace.source
    return workspace.kind.read_rows(
        files, revision=files.resolve_revision(), previous=None, settings={}
    )


def stage_all(workspace: Workspace) -> list[tuple[SourceItem, StagedFile]]:
    """Return every planned item with its staged file."""
    publish_catalog(workspace.paths, draft_catalog(workspace))
    items = [
        item for key in workspace.read_plan().partitions for item in workspace.read_partition(key)
    ]
    staged = workspace.stage(items)
    found = [(item, staged[item.key]) for item in items]
    assert found
    return [(item, file) for item, file in found if isinstance(file, StagedFile)]
