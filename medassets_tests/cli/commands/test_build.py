"""`medassets build` and `retry`: what is made, what is kept, and what is said of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets_tests.cli.building import digests

pytestmark = pytest.mark.slow

Medassets = Callable[..., Any]
Declare = Callable[..., Path]

ALL = [f"{split}-00000{i}" for split in ("train", "valid") for i in range(2)]


def test_a_build_makes_shards_and_manifest_and_tells_what_it_did(
    medassets: Medassets, lungs: Declare, home: Path
) -> None:
    ran = medassets("build", "lungs")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0] == (
        "lungs: 18 source items = 14 done + 0 rejected + 4 excluded (no_chest 2, spacing_missing 2) "
        "+ 0 held + 0 left"
    )
    assert lines[1].startswith("lungs: 4 shards built (14 samples, ")
    assert " 0 kept, in 0:00:" in lines[1]
    assert [line.partition(";")[0] for line in lines[2:]] == [
        "  excluded, no_chest: train_4_a_1, valid_4_a_1",
        "  excluded, spacing_missing: train_5_a_1, valid_5_a_1",
        "  `medassets status lungs --list excluded` lists all excluded",
    ]
    folder = home / "data" / "lungs"
    assert sorted(p.parent.name + "-" + p.stem[6:] for p in folder.rglob("*.tar")) == ALL
    assert json.loads((folder / "train" / "manifest.json").read_text())["total_samples"] == 7
    progress = ran.err.splitlines()
    assert progress[0] == "lungs: 4 of 14 samples  train-000000 built"
    assert len(progress) == 4


def test_without_a_catalog_no_refresh_says_what_to_do(medassets: Medassets, lungs: Declare) -> None:
    for arguments in (("build", "lungs", "--no-refresh"), ("retry", "lungs"), ("verify", "lungs")):
        ran = medassets(*arguments)
        assert ran.code == 1
        assert "there is no catalog yet; `medassets build lungs` makes it" in ran.err


def test_the_number_of_workers_changes_no_byte(
    medassets: Medassets, lungs: Declare, home: Path, built_home: Path
) -> None:
    assert medassets("build", "lungs", "--num-workers", "3").code == 0
    assert digests(home / "data") == digests(built_home / "data")
