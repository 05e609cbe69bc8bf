"""`preprocessing: none` of NIfTI: float16 of the stored values, with what rescales them later."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.ct_sources.registry import open_volume_source
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.registry import open_kind
from medassets.datasets.workspace import open_workspace
from medassets.errors import Reason, SampleRejectedError, SpecError
from medassets.samples import EncodedSample, SourceItem, StagedFile
from medassets.specs import HuRule, VolumeDatasetSpec
from medassets.storage.buffers import BufferPool
from medassets.testing.ct_rate import SyntheticRepository
from medassets.testing.phantoms import make_chest_phantom
from medassets.volumes.preview import draw_sample_preview
from medassets.volumes.raw_samples import encode_raw_sample
from medassets_tests.npz_source import read_volumes
from medassets_tests.volumes.test_samples import make_item, stage

SPACING_MM = (0.75, 0.5, 2.0)
PINNED = "c60f46f69e66e1aa995a613972b0a8c0932b898ae82f091b19413a1056df6786"
Write = Callable[..., Path]


def make_spec(rule: HuRule | None, **changes: Any) -> VolumeDatasetSpec:
    fields = {"name": "raw", "source": "folder", "folder": "/unused", "preprocessing": "none"}
    return VolumeDatasetSpec(**{**fields, "hu_rule": rule, **changes})


def encode(path: Path, rule: HuRule, **row: Any) -> EncodedSample:
    """Encode a file with the spacing that its header states."""
    spec = make_spec(rule)
    steps = {f"spacing_{axis}": step for axis, step in zip("ijk", SPACING_MM, strict=True)}
    return encode_raw_sample(
        make_item(**{**steps, "rescale_slope": 1.0, "rescale_intercept": 0.0, **row}),
        stage(path),
        spec=spec,
        source=open_volume_source(spec),
        fingerprint="abc123",
        buffers=BufferPool(),
    )


def read_json(sample: EncodedSample) -> dict[str, Any]:
    return json.loads(bytes(dict(sample.members)["json"]))


def read_voxels(sample: EncodedSample) -> np.ndarray:
    shape = read_json(sample)["shape"]
    return np.frombuffer(bytes(dict(sample.members)["bin"]), "<f2").reshape(shape)


@pytest.mark.parametrize("name", ["volume.nii.gz", "volume.nii"])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4", "<f8", "<i4", "|u1"])
def test_voxels_are_the_stored_values_in_stored_order(
    name: str, dtype: str, write_volume: Write, make_affine: Any
) -> None:
    stored = np.random.default_rng(1).integers(0, 255, (5, 7, 11)).astype(dtype)
    path = write_volume(
        stored.astype(dtype), make_affine(SPACING_MM), name=name, order=dtype[0].replace("|", "<")
    )
    sample = encode(path, "none")
    made = read_voxels(sample)
    assert made.dtype == np.float16
    np.testing.assert_array_equal(made, stored.astype(np.float16))


def test_the_json_has_the_geometry_and_the_names_of_raw_shards(
    write_volume: Write, make_affine: Any, phantom: Any
) -> None:
    affine = make_affine(SPACING_MM)
    facts = read_json(encode(write_volume(phantom((5, 7, 11)), affine), "none"))
    source = facts["geometry"]["source"]
    np.testing.assert_allclose(source["affine"], affine, rtol=1e-6)
    assert (source["shape"], source["dtype"]) == ([5, 7, 11], "int16")
    assert source["spacing_mm"] == facts["spacing_mm"] == list(SPACING_MM)
    assert (facts["XYSpacing"], facts["ZSpacing"]) == ("[0.75, 0.5]", 2.0)
    assert (facts["original_shape"], facts["original_dtype"]) == ([5, 7, 11], "int16")
    assert facts["preprocessing"] == {"preset": "none", "hu_rule": "none"}
    assert facts["labels"]["Emphysema"] in (0.0, 1.0)


@pytest.mark.parametrize(
    ("rule", "header", "table", "expected"),
    [
        ("none", (0.0, 0.0), (1.0, -1024.0), (1.0, 0.0)),
        ("none", (1.0, 0.0), (1.0, -1024.0), (1.0, 0.0)),
        ("table", (0.0, 0.0), (2.0, -1024.0), (2.0, -1024.0)),
        ("table", (2.0, -1024.0), (2.0, -1024.0), (2.0, -1024.0)),
        ("header", (2.0, -1024.0), (None, None), (2.0, -1024.0)),
        ("header", (0.0, 0.0), (1.0, -1024.0), (1.0, 0.0)),
    ],
)
def test_slope_and_intercept_of_the_rule_are_recorded_and_not_applied(
    rule: HuRule,
    header: tuple[float, float],
    table: Any,
    expected: tuple[float, float],
    write_volume: Write,
    make_affine: Any,
    phantom: Any,
) -> None:
    stored = phantom((5, 7, 11))
    path = write_volume(stored, make_affine(SPACING_MM), scl_slope=header[0], scl_inter=header[1])
    sample = encode(path, rule, rescale_slope=table[0], rescale_intercept=table[1])
    facts = read_json(sample)
    assert facts["hu"] == {"rule": rule, "slope": expected[0], "intercept": expected[1]}
    stated = expected if rule == "header" else table
    assert (facts["RescaleSlope"], facts["RescaleIntercept"]) == stated
    np.testing.assert_array_equal(read_voxels(sample), stored.astype(np.float16))


STORED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "right": lambda hu: hu,
    "as float32": lambda hu: hu.astype(np.float32),
    "as float64": lambda hu: hu.astype(np.float64),
    "never applied": lambda hu: hu + 1024,
    "half slope": lambda hu: hu // 2,
    "twice": lambda hu: hu - 1024,
    "other sign": lambda hu: -hu,
    "unsigned": lambda hu: hu.astype(np.uint16).astype(np.int32),
}


@pytest.mark.parametrize("way", STORED)
def test_values_that_are_no_hu_by_the_rule_are_kept_and_doubted(
    way: str, write_volume: Write, make_affine: Any
) -> None:
    hu = make_chest_phantom((40, 44, 24), seed=3)
    stored = STORED[way](hu)
    sample = encode(write_volume(stored, make_affine(SPACING_MM)), "none")
    np.testing.assert_array_equal(read_voxels(sample), stored.astype(np.float16))
    assert ("hu_doubt" in sample.facts) is not (way in ("right", "as float32", "as float64"))
    inside = (stored >= -200) & (stored <= 300)
    assert sample.facts["plausible_share"] == inside.mean()
    assert sample.facts["air_share"] == (stored < -200).mean()


def test_the_scaling_that_the_rule_states_is_what_is_judged(
    write_volume: Write, make_affine: Any
) -> None:
    hu = make_chest_phantom((40, 44, 24), seed=3)
    path = write_volume(hu + 1024, make_affine(SPACING_MM))
    right = encode(path, "table", rescale_slope=1.0, rescale_intercept=-1024.0)
    wrong = encode(path, "table", rescale_slope=1.0, rescale_intercept=0.0)
    assert ("hu_doubt" in right.facts, "hu_doubt" in wrong.facts) == (False, True)
    assert right.facts["air_share"] == (hu < -200).mean()


@pytest.mark.parametrize("rule", ["none", "table"])
def test_a_header_that_contradicts_the_rule_is_rejected(
    rule: HuRule, write_volume: Write, make_affine: Any, phantom: Any
) -> None:
    path = write_volume(
        phantom((5, 7, 11)), make_affine(SPACING_MM), scl_slope=1.0, scl_inter=-1024.0
    )
    with pytest.raises(SampleRejectedError, match="but the header says") as caught:
        encode(path, rule)
    assert caught.value.reason is Reason.HU_RULE_CONFLICT


def test_a_table_that_contradicts_the_header_in_spacing_is_rejected(
    write_volume: Write, make_affine: Any, phantom: Any
) -> None:
    path = write_volume(phantom((5, 7, 11)), make_affine((0.75, 0.5, 3.0)))
    with pytest.raises(SampleRejectedError, match="the table says") as caught:
        encode(path, "none")
    assert caught.value.reason is Reason.SPACING_MISMATCH


def test_a_rule_has_to_be_declared_with_a_remedy() -> None:
    match = r"^hu_rule: preprocessing none must say .* none .* table .* or header"
    with pytest.raises(SpecError, match=match):
        open_kind(make_spec(None))


def test_a_preview_shows_hu_by_the_rule_in_the_orientation_of_the_file(
    write_volume: Write, make_affine: Any, phantom: Any
) -> None:
    hu, affine = phantom((24, 20, 16)), make_affine(SPACING_MM)
    plain = encode(write_volume(hu, affine), "none")
    shifted = write_volume(hu + 1024, affine, scl_slope=1.0, scl_inter=-1024.0)
    moved = encode(shifted, "header")
    flipped = encode(write_volume(hu, affine @ np.diag([-1.0, 1, 1, 1])), "none")
    pictures = [draw_sample_preview(dict(s.members)) for s in (plain, moved, flipped)]
    assert pictures[0] == pictures[1]
    assert pictures[0] != pictures[2]


def test_a_dataset_of_nifti_is_built_from_its_stored_values(
    repository: SyntheticRepository, home: Path
) -> None:
    import nibabel as nib

    spec = make_spec("none", folder=str(repository.folder), splits=("train",))
    workspace = open_workspace(open_kind(spec))
    publish_catalog(workspace.paths, draft_catalog(workspace))
    (key,) = workspace.read_plan().partitions
    assert not build_shard(workspace, workspace.paths, plan_shard(workspace, key)).record.rejected
    made = dict(read_volumes(workspace.paths.folder))
    assert sorted(made) == repository.keys("train")
    for volume in repository.volumes:
        if volume.key in made:
            image: Any = nib.load(repository.folder / volume.path)
            stored = np.asarray(image.dataobj.get_unscaled())
            assert made[volume.key] == stored.astype("<f2").tobytes()


def test_raw_samples_of_arrays_keep_their_bytes(tmp_path: Path) -> None:
    """Pinned: sources without headers state neither geometry nor a scaling."""
    np.savez(tmp_path / "volume.npz", data=np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    fields = {"source": "npz", "folder": str(tmp_path)}
    tables = dict.fromkeys(("meta_file", "reports_file", "labels_file"), "x.csv")
    spec = make_spec("table", **fields, **tables, splits=("train",))
    item: SourceItem = make_item(xy_spacing="[0.75, 0.5]")
    staged = StagedFile(tmp_path / "volume.npz", "file:volume.npz", None, 1, "0" * 64)
    sample = encode_raw_sample(
        item,
        staged,
        spec=spec,
        source=open_volume_source(spec),
        fingerprint="abc123",
        buffers=BufferPool(),
    )
    members = b"".join(bytes(content) for _, content in sample.members)
    assert hashlib.sha256(members).hexdigest() == PINNED


def test_raw_values_that_are_not_hu_are_not_judged_as_hu(
    write_volume: Write, make_affine: Any
) -> None:
    stored = np.random.default_rng(1).integers(3000, 9000, (5, 7, 11)).astype("i2")
    path = write_volume(stored, make_affine(SPACING_MM), scl_slope=2.0, scl_inter=1.0)
    spec = make_spec(None, intensity="stored")
    steps = {f"spacing_{axis}": step for axis, step in zip("ijk", SPACING_MM, strict=True)}
    sample = encode_raw_sample(
        make_item(**steps, rescale_slope=None, rescale_intercept=None),
        stage(path),
        spec=spec,
        source=open_volume_source(spec),
        fingerprint="abc123",
        buffers=BufferPool(),
    )
    np.testing.assert_array_equal(read_voxels(sample), stored.astype(np.float16))
    facts = read_json(sample)
    assert "hu" not in facts
    assert facts["intensity"] == {"slope": 2.0, "intercept": 1.0}
    assert facts["preprocessing"] == {"preset": "none", "intensity": "stored"}
    assert not {"hu_doubt", "air_share"} & sample.facts.keys()
    assert draw_sample_preview(dict(sample.members))
