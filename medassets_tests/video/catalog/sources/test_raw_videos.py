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

    def test_no_duration_that_a_header_states_excludes_a_clip(self, tmp_path: Path) -> None:
        for duration_ms in (None, 0, 1, 999, 10_000):
            columns = make_columns(duration_ms, 1_000, 20_000)
            self.open(tmp_path).place_clips(columns)
            assert columns.from_ms.to_pylist() == [1_000]
            assert columns.to_ms.to_pylist() == [20_000]
            assert columns.excluded.to_pylist() == [None]
