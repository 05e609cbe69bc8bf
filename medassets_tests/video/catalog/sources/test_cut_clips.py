"""Source `clips`: each clip is a file of its own."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa

from medassets.video.catalog.sources.cut_clips import make_records
from medassets_tests.shelf import pair
from medassets_tests.video.catalog.sources.contract import VideoSourceContract, make_columns


class TestCutClips(VideoSourceContract):
    def fields(self, folder: Path) -> dict[str, Any]:
        return {
            "source": "clips",
            "clips_dir": str(folder / "clips"),
            "pairs_json": str(folder / "pairs.json"),
        }

    def test_clips_are_named_by_their_paths(self, tmp_path: Path) -> None:
        source, columns = self.open(tmp_path), make_columns(10_000, 1_000, 2_000)
        names = source.file_names(columns).to_pylist()
        matching = source.match(names, ["a.mp4", "b.mp4"], source.read_info())
        assert names == ["b.mp4"]
        assert matching.matches["b.mp4"].path == "b.mp4"

    def test_records_are_the_pairs(self, tmp_path: Path) -> None:
        (tmp_path / "pairs.json").write_text(json.dumps([pair("b.mp4", vid="a", end=5)]))
        (row,) = self.open(tmp_path).read_records().to_pylist()
        assert (row["vid"], row["clip_path"], row["end_ms"]) == ("a", "b.mp4", 5_000)

    def test_without_records_every_video_is_one_clip_without_text(self, tmp_path: Path) -> None:
        for name in ("clips/a b.mp4", "clips/x/a_b.mp4", "clips/x a_b.mp4", "clips/ü.mp4"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        source = self.open(tmp_path, pairs_json="")
        source.check()
        rows = source.read_records().to_pylist()
        assert [row["clip_path"] for row in rows] == ["a b.mp4", "x a_b.mp4", "x/a_b.mp4", "ü.mp4"]
        vids = [row["vid"] for row in rows]
        assert vids[0] == "a_b"
        assert len(set(vids)) == 4
        assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,80}", vid) for vid in vids)
        assert {(row["begin_ms"], row["end_ms"], row["transcript"]) for row in rows} == {
            (0, None, "")
        }

    def test_the_end_of_a_file_without_record_is_its_duration(self, tmp_path: Path) -> None:
        columns = make_columns(0, 0, 2_500)
        columns.duration_ms = pa.array([2_500])
        self.open(tmp_path, pairs_json="").place_clips(columns)
        assert columns.end_ms.to_pylist() == [2_500]

    def test_a_name_that_is_not_utf_8_is_left_out(self) -> None:
        (row,) = make_records(["a\udcff.mp4"]).to_pylist()
        assert (row["excluded"], row["vid"]) == ("bad_name", None)

    def test_a_clip_is_its_whole_file_wherever_it_was_cut(self, tmp_path: Path) -> None:
        columns = make_columns(1_000, 50_000, 60_000)
        self.open(tmp_path).place_clips(columns)
        assert columns.from_ms.to_pylist() == [0]
        assert columns.to_ms.to_pylist() == [None]
        assert columns.excluded.to_pylist() == [None]
