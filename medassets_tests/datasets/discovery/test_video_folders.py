import json
from pathlib import Path

import pytest

from medassets.datasets.discovery.census import Clock, take_census
from medassets.datasets.discovery.declaration import check_proposal
from medassets.datasets.discovery.proposal import Hints, Proposal
from medassets.datasets.discovery.video_folders import look_at_records, propose_videos
from medassets.errors import UsageError

META = {"vid": "a", "transcript clip": "t", "begin position": 0, "end position": 1, "size": [1]}
PAIR = {"vid": "a", "clip_path": "clips/a.mp4", "transcript": "t", "begin_time": 0, "end_time": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").touch()
    (tmp_path / "metadata.json").write_text(json.dumps([META]))
    return tmp_path


def look(folder: Path, **hints: str) -> Proposal:
    proposal = propose_videos(take_census(folder), Hints(**hints), Clock(600))  # pyright: ignore[reportArgumentType]
    check_proposal(proposal, "films")
    return proposal


def test_a_clip4mc_folder_has_videos_info_and_metadata(folder: Path) -> None:
    (folder / "info.csv").write_text("url,filename\nhttps://youtu.be/abcdefghijk,a\n")
    (folder / "other.csv").write_text("a,b\n1,2\n")
    fields = look(folder).fields
    assert fields["source"] == "videos"
    assert fields["videos_dir"] == str(folder / "videos")
    assert fields["info_csv"] == str(folder / "info.csv")
    assert fields["metadata"] == str(folder / "metadata.json")


def test_pairs_make_clips(folder: Path) -> None:
    (folder / "metadata.json").unlink()
    (folder / "pairs.jsonl").write_text(json.dumps(PAIR) + "\n")
    fields = look(folder).fields
    assert fields["source"] == "clips"
    assert fields["pairs_json"] == str(folder / "pairs.jsonl")


def test_two_files_of_records_are_asked_for(folder: Path) -> None:
    (folder / "pairs.json").write_text(json.dumps([PAIR]))
    with pytest.raises(UsageError, match="several files of records"):
        look(folder)
    named = look(folder, pairs_json=str(folder / "pairs.json"))
    assert named.fields["clips_dir"] == str(folder)


def test_videos_without_records_are_clips_without_text(folder: Path) -> None:
    (folder / "metadata.json").unlink()
    (folder / "notes.csv").write_text("a,b\n")
    proposal = look(folder)
    assert proposal.fields["source"] == "clips"
    assert proposal.fields["clips_dir"] == str(folder)
    assert "pairs_json" not in proposal.fields
    assert "every video is one clip without text" in proposal.doubts[0]
    assert proposal.doubts[1] == "not used: notes.csv"


def test_records_that_cannot_be_read_are_named(folder: Path) -> None:
    (folder / "metadata.json").write_text("{")
    with pytest.raises(UsageError, match=r"metadata\.json"):
        look(folder)
    with pytest.raises(UsageError, match=r"--metadata"):
        look(folder, metadata=str(folder / "nothing.json"))


def test_records_are_known_by_their_fields(folder: Path) -> None:
    found = look_at_records(folder / "metadata.json")
    assert (found.kind, found.num_sizes) == ("metadata", 1)
    (folder / "other.json").write_text('[{"name": 1}]')
    assert look_at_records(folder / "other.json").kind == ""


@pytest.mark.parametrize(
    ("old", "new", "near"),
    [
        ("begin position", "begin_time", "begin_time"),
        ("end position", "stop", ""),
        ("vid", "id", ""),
    ],
)
def test_a_field_that_records_lack_is_named_with_the_nearest(
    folder: Path, old: str, new: str, near: str
) -> None:
    record = {new if name == old else name: value for name, value in META.items()}
    (folder / "metadata.json").write_text(json.dumps([record, record]))
    (doubt,) = [d for d in look(folder).doubts if "metadata.json: " in d]
    assert f"2 of the first 2 records have no field {old!r}" in doubt
    assert (f"the nearest is {near!r}: rename it to {old!r}" in doubt) == bool(near)
    named = look(folder, metadata=str(folder / "metadata.json"))
    assert named.fields["source"] == "videos"
    assert doubt in named.doubts


def test_tables_that_name_no_video_say_why(folder: Path) -> None:
    (folder / "info.csv").write_text("link,file\nhttps://example.org/1,a\n")
    (folder / "names.xlsx").write_bytes(b"a sheet")
    first, second = look(folder).doubts
    assert "info.csv is not used: row 1: " in first
    assert "no other row has the URL of a YouTube video" in first
    assert "name it with --info-csv" in first
    assert "names of videos are in a CSV" in second
    (folder / "metadata.json").unlink()
    (folder / "pairs.json").write_text(json.dumps([PAIR]))
    assert any("a table has no effect on clips" in doubt for doubt in look(folder).doubts)
