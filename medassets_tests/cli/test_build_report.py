"""What a build says it did, in lines and as one JSON document."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets.cli.build_report import BuildReport, tell_report
from medassets.cli.console import Output
from medassets.cli.selection import BuildOptions
from medassets.datasets.survey import Survey
from medassets.testing.ct_rate import make_ct_rate_repository
from medassets.volumes.summaries import Outlier
from medassets_tests.bad_volumes import BAD_VOLUMES, pick_bad_volumes
from medassets_tests.cli.building import digests

pytestmark = pytest.mark.slow

Medassets = Callable[..., Any]
Declare = Callable[..., Path]


def test_a_second_build_keeps_everything_as_one_json_document(
    medassets: Medassets, built: Path
) -> None:
    before = digests(built)
    ran = medassets("build", "lungs", "--json")
    assert ran.code == 0
    assert ran.err == ""
    document = ran.document
    assert document.pop("seconds") > 0
    account = document.pop("account")
    assert document.pop("accounts") == {"shards": account}
    assert {name: account[name] for name in ("items", "done", "excluded", "left")} == {
        "items": 18,
        "done": 14,
        "excluded": 4,
        "left": 0,
    }
    assert document.pop("survey") == medassets("status", "lungs", "--json").document["survey"]
    assert document == {
        "dataset": "lungs",
        "stages": ["shards"],
        "built": [],
        "recorded": [],
        "failed": {},
        "kept": 4,
        "left": 0,
        "held": 0,
        "excluded": {"no_chest": 2, "spacing_missing": 2},
        "table_problems": {"count": 0, "first": []},
        "num_samples": 0,
        "rejected": {},
        "num_bytes": 0,
        "fetched_bytes": 0,
        "interrupted": False,
        "manifests_kept": [],
    }
    assert digests(built) == before


@pytest.mark.parametrize("as_json", [False, True])
def test_doubts_are_said_once(capsys: pytest.CaptureFixture[str], *, as_json: bool) -> None:
    outlier = Outlier("b", "air_share", 0.9, 0.5)
    survey = Survey(outliers=(outlier,), problems=("a mix",), doubts=("a state nothing",))
    report = BuildReport("lungs", survey=survey)
    tell_report(Output(as_json), report, BuildOptions(), 0)
    out = capsys.readouterr().out
    if as_json:
        assert json.loads(out)["survey"] == json.loads(json.dumps(survey.as_dict()))
        return
    assert (
        out.count("  a state nothing\n")
        == out.count(f"  differs from the others: {outlier}\n")
        == 1
    )
    # The manifest that was not written has told the problem.
    assert "a mix" not in out


def test_rejected_samples_are_counted_by_reason(
    medassets: Medassets, tmp_path: Path, declare: Declare
) -> None:
    faults = sorted(name for name, bad in BAD_VOLUMES.items() if bad.reason)[:2]
    repository = make_ct_rate_repository(
        tmp_path / "some",
        num_patients=1,
        splits=("train",),
        special_volumes=pick_bad_volumes(*faults),
    )
    changes = {
        "splits": ["train"],
        "max_rejected_share": 1.0,
        "max_excluded_share": 1.0,
        "samples_per_shard": 8,
    }
    declare("some", source="folder", folder=str(repository.folder), **changes)
    ran = medassets("build", "some")
    assert ran.code == 0
    assert "  rejected: 2 samples (" in ran.out
    assert f"{BAD_VOLUMES[faults[0]].reason} " in ran.out
    for name in faults:
        assert f"  rejected, {BAD_VOLUMES[name].reason}: " in ran.out
    assert "`medassets status some --list rejected` lists all" in ran.out
    told = medassets("status", "some")
    assert told.out.splitlines()[0] == ran.out.splitlines()[0]
    document = medassets("status", "some", "--list", "rejected", "--json").document
    verified = medassets("verify", "some", "--json").document
    assert (document["account"], document["survey"]) == (verified["account"], verified["survey"])
    assert document["account"]["rejected"] == 2
    assert {item["reason"] for item in document["listed"]} == {
        str(BAD_VOLUMES[name].reason) for name in faults
    }
    listed = medassets("status", "some", "--list", "rejected").out.splitlines()[-2:]
    assert [line.partition(" ")[0] for line in listed] == [
        item["key"] for item in document["listed"]
    ]
