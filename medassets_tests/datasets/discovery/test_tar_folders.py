from pathlib import Path

import pytest

from medassets.datasets.discovery.census import Clock, take_census
from medassets.datasets.discovery.declaration import check_proposal
from medassets.datasets.discovery.proposal import Hints, Proposal
from medassets.datasets.discovery.tar_folders import propose_pattern, propose_tars
from medassets.errors import UsageError
from medassets_tests.cli.pairs import Sample, make_raw, write_tars


def write(folder: Path, num: int = 4, **changes: object) -> None:
    samples: list[Sample] = [make_raw(number) for number in range(num)]
    for sample in samples:
        sample["json"] = {k: v for k, v in {**sample["json"], **changes}.items() if v is not None}
    write_tars(folder, samples)


def look(folder: Path, **hints: str) -> Proposal:
    proposal = propose_tars(take_census(folder), Hints(**hints), Clock(600))  # pyright: ignore[reportArgumentType]
    check_proposal(proposal, "raw")
    return proposal


def test_raw_tars_with_rescaling_and_spacing_are_preprocessed(tmp_path: Path) -> None:
    write(tmp_path)
    proposal = look(tmp_path)
    assert proposal.fields == {
        "source": "webdataset",
        "folder": str(tmp_path),
        "shards": "*.tar",
        "splits": ["train"],
        "hu_rule": "table",
        "preprocessing": "ct_clip",
    }
    assert "volume: .bin, labels: .labels, text: .txt, json: .json" in proposal.facts[0]


def test_folders_of_splits_become_a_pattern(tmp_path: Path) -> None:
    write(tmp_path / "raw" / "train")
    write(tmp_path / "raw" / "valid")
    fields = look(tmp_path).fields
    assert (fields["shards"], fields["splits"]) == ("raw/{split}/*.tar", ["train", "valid"])


def test_a_pattern_keeps_its_braces_and_names_what_is_missing(tmp_path: Path) -> None:
    write(tmp_path / "train")
    write(tmp_path / "valid")
    pattern = f"{tmp_path}/{{train,valid}}/raw-{{000000..000001}}.tar"
    fields = propose_pattern(pattern, Hints(), Clock(600)).fields
    assert fields["shards"] == f"{tmp_path}/{{split}}/raw-{{000000..000001}}.tar"
    assert fields["splits"] == ["train", "valid"]
    with pytest.raises(UsageError, match="2 of 6 tars do not exist"):
        propose_pattern(pattern.replace("1}", "2}"), Hints(), Clock(600))


def test_without_rescaling_it_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path, RescaleSlope=None, RescaleIntercept=None)
    with pytest.raises(UsageError, match="no json states RescaleSlope"):
        look(tmp_path)
    assert look(tmp_path, hu_rule="none").fields["hu_rule"] == "none"


def test_without_spacing_values_are_kept(tmp_path: Path) -> None:
    write(tmp_path, XYSpacing=None, ZSpacing=None)
    assert look(tmp_path).fields["preprocessing"] == "none"


def test_our_own_shards_are_no_source(tmp_path: Path) -> None:
    write(tmp_path, fingerprint="0" * 64)
    with pytest.raises(UsageError, match="medassets has preprocessed"):
        look(tmp_path)


def test_tars_of_something_else_say_what_is_in_them(tmp_path: Path) -> None:
    write_tars(tmp_path, [{"__key__": "a", "jpg": b"x", "cls": b"1"}])
    with pytest.raises(UsageError, match=r"samples have \.cls, \.jpg; expected a volume"):
        look(tmp_path)


def test_a_damaged_tar_beside_good_ones_is_a_doubt(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "raw-000001.tar").write_bytes(b"no tar" * 200)
    assert any("raw-000001.tar" in doubt for doubt in look(tmp_path).doubts)


def test_a_table_beside_tars_has_no_effect(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "labels.xlsx").touch()
    assert any("no effect on tars" in doubt for doubt in look(tmp_path).doubts)
