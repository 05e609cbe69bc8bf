from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Medassets = Callable[..., Any]


def test_each_dataset_has_one_line(medassets: Medassets, lungs: Callable[..., Path]) -> None:
    for command in ("status", "list"):
        ran = medassets(command)
        assert ran.code == 0
        assert "lungs" in ran.out
        assert ran.out.count("not planned yet") == 6
    document = medassets("status", "--json").document
    names = [line["name"] for line in document["datasets"]]
    assert names == ["clip4mc", "ct_rate", "demo_ct", "demo_video", "demo_windows", "lungs"]


def test_counts_are_those_of_the_account(medassets: Medassets, built: Path) -> None:
    lines = {line["name"]: line for line in medassets("list", "--json").document["datasets"]}
    account = medassets("status", "lungs", "--json").document["account"]
    assert lines["lungs"]["items"] == account["items"]
    assert (lines["lungs"]["done"], lines["lungs"]["left"]) == (account["done"], 0)
    (built / "train" / "shard-000000.tar").unlink()
    lines = {line["name"]: line for line in medassets("list", "--json").document["datasets"]}
    assert lines["lungs"]["left"] == 4


def test_what_is_broken_is_named_and_fails(
    medassets: Medassets, lungs: Callable[..., Path], built: Path
) -> None:
    (built / "catalog.parquet").write_bytes(b"no table")
    ran = medassets("list", "--json")
    assert ran.code == 1
    (line,) = (one for one in ran.document["datasets"] if one["name"] == "lungs")
    assert "catalog" in line["problem"]
    lungs(seed="many")
    ran = medassets("list", "--json")
    assert ran.code == 1
    assert any("seed" in problem for problem in ran.document["problems"])


def test_options_about_one_dataset_ask_for_it(medassets: Medassets) -> None:
    for option in (["--watch"], ["--split", "train"], ["--list", "done"], ["--stage", "shards"]):
        ran = medassets("status", *option)
        assert ran.code == 2
        assert "is about one dataset; name it" in ran.err


def test_each_dataset_has_one_line_in_a_narrow_pipe(
    medassets: Medassets, lungs: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    for command in ("status", "list"):
        lines = [line for line in medassets(command).out.splitlines() if "│" in line]
        assert len(lines) == 6
        assert all(line.rstrip(" │").endswith("not planned yet") for line in lines)
