"""Windows as a kind: from volumes or from masks that exist, to shards that any reader opens."""

import io
import json
import re
import shutil
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medassets.datasets.build import build_shard, plan_shard, today_fingerprint
from medassets.datasets.estimates import estimate_plan
from medassets.datasets.manifests.publication import build_manifests
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.registry import list_build_stages, open_kind
from medassets.datasets.windows import CTWindows
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.shards.verify import verify_shard
from medassets.specs import STANDARD_WINDOWS, CTWindowDatasetSpec
from medassets.testing.ct_rate import SyntheticRepository, make_ct_rate_repository
from medassets.volumes.windows.occupancy import Occupancy
from medassets.volumes.windows.occupancy_codec import decode_bits
from medassets_tests.bad_volumes import pick_bad_volumes

KEY = "train-000000"
STEMS = {n: f"{n}_w{w.width:g}_l{w.level:g}" for n, w in STANDARD_WINDOWS.items()}
Open = Callable[..., Workspace]


@pytest.fixture
def open_windows(home: Path) -> Open:
    """Return a function that declares a folder and makes its catalog."""

    def open_it(folder: Path, **changes: Any) -> Workspace:
        fields = {
            "name": "masks",
            "source": "folder",
            "folder": str(folder),
            "splits": ("train",),
            "hu_rule": "none",
            "samples_per_shard": 3,
            "max_rejected_share": 1.0,
            "max_excluded_share": 1.0,
        }
        workspace = open_workspace(CTWindows(CTWindowDatasetSpec(**(fields | changes))))
        publish_catalog(workspace.paths, draft_catalog(workspace))
        return workspace

    return open_it


def build(workspace: Workspace, key: str = KEY) -> Any:
    return build_shard(workspace, workspace.paths, plan_shard(workspace, key))


def read_sample(shard: Path, key: str) -> tuple[dict[str, Any], dict[str, Occupancy]]:
    """Return the json and the masks of a sample, read with tarfile."""
    with tarfile.open(shard) as tar:
        members = {}
        for info in tar:
            if info.name.startswith(f"{key}."):
                file = tar.extractfile(info)
                assert file is not None
                members[info.name.removeprefix(f"{key}.")] = file.read()
    facts = json.loads(members["json"])
    masks = {}
    for name, stored in facts["windows"].items():
        rank = np.frombuffer(members[f"{name}.rank"], "<u4")
        num_bytes = (len(rank) - 1) * 512
        bits = decode_bits(members[f"{name}.bits"], stored["encoding"], num_bytes=num_bytes)
        masks[name] = Occupancy(bits, rank, tuple(facts["shape"]))
    order = [f"{name}.{part}" for name in facts["windows"] for part in ("bits", "rank")]
    assert list(members) == [*order, "json"]
    return facts, masks


def compute_masks(path: Path) -> dict[str, np.ndarray]:
    image: Any = nib.load(path)
    hu = np.asarray(image.dataobj).astype(np.float64)
    return {
        name: (hu >= w.level - w.width / 2) & (hu <= w.level + w.width / 2)
        for name, w in STANDARD_WINDOWS.items()
    }


@pytest.mark.parametrize("compression", ["auto", "none"])
def test_a_shard_holds_the_masks_of_its_volumes(
    compression: str, open_windows: Open, repository: SyntheticRepository
) -> None:
    workspace = open_windows(repository.folder, compression=compression)
    record = build(workspace).record
    assert verify_shard(workspace.paths, KEY, full=True) == []
    for sample in record.samples:
        path = next(v.path for v in repository.volumes if v.key == sample.key)
        facts, masks = read_sample(workspace.paths.shard(KEY), sample.key)
        for name, mask in compute_masks(repository.folder / path).items():
            np.testing.assert_array_equal(masks[name].dense(), mask)
            stored, window = facts["windows"][name], STANDARD_WINDOWS[name]
            assert stored["num_points"] == mask.sum()
            assert (stored["low_hu"], stored["high_hu"]) == (window.low_hu, window.high_hu)
            assert (stored["encoding"] == "raw") or compression == "auto"
            assert sample.facts["windows"][name]["num_points"] == mask.sum()
        assert (facts["study_id"], facts["resolution"]) == (sample.key, 512)
        assert (facts["order"], facts["block_bits"]) == ("ijk, i fastest", 4096)
        assert facts["hu"]["rule"] == "none"
        assert facts["geometry"]["source"]["shape"] == facts["shape"]
        assert "report" not in facts


# webdataset leaves its files to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_plain_webdataset_reads_the_shard(
    open_windows: Open, repository: SyntheticRepository
) -> None:
    import webdataset

    workspace = open_windows(repository.folder)
    record = build(workspace).record
    dataset: Iterable[Any] = webdataset.WebDataset(  # pyright: ignore[reportAttributeAccessIssue]
        str(workspace.paths.shard(KEY)), shardshuffle=False
    )
    found = list(dataset)
    assert [one["__key__"] for one in found] == [sample.key for sample in record.samples]
    assert all("soft_tissue.bits" in one for one in found)


def test_volumes_without_report_or_labels_are_as_good_as_others(
    open_windows: Open, own_repository: Path
) -> None:
    for folder in ("radiology_text_reports", "multi_abnormality_labels"):
        shutil.rmtree(own_repository / "dataset" / folder)
    workspace = open_windows(own_repository)
    plan = workspace.read_plan()
    assert sum(plan.partitions.values()) == 7
    assert plan.excluded_by_reason() == {"no_chest": 1, "spacing_missing": 1}
    assert not any(n.startswith(("report", "label")) for n in workspace.read_catalog().column_names)  # pyright: ignore[reportOptionalMemberAccess]


def test_bad_volumes_are_rejected_with_their_reasons(open_windows: Open, tmp_path: Path) -> None:
    faults = ("truncated_gzip", "rescaled_twice", "constant", "one_slice", "nan_spacing")
    made = make_ct_rate_repository(
        tmp_path / "bad", num_patients=1, special_volumes=pick_bad_volumes(*faults)
    )
    workspace = open_windows(made.folder, samples_per_shard=100)
    rejected = {r.key: r.reason for r in build(workspace).record.rejected}
    assert rejected == {v.key: v.reason for v in made.volumes if v.reason and not v.excluded} | {
        key: reason for key, reason in rejected.items() if key not in dict(made.reasons("train"))
    }
    assert len(rejected) == len(faults)


def test_a_volume_above_1024_is_rejected_and_one_above_512_is_not(
    open_windows: Open, own_repository: Path, write_wide: Callable[..., None]
) -> None:
    paths = sorted((own_repository / "dataset/train_fixed").rglob("*.nii.gz"))
    write_wide(paths[0], (1025, 6, 5))
    write_wide(paths[1], (600, 6, 5))
    workspace = open_windows(own_repository)
    record = build(workspace).record
    assert [(r.key, r.reason) for r in record.rejected] == [("train_1_a_1", "too_large")]
    assert "1024 at most" in record.rejected[0].detail
    assert record.samples[0].facts["resolution"] == 1024


@pytest.fixture
def write_wide() -> Callable[..., None]:
    """Return a function that replaces a volume by one of another shape and the same spacing."""

    def write(path: Path, shape: tuple[int, int, int]) -> None:
        from medassets.testing.nifti import encode_nifti, write_nifti

        image: Any = nib.load(path)
        voxels = np.random.default_rng(0).integers(-1000, 1000, shape).astype(np.int16)
        write_nifti(path, encode_nifti(voxels, affine=image.affine))

    return write


def test_a_shard_is_made_twice_with_the_same_bytes_and_goes_on_after_a_break(
    open_windows: Open, repository: SyntheticRepository
) -> None:
    workspace = open_windows(repository.folder)
    first = build(workspace)
    content = workspace.paths.shard(KEY).read_bytes()
    assert build(workspace).adopted
    workspace.paths.shard(KEY).unlink()
    work = plan_shard(workspace, KEY)
    calls = 0

    def break_at_the_second(items: Any, staged: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return work.encode(items, staged)

    with pytest.raises(KeyboardInterrupt):
        build_shard(
            workspace, workspace.paths, replace(work, encode=break_at_the_second, num_workers=1)
        )
    resumed = build_shard(workspace, workspace.paths, work)
    assert resumed.resumed == 1
    assert workspace.paths.shard(KEY).read_bytes() == content
    assert resumed.record == first.record


def test_other_windows_make_shards_stale(
    open_windows: Open, repository: SyntheticRepository
) -> None:
    spec = CTWindowDatasetSpec(name="masks", source="folder", folder="/x")
    same = replace(
        spec, windows=({"name": "lung", "width": 1500, "level": -600}, *spec.windows[1:])
    )
    assert CTWindows(same).fingerprint() == CTWindows(spec).fingerprint()
    for change in (
        {"windows": ("lung",)},
        {"windows": tuple(reversed(spec.windows))},
        {"windows": ("lung", {"name": "marrow", "width": 1500.0, "level": 301.0})},
        {"compression": "none"},
        {"hu_rule": "header"},
    ):
        assert CTWindows(replace(spec, **change)).fingerprint() != CTWindows(spec).fingerprint()
    workspace = open_windows(repository.folder)
    plan = workspace.read_plan()
    assert build(workspace).record.plan_fingerprint == today_fingerprint(workspace, plan, KEY)


def test_a_manifest_names_the_windows_and_a_shard_its_points(
    open_windows: Open, repository: SyntheticRepository
) -> None:
    workspace = open_windows(repository.folder, windows=("lung", "brain"))
    record = build(workspace).record
    manifest = build_manifests(workspace)["train"]
    assert list(manifest["windows"]) == ["lung", "brain"]
    assert manifest["total_samples"] == 3
    told = workspace.kind.describe_shard(record)["windows"]
    points = [s.facts["windows"]["lung"]["num_points"] for s in record.samples]
    voxels = sum(int(np.prod(s.facts["shape"])) for s in record.samples)
    expected = {"points": sum(points), "share": round(sum(points) / voxels, 4)}
    assert told["lung"] == expected
    assert list_build_stages(workspace.kind.spec) == ["windows"]
    assert open_kind(workspace.kind.spec).stage == "windows"


def test_a_preview_shows_the_middle_axial_slice_of_every_window(
    open_windows: Open, repository: SyntheticRepository
) -> None:
    workspace = open_windows(repository.folder, windows=("lung", "soft_tissue"))
    record = build(workspace).record
    shard = workspace.paths.shard(KEY)
    picture = workspace.kind.draw_preview(shard, record)
    assert picture is not None
    assert len(picture) <= 10_000
    grey = np.asarray(Image.open(io.BytesIO(picture)))
    facts, masks = read_sample(shard, record.samples[0].key)
    assert facts["geometry"]["source"]["axis_codes"] == "LPS"
    # In LPS, i grows to the patient's left and j to the back: rows are j, columns i.
    middle = masks["soft_tissue"].dense()[:, :, facts["shape"][2] // 2].T
    panel = grey[:, -grey.shape[1] // 2 + 2 :]
    size = (panel.shape[1], panel.shape[0])
    drawn = Image.fromarray(middle * np.uint8(255)).resize(size, Image.Resampling.BOX)
    assert np.corrcoef(np.asarray(drawn).ravel(), panel.ravel())[0, 1] > 0.9


def test_a_plan_is_estimated(open_windows: Open, repository: SyntheticRepository) -> None:
    workspace = open_windows(repository.folder)
    table = workspace.read_catalog()
    assert table is not None
    estimate = estimate_plan(workspace.kind, table)["train"]
    assert (estimate.num_samples, estimate.num_shards) == (7, 3)
    assert 0 < estimate.shard_bytes < 7 * 50e6


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """A dataset of masks as existing tools leave it: three good cases."""
    rng = np.random.default_rng(0)
    for case in ("case_001", "case 2", "c3"):
        folder = tmp_path / "old" / "processed" / case / "windows"
        folder.mkdir(parents=True)
        for stem in STEMS.values():
            np.save(folder / f"{stem}.npy", (rng.random((32, 32, 32)) < 0.3).astype(np.uint8))
    (tmp_path / "old" / "metadata.csv").write_text("case_id\ncase_001\n")
    return tmp_path / "old"


def test_existing_masks_become_samples(open_windows: Open, cases: Path) -> None:
    for folder in (cases, cases.parent, cases / "processed"):
        workspace = open_windows(folder, name=f"m{len(folder.parts)}", source="processed")
        record = build(workspace).record
        assert record.rejected == ()
        names = {}
        for sample in record.samples:
            facts, masks = read_sample(workspace.paths.shard(KEY), sample.key)
            names[facts["case_id"]] = sample.key
            for name, stem in STEMS.items():
                file = cases / "processed" / facts["case_id"] / "windows" / f"{stem}.npy"
                np.testing.assert_array_equal(masks[name].dense(), np.load(file))
            assert set(facts["source"]["files"]) == set(STEMS)
        assert set(names) == {"case_001", "case 2", "c3"}
        assert names["case_001"].endswith("case_001")


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8, np.int16, bool])
@pytest.mark.parametrize("order", ["C", "F"])
def test_values_unlike_zero_are_inside_as_numpy_sees_them(
    dtype: Any, order: Any, open_windows: Open, tmp_path: Path
) -> None:
    values = np.asarray(
        np.random.default_rng(0).integers(-2, 3, (5, 7, 11)).astype(dtype), order=order
    )
    if values.dtype.kind == "f":
        values[1, 2, 3:6] = np.nan, -0.0, np.inf
    folder = tmp_path / "old" / "processed" / "a" / "windows"
    folder.mkdir(parents=True)
    np.save(folder / f"{STEMS['lung']}.npy", values)
    workspace = open_windows(tmp_path / "old", source="processed", windows=("lung",))
    build(workspace)
    _, masks = read_sample(workspace.paths.shard(KEY), "a")
    inside = np.stack(np.nonzero(masks["lung"].dense()))
    np.testing.assert_array_equal(inside, np.stack(np.nonzero(values)))


def test_a_dataset_inside_a_folder_named_processed_is_found(
    open_windows: Open, tmp_path: Path
) -> None:
    dataset = tmp_path / "root" / "processed" / "ds"
    folder = dataset / "processed" / "a" / "windows"
    folder.mkdir(parents=True)
    np.save(folder / f"{STEMS['lung']}.npy", np.ones((5, 7, 11), np.uint8))
    (dataset / "metadata.csv").write_text("case_id\na\n")
    workspace = open_windows(tmp_path / "root", source="processed", windows=("lung",))
    assert [sample.key for sample in build(workspace).record.samples] == ["ds_a"]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _put_objects(path: Path) -> None:
    np.save(path, np.array([[["a", None]]], object), allow_pickle=True)


def _describe_by_a_tuple(path: Path) -> None:
    text = b"{'descr': ('<f2',), 'fortran_order': False, 'shape': (5, 4, 3), }"
    path.write_bytes(b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text)


def _claim_much(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"(32, 32, 32)", b"(999,999,99)"))


@pytest.mark.parametrize(
    ("spoil", "detail"),
    [
        (_truncate, "not a whole .npy file"),
        (_put_objects, "not a whole .npy file of numbers"),
        (_claim_much, "not a whole .npy file"),
        (lambda path: path.write_bytes(b""), "not a whole .npy file"),
        (lambda path: path.write_bytes(b"PK\3\4 nothing of the sort"), "not a whole .npy file"),
        (lambda path: path.write_bytes(b"\x93NUMPY\1\0\x10\0{'descr': [[[[[["), "not a whole"),
        (_describe_by_a_tuple, "not a whole .npy file of numbers"),
        (lambda path: np.save(path, np.zeros((32, 32), np.uint8)), r"expected a mask \(i, j, k\)"),
        (lambda path: np.save(path, np.zeros((0, 3, 3), np.uint8)), "expected a mask|not a whole"),
        (lambda path: np.save(path, np.zeros((2, 2, 1025), np.uint8)), "1024 at most"),
        (lambda path: np.save(path, np.zeros((32, 32, 31), np.uint8)), r"lung is \(32, 32, 32\)"),
        (lambda path: np.save(path, np.full((2, 2, 2), "x")), "expected a dtype of plain numbers"),
        (lambda path: np.save(path, np.full((2, 2, 2), 1j)), "expected a dtype of plain numbers"),
    ],
    ids=range(13),
)
def test_broken_masks_are_rejected_and_never_crash(
    spoil: Callable[[Path], Any], detail: str, open_windows: Open, cases: Path
) -> None:
    spoil(cases / "processed" / "c3" / "windows" / f"{STEMS['bone']}.npy")
    record = build(open_windows(cases, source="processed")).record
    reason = "too_large" if "1024" in detail else "bad_header"
    assert [(r.key, r.reason) for r in record.rejected] == [("c3", reason)]
    assert re.search(detail, record.rejected[0].detail)
    assert str(cases) not in record.rejected[0].detail
    assert record.num_samples == 2


def test_a_case_without_a_window_is_excluded_and_a_link_out_is_not_followed(
    open_windows: Open, cases: Path
) -> None:
    (cases / "processed" / "c3" / "windows" / f"{STEMS['bone']}.npy").unlink()
    file = cases / "processed" / "case_001" / "windows" / f"{STEMS['brain']}.npy"
    outside = file.rename(cases.parent / "outside.npy")
    file.symlink_to(outside)
    workspace = open_windows(cases, source="processed")
    assert workspace.read_plan().excluded_by_reason() == {"missing_source": 1}
    record = build(workspace).record
    assert [(r.key, r.reason) for r in record.rejected] == [("case_001", "missing_upstream")]


def test_a_changed_mask_makes_the_shard_stale(open_windows: Open, cases: Path) -> None:
    workspace = open_windows(cases, source="processed")
    before = build(workspace).record
    file = cases / "processed" / "c3" / "windows" / f"{STEMS['brain']}.npy"
    np.save(file, 1 - np.load(file))
    publish_catalog(workspace.paths, draft_catalog(workspace))
    plan = workspace.read_plan()
    assert today_fingerprint(workspace, plan, KEY) != before.plan_fingerprint
    assert build(workspace).record.sha256 != before.sha256
