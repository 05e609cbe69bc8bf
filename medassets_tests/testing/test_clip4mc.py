"""The synthetic CLIP4MC folder holds what it says."""

import json
from pathlib import Path

from medassets.testing.clip4mc import make_clip4mc_folder


def read_all(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_same_seed_makes_the_same_folder(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    one, two = (make_clip4mc_folder(f, num_videos=3, num_frames=24, seed=5) for f in folders)
    assert (one.records, one.reasons) == (two.records, two.reasons)
    assert {n: d for n, d in read_all(folders[0]).items() if "videos" not in n} == {
        n: d for n, d in read_all(folders[1]).items() if "videos" not in n
    }
    assert sorted(read_all(folders[0])) == sorted(read_all(folders[1]))


def test_videos_are_named_in_the_three_ways_of_downloaders(tmp_path: Path) -> None:
    made = make_clip4mc_folder(tmp_path, num_videos=3, num_frames=24)
    names = [video.path.name for video in made.made.values()]
    by_id, by_table, by_title = names
    vids = list(made.made)
    assert f"[{vids[0]}]" in by_id
    assert vids[1].startswith("-")
    assert by_table in made.info_csv.read_text("utf-8-sig")
    assert by_title not in made.info_csv.read_text("utf-8-sig")
    assert json.loads(made.metadata.read_text("utf-8")) == list(made.records)
    assert next(made.records[i]["vid"] for i in made.reasons) == "gone0000000"
