"""One hostile file among ten costs its own sample: the nine others are built, whatever the source is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.registry import open_kind
from medassets.datasets.workspace import open_workspace
from medassets.specs import (
    CTWindowDatasetSpec,
    DatasetSpec,
    VideoClipDatasetSpec,
    VolumeDatasetSpec,
)
from medassets.testing.ct_rate import make_ct_rate_repository
from medassets.testing.nifti import encode_nifti
from medassets.testing.npz_tree import make_npz_tree
from medassets.testing.videos import VideoRecipe, make_video
from medassets_tests.hostile_files import (
    NO_FILES,
    encode_array_header,
    write_npy_claim,
    write_npz_claim,
)
from medassets_tests.tars.raw_tars import END, base256, make_block, member, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

Spoil = Callable[[Path], object]
LIMITS: dict[str, Any] = {
    "splits": ("train",),
    "samples_per_shard": 10,
    "max_rejected_share": 0.2,
    "max_excluded_share": 0.2,
    "memory_budget_gb": 1.0,
}
FILM_LIMITS = {n: v for n, v in LIMITS.items() if n not in ("splits", "memory_budget_gb")}


def build(spec: DatasetSpec) -> tuple[int, list[str]]:
    """Return how many samples all shards have, and why others are in none."""
    workspace = open_workspace(open_kind(spec))
    publish_catalog(workspace.paths, draft_catalog(workspace))
    plan = workspace.read_plan()
    records = [
        build_shard(workspace, workspace.paths, plan_shard(workspace, key)).record
        for key in plan.partitions
    ]
    catalog = workspace.read_catalog()
    assert catalog is not None
    left = [reason for reason in catalog["excluded"].to_pylist() if reason is not None]
    left += [one.reason for record in records for one in record.rejected]
    return sum(record.num_samples for record in records), left


def spoil(place: Path, hostile: Spoil) -> None:
    place.unlink()
    hostile(place)


def with_content(content: bytes) -> Spoil:
    return lambda path: path.write_bytes(content)


ARRAYS: dict[str, Spoil] = {
    **NO_FILES,
    "terabyte": lambda path: write_npz_claim(path, (8192, 8192, 8192)),
    "budget": lambda path: write_npz_claim(path, (1700, 1700, 1700), stored_bytes=9_600_000),
    "directory of zeros": with_content(b"PK\5\6" + bytes(18)),
    "half a directory": with_content(b"PK\1\2" + bytes(60) + b"PK\5\6" + b"\1" * 18),
}


@pytest.mark.parametrize("hostile", ARRAYS)
@pytest.mark.parametrize("processing", ["volumes", "windows"])
def test_an_npz_tree(processing: str, hostile: str, tmp_path: Path) -> None:
    tree = make_npz_tree(tmp_path / "source", num_volumes=10, shape=(8, 9, 10))
    spoil(tree.place("train_2_a_1"), ARRAYS[hostile])
    fields = tree.fields(name="tree", **LIMITS)
    if processing == "windows":
        used = ("source", "folder", "volumes_dir", "meta_file")
        fields = {name: fields[name] for name in used} | LIMITS
        loose = {"min_plausible_share": 0.0, "max_plausible_share": 1.0, "hu_rule": "none"}
        spec: DatasetSpec = CTWindowDatasetSpec(name="masks", **fields, **loose)
    else:
        spec = VolumeDatasetSpec(**fields)
    built, left = build(spec)
    assert (built, len(left)) == (9, 1)


VOLUMES: dict[str, Spoil] = {
    **NO_FILES,
    "huge sides": with_content(
        encode_nifti(np.zeros((3, 3, 3), np.int16), affine=np.eye(4),
                     header_changes={"dim": [3, 16384, 16384, 32, 1, 1, 1, 1]})
    ),
    "far voxels": with_content(
        encode_nifti(np.zeros((3, 3, 3), np.int16), affine=np.eye(4),
                     header_changes={"vox_offset": 3e38})
    ),
    "header of noise": with_content(
        (348).to_bytes(4, "little") + np.random.default_rng(1).bytes(340) + b"n+1\0" + bytes(900)
    ),
}  # fmt: skip


@pytest.mark.parametrize("hostile", VOLUMES)
def test_a_folder_like_ct_rate(hostile: str, tmp_path: Path) -> None:
    repository = make_ct_rate_repository(
        tmp_path / "source", num_patients=5, splits=("train",), special_rows=False,
        shape_range=((20, 18, 12), (32, 30, 22)),
    )  # fmt: skip
    spoil(repository.folder / repository.volumes[4].path, VOLUMES[hostile])
    spec = VolumeDatasetSpec(
        name="ct", source="folder", folder=str(repository.folder), preprocessing="none",
        hu_rule="none", **LIMITS,
    )  # fmt: skip
    built, left = build(spec)
    assert (built, len(left)) == (len(repository.volumes) - 1, 1)


def pack(path: Path, number: int, **changes: bytes) -> Path:
    """Write a tar of one sample, as other tools do."""
    facts = {
        "study_id": f"train_{number}_a_1", "shape": [5, 7, 11], "dtype": "int16",
        "XYSpacing": "[0.75, 0.5]", "ZSpacing": 1.5,
    }  # fmt: skip
    voxels = np.random.default_rng(number).integers(-900, 900, (5, 7, 11), np.int16)
    members = {
        "bin": voxels.tobytes(), "cls": np.ones(2, "<f4").tobytes(),
        "json": json.dumps(facts).encode(), "txt": b"kein Befund", **changes,
    }  # fmt: skip
    return write(path, *(member(f"a.{name}", content) for name, content in members.items()), END)


TARS: dict[str, Spoil] = {
    **NO_FILES,
    "pax length": lambda path: write(path, member("pax", b"9" * 5000 + b" path=a", b"x"), END),
    "pax size": lambda path: write(path, member("pax", b"20 size=" + b"9" * 5000, b"x"), END),
    "base 256": lambda path: write(path, make_block("a.bin", b"0", base256(2**62)), END),
    "deep json": lambda path: pack(path, 4, json=b"[" * 100_000),
    "long number": lambda path: pack(path, 4, json=b'{"study_id": ' + b"9" * 5000 + b"}"),
    "surrogate": lambda path: pack(path, 4, json=b'{"study_id": "\\ud800"}'),
    "infinite": lambda path: pack(path, 4, json=b'{"study_id": "a", "ZSpacing": 1e999}'),
    "sides": lambda path: pack(
        path, 4, json=b'{"study_id": "a", "XYSpacing": [1, 1], "ZSpacing": 1, "dtype": "int16",'
        b'"shape": [2000000000, 2000000000, 2000000000]}',
    ),
}  # fmt: skip


@pytest.mark.parametrize("hostile", TARS)
def test_tars_of_a_webdataset(hostile: str, tmp_path: Path) -> None:
    folder = tmp_path / "source" / "train"
    folder.mkdir(parents=True)
    for number in range(10):
        pack(folder / f"{number}.tar", number)
    spoil(folder / "4.tar", TARS[hostile])
    spec = VolumeDatasetSpec(
        name="tars", source="webdataset", folder=str(tmp_path / "source"), hu_rule="none",
        shards="{split}/*.tar", preprocessing="none", **LIMITS,
    )  # fmt: skip
    built, left = build(spec)
    assert (built, len(left)) == (9, 1)


MASKS: dict[str, Spoil] = {
    **NO_FILES,
    "terabyte": lambda path: write_npy_claim(path, (10_000, 10_000, 10_000)),
    "deep header": with_content(b"\x93NUMPY\1\0\xf0\xff" + b"(" * 0xFFF0),
    "objects": with_content(encode_array_header((1,), "V8").replace(b"|V8", b"|O8") + bytes(8)),
}


@pytest.mark.parametrize("hostile", MASKS)
def test_masks_of_other_tools(hostile: str, tmp_path: Path) -> None:
    for number in range(10):
        folder = tmp_path / "processed" / f"case{number}" / "windows"
        folder.mkdir(parents=True)
        np.save(folder / "lung_w1500_l-600.npy", np.ones((5, 6, 7), np.uint8))
    spoil(tmp_path / "processed/case4/windows/lung_w1500_l-600.npy", MASKS[hostile])
    spec = CTWindowDatasetSpec(
        name="masks", source="processed", folder=str(tmp_path), windows=("lung",), **LIMITS
    )
    built, left = build(spec)
    assert (built, len(left)) == (9, 1)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A film of a second."""
    path = tmp_path_factory.mktemp("film") / "a.mp4"
    make_video(path, VideoRecipe(num_frames=20, fps=20))
    return path.read_bytes()


@pytest.mark.parametrize("hostile", NO_FILES)
def test_films(hostile: str, film: bytes, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    records = []
    for number in range(10):
        vid = f"film_number{number}"
        (videos / f"{vid}.mp4").write_bytes(film)
        records.append({"vid": vid, "transcript": "dig", "begin": 0.0, "end": 0.5, "size": [0.1]})
    (tmp_path / "metadata.json").write_text(json.dumps(records))
    spoil(videos / "film_number4.mp4", NO_FILES[hostile])
    spec = VideoClipDatasetSpec(
        name="films", videos_dir=str(videos), metadata=str(tmp_path / "metadata.json"),
        height=16, width=16, num_frames=4, **FILM_LIMITS,
    )  # fmt: skip
    built, left = build(spec)
    assert (built, len(left)) == (9, 1)
