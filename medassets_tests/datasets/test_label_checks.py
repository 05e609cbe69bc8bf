"""Labels in published shards: counted by name, and compared with their json and the declaration."""

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.label_checks import count_labels, find_label_problems
from medassets.datasets.manifests.publication import build_manifests
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.registry import open_kind
from medassets.datasets.verify import verify_dataset
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.shards.record import SampleEntry, ShardRecord
from medassets.specs import VolumeDatasetSpec
from medassets.storage.paths import DatasetPaths
from medassets.tars.scan import scan_tar
from medassets.testing.ct_rate import SyntheticRepository
from medassets_tests.conftest import TINY
from medassets_tests.small_shards import pack_tar

KEY = "train-000000"


def make_record(samples: tuple[SampleEntry, ...], **fields: Any) -> ShardRecord:
    facts: dict[str, Any] = {
        **{"dataset": "d", "split": "train", "partition": KEY, "filename": "shard-000000.tar"},
        **{"num_samples": len(samples), "size_bytes": 0, "sha256": "", "plan_fingerprint": ""},
        **{"fingerprint": "", "source": {}, "samples": samples, "rejected": ()},
    }
    return ShardRecord(**{**facts, **fields})


def make_sample(**facts: Any) -> SampleEntry:
    return SampleEntry("a", 0, 0, (), facts)


def test_values_are_counted_over_all_shards() -> None:
    names = ["A", "B"]
    records = [
        make_record(tuple(make_sample(label_names=names, labels=v) for v in part))
        for part in ([(0, 1), (1, 1)], [(0, 0.5)])
    ]
    assert count_labels(records) == {
        "label_names": names,
        "label_values": {"A": {"0": 2, "1": 1}, "B": {"0.5": 1, "1": 2}},
    }


@pytest.mark.parametrize("other", [{}, {"label_names": ["B", "A"], "labels": [0, 1]}])
def test_shards_without_names_or_with_others_are_not_counted(other: dict[str, Any]) -> None:
    first = make_sample(label_names=["A", "B"], labels=[0, 1])
    records = [make_record((first, make_sample(**other)))]
    assert count_labels(records) == {"label_names": None, "label_values": None}
    assert count_labels([]) == {"label_names": None, "label_values": None}


def write_shard(folder: Path, cls: bytes, labels: dict[str, float]) -> DatasetPaths:
    paths = DatasetPaths(folder, "d", "shards")
    shard = paths.shard(KEY)
    pack_tar(shard, {"a": {"cls": cls, "json": json.dumps({"labels": labels}).encode()}})
    members = tuple(replace(m, crc32=None) for m in scan_tar(shard)["a"].values())
    make_record((SampleEntry("a", 0, 0, members),)).write(paths.record(KEY))
    return paths


@pytest.mark.parametrize(
    ("cls", "labels", "declared", "what"),
    [
        (np.array([0, 1], "<f4").tobytes(), {"A": 0, "B": 1}, {}, None),
        (np.array([0, 1], "<f4").tobytes(), {"A": 1, "B": 1}, {}, "A is 0, but 1 in the json"),
        (np.array([0, 1], "<f4").tobytes(), {"A": 0}, {}, "but the json states 1"),
        (np.array([0, 2], "<f4").tobytes(), {"A": 0, "B": 2}, {"values": [0, 1]}, "allows 0, 1"),
        (
            np.array([0, 1], "<i4").tobytes(),
            {"A": 0, "B": 1.4e-45},
            {},
            "is a whole number that was",
        ),
        (b"1024", {"label_0": float(np.frombuffer(b"1024", "<f4")[0])}, {}, "bytes of a text"),
        (b"123", {"A": 1}, {}, "they are not float32"),
    ],
)
def test_labels_that_cannot_be_right_are_problems(
    tmp_path: Path,
    cls: bytes,
    labels: dict[str, float],
    declared: dict[str, Any],
    what: str | None,
) -> None:
    spec = VolumeDatasetSpec(name="d", source="folder", folder="/unused", labels=declared)
    problems = find_label_problems(write_shard(tmp_path, cls, labels), KEY, spec)
    assert len(problems) == (what is not None)
    if what is not None:
        assert problems[0].sample == "a"
        assert what in str(problems[0])
        assert f"build partition {KEY} again" in str(problems[0])


def test_a_built_dataset_states_its_labels_everywhere(
    planned: Workspace,
) -> None:
    build_shard(planned, planned.paths, plan_shard(planned, KEY))
    manifest = build_manifests(planned)["train"]
    items = planned.read_partition(KEY)
    assert manifest["label_names"] == items[0].row["label_names"]
    for number, name in enumerate(manifest["label_names"]):
        values = [item.row["labels"][number] for item in items]
        expected = {f"{v:g}": values.count(v) for v in sorted(set(values))}
        assert manifest["label_values"][name] == expected
    assert verify_dataset(planned, [KEY], full=True).problems == []
    described = planned.kind.describe_catalog(planned.read_figures())
    assert list(described["label_values"]) == manifest["label_names"]


def add_file(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def test_int32_labels_of_a_webdataset_are_built_and_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDASSETS_HOME", str(tmp_path / "home"))
    stated = {"shape": [14, 12, 10], "dtype": "int16", "spacing_mm": [1.5, 1.5, 3.0]}
    volume = np.random.default_rng(1).integers(-900, 200, (14, 12, 10)).astype("<i2")
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for n in range(3):
            facts = {**stated, "study_id": f"s{n}", "labels": {"A": n % 2, "B": 1}}
            add_file(archive, f"k{n}.bin", volume.tobytes())
            add_file(archive, f"k{n}.txt", b"report")
            add_file(archive, f"k{n}.cls", np.array([n % 2, 1], "<i4").tobytes())
            add_file(archive, f"k{n}.json", json.dumps(facts).encode())
    spec = VolumeDatasetSpec(
        name="tars",
        source="webdataset",
        folder=str(tmp_path),
        shards="*.tar",
        splits=("train",),
        hu_rule="none",
        preprocessing="none",
    )
    workspace = open_workspace(open_kind(spec))
    publish_catalog(workspace.paths, draft_catalog(workspace))
    build_shard(workspace, workspace.paths, plan_shard(workspace, KEY))
    manifest = build_manifests(workspace)["train"]
    assert manifest["label_values"] == {"A": {"0": 2, "1": 1}, "B": {"1": 3}}
    with tarfile.open(workspace.paths.shard(KEY)) as archive:
        found = {
            name: np.frombuffer(file.read(), "<f4").tolist()
            for name in archive.getnames()
            if name.endswith(".cls") and (file := archive.extractfile(name))
        }
    assert list(found.values()) == [[0, 1], [1, 1], [0, 1]]
    assert verify_dataset(workspace, [KEY], full=True).problems == []


@pytest.mark.parametrize(
    ("member", "suffixes"), [("labels", ["labels"]), ("both", ["cls", "labels"])]
)
def test_labels_may_be_in_the_member_that_older_loaders_read(
    repository: SyntheticRepository, member: Any, suffixes: list[str]
) -> None:
    from medassets.loaders import VolumeDataset

    fields: dict[str, Any] = {**TINY, "splits": ("train",), "folder": str(repository.folder)}
    forms: tuple[Any, Any] = ("cls", member)
    plain, other = (
        VolumeDatasetSpec(name=name, source="folder", label_member=one, **fields)
        for name, one in zip(("plain", "other"), forms, strict=True)
    )
    assert "label_member" not in open_kind(plain).facts()
    folders, manifests = dict[str, Path](), dict[str, Any]()
    for spec in (plain, other):
        workspace = open_workspace(open_kind(spec))
        publish_catalog(workspace.paths, draft_catalog(workspace))
        build_shard(workspace, workspace.paths, plan_shard(workspace, KEY))
        manifests[spec.name] = build_manifests(workspace)["train"]
        folders[spec.name] = workspace.paths.split_folder("train")
        assert find_label_problems(workspace.paths, KEY, spec) == []
    with tarfile.open(folders["other"] / "shard-000000.tar") as tar:
        members = {name: tar.extractfile(name) for name in tar.getnames()}
        contents = {name: file.read() for name, file in members.items() if file is not None}
    own, others = (
        VolumeDataset(str(folders[name] / "shard-000000.tar")) for name in ("plain", "other")
    )
    assert len(own) == len(others)
    for number in range(len(own)):
        one, same = own[number], others[number]
        found = [name for name in ("cls", "labels") if f"{one['key']}.{name}" in contents]
        assert found == suffixes
        for name in found:
            stored = np.frombuffer(contents[f"{one['key']}.{name}"], "<f4")
            np.testing.assert_array_equal(stored, one["labels"])
        np.testing.assert_array_equal(same["labels"], one["labels"])
    assert manifests["other"]["num_classes"] == 18
