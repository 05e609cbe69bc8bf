"""One dataset, one orientation: mixes, expectations, and volumes that differ from the others."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.manifests import (
    build_manifests,
    find_manifest_problems,
    find_problems,
    survey_dataset,
)
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.survey import Survey, survey_records
from medassets.datasets.volumes import VolumeDataset
from medassets.datasets.workspace import Workspace
from medassets.errors import MixedOrientationError, Reason
from medassets.shards.files import read_whole_record
from medassets.shards.record import Rejected, SampleEntry, ShardRecord
from medassets.testing.ct_rate import make_ct_rate_repository
from medassets_tests.declarations import make_spec

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
    assert "1 volumes state one orientation in their sform" in doubt
    assert "(b)" in doubt


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
