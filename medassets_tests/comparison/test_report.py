"""A report counts every sample of both datasets and every problem of their tars."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.comparison.report import PairReport, iter_comparisons, open_report
from medassets.comparison.samples import CompareSettings
from medassets.errors import ShardIntegrityError
from medassets_tests.small_shards import pack_tar

SHAPE = (3, 4, 5)


def _make_member(study: str, dtype: str, *, add: int = 0) -> dict[str, bytes]:
    values = (np.arange(60) + len(study) + add).reshape(SHAPE).astype(dtype)
    facts: dict[str, Any] = {"study_id": study, "shape": list(SHAPE), "dtype": dtype}
    facts |= {"preprocessing": "none"} if dtype == "float16" else {}
    return {"bin": values.tobytes(), "json": json.dumps(facts).encode()}


def _open(folder: Path, made: dict[str, int], *, originals: str = "abc") -> PairReport:
    """Return the report of originals and of samples whose values are off by a number."""
    before = {f"o{study}": _make_member(study, "int16") for study in originals}
    after = {f"p{study}": _make_member(study, "float16", add=add) for study, add in made.items()}
    pack_tar(folder / "before.tar", before)
    pack_tar(folder / "after.tar", after)
    names = str(folder / "before.tar"), str(folder / "after.tar")
    return open_report(*names, num_samples=None, seed=0)


def _compare(report: PairReport) -> list[bool]:
    found = iter_comparisons(report, CompareSettings(), num_workers=2)
    return [not comparison.differences for comparison in found]


def test_equal_datasets_are_whole(tmp_path: Path) -> None:
    report = _open(tmp_path, dict.fromkeys("abc", 0))
    assert _compare(report) == [True, True, True]
    assert report.is_whole
    assert list(report.findings()) == []
    assert (report.num_passed, report.num_failed) == (3, 0)
    assert (report.values.num_values, report.values.num_differing) == (180, 0)


def test_a_wrong_sample_is_counted_and_its_values_are_summed(tmp_path: Path) -> None:
    report = _open(tmp_path, {"a": 0, "b": 2, "c": 0})
    assert _compare(report) == [True, False, True]
    document = report.as_dict()
    assert [document[name] for name in ("ok", "compared", "passed", "failed")] == [False, 3, 2, 1]
    assert document["share_differing"] == 60 / 180
    assert (document["max_difference"], document["mean_difference"]) == (2, 120 / 180)
    assert [sample["ok"] for sample in document["samples"]] == [True, False, True]


def test_missing_and_extra_studies_are_listed_and_not_compared(tmp_path: Path) -> None:
    report = _open(tmp_path, {"a": 0, "z": 0}, originals="ab")
    assert _compare(report) == [True]
    assert not report.is_whole
    assert list(report.findings()) == [
        f"missing: b ({tmp_path}/before.tar: ob) is in no preprocessed tar",
        f"extra: z ({tmp_path}/after.tar: pz) is in no original tar",
    ]


def test_a_damaged_tar_qualifies_what_is_missing(tmp_path: Path) -> None:
    _open(tmp_path, dict.fromkeys("abc", 0))
    path = tmp_path / "after.tar"
    path.write_bytes(path.read_bytes()[:2000])
    names = str(tmp_path / "before.tar"), str(path)
    report = open_report(*names, num_samples=None, seed=0)
    assert not report.is_whole
    damage, *others = report.findings()
    assert damage.startswith(f"{path}: ")
    assert others
    assert all(o.endswith("that can be read; 1 preprocessed tars are damaged") for o in others)


def test_a_pattern_without_tars_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShardIntegrityError, match=r"none-\*\.tar"):
        open_report(f"{tmp_path}/none-*.tar", f"{tmp_path}/none-*.tar", num_samples=None, seed=0)
