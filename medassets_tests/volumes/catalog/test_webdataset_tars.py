"""The tars behind a catalog: damaged, missing, linked, listed, deleted, or as they were."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from medassets.datasets.ct_sources.webdataset import WebDatasetTars
from medassets.errors import CatalogError
from medassets.shards.catalog.planning import plan_catalog
from medassets.sources.webdataset import WebDatasetSource
from medassets.tars.index import index_tar
from medassets.volumes.catalog.columns import WEBDATASET_ROW_SCHEMA
from medassets_tests.volumes.foreign_tars import (
    FACTS,
    WriteTar,
    list_exclusions,
    make_sample,
    make_spec,
    read,
    refresh,
    without,
)


def test_a_damaged_tar_is_one_row(source: WebDatasetSource, write_tar: WriteTar) -> None:
    write_tar("train/0.tar", make_sample())
    tar = write_tar("train/1.tar", make_sample(study_id="x"), make_sample("2", study_id="y"))
    tar.write_bytes(tar.read_bytes()[:3000])
    (_, (reason, detail)) = list_exclusions(table := read(source))
    assert reason == "corrupt_tar"
    assert detail is not None
    assert detail.startswith("train/1.tar: the tar is damaged: ")
    assert str(source.folder) not in detail
    plan_catalog(table, None, samples_per_shard=2, pinned=False)


def test_a_tar_that_is_named_and_not_there_is_one_row(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    write_tar("train/shard-000000.tar", make_sample())
    table = read(source, shards="{split}/shard-{000000..000001}.tar")
    assert list_exclusions(table)[1] == (
        "missing_source",
        "train/shard-000001.tar: does not exist, is not a regular file, or is a link out of the source",
    )


def test_links_out_of_the_source_are_not_followed(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    outside = write_tar("../outside.tar", make_sample())
    (source.folder / "train").mkdir()
    (source.folder / "train/0.tar").symlink_to(outside)
    assert read(source)["excluded"].to_pylist() == ["missing_source"]


def test_what_names_no_tar_is_an_error(source: WebDatasetSource, write_tar: WriteTar) -> None:
    with pytest.raises(CatalogError, match=r"shards: .*train/\*\.tar: names no shard"):
        read(source)
    write_tar("train/0.tar", make_sample())
    with pytest.raises(CatalogError, match=r"shards: .*manifest\.json: no such manifest"):
        read(source, shards="{split}/manifest.json")
    with pytest.raises(CatalogError, match=r"/elsewhere/train/0\.tar is not inside the source"):
        read(source, shards="/elsewhere/{split}/{0..1}.tar")
    shutil.move(source.folder / "train/0.tar", source.folder / "train/0.tgz")
    with pytest.raises(CatalogError, match=r"0\.tgz: expected a file named \*\.tar"):
        read(source, shards="{split}/0.tgz")


@pytest.mark.parametrize("shards", ["{split}", "{split}/{a,b}.tar", "{split}/manifest.json"])
def test_tars_are_named_in_many_ways(
    source: WebDatasetSource, write_tar: WriteTar, shards: str
) -> None:
    tars = [write_tar(f"train/{n}.tar", make_sample(study_id=n)) for n in "ab"]
    entries = [
        {"filename": tar.name, "num_samples": 1, "size_bytes": tar.stat().st_size} for tar in tars
    ]
    if shards.endswith(".json"):
        (source.folder / "train/manifest.json").write_text(json.dumps({"shards": entries}))
    for text in (shards, f"{source.folder}/{shards}"):
        table = read(source, shards=text)
        assert table["path"].to_pylist() == ["train/a.tar/0001", "train/b.tar/0001"]
    top = WebDatasetTars(make_spec(source, folder="", shards=text)).open_files()
    assert read(top, folder="", shards=text)["excluded"].to_pylist() == [None, None]


@pytest.mark.parametrize(("name", "what"), [("num_samples", "samples"), ("size_bytes", "bytes")])
def test_a_tar_that_is_not_what_its_manifest_says_is_not_believed(
    source: WebDatasetSource, write_tar: WriteTar, name: str, what: str
) -> None:
    tar = write_tar("train/a.tar", make_sample())
    entry = {"filename": "a.tar", "num_samples": 1, "size_bytes": tar.stat().st_size, name: 9}
    manifest = source.folder / "train/manifest.json"
    manifest.write_text(json.dumps({"shards": [entry]}))
    ((reason, detail),) = list_exclusions(read(source))
    assert reason is None
    ((reason, detail),) = list_exclusions(read(source, shards="{split}"))
    assert reason == "corrupt_tar"
    assert detail is not None
    assert detail.endswith(f" {what}, its manifest says 9")


@pytest.fixture
def read_tars(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the tars that were read, as they are read."""
    names: list[str] = []

    def count(path: Path, **options: Any) -> Any:
        names.append(path.name)
        return index_tar(path, **options)

    monkeypatch.setattr("medassets.volumes.catalog.webdataset_rows.index_tar", count)
    return names


def test_unchanged_tars_are_not_read_again(
    source: WebDatasetSource, write_tar: WriteTar, read_tars: list[str]
) -> None:
    bad = without(make_sample("b"), "txt")
    for number in range(3):
        write_tar(
            f"train/{number}.tar",
            make_sample("a", study_id=f"s{number}", labels={"x": 1, "y": 1}),
            bad | {"json": {**FACTS, "study_id": f"bad{number}"}},
            without(make_sample("c"), "json"),
        )
    first = refresh(source, None)
    assert sorted(read_tars) == ["0.tar", "1.tar", "2.tar"]
    read_tars.clear()
    second = refresh(source, first)
    assert read_tars == []
    assert second.equals(first, check_metadata=True)
    write_tar("train/1.tar", make_sample("a", study_id="s1"), make_sample("n", study_id="new"))
    third = refresh(source, second)
    assert read_tars == ["1.tar"]
    assert sorted(third.filter(third["study_id"].is_valid())["study_id"].to_pylist()) == [
        *("bad0", "bad2", "new", "s0", "s1", "s2"),
    ]
    os.utime(source.folder / "train/2.tar", ns=(7, 7))
    refresh(source, third)
    assert read_tars == ["1.tar", "2.tar"]


@pytest.mark.parametrize(
    "changes", [{"hu_rule": "table"}, {"fields": {"text": "txt"}}, {"label_names": ("a",)}]
)
def test_another_declaration_reads_every_tar(
    source: WebDatasetSource,
    write_tar: WriteTar,
    read_tars: list[str],
    changes: dict[str, Any],
) -> None:
    write_tar("train/0.tar", make_sample())
    first = refresh(source, None)
    refresh(source, first, **changes)
    assert read_tars == ["0.tar", "0.tar"]


def test_a_row_that_became_bad_is_read_until_it_is_good(
    source: WebDatasetSource, write_tar: WriteTar, read_tars: list[str]
) -> None:
    write_tar("train/0.tar", make_sample("a", study_id="a"), make_sample("b", study_id="b"))
    first = refresh(source, None)
    tar = write_tar("train/0.tar", make_sample("a", study_id="a"))
    os.utime(tar, ns=(9, 9))
    second = refresh(source, first)
    assert second["mtime_ns"].to_pylist() == [9, first["mtime_ns"][1].as_py()]
    # The row of `b` stays in the plan, so it is there beside those of the tar as it is.
    refresh(source, second)
    assert read_tars == ["0.tar"] * 3


def test_a_catalog_without_large_columns_reads_every_tar(
    source: WebDatasetSource, write_tar: WriteTar, read_tars: list[str]
) -> None:
    write_tar("train/0.tar", make_sample())
    first = refresh(source, None)
    again = read(source, first.drop_columns(["metadata"]))
    assert read_tars == ["0.tar", "0.tar"]
    assert again["metadata"].null_count == 0


def test_tars_whose_samples_are_known_may_be_gone(
    source: WebDatasetSource, write_tar: WriteTar
) -> None:
    shards = "{split}/{0..2}.tar"
    for number in range(2):
        write_tar(f"train/{number}.tar", make_sample(study_id=f"s{number}"))
    first = refresh(source, None, shards=shards)
    assert first["excluded"].to_pylist() == [None, None, "missing_source"]
    (source.folder / "train/0.tar").unlink()
    second = refresh(source, first, shards=shards)
    assert second["excluded"].to_pylist() == [None, None, "missing_source"]
    assert second["path"].to_pylist()[0] == "train/0.tar/0001"
    (source.folder / "train/1.tar").unlink()
    third = refresh(source, second)
    assert third["path"].to_pylist() == ["train/0.tar/0001", "train/1.tar/0001"]


def test_rows_survive_a_table_on_disk(source: WebDatasetSource, write_tar: WriteTar) -> None:
    write_tar("train/0.tar", make_sample(), without(make_sample("b"), "json"))
    table = read(source)
    assert table.schema.names == WEBDATASET_ROW_SCHEMA.names
    pq.write_table(table, source.folder / "rows.parquet")
    again = pq.read_table(source.folder / "rows.parquet")
    assert again.equals(table)
    assert again.schema.metadata == table.schema.metadata
