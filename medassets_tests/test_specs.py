"""Declarations check themselves; the message begins with the field."""

from pathlib import Path

import pytest

from medassets.datasets.registry import open_kind
from medassets.datasets.workspace import open_workspace
from medassets.errors import SpecError
from medassets.specs import CTPreprocessing, VolumeDatasetSpec


def make_spec(**changes: object) -> VolumeDatasetSpec:
    return VolumeDatasetSpec(**{"name": "ct", "repo_id": "org/name", **changes})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"name": "CT Rate"}, "^name: expected lower-case"),
        (
            {"source": "ftp"},
            "^source: expected one of huggingface, folder, npz, webdataset, got 'ftp'",
        ),
        ({"source": "folder"}, "^folder: source folder needs the path"),
        ({"folder": "data/ct"}, "^folder: expected an absolute path"),
        ({"volumes_dir": "../{split}"}, "^volumes_dir: expected a path inside the source"),
        ({"volumes_dir": "/abs/{split}"}, "^volumes_dir: expected a path inside the source"),
        ({"repo_id": "no-org"}, "^repo_id: expected '<org>/<name>'"),
        ({"endpoint": "127.0.0.1"}, r"^endpoint: expected an http\(s\) URL"),
        ({"splits": ()}, "^splits: expected at least one"),
        ({"splits": ("train", "train")}, "^splits: .* each once"),
        ({"splits": ("tr-ain",)}, "^splits: expected lower-case"),
        ({"samples_per_shard": 0}, "^samples_per_shard: expected a number in 1"),
        ({"samples_per_shard": "many"}, "^samples_per_shard: expected int, got 'many'"),
        ({"keep_raw": "yes"}, "^keep_raw: expected bool"),
        ({"num_workers": True}, "^num_workers: expected int"),
        ({"max_rejected_share": 1.5}, "^max_rejected_share"),
        ({"runs": "often"}, "^runs: expected per-shard, single or 'batch: N'"),
        ({"hu_rule": "twice"}, "^hu_rule: expected one of none, table, header"),
        ({"preprocessing": "magic"}, "^preprocessing: expected one of ct_clip"),
        ({"target_shape": (1, 2)}, "^target_shape: expected three sides"),
        ({"target_spacing_mm": (0.0, 1.0, 1.0)}, "^target_spacing_mm: expected three steps"),
        ({"orientation": "up"}, "^orientation: expected one of"),
        ({"volumes_dir": "dataset/fixed"}, r"^volumes_dir: expected a path with '\{split\}'"),
        ({"min_plausible_share": 0.9, "max_plausible_share": 0.1}, "^max_plausible_share"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, object], match: str) -> None:
    with pytest.raises(SpecError, match=match):
        open_kind(make_spec(**changes))


NPZ = {
    "source": "npz",
    "repo_id": "",
    "folder": "/data",
    "splits": ("train",),
    "meta_file": "meta.csv",
    "reports_file": "/tables/reports.csv",
    "labels_file": "~/labels.csv",
    "hu_rule": "none",
}
TARS = {
    "source": "webdataset",
    "repo_id": "",
    "shards": "/data/{split}/shard-{000000..000009}.tar",
    "hu_rule": "table",
}


def test_arrays_are_declared_with_tables_or_a_pattern() -> None:
    spec = make_spec(**TARS)
    for declared in (make_spec(**NPZ), spec):
        assert open_workspace(open_kind(declared)).source_folder == Path("/data")
    assert spec.of_split(spec.shards, "valid") == "/data/valid/shard-{000000..000009}.tar"
    assert make_spec(**NPZ | {"preprocessing": "none", "hu_rule": None}).is_raw


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({}, False),
        ({"hu_rule": "table"}, True),
        ({"hu_rule": "header"}, False),
        (NPZ, False),
        (TARS, True),
        (NPZ | {"preprocessing": "none"}, False),
        (NPZ | {"preprocessing": "none", "hu_rule": "table"}, True),
        (NPZ | {"preprocessing": "none", "hu_rule": None}, True),
    ],
)
def test_rescaling_is_needed_to_apply_it_or_to_pass_it_on(
    changes: dict[str, object], needed: bool
) -> None:
    assert make_spec(**changes).needs_rescaling is needed


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (NPZ | {"folder": ""}, "^folder: source npz needs"),
        (NPZ | {"meta_file": ""}, "^meta_file: source npz needs this CSV"),
        (NPZ | {"labels_file": "../labels.csv"}, "^labels_file: expected a path inside the source"),
        (NPZ | {"array_key": ""}, "^array_key: expected the name"),
        (NPZ | {"splits": ("train", "valid")}, r"^volumes_dir: several splits .* '\{split\}'"),
        (
            NPZ | {"splits": ("train", "valid"), "volumes_dir": "{split}"},
            r"^reports_file: several splits",
        ),
        (NPZ | {"hu_rule": None}, "^hu_rule: source npz must say how stored values become HU"),
        (NPZ | {"hu_rule": "header"}, "^hu_rule: arrays of source npz have no header"),
        (NPZ | {"orientation": "LPS"}, "^orientation: arrays do not say"),
        (
            NPZ | {"preprocessing": "none", "target_shape": (4, 4, 4)},
            "^target_shape: preprocessing",
        ),
        (NPZ | {"max_rounding_error": -1.0}, "^max_rounding_error: expected a number in 0"),
        (NPZ | {"max_rounding_error": "small"}, "^max_rounding_error: expected a number"),
        (TARS | {"shards": ""}, "^shards: source webdataset needs"),
        (TARS | {"shards": "train/*.tar"}, "^shards: expected an absolute path, or a folder"),
        (
            TARS | {"splits": ("train", "valid"), "shards": "/data/*.tar"},
            "^shards: several splits",
        ),
        (TARS | {"fields": {"picture": "png"}}, "^fields: expected one of volume, labels"),
        (TARS | {"fields": {"volume": ".BIN"}}, "^fields: volume: expected a suffix"),
        ({"preprocessing": "none"}, "^hu_rule: preprocessing none must say how stored values"),
        ({"delete_sources": True}, "^delete_sources: only files of this machine"),
    ],
)
def test_a_wrong_field_of_arrays_is_named(changes: dict[str, object], match: str) -> None:
    with pytest.raises(SpecError, match=match):
        open_kind(make_spec(**changes))


def test_the_preset_ct_clip_is_the_published_grid() -> None:
    preset = make_spec().preset()
    assert preset == CTPreprocessing(
        spacing_mm=(0.75, 0.75, 1.5),
        clip_hu=(-1000.0, 1000.0),
        scale=1000.0,
        shape=(480, 480, 240),
        pad_value=-1.0,
    )


def test_replacements_change_only_their_field() -> None:
    preset = make_spec(target_shape=(7, 5, 3), orientation="LPS").preset()
    assert preset.shape == (7, 5, 3)
    assert preset.orientation == "LPS"
    assert preset.spacing_mm == (0.75, 0.75, 1.5)


@pytest.mark.parametrize(
    ("runs", "expected"), [("per-shard", 1), ("single", None), ("batch: 64", 64), ("batch:8", 8)]
)
def test_runs_say_how_many_shards_one_run_may_make(runs: str, expected: int | None) -> None:
    assert make_spec(runs=runs).max_partitions_per_run == expected
