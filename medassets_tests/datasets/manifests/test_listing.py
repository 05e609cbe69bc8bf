"""Which shards a manifest lists while some are stale, and what a training job then reads."""

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from medassets.datasets.manifests.problems import find_manifest_problems
from medassets.datasets.manifests.publication import build_manifests, list_keys
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.workspace import Workspace
from medassets.errors import IncompleteManifestError, ShardIntegrityError
from medassets.loaders.index import ShardIndex
from medassets.loaders.volumes import VolumeDataset
from medassets.shards import publication
from medassets.shards.manifest import write_manifest
from medassets.shards.record import ShardRecord
from medassets.testing.ct_rate import SyntheticRepository
from medassets.volumes import samples
from medassets_tests.datasets.publishing import build, publish

OpenFolder = Callable[..., Workspace]
FIRST = "train-000000"
SHAPE = {"target_shape": (8, 8, 8)}


@pytest.fixture
def whole(planned: Workspace) -> Workspace:
    """A dataset whose shards are all made and listed."""
    build(planned)
    publish(planned)
    return planned


@pytest.fixture
def raised(
    whole: Workspace,
    open_folder: OpenFolder,
    repository: SyntheticRepository,
    monkeypatch: pytest.MonkeyPatch,
) -> Workspace:
    """The same by a later version of this package, whose format has another version."""
    monkeypatch.setattr("medassets.datasets.volumes._CODEC_VERSION", 2)
    return open_folder(repository.folder)


def test_a_raised_format_version_leaves_every_shard_in_the_list(raised: Workspace) -> None:
    before = list_keys(build_manifests(raised))
    build(raised, FIRST)
    publication = publish(raised)
    assert (publication.waiting, publication.refused) == ({}, {})
    manifest = publication.manifests["train"]
    assert list_keys(publication.manifests) == before
    assert not manifest["complete"]
    assert manifest["missing_partitions"] == []
    reasons = manifest["stale_partitions"]
    assert list(reasons) == ["train-000001", "train-000002"]
    assert list(reasons.values()) == [["codec_version was not set, is 2"]] * 2


def test_training_gets_all_samples_and_is_told_that_some_are_older(raised: Workspace) -> None:
    num_samples = build_manifests(raised)["train"]["total_samples"]
    build(raised, FIRST)
    publish(raised)
    path = raised.paths.manifest("train")
    with pytest.warns(UserWarning, match="2 listed shards older than .*codec_version") as caught:
        volumes = VolumeDataset(path)
    assert len(volumes) == num_samples == len([volumes[i] for i in range(num_samples)])
    assert caught[0].filename == __file__
    with pytest.raises(IncompleteManifestError, match="2 listed shards older than"):
        VolumeDataset(path, require_complete=True)


def test_a_manifest_that_lacks_shards_says_so(planned: Workspace) -> None:
    build(planned, FIRST)
    publish(planned)
    with pytest.warns(UserWarning, match=r"2 shards still to be made \(train-000001, train-"):
        ShardIndex(planned.paths.manifest("train"))


def test_a_complete_manifest_is_opened_without_a_word(whole: Workspace) -> None:
    assert len(ShardIndex(whole.paths.manifest("train"), require_complete=True)) > 0


def test_a_shard_that_was_made_again_takes_its_place_before_the_manifest_says_so(
    raised: Workspace,
) -> None:
    published = ShardIndex(raised.paths.manifest("train"))
    build(raised, FIRST)
    assert ShardIndex(raised.paths.manifest("train")).digest == published.digest


@pytest.mark.parametrize("renames", [0, 1])
def test_training_gets_all_samples_of_a_shard_whose_replacement_was_interrupted(
    raised: Workspace, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    """A kill between the renames of old record, new tar and new record lasts until the next build."""
    keys = list_keys(build_manifests(raised))["train"]
    left = [publication.publish_file] * renames
    encode = samples.encode_json

    def stop(*arguments: Any, **options: Any) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop()(*arguments, **options)

    monkeypatch.setattr(publication, "publish_file", stop)
    monkeypatch.setattr(samples, "encode_json", lambda document: encode(document) + b" " * 20_000)
    with pytest.raises(KeyboardInterrupt):
        build(raised, FIRST)
    assert not raised.paths.record(FIRST).exists()
    volumes = VolumeDataset(raised.paths.manifest("train"))
    assert [volumes[n]["key"] for n in range(len(volumes))] == keys


def test_samples_of_another_shape_are_never_read_beside_those_of_the_manifest(
    whole: Workspace, open_folder: OpenFolder, repository: SyntheticRepository
) -> None:
    build(open_folder(repository.folder, **SHAPE), FIRST)
    with pytest.raises(
        ShardIntegrityError, match=r"shard-000000.tar: was made again since .*other"
    ):
        ShardIndex(whole.paths.manifest("train"))
    folder = whole.paths.split_folder("train")
    with pytest.raises(ShardIntegrityError, match="whose samples do not fit together"):
        ShardIndex(f"{folder}/shard-{{000000..000002}}.tar")


def test_a_shard_with_fewer_samples_does_not_take_the_place_of_the_listed_one(
    whole: Workspace,
) -> None:
    record = ShardRecord.read(whole.paths.record(FIRST))
    fewer = replace(record, samples=record.samples[:1], sha256="0" * 64)
    fewer.write(whole.paths.record(FIRST))
    with pytest.raises(ShardIntegrityError, match=r"with 1 of \d samples"):
        ShardIndex(whole.paths.manifest("train"))


def test_a_grown_source_never_takes_samples_from_the_list(workspace: Workspace) -> None:
    """The last shard of the split changes with every growth."""
    listed: list[set[str]] = []
    for limit in (1, 2, 4, None):
        publish_catalog(
            workspace.paths, draft_catalog(workspace, limit=limit, limit_splits=["train"])
        )
        assert publish(workspace).refused == {}
        listed.append(set(list_keys(build_manifests(workspace))["train"]))
        build(workspace)
        assert publish(workspace).refused == {}
        listed.append(set(list_keys(build_manifests(workspace))["train"]))
    assert all(now >= before for before, now in itertools.pairwise(listed))
    assert build_manifests(workspace)["train"]["complete"]


def test_rows_of_a_stale_shard_are_named(workspace: Workspace) -> None:
    publish_catalog(workspace.paths, draft_catalog(workspace, limit=1))
    build(workspace)
    publish_catalog(workspace.paths, draft_catalog(workspace, limit=2))
    (lines,) = build_manifests(workspace)["train"]["stale_partitions"].values()
    new = workspace.read_partition(FIRST)[1].key
    assert lines == [f"{new}: is new in the plan"]


def strip_facts(workspace: Workspace, **changes: Any) -> None:
    """Make records what those of earlier versions are."""
    for key in workspace.read_plan().partitions:
        record = ShardRecord.read(workspace.paths.record(key))
        replace(record, made_from={}, plan={}, **changes).write(workspace.paths.record(key))


def test_records_without_facts_are_known_by_the_json_of_their_samples(
    workspace: Workspace, open_folder: OpenFolder, repository: SyntheticRepository
) -> None:
    publish_catalog(workspace.paths, draft_catalog(workspace, limit=1))
    build(workspace)
    strip_facts(workspace)
    assert "made_from" not in json.loads(workspace.paths.record(FIRST).read_bytes())
    assert build_manifests(workspace)["train"]["stale_partitions"] == {}
    publish_catalog(workspace.paths, draft_catalog(workspace, limit=2))
    (lines,) = build_manifests(workspace)["train"]["stale_partitions"].values()
    assert lines == ["made before facts were recorded; its settings are known by its samples"]
    other = open_folder(repository.folder, **SHAPE)
    assert build_manifests(other)["train"]["shards"] == []


def test_facts_that_were_edited_are_not_believed(
    whole: Workspace, open_folder: OpenFolder, repository: SyntheticRepository
) -> None:
    changed = open_folder(repository.folder, min_slices=3)
    record = ShardRecord.read(whole.paths.record(FIRST))
    spec = {**record.made_from["spec"], "hu_rule": "table"}
    replace(record, made_from={**record.made_from, "spec": spec}).write(whole.paths.record(FIRST))
    listed = [shard["filename"] for shard in build_manifests(changed)["train"]["shards"]]
    assert listed == ["shard-000001.tar", "shard-000002.tar"]


def test_shards_with_other_labels_are_not_listed_together(raised: Workspace) -> None:
    build(raised, FIRST)
    record = ShardRecord.read(raised.paths.record(FIRST))
    samples = tuple(
        replace(one, facts={**one.facts, "label_names": ["nodule"], "labels": [0.0]})
        for one in record.samples
    )
    replace(record, samples=samples).write(raised.paths.record(FIRST))
    manifest = build_manifests(raised)["train"]
    assert [shard["filename"] for shard in manifest["shards"]] == ["shard-000000.tar"]


def test_no_sample_is_listed_twice_and_verify_names_those_that_would_be(raised: Workspace) -> None:
    """As of a plan that was made anew beside older shards."""
    second = "train-000001"
    build(raised, FIRST)
    (again, *_) = ShardRecord.read(raised.paths.record(FIRST)).samples
    older = ShardRecord.read(raised.paths.record(second))
    same = replace(older.samples[0], key=again.key)
    replace(older, samples=(same, *older.samples[1:])).write(raised.paths.record(second))
    manifest = build_manifests(raised)["train"]
    listed = [shard["filename"] for shard in manifest["shards"]]
    assert listed == ["shard-000000.tar", "shard-000002.tar"]
    assert manifest["missing_partitions"] == [second]
    problems = find_manifest_problems(raised)
    assert any(
        p.startswith(f"{second}: another shard has its sample {again.key}") for p in problems
    )
    path = raised.paths.manifest("train")
    published = json.loads(path.read_bytes())
    published["shards"][1]["keys"][0] = again.key
    write_manifest(raised.paths, "train", published)
    assert f"{path}: lists {again.key} more than once" in find_manifest_problems(raised)
