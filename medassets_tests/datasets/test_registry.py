"""Every field of a declaration is taken where it has an effect, and refused where it has none."""

from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from medassets.components.loading import load_datasets
from medassets.datasets.registry import list_field_rules, open_kind
from medassets.errors import SpecError
from medassets.specs import (
    CTWindowDatasetSpec,
    DatasetSpec,
    VideoClipDatasetSpec,
    VolumeDatasetSpec,
)

Fields = dict[str, Any]

COMMON = (
    "name source splits samples_per_shard max_rejected_share max_excluded_share runs num_workers "
    "automation catalog_cron"
)
HUB = "repo_id revision endpoint use_token keep_raw staging_budget_gb volumes_dir layout"
HU = "hu_rule min_slices min_plausible_share max_plausible_share expected_air_share"
PRESET = (
    "memory_budget_gb preprocessing target_spacing_mm target_shape max_rounding_error label_member "
    "intensity clip clip_percentiles scale output_range pad_value"
)
FRAMES = (
    "split_mode seed num_frames max_frames height width min_frames end_tolerance_ms size_length "
    "tokenizer"
)
CUTTING = (
    "clips clip_encoder clip_preset clip_crf clip_height clip_fps clip_audio frames_from "
    "videos_dir info_csv metadata"
)
NPZ_TABLES: Fields = {"meta_file": "m.csv", "reports_file": "r.csv", "labels_file": "l.csv"}
VIDEOS: Fields = {"videos_dir": "/data/videos", "metadata": "/data/metadata.json"}
TREE: Fields = {"folder": "/data", "splits": ["train"]}
TARS: Fields = {"shards": "/data/a-{0..9}.tar", "splits": ["train"]}

TREE_LAYOUT = (
    "layout volumes_dir table columns join_by exclude split_by split_shares seed patient_from "
    "accept_leaks"
)
DICOM = (
    "folder volumes_dir modalities accept_derived tags table columns join_by split_by split_shares seed "
    "accept_leaks"
)
# Kind, source and layout -> fields that it needs, fields that have an effect.
CASES: dict[tuple[type[DatasetSpec], str], tuple[Fields, str]] = {
    (VolumeDatasetSpec, "huggingface"): (
        {"repo_id": "org/name"},
        f"{HUB} {HU} {PRESET} orientation expected_orientation labels requires",
    ),
    (VolumeDatasetSpec, "folder"): (
        {"folder": "/data"},
        f"folder volumes_dir layout {HU} {PRESET} orientation expected_orientation delete_sources labels requires",
    ),
    (VolumeDatasetSpec, "huggingface tree"): (
        {"layout": "tree", "repo_id": "org/name"},
        f"{HUB} {TREE_LAYOUT} {HU} {PRESET} orientation expected_orientation labels requires",
    ),
    (VolumeDatasetSpec, "folder tree"): (
        {"layout": "tree", "folder": "/data"},
        f"folder {TREE_LAYOUT} {HU} {PRESET} orientation expected_orientation delete_sources labels "
        "requires",
    ),
    (VolumeDatasetSpec, "dicom"): (
        {"folder": "/data"},
        f"{DICOM} {HU} {PRESET} orientation expected_orientation delete_sources labels requires",
    ),
    (VolumeDatasetSpec, "npz"): (
        {**TREE, **NPZ_TABLES, "hu_rule": "none"},
        f"folder volumes_dir array_key meta_file reports_file labels_file labels requires {HU} {PRESET} "
        "delete_sources ignored_members",
    ),
    (VolumeDatasetSpec, "webdataset"): (
        {**TARS, "hu_rule": "none"},
        f"folder shards fields array_key accept_unterminated label_names labels requires {HU} {PRESET} delete_sources "
        "ignored_members expected_orientation",
    ),
    (CTWindowDatasetSpec, "huggingface"): (
        {"repo_id": "org/name"},
        f"{HUB} {HU} windows compression memory_budget_gb expected_orientation",
    ),
    (CTWindowDatasetSpec, "folder"): (
        {"folder": "/data"},
        f"folder volumes_dir layout {HU} windows compression memory_budget_gb expected_orientation",
    ),
    (CTWindowDatasetSpec, "huggingface tree"): (
        {"layout": "tree", "repo_id": "org/name"},
        f"{HUB} {TREE_LAYOUT} {HU} windows compression memory_budget_gb expected_orientation",
    ),
    (CTWindowDatasetSpec, "folder tree"): (
        {"layout": "tree", "folder": "/data"},
        f"folder {TREE_LAYOUT} {HU} windows compression memory_budget_gb expected_orientation",
    ),
    (CTWindowDatasetSpec, "dicom"): (
        {"folder": "/data"},
        f"{DICOM} {HU} windows compression memory_budget_gb expected_orientation",
    ),
    (CTWindowDatasetSpec, "npz"): (
        {**TREE, "meta_file": "m.csv", "hu_rule": "none"},
        f"folder volumes_dir array_key meta_file {HU} windows compression memory_budget_gb",
    ),
    (CTWindowDatasetSpec, "webdataset"): (
        {**TARS, "hu_rule": "none"},
        f"folder shards fields array_key accept_unterminated {HU} windows compression memory_budget_gb "
        "expected_orientation",
    ),
    (CTWindowDatasetSpec, "processed"): (TREE, "folder windows compression memory_budget_gb"),
    (VideoClipDatasetSpec, "videos"): (VIDEOS, f"{FRAMES} {CUTTING}"),
    (VideoClipDatasetSpec, "clips"): (
        {"clips_dir": "/data/clips", "pairs_json": "/data/pairs.json"},
        f"{FRAMES} clips_dir pairs_json",
    ),
}

# Another value than the default, for each field.
VALUES: Fields = {
    "name": "other", "splits": ["valid"], "samples_per_shard": 7, "max_rejected_share": 0.5,
    "max_excluded_share": 0.5,
    "runs": "single", "num_workers": 3, "memory_budget_gb": 2.5, "automation": "drain", "catalog_cron": "0 6 * * *",
    "layout": "tree", "requires": ["report"], "table": "t.csv",
    "columns": {"file": "id", "split": "set"}, "join_by": "stem", "exclude": ["scout*"],
    "split_by": "column", "split_shares": [3.0, 1.0], "patient_from": "file", "accept_leaks": True,
    "modalities": ["MR"], "accept_derived": True, "tags": ["KVP"],
    "repo_id": "org/other", "revision": "v1", "endpoint": "http://localhost:1", "use_token": False,
    "keep_raw": True, "staging_budget_gb": 5.0, "folder": "/other", "volumes_dir": "a/{split}",
    "array_key": "voxels", "meta_file": "meta.csv", "reports_file": "reports.csv",
    "labels_file": "labels.csv", "shards": "/other/*.tar", "accept_unterminated": True, "fields": {"volume": "npy"},
    "label_names": ["a"], "labels": {"values": [0, 1]}, "hu_rule": "table", "min_slices": 5,
    "min_plausible_share": 0.1,    "max_plausible_share": 0.9, "expected_air_share": [0.2, 0.9], "expected_orientation": "RAS",
    "intensity": "hu", "clip": [-500.0, 500.0], "clip_percentiles": [1.0, 99.0], "scale": 500.0,
    "output_range": [0.0, 1.0], "pad_value": -3.0, "min_inside_share": 0.5,
    "preprocessing": "none", "target_spacing_mm": [1.0, 1.0, 1.0],
    "target_shape": [8, 8, 8], "label_member": "both", "orientation": "LPS", "max_rounding_error": 0.5,
    "ignored_members": ["a"], "delete_sources": True, "windows": ["lung"], "compression": "none",
    "videos_dir": "/other", "info_csv": "/info.csv", "metadata": "/m.json", "clips_dir": "/other",
    "pairs_json": "/p.json", "split_mode": "all_train", "seed": 5, "num_frames": 8,
    "max_frames": 99, "height": 64, "width": 64, "min_frames": 3, "end_tolerance_ms": 9,
    "size_length": 4, "tokenizer": "/t.json", "clips": "copy", "clip_encoder": "h264_nvenc",
    "clip_preset": "fast", "clip_crf": 20, "clip_height": 240, "clip_fps": 10.0,
    "clip_audio": True, "frames_from": "clips",
}  # fmt: skip

# What a field needs beside a source, so that it has an effect.
COMPANIONS: dict[str, Fields] = {
    "preprocessing": {"hu_rule": "none"},
    "max_rounding_error": {"preprocessing": "none", "hu_rule": "none"},
    "clip_percentiles": {"output_range": [0.0, 1.0]},
    "max_frames": {"num_frames": "all"},
    "ignored_members": {"delete_sources": True},
    "frames_from": {"clips": "copy"},
    "clip_audio": {"clips": "copy"},
    **{
        name: {"clips": "reencode"}
        for name in ("clip_encoder", "clip_preset", "clip_crf", "clip_height", "clip_fps")
    },
}


# Values that the source `dicom` takes.
DICOM_VALUES: dict[str, Fields] = {
    "table": {"columns": {"file": "id"}},
    "columns": {"table": "t.csv"},
    "join_by": {"join_by": "series_uid"},
    "requires": {"table": "t.csv", "columns": {"file": "id", "report": ["text"]}},
    "split_by": {"split_by": "folder"},
    "volumes_dir": {"volumes_dir": "a"},
    "hu_rule": {"hu_rule": "none"},
    "split_shares": {"splits": ["train", "valid"]},
}


# The same with `layout: tree`, and values that only it takes.
TREE_COMPANIONS: dict[str, Fields] = {
    "table": {"columns": {"file": "id"}},
    "columns": {"table": "t.csv"},
    "split_by": {"table": "t.csv", "columns": VALUES["columns"]},
    "requires": {"table": "t.csv", "columns": {"file": "id", "report": ["text"]}},
    "split_shares": {"splits": ["train", "valid"]},
}
TREE_VALUES: dict[str, Fields] = {
    "hu_rule": {"hu_rule": "none"},
    "volumes_dir": {"volumes_dir": "a/b"},
}


def iter_pairs() -> Iterator[Any]:
    for (kind, source), (needed, taken) in CASES.items():
        for one in fields(kind):
            if one.name not in ("source", *needed) or one.name == "hu_rule":
                is_taken = one.name in f"{COMMON} {taken}".split()
                label = f"{kind.__name__}-{source}-{one.name}"
                yield pytest.param(kind, source, one.name, is_taken, id=label)


def make_spec(kind: type[DatasetSpec], **changes: Any) -> DatasetSpec:
    known = {name: tuple(v) if isinstance(v, list) else v for name, v in changes.items()}
    return kind(**{"name": "it", **known})


def get_default(one: Field[Any]) -> Any:
    default = one.default if one.default_factory is MISSING else one.default_factory()
    return list(default) if isinstance(default, tuple) else default


@pytest.mark.parametrize(("kind", "source", "field", "is_taken"), list(iter_pairs()))
def test_a_field_is_taken_or_refused(
    kind: type[DatasetSpec], source: str, field: str, is_taken: bool
) -> None:
    needed = {**CASES[kind, source][0], "source": source.split()[0], field: VALUES[field]}
    if is_taken:
        needed = {**COMPANIONS.get(field, {}), **needed}
        if needed.get("layout") == "tree":
            needed = {**TREE_COMPANIONS.get(field, {}), **needed, **TREE_VALUES.get(field, {})}
        if source == "dicom":
            needed |= DICOM_VALUES.get(field, {})
        if source.startswith(("folder", "dicom")) and field == "delete_sources":
            needed["expected_orientation"] = "LPS"
        if field == "splits" and kind is VideoClipDatasetSpec:
            needed["splits"] = ["test", "val", "train"]
        open_kind(make_spec(kind, **needed))
        return
    with pytest.raises(SpecError, match=f"^{field}: ") as refused:
        open_kind(make_spec(kind, **needed))
    known = (
        "it belongs to",
        "only files of this machine",
        "files of source dicom",
        "arrays do not say",
        "needs source",
    )
    assert any(words in str(refused.value) for words in known)


def test_members_that_may_be_lost_have_an_effect_only_where_sources_may_be_deleted() -> None:
    needed = {**CASES[VolumeDatasetSpec, "npz"][0], "source": "npz", "ignored_members": ["a"]}
    with pytest.raises(SpecError, match="no effect with delete_sources: false; it belongs to"):
        open_kind(make_spec(VolumeDatasetSpec, **needed))


@pytest.mark.parametrize("role", ["labels", "text"])
def test_windows_of_a_webdataset_refuse_the_roles_that_they_do_not_read(role: str) -> None:
    needed = {**CASES[CTWindowDatasetSpec, "webdataset"][0], "fields": {role: "cls"}}
    with pytest.raises(SpecError, match=f"^fields: {role} has no effect on windows"):
        open_kind(make_spec(CTWindowDatasetSpec, source="webdataset", **needed))


@pytest.mark.parametrize(
    ("kind", "source"), CASES, ids=lambda value: getattr(value, "__name__", value)
)
def test_a_written_field_without_effect_is_refused_even_with_its_default_value(
    kind: type[DatasetSpec], source: str, tmp_path: Path
) -> None:
    needed, taken = CASES[kind, source]
    used = {*COMMON.split(), *taken.split()}
    unused = {one.name: get_default(one) for one in fields(kind) if one.name not in used}
    component = kind.__name__.replace("Spec", "Component")
    document = {
        "type": f"medassets.components.{component}",
        "attributes": {"name": "it", "source": source.split()[0], **needed, **unused},
    }
    (tmp_path / "it").mkdir()
    file = tmp_path / "it" / "defs.yaml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    problems = load_datasets([tmp_path]).problems
    assert {problem.field for problem in problems} == set(unused)
    lines = file.read_text().splitlines()
    assert all(lines[problem.line - 1].startswith(f"  {problem.field}:") for problem in problems)
    assert all("; it belongs to " in problem.what for problem in problems)


@pytest.mark.parametrize("kind", [VolumeDatasetSpec, CTWindowDatasetSpec, VideoClipDatasetSpec])
def test_every_field_has_a_rule_or_belongs_to_another_kind(kind: type[DatasetSpec]) -> None:
    kinds = (VolumeDatasetSpec, CTWindowDatasetSpec, VideoClipDatasetSpec)
    ruled = {name for one in kinds for rule in list_field_rules(one) for name in rule.fields}
    assert {one.name for one in fields(kind)} <= ruled


@pytest.mark.parametrize(
    ("kind", "changes", "match"),
    [
        (
            VolumeDatasetSpec,
            {"source": "folder", "folder": "/data", "meta_file": "m.csv"},
            "^meta_file: has no effect with source: folder; it belongs to source: npz$",
        ),
        (
            VolumeDatasetSpec,
            {"repo_id": "org/name", "max_rounding_error": 1.0},
            "^max_rounding_error: has no effect with preprocessing: ct_clip; it belongs to "
            "preprocessing: none$",
        ),
        (
            VolumeDatasetSpec,
            {"repo_id": "org/name", "preprocessing": "none", "hu_rule": "none", "min_plausible_share": 0.1},
            "^min_plausible_share: has no effect with preprocessing: none; it belongs to "
            "preprocessing: ct_clip or ct_soft_tissue or mr_percentile, intensity: hu$",
        ),
        (
            CTWindowDatasetSpec,
            {"source": "processed", **TREE, "hu_rule": "table"},
            "^hu_rule: has no effect with source: processed; it belongs to source: huggingface or "
            "folder or dicom or npz or webdataset$",
        ),
        (
            CTWindowDatasetSpec,
            {"source": "webdataset", **TARS, "hu_rule": "none", "label_names": ["a"]},
            "^label_names: has no effect on this kind of dataset; it belongs to "
            "VolumeDatasetComponent with source: webdataset$",
        ),
        (
            VideoClipDatasetSpec,
            {**VIDEOS, "clip_fps": 10.0},
            "^clip_fps: has no effect with clips: off; it belongs to source: videos, clips: reencode$",
        ),
        (
            VideoClipDatasetSpec,
            {**VIDEOS, "clips": "copy", "clip_crf": 20},
            "^clip_crf: has no effect with clips: copy; it belongs to source: videos, clips: reencode$",
        ),
        (
            VideoClipDatasetSpec,
            {**VIDEOS, "folder": "/data"},
            "^folder: has no effect on this kind of dataset; it belongs to VolumeDatasetComponent "
            "with source: folder or dicom or npz or webdataset, or to CTWindowDatasetComponent with source: "
            "folder or dicom or npz or webdataset or processed$",
        ),
        (
            VideoClipDatasetSpec,
            {**VIDEOS, "split_mode": "all_test", "seed": 1},
            "^seed: has no effect with split_mode: all_test; it belongs to split_mode: random$",
        ),
        (
            VideoClipDatasetSpec,
            {**VIDEOS, "max_frames": 8},
            "^max_frames: has no effect with num_frames: 16; it belongs to num_frames: all$",
        ),
    ],
)  # fmt: skip
def test_the_refusal_says_where_a_field_belongs(
    kind: type[DatasetSpec], changes: Fields, match: str
) -> None:
    with pytest.raises(SpecError, match=match):
        open_kind(make_spec(kind, **changes))


def test_a_refused_field_leaves_the_other_declarations(tmp_path: Path) -> None:
    for name, more in (("good", ""), ("bad", "  revision: main\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "defs.yaml").write_text(
            "type: medassets.components.VolumeDatasetComponent\n"
            f"attributes:\n  name: {name}\n  source: folder\n  folder: /data\n{more}"
        )
    loaded = load_datasets([tmp_path])
    assert set(loaded.datasets) == {"good"}
    (problem,) = loaded.problems
    assert str(problem) == (
        f"{tmp_path}/bad/defs.yaml:6: revision: has no effect with source: folder; it belongs to "
        "source: huggingface"
    )
