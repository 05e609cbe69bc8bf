"""Existing WebDatasets as a source."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from medassets.datasets.ct_sources.registry import open_volume_source
from medassets.samples import SourceItem
from medassets.shards.catalog.planning import plan_catalog
from medassets.specs import VolumeDatasetSpec
from medassets_tests.datasets.ct_sources.contract import VolumeSourceContract
from medassets_tests.shared_cases import find_case
from medassets_tests.tars.raw_tars import HUGE, write
from medassets_tests.volumes.foreign_tars import VOXELS, make_sample, without


class TestWebDatasetTars(VolumeSourceContract):
    required = ("shards",)

    def make(self, folder: Path) -> dict[str, Any]:
        from webdataset.writer import TarWriter

        for tar, keys in {"a.tar": ("0001", "0002"), "b.tar": ("0001",)}.items():
            place = folder / "train" / tar
            place.parent.mkdir(parents=True, exist_ok=True)
            with TarWriter(str(place)) as writer:
                for key in keys:
                    writer.write(make_sample(key, study_id=f"{tar[0]}_{key}"))
        names = ("one", "two")
        return {
            "source": "webdataset",
            "folder": str(folder),
            "shards": "{split}/*.tar",
            "label_names": names,
        }

    def read_expected(self, fields: dict[str, Any], item: SourceItem) -> np.ndarray:
        return VOXELS

    def test_samples_may_lack_text_and_labels(self, tmp_path: Path) -> None:
        from webdataset.writer import TarWriter

        with TarWriter(str(tmp_path / "a.tar")) as writer:
            writer.write(without(make_sample("1", study_id="a"), "txt", "cls"))
            writer.write(without(make_sample("2", study_id="b"), "cls") | {"txt": "nan"})
        fields = {
            **{"source": "webdataset", "shards": str(tmp_path / "a.tar"), "splits": ("train",)},
            **{"hu_rule": "none", "max_rejected_share": 1.0, "max_excluded_share": 1.0},
        }
        self.check_without_texts(fields, tmp_path)

    def test_some_samples_may_lack_labels_and_theirs_are_unknown(self, tmp_path: Path) -> None:
        from webdataset.writer import TarWriter

        with TarWriter(str(tmp_path / "a.tar")) as writer:
            writer.write(make_sample("1", study_id="a"))
            writer.write(without(make_sample("2", study_id="b"), "txt", "cls"))
        fields: dict[str, Any] = {
            **{"source": "webdataset", "shards": str(tmp_path / "a.tar"), "splits": ("train",)},
            **{"hu_rule": "none", "name": "tars", "label_names": ("one", "two"), "requires": ()},
        }
        source = open_volume_source(VolumeDatasetSpec(**fields))
        table = source.read_rows(source.open_files(), revision=None)
        rows = {row["study_id"]: row for row in table.to_pylist()}
        assert {row["excluded"] for row in rows.values()} == {None}
        assert rows["b"]["label_names"] == ["one", "two"]
        summary = source.describe_catalog(table)["label_values"]
        assert summary == {"one": "1 x 1, unknown x 1", "two": "1 x 1, unknown x 1"}
        again = source.read_rows(source.open_files(), revision=None, previous=plan_rows(table))
        assert again.to_pylist() == table.to_pylist()
        strict = replace(source.spec, requires=None)
        left = open_volume_source(strict).read_rows(source.open_files(), revision=None)
        assert left["excluded"].to_pylist() == [None, "missing_report"]


def plan_rows(table: pa.Table) -> pa.Table:
    return plan_catalog(table, None, samples_per_shard=2, pinned=False)


@pytest.fixture
def fields(tmp_path: Path) -> dict[str, Any]:
    """A declaration of two tars, `a.tar` with two samples and `b.tar` with one."""
    return TestWebDatasetTars().make(tmp_path) | {"name": "tars", "splits": ("train",)}


def read_rows(fields: dict[str, Any]) -> list[dict[str, Any]]:
    source = open_volume_source(VolumeDatasetSpec(**fields, hu_rule="none"))
    return source.read_rows(source.open_files(), revision=None).to_pylist()


def test_a_tar_without_an_end_mark_is_read_where_the_declaration_accepts_it(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    tar = tmp_path / "train" / "a.tar"
    content = tar.read_bytes()
    tar.write_bytes(content[: len(content.rstrip(b"\0")) // 512 * 512 + 512])
    refused = read_rows(fields)
    assert [row["excluded"] for row in refused] == ["corrupt_tar", None]
    assert "declare `accept_unterminated: true`" in refused[0]["detail"]
    accepted = read_rows(fields | {"accept_unterminated": True})
    assert [row["excluded"] for row in accepted] == [None, None, None]
    spec = VolumeDatasetSpec(**fields, hu_rule="none", accept_unterminated=True)
    source = open_volume_source(spec)
    files = source.open_files()
    for row in accepted:
        staged = files.fetch(files.describe([row["path"]], revision=None)[row["path"]], tmp_path)
        item = SourceItem(row["key"], "train", row["path"], None, row)
        assert source.read_texts(item, staged).text
        with source.open_volume(item, staged.path) as stream:
            assert stream.header.shape == VOXELS.shape


def test_a_catalog_read_without_the_declaration_is_read_again_with_it(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    tar = tmp_path / "train" / "b.tar"
    content = tar.read_bytes()
    tar.write_bytes(content[: len(content.rstrip(b"\0")) // 512 * 512 + 512])
    specs = [
        VolumeDatasetSpec(**fields, hu_rule="none", accept_unterminated=accepted)
        for accepted in (False, True)
    ]
    rows: pa.Table | None = None
    counts: list[int] = []
    for spec in specs:
        source = open_volume_source(spec)
        found = source.read_rows(source.open_files(), revision=None, previous=rows)
        counts.append(found["excluded"].null_count)
        rows = found
    assert counts == [2, 3]


@pytest.mark.parametrize("name", [*HUGE])
def test_a_tar_with_a_number_that_no_file_has_does_not_stop_the_dataset(
    tmp_path: Path, fields: dict[str, Any], name: str
) -> None:
    write(tmp_path / "train" / "c.tar", HUGE[name])
    rows = read_rows(fields)
    assert [row["excluded"] for row in rows] == [None, None, None, "corrupt_tar"]
    assert "c.tar" in rows[-1]["detail"]


@pytest.mark.parametrize("name", ["huge_b256.tar", "pax_hugelen.tar", "tar_sparse_gnu.tar"])
def test_a_tar_that_cannot_be_read_excludes_its_samples_only(
    tmp_path: Path, fields: dict[str, Any], name: str
) -> None:
    shutil.copy(find_case(f"headers/{name}"), tmp_path / "train" / "c.tar")
    rows = read_rows(fields)
    assert [row["excluded"] for row in rows] == [None, None, None, "corrupt_tar"]
