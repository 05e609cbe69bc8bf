"""Encoding one volume: right members, right types, the same bytes everywhere."""

import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medassets.datasets.ct_sources.registry import open_volume_source
from medassets.errors import SampleRejectedError
from medassets.samples import EncodedSample, SourceItem, StagedFile
from medassets.specs import VolumeDatasetSpec
from medassets.storage.buffers import BufferPool
from medassets.testing.ct_rate import make_ct_rate_repository
from medassets.testing.nifti import encode_nifti, write_nifti
from medassets.testing.phantoms import make_affine, make_chest_phantom
from medassets.volumes.catalog.ct_rate import LABEL_NAMES
from medassets.volumes.grid.hu_guard import SHARES
from medassets.volumes.preview import draw_sample_preview
from medassets.volumes.samples import encode_volume_sample
from medassets_tests.bad_volumes import BAD_VOLUMES

SHAPE = (26, 21, 17)
SPACING_MM = (12.0, 13.0, 16.0)
TARGET_SHAPE = (30, 22, 15)


def make_spec(**changes: Any) -> VolumeDatasetSpec:
    """Make a declaration with a small output."""
    values: dict[str, Any] = {
        "name": "test_ct",
        "source": "folder",
        "folder": "/unused",
        "target_spacing_mm": (11.0, 12.0, 18.0),
        "target_shape": TARGET_SHAPE,
    }
    return VolumeDatasetSpec(**(values | changes))


def make_item(**changes: Any) -> SourceItem:
    """Make the catalog row of a volume."""
    row: dict[str, Any] = {
        "key": "train_1_a_1",
        "group": "train_1",
        "patient": "train_1",
        "scan": "train_1_a",
        "reconstruction": 1,
        "spacing_i": SPACING_MM[0],
        "spacing_j": SPACING_MM[1],
        "spacing_k": SPACING_MM[2],
        "num_slices": SHAPE[2],
        "rescale_slope": 1.0,
        "rescale_intercept": -1024.0,
        "report_clinical_information": None,
        "report_technique": "Non-contrast.",
        "report_findings": "Ø 42 mm.",
        "report_impressions": None,
        "report": "Ø 42 mm.",
        "labels": [float(index % 3 == 0) for index in range(18)],
        "label_names": list(LABEL_NAMES),
        "metadata": '{"PatientAge":"036Y","Rows":21,"XYSpacing":[12.0,13.0]}',
    }
    path = "dataset/train_fixed/train_1/train_1_a/train_1_a_1.nii.gz"
    return SourceItem("train_1_a_1", "train", path, "c0ffee", row | changes)


def stage(path: Path) -> StagedFile:
    """Describe a file as staging does."""
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return StagedFile(path, "hf://org/name/volume.nii.gz", "c0ffee", len(content), digest)


def encode(
    path: Path,
    item: SourceItem | None = None,
    spec: VolumeDatasetSpec | None = None,
    buffers: BufferPool | None = None,
) -> EncodedSample:
    """Encode a file with the usual row and declaration."""
    return encode_volume_sample(
        item or make_item(),
        stage(path),
        spec=spec or make_spec(),
        source=open_volume_source(spec or make_spec()),
        fingerprint="abc123",
        buffers=buffers or BufferPool(),
    )


def voxels(sample: EncodedSample) -> np.ndarray:
    """Read the `bin` member as a reader of the shard would."""
    return np.frombuffer(bytes(dict(sample.members)["bin"]), "<f2").reshape(TARGET_SHAPE)


def described(sample: EncodedSample) -> dict[str, Any]:
    """Read the `json` member."""
    return json.loads(bytes(dict(sample.members)["json"]))


@pytest.fixture
def affine() -> np.ndarray:
    """Affine of the usual volume."""
    return make_affine(SHAPE, spacing_mm=SPACING_MM)


@pytest.fixture
def volume_file(tmp_path: Path, affine: np.ndarray) -> Path:
    """A chest, HU as int16."""
    path = tmp_path / "volume.nii.gz"
    write_nifti(path, encode_nifti(make_chest_phantom(SHAPE), affine=affine))
    return path


def test_members_stand_in_order_and_hold_what_the_row_says(volume_file: Path) -> None:
    sample = encode(volume_file)
    assert [suffix for suffix, _ in sample.members] == ["bin", "txt", "cls", "json"]
    members = dict(sample.members)
    assert np.asarray(members["bin"]).dtype == np.float16
    assert voxels(sample).shape == TARGET_SHAPE
    assert bytes(members["txt"]).decode() == "Ø 42 mm."
    assert np.frombuffer(bytes(members["cls"]), "<f4").tolist() == make_item().row["labels"]


def test_json_has_every_key_with_its_type(volume_file: Path) -> None:
    got = described(encode(volume_file))
    assert got["study_id"] == "train_1_a_1"
    assert (got["shape"], got["dtype"]) == (list(TARGET_SHAPE), "float16")
    assert (got["volume_shape"], got["volume_dtype"]) == (got["shape"], got["dtype"])
    assert got["num_classes"] == 18
    assert list(got["labels"]) == list(LABEL_NAMES)
    assert all(type(value) is float for value in got["labels"].values())
    assert got["report"] == {
        "clinical_information": None,
        "technique": "Non-contrast.",
        "findings": "Ø 42 mm.",
        "impressions": None,
    }
    assert (got["split"], got["patient"], got["fingerprint"]) == ("train", "train_1", "abc123")
    assert got["source"] == {
        "uri": "hf://org/name/volume.nii.gz",
        "revision": "c0ffee",
        "sha256": stage(volume_file).sha256,
        "bytes": volume_file.stat().st_size,
    }
    assert got["metadata"] == {"PatientAge": "036Y", "Rows": 21, "XYSpacing": [12.0, 13.0]}
    assert got["preprocessing"]["scale"] == 1000.0


def test_json_tells_geometry_and_hu(volume_file: Path) -> None:
    got = described(encode(volume_file))
    source, output = got["geometry"]["source"], got["geometry"]["output"]
    assert (source["shape"], source["dtype"]) == (list(SHAPE), "int16")
    assert source["spacing_mm"] == list(SPACING_MM)
    assert (source["axis_codes"], output["axis_codes"]) == ("LPS", "LPS")
    assert np.shape(source["affine"]) == np.shape(output["affine"]) == (4, 4)
    assert len(output["spacing_mm"]) == 3
    assert np.shape(got["geometry"]["crop"]) == np.shape(got["geometry"]["pad"]) == (3, 2)
    assert 0 <= got["geometry"]["cropped_share"] < 1
    assert set(got["hu"]) == {"rule", "slope", "intercept", *SHARES}
    assert (got["hu"]["rule"], got["hu"]["slope"], got["hu"]["intercept"]) == ("none", 1, 0)


def test_an_array_does_not_say_how_it_is_oriented(tmp_path: Path) -> None:
    path = tmp_path / "volume.npz"
    np.savez(path, data=make_chest_phantom(SHAPE))
    tables = dict.fromkeys(("meta_file", "reports_file", "labels_file"), "a.csv")
    spec = make_spec(source="npz", splits=("train",), hu_rule="none", **tables)
    sample = encode(path, spec=spec)
    geometry = described(sample)["geometry"]
    assert geometry["source"]["axis_codes"] is geometry["output"]["axis_codes"] is None
    assert (geometry["source"]["dtype"], geometry["source"]["shape"]) == ("int16", list(SHAPE))
    assert np.shape(geometry["output"]["affine"]) == (4, 4)
    assert draw_sample_preview(dict(sample.members))[:2] == b"\xff\xd8"


def test_json_is_strict_and_compact(volume_file: Path) -> None:
    content = bytes(dict(encode(volume_file).members)["json"])

    def refuse(name: str) -> None:
        pytest.fail(f"{name} is no JSON")

    again = json.loads(content, parse_constant=refuse)
    assert json.dumps(again, ensure_ascii=False, separators=(",", ":")).encode() == content
    assert "Ø".encode() in content


def test_facts_for_the_record_tell_no_time_and_no_path(volume_file: Path) -> None:
    facts = encode(volume_file).facts
    assert facts["source_sha256"] == stage(volume_file).sha256
    assert facts["patient"] == "train_1"
    assert str(volume_file.parent) not in json.dumps(facts)


def test_three_ways_to_store_one_chest_give_one_array(tmp_path: Path, affine: np.ndarray) -> None:
    hu = make_chest_phantom(SHAPE)
    raised = (hu.astype(np.int32) + 1024).clip(-32768).astype(np.int16)
    stored = {
        "none": encode_nifti(hu, affine=affine),
        "table": encode_nifti(raised, affine=affine),
        "header": encode_nifti(raised, affine=affine, slope=1, intercept=-1024),
    }
    arrays = []
    for rule, content in stored.items():
        path = tmp_path / f"{rule}.nii.gz"
        write_nifti(path, content)
        sample = encode(path, spec=make_spec(hu_rule=rule))
        assert described(sample)["hu"]["rule"] == rule
        arrays.append(voxels(sample))
    assert np.array_equal(arrays[0], arrays[1])
    assert np.array_equal(arrays[0], arrays[2])


@pytest.mark.parametrize("fault", [name for name, bad in BAD_VOLUMES.items() if bad.reason])
def test_a_bad_volume_is_rejected_for_its_own_reason(
    tmp_path: Path, affine: np.ndarray, volume_file: Path, fault: str
) -> None:
    path = tmp_path / "bad.nii.gz"
    path.write_bytes(BAD_VOLUMES[fault].encode(make_chest_phantom(SHAPE), affine))
    buffers = BufferPool()
    expected = bytes(dict(encode(volume_file).members)["bin"])
    with pytest.raises(SampleRejectedError) as caught:
        encode(path, buffers=buffers)
    assert caught.value.reason == BAD_VOLUMES[fault].reason
    assert str(tmp_path) not in caught.value.detail
    assert bytes(dict(encode(volume_file, buffers=buffers).members)["bin"]) == expected


@pytest.mark.parametrize("fault", ["big_endian", "float64", "int32"])
def test_an_unusual_way_to_store_changes_no_voxel(
    tmp_path: Path, affine: np.ndarray, volume_file: Path, fault: str
) -> None:
    path = tmp_path / "odd.nii.gz"
    path.write_bytes(BAD_VOLUMES[fault].encode(make_chest_phantom(SHAPE), affine))
    assert np.array_equal(voxels(encode(path)), voxels(encode(volume_file)))


def test_an_oblique_volume_keeps_its_voxels_and_its_affine(
    tmp_path: Path, affine: np.ndarray, volume_file: Path
) -> None:
    path = tmp_path / "oblique.nii.gz"
    path.write_bytes(BAD_VOLUMES["oblique"].encode(make_chest_phantom(SHAPE), affine))
    sample = encode(path)
    assert np.array_equal(voxels(sample), voxels(encode(volume_file)))
    columns = np.array(described(sample)["geometry"]["output"]["affine"])[:3, :3]
    assert abs(columns[1, 2]) > 1
    steps = described(sample)["geometry"]["output"]["spacing_mm"]
    assert np.linalg.norm(columns, axis=0).tolist() == pytest.approx(steps)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"labels": None}, "missing_labels"),
        ({"labels": [1.0]}, "missing_labels"),
        ({"spacing_k": None}, "spacing_missing"),
        ({"spacing_k": 17.0}, "spacing_mismatch"),
    ],
)
def test_an_unusable_row_is_rejected(
    volume_file: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(SampleRejectedError, match=f"^{reason}"):
        encode(volume_file, make_item(**changes))


def test_released_buffers_are_reused(volume_file: Path) -> None:
    buffers = BufferPool()
    encode(volume_file, buffers=buffers).release()
    free_bytes = buffers.free_bytes
    sample = encode(volume_file, buffers=buffers)
    assert buffers.free_bytes < free_bytes
    sample.release()
    assert buffers.free_bytes == free_bytes > 0


def test_a_rejected_sample_gives_its_buffer_back(volume_file: Path) -> None:
    buffers = BufferPool()
    encode(volume_file, buffers=buffers).release()
    free_bytes = buffers.free_bytes
    with pytest.raises(SampleRejectedError, match="spacing_mismatch"):
        encode(volume_file, make_item(spacing_k=17.0), buffers=buffers)
    assert buffers.free_bytes == free_bytes > 0


def picture_of_chest(tmp_path: Path, axis_codes: str, orientation: str) -> np.ndarray:
    """Store one chest along some axes, encode it, and decode its picture."""
    world = [{"L": "R", "P": "A", "I": "S"}.get(code, code) for code in axis_codes]
    # Sizes that leave an even number of voxels to pad, so that a turn shifts nothing.
    sides, steps = {"R": 25, "A": 21, "S": 17}, {"R": 12.0, "A": 12.0, "S": 15.0}
    shape = (sides[world[0]], sides[world[1]], sides[world[2]])
    spacing_mm = [steps[axis] for axis in world]
    hu = make_chest_phantom(shape, axis_codes=axis_codes)
    affine = make_affine(shape, spacing_mm=spacing_mm, axis_codes=axis_codes)
    path = tmp_path / "volume.nii.gz"
    write_nifti(path, encode_nifti(hu, affine=affine))
    item = make_item(**{f"spacing_{a}": step for a, step in zip("ijk", spacing_mm, strict=True)})
    spec = make_spec(
        orientation=orientation, target_shape=(25, 25, 25), target_spacing_mm=(12, 12, 12)
    )
    jpeg = draw_sample_preview(dict(encode(path, item, spec).members))
    return np.asarray(Image.open(io.BytesIO(jpeg)), np.float64)


def differ(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean())


@pytest.mark.parametrize("axis_codes", ["LPS", "RAS", "PSL"])
def test_turned_alike_volumes_have_one_picture(tmp_path: Path, axis_codes: str) -> None:
    expected = picture_of_chest(tmp_path, "LPS", "as_stored")
    picture = picture_of_chest(tmp_path, axis_codes, "LPS")
    assert picture.shape == expected.shape
    # The noise differs, nothing else.
    flipped = min(differ(expected, expected[::-1]), differ(expected, expected[:, ::-1]))
    assert differ(picture, expected) < flipped / 3


@pytest.mark.parametrize(("axis_codes", "orientation"), [("RAS", "as_stored"), ("LPS", "RAS")])
def test_the_picture_shows_that_sides_are_exchanged(
    tmp_path: Path, axis_codes: str, orientation: str
) -> None:
    height, width = picture_of_chest(tmp_path, "LPS", "as_stored").shape
    # The first of three panels with gaps of 4 pixels, without the letters at its edges.
    inner = np.s_[25 : height - 25, 25 : (width - 8) // 3 - 25]
    usual = picture_of_chest(tmp_path, "LPS", "as_stored")[inner]
    exchanged = picture_of_chest(tmp_path, axis_codes, orientation)[inner]
    assert differ(exchanged[::-1, ::-1], usual) < differ(exchanged, usual) / 2


_SCRIPT = """
import hashlib, sys
from pathlib import Path
from medassets.samples import SourceItem, StagedFile
from medassets.datasets.ct_sources.registry import open_volume_source
from medassets.specs import VolumeDatasetSpec
from medassets.storage.buffers import BufferPool
from medassets.volumes.catalog.ct_rate import read_rows
from medassets.volumes.preview import draw_sample_preview
from medassets.volumes.preview import draw_sample_preview
from medassets.datasets.ct_sources.registry import open_volume_source
from medassets.volumes.samples import encode_volume_sample

class Tree:
    def read_table(self, path, *, revision):
        return (folder / path).read_bytes()

folder = Path(sys.argv[1])
spec = VolumeDatasetSpec(
    name="t", source="folder", folder="/x", target_spacing_mm=(9, 9, 9), target_shape=(20, 21, 22)
)
digest = hashlib.sha256()
for row in read_rows(Tree(), spec, "train", "c0ffee").to_pylist():
    digest.update(repr(row).encode())
    if row["excluded"]:
        continue
    item = SourceItem(row["key"], row["split"], row["path"], row["revision"], row)
    content = (folder / row["path"]).read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    staged = StagedFile(folder / row["path"], "file:x", None, len(content), sha256)
    source = open_volume_source(spec)
    sample = encode_volume_sample(
        item, staged, spec=spec, source=source, fingerprint="f", buffers=BufferPool()
    )
    for suffix, member in sample.members:
        digest.update(suffix.encode() + bytes(member))
    digest.update(repr(sorted(sample.facts.items())).encode())
    digest.update(draw_sample_preview(dict(sample.members)))
sys.stdout.write(digest.hexdigest())
"""


def run_in_environment(folder: Path, **settings: str) -> str:
    """Encode a repository in a fresh process and return the digest of all bytes made."""
    finished = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(folder)],
        env={**os.environ, **settings},
        check=True,
        capture_output=True,
        text=True,
    )
    return finished.stdout


def test_bytes_do_not_depend_on_locale_time_zone_or_hash_seed(tmp_path: Path) -> None:
    make_ct_rate_repository(tmp_path, num_patients=1, splits=("train",))
    one = {"LC_ALL": "C", "TZ": "UTC", "PYTHONHASHSEED": "1", "PYTHONUTF8": "0"}
    other = {"LC_ALL": "de_DE.UTF-8", "TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "77"}
    first = run_in_environment(tmp_path, **one)
    assert len(first) == 64
    assert first == run_in_environment(tmp_path, **other)


def test_a_sample_of_stored_values_says_what_they_are_and_nothing_of_hu(
    tmp_path: Path, affine: np.ndarray
) -> None:
    stored = make_chest_phantom(SHAPE) + 4000
    path = tmp_path / "mr.nii.gz"
    write_nifti(path, encode_nifti(stored, affine=affine, slope=0.5, intercept=10.0))
    spec = make_spec(preprocessing="mr_percentile")
    sample = encode(path, spec=spec)
    got = described(sample)
    low, high = np.percentile(stored * 0.5 + 10, (0.5, 99.5))
    assert got["hu"] is None
    assert got["intensity"] == {
        "slope": 0.5,
        "intercept": 10.0,
        "range": [pytest.approx(low), pytest.approx(high)],
        "inside_share": pytest.approx(0.99, abs=0.01),
    }
    assert got["preprocessing"] == {
        "preset": "mr_percentile",
        "spacing_mm": [11.0, 12.0, 18.0],
        "intensity": "stored",
        "clip_percentiles": [0.5, 99.5],
        "output_range": [0.0, 1.0],
        "pad_value": 0.0,
        "orientation": "as_stored",
        "layout": "ijk",
    }
    assert not set(SHARES) & sample.facts.keys()
    assert sample.facts["value_range"] == got["intensity"]["range"]
    made = voxels(sample)
    assert (made.min(), made.max()) == (0.0, 1.0)
    picture = np.asarray(Image.open(io.BytesIO(draw_sample_preview(dict(sample.members)))))
    # All of the range is shown: neither black nor white as a whole.
    assert 20 < picture.mean() < 235


def test_a_fixed_range_and_a_scale_are_stated_in_units_of_the_file(volume_file: Path) -> None:
    spec = make_spec(intensity="stored", clip=(-500, 900), scale=10, min_inside_share=0.1)
    sample = encode(volume_file, spec=spec)
    got = described(sample)["preprocessing"]
    assert (got["clip"], got["scale"], got["pad_value"]) == ([-500.0, 900.0], 10.0, -50.0)
    assert draw_sample_preview(dict(sample.members))
    with pytest.raises(SampleRejectedError, match="values_implausible"):
        encode(
            volume_file, spec=make_spec(intensity="stored", clip=(5000, 5001), min_inside_share=0.1)
        )
