import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from medassets.definitions import declaration_folders, load_declared
from medassets.testing.npz_tree import make_npz_tree
from medassets_tests.trees import make_tree

Medassets = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "My Scans", [f"case_{number}.nii.gz" for number in range(3)])


def test_init_writes_a_declaration_that_is_found_and_prints_the_next_command(
    medassets: Medassets, folder: Path, home: Path
) -> None:
    assert declaration_folders()[1:] == []
    ran = medassets("init", str(folder))
    assert ran.code == 0
    file = home / "defs" / "my_scans" / "defs.yaml"
    assert f"wrote {file}" in ran.out
    assert "medassets build my_scans" in ran.out
    assert len(file.read_text().splitlines()) <= 25
    assert load_declared().datasets["my_scans"].file == file
    assert load_declared().problems == ()


def test_init_never_replaces_a_declaration(medassets: Medassets, folder: Path, home: Path) -> None:
    assert medassets("init", str(folder)).code == 0
    file = home / "defs" / "my_scans" / "defs.yaml"
    before = file.read_bytes()
    ran = medassets("init", str(folder), "--yes")
    assert ran.code == 2
    assert "'my_scans' is already declared in" in ran.err
    assert "--name" in ran.err
    file.write_text("broken: [")
    assert medassets("init", str(folder), "--yes").code == 2
    assert file.read_text() == "broken: ["
    file.write_bytes(before)
    assert medassets("init", str(folder), "--name", "other").code == 0
    assert medassets("init", str(folder), "--name", "ct_rate").code == 2
    assert medassets("init", str(folder), "--name", "Bad Name").code == 2


def test_replaced_fields_of_an_earlier_dataset_are_not_taken_over(
    medassets: Medassets, folder: Path, home: Path
) -> None:
    file = home / "defs" / "my_scans" / "set.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("hu_rule: none\n")
    ran = medassets("init", str(folder))
    assert ran.code == 2
    assert f"{file} holds fields of an earlier dataset" in ran.err
    file.unlink()
    assert medassets("init", str(folder)).code == 0


def test_doubts_are_written_only_with_yes_where_no_user_can_answer(
    medassets: Medassets, folder: Path, home: Path
) -> None:
    (folder / "broken.nii.gz").write_bytes(b"no volume")
    ran = medassets("init", str(folder))
    assert ran.code == 1
    assert "broken.nii.gz" in ran.err
    assert "accept what is not certain with --yes" in ran.err
    assert not (home / "defs").exists()
    ran = medassets("init", str(folder), "--yes", "--json")
    assert ran.code == 0
    assert ran.document["written"]
    assert "# To check: 1 of 4 files cannot be read" in ran.document["yaml"]


def test_columns_and_table_of_the_user_are_declared(
    medassets: Medassets, folder: Path, tmp_path: Path
) -> None:
    table = tmp_path / "elsewhere.csv"
    table.write_text("id,grade,text\ncase_0,3,Words of it.\ncase_1,4,More words.\n")
    options = ["--columns", "labels=grade", "--columns", "report=text", "--hu-rule", "none"]
    ran = medassets("init", str(folder), "--table", str(table), *options, "--json", "--yes")
    assert ran.code == 0, ran.err
    fields = ran.document["fields"]
    assert fields["table"] == str(table)
    assert fields["columns"] == {"file": "id", "labels": ["grade"], "report": ["text"]}
    assert fields["hu_rule"] == "none"
    assert medassets("init", str(folder), "--columns", "file").code == 2


def test_the_options_of_the_npz_script_name_its_files(
    medassets: Medassets, tmp_path: Path, home: Path
) -> None:
    tree = make_npz_tree(tmp_path / "npz_source")
    fields = tree.fields()
    named = {
        role: tree.folder / fields[role] for role in ("reports_file", "meta_file", "labels_file")
    }
    options = [f"--{role.replace('_', '-')}={path}" for role, path in named.items()]
    ran = medassets("init", f"--data-folder={tree.folder / 'npz'}", *options, "--name", "scans")
    assert ran.code == 0, ran.err
    document = yaml.safe_load((home / "defs/scans/defs.yaml").read_text())["attributes"]
    assert {role: document[role] for role in named} == {r: str(p) for r, p in named.items()}
    assert document["folder"] == str(tree.folder / "npz")


def test_the_options_of_the_video_pipeline_name_its_files(
    medassets: Medassets, tmp_path: Path
) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "a_0_1.mp4").touch()
    record = {"vid": "a", "transcript": "t", "begin": 0, "end": 1, "clip_path": "clips/a_0_1.mp4"}
    (tmp_path / "records.json").write_text(json.dumps([record]))
    ran = medassets(
        "init", "--clips-dir", str(clips), "--pairs-json", str(tmp_path / "records.json"), "--json"
    )
    assert ran.document["fields"]["source"] == "clips"
    assert ran.document["fields"]["clips_dir"] == str(clips)
    ran = medassets(
        "init", "--videos-dir", str(clips), "--metadata", str(tmp_path / "records.json"),
        "--name", "films", "--json",
    )  # fmt: skip
    assert ran.document["fields"]["source"] == "videos"
    assert ran.document["fields"]["videos_dir"] == str(clips)


def test_init_takes_one_place(medassets: Medassets, folder: Path) -> None:
    for arguments in ([], [str(folder), "--clips-dir", str(folder)]):
        ran = medassets("init", *arguments)
        assert ran.code == 2
        assert "name one folder" in ran.err


def test_a_path_that_yaml_would_evaluate_is_refused(
    medassets: Medassets, tmp_path: Path, home: Path
) -> None:
    make_tree(tmp_path / "{{ env('HOME') }}", ["a.nii"])
    ran = medassets("init", str(tmp_path / "{{ env('HOME') }}"), "--name", "scans", "--yes")
    assert ran.code == 2
    assert "read as a template" in ran.err
    assert not (home / "defs").exists()
