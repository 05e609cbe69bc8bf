import json
import tarfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medassets.errors import ForeignFileError
from medassets.samples import SourceItem
from medassets.shards.account import Account
from medassets.shards.manifest import build_manifest, write_manifest
from medassets.shards.record import ShardRecord
from medassets.shards.writer import ShardWork, ensure_shard
from medassets.storage.paths import DatasetPaths

MakeWork = Callable[..., ShardWork]


@pytest.fixture
def records(
    paths: DatasetPaths, make_work: MakeWork, make_items: Callable[..., tuple[SourceItem, ...]]
) -> list[ShardRecord]:
    """Two shards of a plan of three."""
    second = tuple(replace(item, key=f"b{item.key}") for item in make_items(5))
    works = (make_work(), make_work(partition_key="train-000001", items=second))
    return [ensure_shard(paths, work).record for work in works]


@pytest.fixture
def manifest(paths: DatasetPaths, records: list[ShardRecord]) -> Mapping[str, Any]:
    """Their manifest as it lies on the disk."""
    manifest = build_manifest(
        "train",
        records,
        dataset="tiny",
        kind="ct_volume",
        sample_fields={
            "preprocessed": True,
            "sample_shape": [2, 3, 5],
            "sample_dtype": "float16",
            "num_classes": 18,
        },
        source={"uri": "test://source", "revision": "rev"},
        account=Account(items=18, done=15, excluded={"no_chest": 3}),
        planned=["train-000000", "train-000001", "train-000002"],
        num_held=0,
        samples_per_shard=3,
        describe_shard=lambda record: {},
    )
    write_manifest(paths, "train", manifest)
    return json.loads(paths.manifest("train").read_bytes())


def test_a_manifest_has_the_keys_that_readers_rely_on(
    paths: DatasetPaths, manifest: Mapping[str, Any]
) -> None:
    expected = {
        "dataset": "tiny",
        "split": "train",
        "format": "webdataset",
        "preprocessed": True,
        "total_shards": 2,
        "total_samples": 15,
        "sample_shape": [2, 3, 5],
        "sample_dtype": "float16",
        "num_classes": 18,
    }
    assert {key: manifest[key] for key in expected} == expected
    sizes = [paths.shard(f"train-00000{i}").stat().st_size for i in (0, 1)]
    assert manifest["total_size_bytes"] == sum(sizes)
    for i, shard in enumerate(manifest["shards"]):
        assert shard["shard_index"] == i
        assert shard["filename"] == f"shard-00000{i}.tar"
        assert shard["num_samples"] == (10, 5)[i]
        assert shard["size_bytes"] == sizes[i]


def test_a_manifest_says_what_is_missing_excluded_and_rejected(
    manifest: Mapping[str, Any],
) -> None:
    assert not manifest["complete"]
    assert manifest["missing_partitions"] == ["train-000002"]
    assert manifest["excluded"] == {"no_chest": 3}
    assert [r["reason"] for r in manifest["shards"][0]["rejected"]] == [
        "bad_header",
        "missing_upstream",
    ]


def test_the_record_a_manifest_names_holds_the_offsets(
    paths: DatasetPaths, manifest: Mapping[str, Any]
) -> None:
    for shard in manifest["shards"]:
        folder = paths.split_folder("train")
        record = ShardRecord.read(folder / shard["record"])
        assert (record.sha256, record.filename) == (shard["sha256"], shard["filename"])
        assert [sample.key for sample in record.samples] == shard["keys"]


def _expected_members(record: ShardRecord, shard: Path) -> list[tuple[str, bytes]]:
    data = shard.read_bytes()
    return [
        (f"{sample.key}.{m.suffix}", data[m.offset : m.offset + m.size_bytes])
        for sample in record.samples
        for m in sample.members
    ]


def test_tarfile_reads_every_member(paths: DatasetPaths, records: list[ShardRecord]) -> None:
    shard = paths.shard("train-000000")
    with tarfile.open(shard, "r:") as archive:
        found = []
        for info in archive:
            content = archive.extractfile(info)
            assert content is not None
            found.append((info.name, content.read()))
    assert found == _expected_members(records[0], shard)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_webdataset_reads_every_sample(
    paths: DatasetPaths, records: list[ShardRecord], manifest: Mapping[str, Any]
) -> None:
    from webdataset.compat import WebDataset

    pattern = str(paths.split_folder("train") / "shard-{000000..000001}.tar")
    found = list(WebDataset(pattern, shardshuffle=False, empty_check=False))
    assert [sample["__key__"] for sample in found] == [
        sample.key for record in records for sample in record.samples
    ]
    members = dict(_expected_members(records[0], paths.shard("train-000000")))
    for sample in found[:10]:
        for suffix in ("bin", "txt", "json"):
            assert sample[suffix] == members[f"{sample['__key__']}.{suffix}"]


def test_wids_opens_the_index_and_reads_any_sample(
    paths: DatasetPaths,
    records: list[ShardRecord],
    manifest: Mapping[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WIDS_CACHE", str(tmp_path / "cache"))
    with warnings.catch_warnings():
        # wids is built on what torch and Python have since declared old.
        warnings.simplefilter("ignore")
        import wids

        dataset = wids.ShardListDataset(
            str(paths.wids_index("train")),
            transformations=[lambda sample: sample],  # pyright: ignore[reportArgumentType]
        )
        assert len(dataset) == manifest["total_samples"]
        keys = [sample.key for record in records for sample in record.samples]
        for index in (14, 0, 9, 10):
            sample = dataset[index]
            assert sample["__key__"] == keys[index]
            assert json.loads(sample[".json"].read()) == {"key": keys[index]}
        dataset.close()


def test_the_same_shards_give_the_same_manifest_bytes(
    paths: DatasetPaths, manifest: Mapping[str, Any]
) -> None:
    before = paths.manifest("train").read_bytes(), paths.wids_index("train").read_bytes()
    write_manifest(paths, "train", manifest)
    assert (paths.manifest("train").read_bytes(), paths.wids_index("train").read_bytes()) == before


def test_a_damaged_manifest_of_this_dataset_is_replaced(
    paths: DatasetPaths, manifest: Mapping[str, Any]
) -> None:
    for path in (paths.manifest("train"), paths.wids_index("train")):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        write_manifest(paths, "train", manifest)
        assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["manifest", "wids_index"])
def test_an_edited_manifest_or_index_is_not_replaced_and_its_neighbour_stays(
    paths: DatasetPaths, manifest: Mapping[str, Any], name: str
) -> None:
    path: Path = getattr(paths, name)("train")
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "mine": 1}))
    before = {p: p.read_bytes() for p in path.parent.iterdir()}
    with pytest.raises(ForeignFileError, match=f"{path.name}: this was not made .* or was changed"):
        write_manifest(paths, "train", {**manifest, "complete": True})
    assert {p: p.read_bytes() for p in path.parent.iterdir()} == before


def test_a_manifest_of_a_version_without_journals_is_replaced(
    paths: DatasetPaths, manifest: Mapping[str, Any]
) -> None:
    path = paths.manifest("train")
    for journal in path.parent.glob(".*.made.jsonl"):
        journal.unlink()
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "an_old_field": 1}))
    write_manifest(paths, "train", manifest)
    assert "an_old_field" not in json.loads(path.read_bytes())


@pytest.mark.parametrize("name", ["manifest", "wids_index"])
@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b"notes",
        b'{"dataset": "other", "split": "train", "format": "webdataset"}',
        b'{"__kind__": "wids-shard-index-v1", "wids_version": 1, "name": "theirs"}',
    ],
)
def test_a_foreign_manifest_or_index_is_not_replaced(
    paths: DatasetPaths, manifest: Mapping[str, Any], name: str, content: bytes
) -> None:
    path: Path = getattr(paths, name)("train")
    path.write_bytes(content)
    before = {p: p.read_bytes() for p in path.parent.iterdir()}
    with pytest.raises(ForeignFileError, match=f"{path.name}: this was not made by medassets"):
        write_manifest(paths, "train", {**manifest, "complete": True})
    assert {p: p.read_bytes() for p in path.parent.iterdir()} == before
