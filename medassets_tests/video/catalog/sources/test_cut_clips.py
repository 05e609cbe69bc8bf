"""Source `clips`: each clip is a file of its own."""

import json
from pathlib import Path
from typing import Any

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

    def test_a_clip_is_its_whole_file_wherever_it_was_cut(self, tmp_path: Path) -> None:
        columns = make_columns(1_000, 50_000, 60_000)
        self.open(tmp_path).place_clips(columns)
        assert columns.from_ms.to_pylist() == [0]
        assert columns.to_ms.to_pylist() == [None]
        assert columns.excluded.to_pylist() == [None]
