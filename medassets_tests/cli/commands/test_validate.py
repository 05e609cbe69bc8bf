"""`medassets validate`: file, line and field of every mistake; the good ones work on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Medassets = Callable[..., Any]
Declare = Callable[..., Path]


def test_what_is_declared_well_is_listed(medassets: Medassets, lungs: Declare) -> None:
    ran = medassets("validate")
    assert (ran.code, ran.err) == (0, "")
    assert [line.split()[:2] for line in ran.out.splitlines()] == [
        ["ok", "clip4mc"],
        ["ok", "ct_rate"],
        ["ok", "demo_ct"],
        ["ok", "demo_video"],
        ["ok", "demo_windows"],
        ["ok", "lungs"],
    ]
    document = medassets("validate", "--json").document
    assert document == {
        "datasets": ["clip4mc", "ct_rate", "demo_ct", "demo_video", "demo_windows", "lungs"],
        "problems": [],
    }


@pytest.mark.parametrize(
    ("changes", "field", "what"),
    [
        ({"shard_sise": 4}, "shard_sise", "no such field"),
        ({"samples_per_shard": "many"}, "samples_per_shard", ""),
        ({"hu_rule": "twice"}, "hu_rule", "expected one of none, table, header, got 'twice'"),
        ({"source": "folder", "folder": ""}, "folder", "needs the path"),
    ],
)
def test_a_mistake_is_named_by_file_line_and_field_and_others_still_build(
    medassets: Medassets, lungs: Declare, declare: Declare, changes: dict, field: str, what: str
) -> None:
    file = declare("bad", **{"repo_id": "org/bad", **changes})
    line = next(i for i, s in enumerate(file.read_text().splitlines(), 1) if f"  {field}:" in s)
    ran = medassets("validate")
    assert ran.code == 1
    assert ran.err.startswith(f"{file}:{line}: {field}: ")
    assert what in ran.err
    assert "ok  lungs" in ran.out
    (problem,) = medassets("validate", "--json").document["problems"]
    assert (problem["file"], problem["line"], problem["field"]) == (str(file), line, field)
    broken = medassets("status", "bad")
    assert broken.code == 2
    assert f"{file}:{line}: {field}: " in broken.err
    assert medassets("plan", "lungs", "--json").document["rows"] == 18


@pytest.mark.slow
def test_broken_yaml_and_a_missing_folder_are_problems(
    medassets: Medassets,
    lungs: Declare,
    declare: Declare,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    file = declare("bad", repo_id="org/bad")
    file.write_text("type: [\n")
    monkeypatch.setenv("MEDASSETS_DEFS", f"{tmp_path / 'declared'}:{tmp_path / 'nowhere'}")
    ran = medassets("validate")
    assert ran.code == 1
    assert f"{file}:2: not valid YAML" in ran.err
    assert f"{tmp_path / 'nowhere'}: this folder of declarations does not exist" in ran.err
    assert medassets("build", "lungs", "--limit", "1").code == 0
