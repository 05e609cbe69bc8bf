"""Source `videos`: clips are positions in whole videos."""

import json
from pathlib import Path
from typing import Any

from medassets_tests.video.catalog.sources.contract import VideoSourceContract, make_columns


class TestRawVideos(VideoSourceContract):
    def fields(self, folder: Path) -> dict[str, Any]:
        return {
            "videos_dir": str(folder / "videos"),
            "metadata": str(folder / "metadata.json"),
            "end_tolerance_ms": 500,
        }

    def test_videos_are_named_by_their_ids(self, tmp_path: Path) -> None:
        source, columns = self.open(tmp_path), make_columns(10_000, 1_000, 2_000)
        names = source.file_names(columns).to_pylist()
        matching = source.match(names, ["x/[a].mp4", "a.mkv"], source.read_info())
        assert names == ["a"]
        assert matching.matches["a"].path == "a.mkv"

    def test_records_are_those_of_the_metadata(self, tmp_path: Path) -> None:
        record = {"vid": "a", "transcript clip": "dig", "begin position": 1, "end position": 2.5}
        (tmp_path / "metadata.json").write_text(json.dumps([record]))
        (row,) = self.open(tmp_path).read_records().to_pylist()
        assert (row["vid"], row["begin_ms"], row["end_ms"]) == ("a", 1_000, 2_500)

    def test_names_of_info_csv_are_read(self, tmp_path: Path) -> None:
        table = tmp_path / "info.csv"
        table.write_text("url,filename\nhttps://youtu.be/aaaaaaaaaaa,My film.mp4\n")
        info = self.open(tmp_path, info_csv=str(table)).read_info()
        assert {vid: list(names) for vid, names in info.filenames.items()} == {
            "aaaaaaaaaaa": ["My film.mp4"]
        }

    def test_a_clip_may_end_after_its_video_by_the_tolerance_only(self, tmp_path: Path) -> None:
        for end_ms, reason in ((10_500, None), (10_501, "end_beyond_duration")):
            columns = make_columns(10_000, 1_000, end_ms)
            self.open(tmp_path).place_clips(columns)
            assert columns.from_ms.to_pylist() == [1_000]
            assert columns.to_ms.to_pylist() == [end_ms]
            assert columns.excluded.to_pylist() == [reason]

    def test_a_video_of_unknown_duration_excludes_no_clip(self, tmp_path: Path) -> None:
        columns = make_columns(None, 1_000, 2_000)
        self.open(tmp_path).place_clips(columns)
        assert columns.excluded.to_pylist() == [None]
