"""One dataset, one orientation: mixes, expectations, and volumes that differ from the others."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.manifests.problems import find_manifest_problems, find_problems
from medassets.datasets.manifests.publication import build_manifests, survey_dataset
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.registry import open_kind
from medassets.datasets.survey import Survey, survey_records
from medassets.datasets.volumes import VolumeDataset
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.errors import MixedOrientationError, Reason
from medassets.shards.files import read_whole_record
from medassets.shards.record import Rejected, SampleEntry, ShardRecord
from medassets.specs import CTWindowDatasetSpec, VolumeDatasetSpec
from medassets.testing.ct_rate import make_ct_rate_repository
from medassets.volumes.files.header import VolumeHeader
from medassets.volumes.grid.geometry import locate_source
from medassets.volumes.samples import collect_orientation
from medassets_tests.declarations import make_spec
from medassets_tests.volumes.foreign_tars import make_sample

Open = Callable[..., Workspace]


def make_record(codes: dict[str, str | None], *rejected: Rejected, air: float = 0.5) -> ShardRecord:
    facts = [{"axis_codes": code, "air_share": air} for code in codes.values()]
    return ShardRecord(
        dataset="ct",
        split="train",
        partition="train-000000",
        filename="shard-000000.tar",
        num_samples=len(codes),
        size_bytes=0,
        sha256="",
        plan_fingerprint="",
        fingerprint="",
        source={},
        samples=tuple(
            SampleEntry(key, 0, 0, (), one) for key, one in zip(codes, facts, strict=True)
        ),
        rejected=rejected,
    )


def survey(codes: dict[str, str | None], *rejected: Rejected, **changes: Any) -> Survey:
    record = make_record(codes, *rejected)
    return survey_records(VolumeDataset(make_spec(**changes)), [record])


@pytest.fixture
def build(open_folder: Open, tmp_path: Path) -> Callable[..., Workspace]:
    """Return a function that builds all shards of scans of some orientations."""

    def build_it(*axis_codes: str, **changes: Any) -> Workspace:
        folder = tmp_path / "-".join(axis_codes)
        if not folder.exists():
            make_ct_rate_repository(
                folder,
                num_patients=2,
                splits=("train",),
                special_rows=False,
                axis_codes=axis_codes,
                shape_range=((20, 18, 12), (24, 22, 16)),
            )
        workspace = open_folder(folder, splits=("train",), **changes)
        publish_catalog(workspace.paths, draft_catalog(workspace))
        for key in workspace.read_plan().partitions:
            build_shard(workspace, workspace.paths, plan_shard(workspace, key))
        return workspace

    return build_it


@pytest.fixture
def build_tars(tmp_path: Path) -> Callable[..., Workspace]:
    """Return a function that builds a sample of an existing WebDataset for each `geometry` of a json."""

    def build_it(*geometries: Any, windows: bool = False, **changes: Any) -> Workspace:
        from webdataset.writer import TarWriter

        (tmp_path / "tars").mkdir()
        with TarWriter(str(tmp_path / "tars" / "a.tar")) as writer:
            for number, geometry in enumerate(geometries):
                writer.write(make_sample(str(number), study_id=f"s{number}", geometry=geometry))
        fields: dict[str, Any] = {
            "name": "foreign",
            "source": "webdataset",
            "shards": f"{tmp_path}/tars/*.tar",
            "splits": ("train",),
            "hu_rule": "none",
            "min_slices": 1,
            **changes,
        }
        names: dict[str, Any] = {"label_names": ("one", "two")}
        spec = CTWindowDatasetSpec(**fields) if windows else VolumeDatasetSpec(**fields, **names)
        workspace = open_workspace(open_kind(spec), data_root=str(tmp_path / "home"))
        publish_catalog(workspace.paths, draft_catalog(workspace))
        for key in workspace.read_plan().partitions:
            build_shard(workspace, workspace.paths, plan_shard(workspace, key))
        return workspace

    return build_it


def stated(codes: Any, **more: Any) -> dict[str, Any]:
    return {"source": {"axis_codes": codes, **more}}


SHARES = {"min_plausible_share": 0.0, "max_plausible_share": 1.0, "expected_air_share": (0.0, 1.0)}
PROCESSINGS: list[dict[str, Any]] = [
    {"preprocessing": "none", "max_rounding_error": 1.0},
    {"target_spacing_mm": (1.0, 1.0, 1.0), "target_shape": (6, 6, 6), **SHARES},
    {"windows": True, **SHARES},
]


@pytest.mark.parametrize("changes", PROCESSINGS)
def test_a_mix_that_the_json_of_foreign_samples_states_withholds_the_manifest(
    build_tars: Callable[..., Workspace], changes: dict[str, Any]
) -> None:
    workspace = build_tars(stated("LPS"), stated("RAS"), None, **changes)
    expected = (
        r"several orientations \(LPS 1, RAS 1, none stated 1\).*declare `expected_orientation`"
    )
    with pytest.raises(MixedOrientationError, match=expected):
        build_manifests(workspace)


@pytest.mark.parametrize("changes", PROCESSINGS)
def test_the_orientation_that_a_json_states_is_expected_like_that_of_a_file(
    build_tars: Callable[..., Workspace], changes: dict[str, Any]
) -> None:
    preprocessed = {"source": {"axis_codes": "RAS"}, "output": {"axis_codes": "LPS"}}
    samples = [stated("LPS"), stated("RAS"), None, stated(5), stated("LLS"), preprocessed]
    workspace = build_tars(*samples, expected_orientation="LPS", max_rejected_share=1.0, **changes)
    manifest = build_manifests(workspace)["train"]
    assert manifest["orientations"] == {"LPS": 2}
    record = read_whole_record(workspace.paths, "train-000000")
    assert record is not None
    assert [rejected.reason for rejected in record.rejected] == [
        Reason.UNEXPECTED_ORIENTATION,
        Reason.ORIENTATION_MISSING,
        Reason.BAD_RECORD,
        Reason.BAD_RECORD,
    ]
    assert "grow to RAS (the json of the sample)" in record.rejected[0].detail
    assert "axis_codes: expected three directions such as LPS" in record.rejected[2].detail


def test_a_rival_that_a_json_states_is_a_doubt(build_tars: Callable[..., Workspace]) -> None:
    workspace = build_tars(stated("LPS", rival_axis_codes="RAS"), **PROCESSINGS[0])
    doubts = survey_dataset(workspace).doubts
    assert sum("sform and qform state different orientations" in doubt for doubt in doubts) == 1


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR", "SLA"])
def test_the_affine_of_an_array_grows_as_its_json_states(codes: str) -> None:
    header = VolumeHeader.of_array((5, 7, 11), np.dtype(np.int16))
    frame = locate_source(replace(header, stated_codes=codes), (0.75, 0.5, 1.5))
    assert "".join(nib.orientations.aff2axcodes(frame.affine)) == frame.axis_codes == codes
    np.testing.assert_array_equal(np.abs(frame.affine[:3, :3]).sum(axis=0), [0.75, 0.5, 1.5])


def test_a_mix_withholds_the_manifest_with_counts_and_remedy(
    build: Callable[..., Workspace],
) -> None:
    workspace = build("LPS", "RAS")
    expected = r"several orientations \(LPS 2, RAS 2\).*`orientation: LPS` turns all of them alike"
    with pytest.raises(MixedOrientationError, match=expected):
        build_manifests(workspace)
    (problem,) = find_manifest_problems(workspace)
    assert find_problems(workspace)[0] == problem
    assert "LPS 2, RAS 2" in problem


def test_turned_alike_the_mix_is_one_dataset(build: Callable[..., Workspace]) -> None:
    workspace = build("LPS", "RAS", orientation="LPS")
    manifest = build_manifests(workspace)["train"]
    assert manifest["orientations"] == {"LPS": 4}
    assert manifest["total_samples"] == 4
    assert all(s["contents"]["orientations"].keys() == {"LPS"} for s in manifest["shards"])


def test_a_volume_of_another_orientation_than_expected_is_rejected_by_name(
    build: Callable[..., Workspace],
) -> None:
    workspace = build("LPS", "RAS", expected_orientation="LPS")
    records = [
        record
        for key in workspace.read_plan().partitions
        if (record := read_whole_record(workspace.paths, key)) is not None
    ]
    rejected = {one.key: one.reason for record in records for one in record.rejected}
    assert rejected == dict.fromkeys(("train_2_a_1", "train_2_a_2"), Reason.UNEXPECTED_ORIENTATION)
    manifest = build_manifests(workspace)["train"]
    assert manifest["orientations"] == {"LPS": 2}
    found = survey_dataset(workspace)
    assert (found.problems, found.doubts) == ((), ())


def test_what_was_built_before_the_expectation_is_a_problem(
    build: Callable[..., Workspace], open_folder: Open, tmp_path: Path
) -> None:
    build("RAS")
    later = open_folder(tmp_path / "RAS", splits=("train",), expected_orientation="LPS")
    (problem,) = survey_dataset(later).problems
    assert "4 volumes of tiny are not LPS as expected_orientation says" in problem
    assert "`medassets build tiny --force --partitions train-000000,train-000001`" in problem


def test_shares_are_summed_up_per_shard_and_split(build: Callable[..., Workspace]) -> None:
    workspace = build("LPS")
    manifest = build_manifests(workspace)["train"]
    record = read_whole_record(workspace.paths, "train-000000")
    assert record is not None
    air = [sample.facts["air_share"] for sample in record.samples]
    shown = manifest["shards"][0]["contents"]["hu_shares"]["air_share"]
    assert (shown["least"], shown["largest"]) == (round(min(air), 4), round(max(air), 4))
    assert manifest["hu_shares"].keys() == {"plausible_share", "air_share", "dark_air_share"}


@pytest.mark.parametrize(
    ("codes", "num_problems", "num_doubts"),
    [
        ({"a": "LPS", "b": "LPS"}, 0, 0),
        ({"a": "LPS", "b": "RAS"}, 1, 0),
        ({"a": "LPS", "b": "LPI"}, 1, 0),
        ({"a": "LPS", "b": "PLS"}, 1, 0),
        ({"a": "LPS", "b": None}, 0, 1),
        ({"a": None, "b": None}, 0, 0),
        ({}, 0, 0),
    ],
)
def test_orientations_that_differ_are_a_problem_and_missing_ones_a_doubt(
    codes: dict[str, str | None], num_problems: int, num_doubts: int
) -> None:
    found = survey(codes)
    assert (len(found.problems), len(found.doubts)) == (num_problems, num_doubts)


def test_raw_volumes_are_told_to_expect_an_orientation() -> None:
    found = survey({"a": "LPS", "b": "RAS"}, preprocessing="none", hu_rule="none")
    assert "declare `expected_orientation`, which rejects all others" in found.problems[0]


def test_rejections_under_another_expectation_are_a_doubt() -> None:
    detail = "the axes grow to RAS (sform of the header), expected LPS as declared by"
    rejected = Rejected("c", Reason.UNEXPECTED_ORIENTATION, f"{detail} expected_orientation")
    assert survey({"a": "LPS"}, rejected, expected_orientation="LPS").doubts == ()
    (doubt,) = survey({}, rejected, expected_orientation="RAS").doubts
    assert doubt.startswith("1 volumes were rejected under another expected_orientation (c)")


def test_transforms_that_contradict_each_other_are_a_doubt() -> None:
    record = make_record({"a": "LPS", "b": "LPS"})
    disputed = replace(record.samples[1], facts={"axis_codes": "LPS", "rival_axis_codes": "RAS"})
    records = [replace(record, samples=(record.samples[0], disputed))]
    found = survey_records(VolumeDataset(make_spec()), records)
    assert found.problems == ()
    (doubt,) = found.doubts
    assert "sform and qform state different orientations, the sform is used: 1 (" in doubt
    assert "(b)" in doubt


def test_stored_values_that_are_no_hu_of_a_chest_are_a_doubt() -> None:
    record = make_record({"a": "LPS", "b": "LPS"})
    doubted = replace(record.samples[1], facts={"axis_codes": "LPS", "hu_doubt": "no air"})
    records = [replace(record, samples=(record.samples[0], doubted))]
    found = survey_records(VolumeDataset(make_spec(preprocessing="none", hu_rule="none")), records)
    assert found.problems == ()
    (doubt,) = found.doubts
    assert "by hu_rule none, 1 volumes do not have the HU of a chest (b)" in doubt
    assert doubt.endswith("The first: no air")


def test_outliers_belong_to_the_manifest_of_their_split() -> None:
    usual = make_record({f"u{number}": "LPS" for number in range(9)})
    odd = make_record({"odd": "LPS"}, air=0.1)
    found = survey_records(VolumeDataset(make_spec()), [usual, odd])
    assert [one.key for one in found.outliers] == ["odd"]
    assert found.list_outliers([usual]) == []
    assert [one["key"] for one in found.list_outliers([odd])] == ["odd"]
    assert found.lines() == [
        "differs from the others: odd: air share 0.100, median of the dataset 0.500"
    ]
    assert found.as_dict()["outliers"][0]["value"] == 0.1


def test_volumes_that_state_the_identity_are_a_doubt() -> None:
    frame = {"axis_codes": "RAS", "spacing_from": "header", "affine": np.eye(4).tolist()}
    assert collect_orientation(frame, frame)["identity_affine"]
    for change in ({"spacing_from": "table"}, {"affine": np.diag([1, 1, 2, 1]).tolist()}):
        assert "identity_affine" not in collect_orientation(frame, {**frame, **change})
    record = make_record({"a": "RAS", "b": "RAS"})
    record.samples[0].facts["identity_affine"] = True  # pyright: ignore[reportIndexIssue]
    kind = open_kind(make_spec(source="folder", folder="/data", repo_id=""))
    (doubt,) = survey_records(kind, [record]).doubts
    assert doubt.startswith("1 volumes state 1 mm along every axis and no turn")
    assert "(a)" in doubt
