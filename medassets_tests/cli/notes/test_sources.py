"""What the catalog leaves out reaches whoever builds: counts, rows, reasons, remedies."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets.cli.notes.sources import TableProblems, explain_demo, list_labels
from medassets.testing.clip4mc import SyntheticVideos
from medassets.testing.npz_tree import make_npz_tree
from medassets_tests.npz_source import write_declaration

pytestmark = pytest.mark.slow

Medassets = Callable[..., Any]
Declare = Callable[..., None]


def test_a_build_ends_with_what_the_catalog_left_out(
    medassets: Medassets, films: SyntheticVideos, declare_films: Declare
) -> None:
    declare_films()
    ran = medassets("build", "films")
    assert ran.code == 0
    reasons = "bad_position 1, empty_text 1, missing_source 1, null_position 1"
    assert f" + 4 excluded ({reasons}) + " in ran.out.splitlines()[0]
    for command in ("plan", "status"):
        assert f" + 4 excluded ({reasons}) + " in medassets(command, "films").out.splitlines()[0]
    document = medassets("build", "films", "--json").document
    assert sum(document["excluded"].values()) == len(films.reasons)
    assert "error" not in document


def test_videos_behind_links_end_a_build_that_says_so(
    medassets: Medassets, films: SyntheticVideos, declare_films: Declare, tmp_path: Path
) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    for video in films.videos_dir.iterdir():
        (linked / video.name).symlink_to(video)
    declare_films(videos_dir=str(linked))
    ran = medassets("build", "films")
    assert ran.code == 1
    lines = ran.err.splitlines()
    assert "films: nothing to build: 16 rows, and none is planned" in lines
    # Of 13 rows 12 have a link, and one a video that was never downloaded.
    after = lines.index(
        "  13 missing_source: put the files into the folder, leave their rows out, or name "
        "videos in info.csv"
    )
    assert "its file is a link out of the folder, which is not followed: " in lines[after + 1]
    ran = medassets("build", "films", "--json")
    assert (ran.code, ran.document["exit_code"]) == (1, 1)
    assert ran.document["error"].startswith("films: nothing to build: 16 rows")
    planned = medassets("plan", "films")
    assert planned.code == 1
    assert "films: nothing to build: 16 rows" in planned.err
    assert "films: nothing to build: 16 rows" in medassets("status", "films").out


def test_metadata_without_a_record_are_nothing_to_build(
    medassets: Medassets, declare_films: Declare, tmp_path: Path
) -> None:
    (tmp_path / "empty.json").write_text("[]")
    declare_films(metadata=str(tmp_path / "empty.json"))
    ran = medassets("build", "films")
    assert ran.code == 1
    assert "films: nothing to build: the tables of file:" in ran.err
    assert "hold no row; is that the right place?" in ran.err


def test_a_limit_of_a_split_without_samples_is_told(
    medassets: Medassets, declare_films: Declare
) -> None:
    declare_films()
    ran = medassets("build", "films", "--limit", "3", "--split", "val")
    assert ran.code == 1
    assert "  12 held: build without --limit, or without --split" in ran.err
    assert medassets("build", "films").code == 0


def test_rows_of_info_csv_that_cannot_be_used_are_counted_and_shown(
    medassets: Medassets, films: SyntheticVideos, declare_films: Declare, tmp_path: Path
) -> None:
    info = tmp_path / "info.csv"
    bad = [f"https://youtu.be/{letter * 11},a, b.mp4" for letter in "xyz"]
    info.write_text(films.info_csv.read_text("utf-8-sig") + "\n".join(["rubbish", *bad]))
    declare_films(info_csv=str(info))
    expected = [
        "  info.csv: 4 rows cannot be used",
        "    row 5: expected 2 cells, got 1; put a name that contains a comma in quotes",
        "    row 6: expected 2 cells, got 3; put a name that contains a comma in quotes",
        "    row 7: expected 2 cells, got 3; put a name that contains a comma in quotes",
        "    and 1 more (--json lists the first 4)",
    ]
    for command in ("plan", "build", "status"):
        lines = medassets(command, "films").out.splitlines()
        start = lines.index(expected[0])
        assert lines[start : start + 5] == expected
        document = medassets(command, "films", "--json").document
        assert document["table_problems"]["count"] == 4
        assert document["table_problems"]["first"][3].startswith("row 8: expected 2 cells")
    info.write_text(films.info_csv.read_text("utf-8-sig"))
    for command in ("plan", "build", "status"):
        assert medassets(command, "films", "--json").document["table_problems"] == {
            "count": 0,
            "first": [],
        }


def test_an_empty_tree_of_arrays_is_told_what_helps(
    medassets: Medassets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = make_npz_tree(tmp_path / "source", num_volumes=4, depth=1, shape=(5, 6, 7))
    for study in tree.paths:
        tree.place(study).unlink()
    os.mkfifo(tree.place("train_1_a_1"))
    write_declaration(tmp_path / "declared", {"name": "tiny", **tree.fields()})
    monkeypatch.setenv("MEDASSETS_DEFS", str(tmp_path / "declared"))
    ran = medassets("build", "tiny")
    assert ran.code == 1
    lines = ran.err.splitlines()
    assert (
        "  3 missing_source: put the files into the folder, leave their rows out, or name videos "
        "in info.csv"
    ) in lines
    after = lines.index(
        "  1 unreadable_source: make the file readable, or remove what is not a regular file"
    )
    assert lines[after + 1] == "    such as: npz/train_1_a_1.npz: not a regular file"


def test_labels_are_listed_with_their_values() -> None:
    lines = list_labels({"label_values": {"A": "0 x 2, 1 x 1", "B": "1 x 3"}})
    assert lines[1:] == ["  A: 0 x 2, 1 x 1", "  B: 1 x 3"]
    assert lines[0].startswith("labels: 2, ")
    assert list_labels({"npz_trees": {}}) == []


def test_doubtful_labels_are_listed() -> None:
    problems = TableProblems(doubts=["A has values beyond 0 and 1"])
    assert problems.lines() == ["  labels: A has values beyond 0 and 1"]
    assert problems.as_dict()["label_doubts"] == ["A has values beyond 0 and 1"]
    assert TableProblems().as_dict() == {"count": 0, "first": []}


def test_a_demo_that_is_not_served_says_how() -> None:
    message = "revision main of dataset medassets/demo-ct: given up after 3 failures in a row"
    assert "medassets demo demo_ct --serve" in explain_demo(message)
    assert explain_demo(message.replace("demo-ct", "other")) == ""
