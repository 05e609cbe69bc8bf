"""Shards that a user names."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from medassets.errors import ShardIntegrityError
from medassets.tars.lists import FoundShard, Source, find_shards
from medassets_tests.small_shards import make_shards


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of three shards; read only."""
    root = tmp_path_factory.mktemp("split")
    return make_shards(root, (4, 3, 1), lambda number: (("bin", bytes([number])),))


def test_a_manifest_tells_samples_and_sizes_and_plain_tars_do_not(split: Path) -> None:
    tars = sorted(split.parent.glob("*.tar"))
    sizes = [tar.stat().st_size for tar in tars]
    assert find_shards(split) == list(map(FoundShard, tars, (4, 3, 1), sizes))
    assert find_shards(tars) == [FoundShard(tar) for tar in tars]


def test_hidden_tars_of_a_folder_are_skipped(tmp_path: Path) -> None:
    for name in ("b.tar", ".c.tar", "a.tar", "a.json"):
        (tmp_path / name).touch()
    assert [shard.path.name for shard in find_shards(tmp_path)] == ["a.tar", "b.tar"]


def test_a_source_can_be_named_in_many_ways(split: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = split.parent
    tars = sorted(folder.glob("*.tar"))
    ways: list[Source] = [
        split,
        str(folder),
        f"{folder}/shard-{{000000..000002}}.tar",
        f"{folder}/shard-*.tar",
        tars,
        [f"{folder}/shard-{{000000,000001}}.tar", tars[2]],
    ]
    for source in ways:
        assert [shard.path for shard in find_shards(source)] == tars, source
    monkeypatch.chdir(folder)
    assert [shard.path.name for shard in find_shards("shard-00000?.tar")] == [t.name for t in tars]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda f: f"{f}/none-*.tar", "names no shard"),
        (lambda _: [], r"\[\]: names no shard"),
        (lambda f: f / "manifest2.json", "no such manifest"),
        (lambda f: [f / "shard-000000.tar", f"{f}/shard-*.tar"], r"shard-000000\.tar: named twice"),
        (lambda f: [f / "shard-000000.tar", f / "../train/shard-000000.tar"], "named twice"),
        (lambda f: [f, os.path.relpath(f / "shard-000000.tar")], r"shard-000000\.tar: named twice"),
        (lambda f: f"{f}/shard-{{000000..000002.tar", r"000002\.tar: .*; expected such as shard-"),
        (lambda f: f"{f}/{{{{shard}}-{{0..1}}.tar", r"expected such as shard-"),
        (lambda _: "~no-such-user/a.tar", "~no-such-user/a.tar: .*; give the full"),
        (lambda _: "s3://bucket/shard-{000000..000001}.tar", "not a path"),
    ],
    ids=range(10),
)
def test_a_source_that_cannot_be_right_is_named(
    split: Path, make: Callable[[Path], Source], match: str
) -> None:
    with pytest.raises(ShardIntegrityError, match=match):
        find_shards(make(split.parent))


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="** means * there")
def test_a_pattern_that_the_system_cannot_read_is_named(split: Path) -> None:
    with pytest.raises(ShardIntegrityError, match=r"shard\*\*\.tar: .*; expected such as shard-\*"):
        find_shards(f"{split.parent}/shard**.tar")


def test_linked_shards_are_shards_of_their_own(split: Path, tmp_path: Path) -> None:
    for number in range(6):
        for suffix in (".tar", ".json"):
            target = split.with_name(f"shard-{number % 3:06d}{suffix}")
            (tmp_path / f"shard-{number:06d}{suffix}").symlink_to(target)
    assert [shard.path for shard in find_shards(tmp_path)] == sorted(tmp_path.glob("*.tar"))


@pytest.mark.parametrize("name", ["manifest.json", ".", "shard-{000000..000002}.tar", "*.tar"])
def test_a_relative_source_stays_where_it_was(
    split: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(split.parent)
    found = find_shards(name)
    monkeypatch.chdir(tmp_path)
    assert [shard.path for shard in found] == sorted(split.parent.glob("*.tar"))


@pytest.mark.parametrize(
    "content",
    [
        '{"shards": {"a": 1}}',
        '{"shards": ["shard-000000.tar"]}',
        '{"shards": 3}',
        '{"shards": [{"filename": 3, "num_samples": 1}]}',
        '{"shards": [{"filename": "a.tar", "num_samples": Infinity}]}',
        "[" * 100_000,
        "\0",
    ],
    ids=range(7),
)
def test_what_is_no_manifest_is_named(tmp_path: Path, content: str) -> None:
    manifest = tmp_path / "manifest.json"
    manifest.write_text(content)
    with pytest.raises(ShardIntegrityError, match=r"manifest\.json: not a manifest of medassets"):
        find_shards(manifest)
    manifest.unlink()
    manifest.mkdir()
    with pytest.raises(ShardIntegrityError, match=r"manifest\.json: the manifest cannot be read"):
        find_shards(tmp_path)
