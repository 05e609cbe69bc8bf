"""A folder of videos with its tables, for tests of the catalog."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from medassets.errors import SampleRejectedError
from medassets.specs import VideoClipDatasetSpec
from medassets.video.catalog.rows import read_video_rows
from medassets.video.catalog.sources.registry import open_video_source
from medassets.video.facts import VideoFacts

FACTS = VideoFacts(
    codec="h264", pixel_format="yuv420p", width=640, height=360, rotation=90, mirrored=False,
    duration_ms=60_000, fps=25.0, has_audio=True,
)  # fmt: skip

Answer = VideoFacts | SampleRejectedError


@dataclass
class Shelf:
    """A folder of videos with its tables, and a probe that tells what was asked of it."""

    folder: Path
    answers: dict[str, Answer] = field(default_factory=dict)
    probed: list[list[str]] = field(default_factory=list)

    def put(self, *names: str) -> None:
        """Put files into the folder; one byte more each time."""
        for name in names:
            path = self.folder / "videos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((path.read_bytes() if path.exists() else b"") + b"x")

    def write(self, records: list[Any], **tables: str) -> None:
        """Write the metadata, a record per line, and other tables."""
        for name in ("metadata", "pairs"):
            text = "\n".join(json.dumps(record) for record in records)
            (self.folder / f"{name}.json").write_text(text or "[]")
        for name, content in tables.items():
            (self.folder / f"{name}.csv").write_text(content, encoding="utf-8")

    def probe(self, files: Mapping[str, Path]) -> dict[str, Answer]:
        """Answer as told, or with `FACTS`."""
        self.probed.append(list(files))
        for path, place in files.items():
            assert place == self.folder / "videos" / path
            assert place.is_file()
        return {path: self.answers.get(path, FACTS) for path in files}

    def read(
        self, *, previous: pa.Table | None = None, mode: str = "random", seed: int = 0, **spec: Any
    ) -> pa.Table:
        """Read the rows."""
        paths = {
            "videos_dir": str(self.folder / "videos"),
            "clips_dir": str(self.folder / "videos"),
            "metadata": str(self.folder / "metadata.json"),
            "pairs_json": str(self.folder / "pairs.json"),
            "info_csv": str(self.folder / "info.csv")
            if (self.folder / "info.csv").exists()
            else "",
        }
        return read_video_rows(
            open_video_source(VideoClipDatasetSpec(name="test_video", **{**paths, **spec})),
            previous=previous,
            split_mode=mode,
            seed=seed,
            probe_all=self.probe,
        )

    def by_row(self, **arguments: Any) -> dict[int, dict[str, Any]]:
        """Read the rows, by their number."""
        rows = self.read(**arguments).to_pylist()
        found = {row["row"]: row for row in rows}
        assert len(found) == len(rows)
        return found


def clip(vid: str, begin: Any = 1, end: Any = 2, text: str = "dig", **more: Any) -> dict[str, Any]:
    """Return one record."""
    positions = {"begin position": begin, "end position": end}
    return {"vid": vid, "transcript clip": text, **positions, **more}


def pair(path: str, vid: str = "aaaaaaaaaaa", begin: float = 3, end: float = 5) -> dict[str, Any]:
    """Return one record of `text_video_pairs.json`."""
    times = {"begin_time": begin, "end_time": end, "duration": end - begin}
    return {"vid": vid, "clip_path": path, "transcript": "dig", **times, "size": [1.0]}
