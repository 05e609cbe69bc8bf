"""Pipelines of webdataset give the samples of our datasets, each once, and lose none in silence."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import webdataset
from torch.utils.data import DataLoader

from medassets.errors import ShardIntegrityError, UsageError, WrongLoaderError
from medassets.loaders import ClipDataset, VolumeDataset, open_webdataset
from medassets.samples import SampleKind
from medassets_tests.exports.making import TRAIN, encode_frames
from medassets_tests.loaders.webdatasets.object_store import serve_bucket
from medassets_tests.small_shards import make_shards

KEYS = [f"sample_{number}" for number in range(8)]


def pipe(manifest: Path, command: str = "cat") -> str:
    """Return the URL of a command that writes the shards."""
    return f"pipe:{command} {manifest.parent}/shard-{{000000..000002}}.tar"


def open_piped(manifest: Path, **options: Any) -> Any:
    # The labels of these shards are not in their jsons by name.
    return open_webdataset(pipe(manifest), label_type="float32", **options)


def list_samples(dataset: Any) -> list[dict[str, Any]]:
    return list(dataset)


def list_keys(samples: Any) -> list[str]:
    return [sample["key"] for sample in samples]


def require_equal(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Compare samples field by field, and their names for webdataset."""
    assert list_keys(found) == list_keys(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.pop("__key__") == one["key"]
        assert one.pop("__url__").endswith(".tar")
        assert one.keys() == other.keys()
        for name, value in other.items():
            if isinstance(value, torch.Tensor):
                assert one[name].dtype == value.dtype
                assert torch.equal(one[name], value)
                assert one[name].stride() == value.stride()
            else:
                assert one[name] == value


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("open_it", [open_webdataset, open_piped], ids=["indexed", "streamed"])
def test_samples_are_those_of_the_dataset_of_volumes(split: Path, open_it: Any, dtype: Any) -> None:
    opened = open_it(split, dtype=dtype)
    assert isinstance(opened, webdataset.WebDataset)  # pyright: ignore[reportAttributeAccessIssue]
    require_equal(list(opened), list_samples(VolumeDataset(split, dtype=dtype)))


@pytest.mark.parametrize("layout", ["tchw", "thwc"])
def test_samples_are_those_of_the_dataset_of_clips(tmp_path: Path, layout: Any) -> None:
    clips = partial(encode_clip)
    kind = SampleKind.VIDEO_FRAMES
    manifest = make_shards(tmp_path, (2, 1), clips, stage="frames", kind=kind)
    expected = list_samples(ClipDataset(manifest, layout=layout))
    require_equal(list(open_webdataset(manifest, layout=layout)), expected)
    url = f"pipe:cat {manifest.parent}/shard-{{000000..000001}}.tar"
    require_equal(list(open_webdataset(url, layout=layout)), expected)


def encode_clip(number: int) -> Any:
    return encode_frames(TRAIN[number]).members


def test_the_pipeline_has_the_methods_of_webdataset(split: Path) -> None:
    opened = open_webdataset(split).select(lambda one: one["key"] != "sample_0")
    means = list_samples(opened.map(lambda one: {"mean": one["volume"].float().mean()}))
    assert [one["__key__"] for one in means] == KEYS[1:]
    batches = list_samples(
        open_webdataset(split).batched(3, collation_fn=open_webdataset(split).collate_fn)
    )
    assert [tuple(batch["volume"].shape[:2]) for batch in batches] == [(3, 1), (3, 1), (2, 1)]
    assert batches[0]["key"] == KEYS[:3]


@pytest.mark.parametrize("open_it", [open_webdataset, open_piped], ids=["indexed", "streamed"])
def test_workers_divide_the_shards_and_each_sample_comes_once(split: Path, open_it: Any) -> None:
    opened = open_it(split)
    loader = DataLoader(opened, batch_size=2, num_workers=2, collate_fn=opened.collate_fn)
    assert sorted(key for batch in loader for key in batch["key"]) == KEYS
    whole = open_it(split, split_by_worker=False)
    loader = DataLoader(whole, batch_size=None, num_workers=2)
    assert sorted(list_keys(loader)) == sorted(KEYS * 2)


def test_ranks_divide_the_shards(split: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    found: list[list[str]] = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        found.append(list_keys(open_webdataset(split)))
        assert list_keys(open_webdataset(split, split_by_node=False)) == KEYS
    assert found == [KEYS[:4], KEYS[4:7], KEYS[7:]]
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(UsageError, match="3 shards do not reach 4 ranks; use resampled=True"):
        open_webdataset(split)


def test_resampled_shards_have_no_end_and_every_rank_its_own_order(
    split: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    found: list[list[str]] = []
    for rank in range(4):
        monkeypatch.setenv("RANK", str(rank))
        found.append(list_keys(open_webdataset(split, resampled=True, seed=3).with_epoch(30)))
    assert [len(keys) for keys in found] == [30] * 4
    assert len({tuple(keys) for keys in found}) > 1
    again = open_webdataset(split, resampled=True, seed=3).with_epoch(30)
    assert list_keys(again) == found[3]


@pytest.mark.parametrize("open_it", [open_webdataset, open_piped], ids=["indexed", "streamed"])
def test_a_seeded_order_differs_by_epoch_and_holds_every_sample(split: Path, open_it: Any) -> None:
    opened = open_it(split, shuffle=8, seed=5)
    first, second = list_keys(opened), list_keys(opened)
    assert sorted(first) == sorted(second) == KEYS
    assert len({tuple(KEYS), tuple(first), tuple(second)}) == 3
    assert list_keys(open_it(split, shuffle=8, seed=5)) == first
    assert sorted(list_keys(open_it(split, shuffle=3))) == KEYS


def test_shards_of_s3_are_read_by_fsspec(split: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = list_samples(VolumeDataset(split))
    with serve_bucket(split.parent) as endpoint:
        for name, value in (
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
        ):
            monkeypatch.setenv(name, value)
        url = "s3://bucket/shard-{000000..000002}.tar"
        require_equal(list(open_webdataset(url, label_type="float32")), expected)
        with pytest.raises(ShardIntegrityError, match=r"s3://bucket/none.tar: the shard cannot be"):
            list(open_webdataset("s3://bucket/none.tar"))


def test_a_damaged_sample_of_this_machine_is_named(own_split: Path) -> None:
    shard = own_split.parent / "shard-000001.tar"
    content = bytearray(shard.read_bytes())
    content[700] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ShardIntegrityError, match=r"shard-000001\.tar: sample_4: .*damaged"):
        list(open_webdataset(own_split))
    assert len(list_keys(open_webdataset(own_split, check="never"))) == 8
    shard.unlink()
    with pytest.raises(ShardIntegrityError, match=r"shard-000001\.tar: the shard is missing"):
        open_webdataset(own_split)


def test_a_cut_off_stream_and_a_failing_command_are_named(split: Path, capfd: Any) -> None:
    shard = split.parent / "shard-000000.tar"
    end = len(shard.read_bytes().rstrip(b"\0"))
    blocks = -(-end // 512) * 512
    # Behind the last sample, within the end mark, within a member, within a header, before all.
    for num_bytes in (blocks, blocks + 512, 3072, 700, 0):
        url = f"pipe:head -c {num_bytes} {shard}"
        with pytest.raises(ShardIntegrityError, match=r"head -c .*(cut off|cannot be read to its)"):
            list(open_webdataset(url, label_type="float32"))
    with pytest.raises(ShardIntegrityError, match=r"cannot be read to its end \(.*exit 1"):
        list(open_webdataset("pipe:cat /none.tar"))
    # What was begun and is not read to its end is no error.
    piped = open_webdataset(f"pipe:cat {shard}", label_type="float32")
    assert next(iter(piped))["key"] == "sample_0"
    assert "Exception ignored" not in capfd.readouterr().err


def test_a_streamed_sample_without_its_members_is_named(tmp_path: Path, split: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "a.txt").write_text("text")
    subprocess.run(["tar", "-cf", tmp_path / "odd.tar", "-C", folder, "a.txt"], check=True)
    with pytest.raises(ShardIntegrityError, match=r"odd.tar: a: has no member .bin or .npy"):
        list(open_webdataset(f"pipe:cat {tmp_path}/odd.tar"))
    (folder / "a.lung.bits").write_bytes(b"1")
    (folder / "a.lung.rank").write_bytes(b"1")
    subprocess.run(["tar", "-cf", tmp_path / "odd.tar", "-C", folder, "."], check=True)
    with pytest.raises(
        WrongLoaderError, match="holds windows of CT volumes, not volumes or frames"
    ):
        list(open_webdataset(f"file://{tmp_path}/odd.tar"))


def test_what_cannot_be_opened_is_named(split: Path) -> None:
    with pytest.raises(UsageError, match="shuffle: expected 0 or a number of samples, got -1"):
        open_webdataset(split, shuffle=-1)
    with pytest.raises(UsageError, match="source: names files of this machine and URLs"):
        open_webdataset([split, "s3://bucket/a.tar"])
    with pytest.raises(UsageError, match=r"source: s3://b/\{1\.\.x\.tar: .*expected such as s3://"):
        open_webdataset("s3://b/{1..x.tar")
    with pytest.raises(ShardIntegrityError, match="Protocol not known: s9"):
        list(open_webdataset("s9://bucket/a.tar"))


@pytest.mark.slow
def test_a_job_of_two_processes_reads_each_sample_once(split: Path) -> None:
    program = (
        "import sys; from medassets.loaders import open_webdataset\n"
        "print(*(one['key'] for one in open_webdataset(sys.argv[1])))"
    )
    found: list[str] = []
    for rank in ("0", "1"):
        environ = {**os.environ, "RANK": rank, "WORLD_SIZE": "2"}
        command = [sys.executable, "-c", program, str(split)]
        ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
        found += ran.stdout.split()
    assert sorted(found) == KEYS
    assert json.loads(split.read_bytes())["total_samples"] == len(np.unique(found))
