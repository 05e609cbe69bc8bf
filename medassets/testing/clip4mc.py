"""Small synthetic CLIP4MC folder: raw videos, `info.csv` and metadata, with difficult cases."""

import csv
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medassets.testing.videos import MadeVideo, VideoRecipe, make_video

_FPS = 20
_CODECS = ("libx264", "libx265", "libvpx-vp9", "mpeg4")
_WORDS = ("dig", "a", "tunnel", "to", "the", "village", "and", "craft", "an", "iron", "pickaxe")


@dataclass(frozen=True)
class SyntheticVideos:
    """Content of the folder.

    Attributes:
        folder: Top of it all.
        videos_dir: Folder of the videos.
        info_csv: Table `url,filename`.
        metadata: JSON array of the clips.
        records: Records of the metadata, valid and invalid.
        made: Video id to its file, for those that have one.
        reasons: Index of a record to the reason why it has no clip; the others have one.
    """

    folder: Path
    videos_dir: Path
    info_csv: Path
    metadata: Path
    records: tuple[dict[str, Any], ...]
    made: dict[str, MadeVideo]
    reasons: dict[int, str]


def make_clip4mc_folder(
    folder: Path, *, num_videos: int = 6, num_frames: int = 160, seed: int = 0
) -> SyntheticVideos:
    """Make `videos/`, `info.csv` and `metadata.json`.

    Every frame shows its own number (`medassets.testing.videos`). Some videos are found by the id
    in their name, some by `info.csv`, one by a title in full-width characters; one record has no
    video, one no position, one no text, one ends before it begins.

    Args:
        folder: Made where it is missing.
        num_videos: Videos, of different codecs; at least 3.
        num_frames: Frames of each, 20 a second.
        seed: Same seed, same folder.
    """
    chance = random.Random(seed)
    videos = folder / "videos"
    videos.mkdir(parents=True, exist_ok=True)
    made: dict[str, MadeVideo] = {}
    rows: list[tuple[str, str]] = []
    for index in range(num_videos):
        vid = _make_id(index, chance)
        title, name = _name_file(index, vid)
        rows.append((f"https://www.youtube.com/watch?v={vid}", title))
        recipe = VideoRecipe(
            codec=_CODECS[index % len(_CODECS)],
            num_frames=num_frames,
            fps=_FPS,
            gop_frames=2 * _FPS,
            is_variable=index % 3 == 1,
        )
        made[vid] = make_video(videos / name, recipe)
    records = [record for vid in made for record in _iter_clips(vid, num_frames, chance)]
    bad = _bad_records(next(iter(made)))
    reasons = {len(records) + index: reason for index, (reason, _) in enumerate(bad)}
    records += [record for _, record in bad]
    info, metadata = folder / "info.csv", folder / "metadata.json"
    with info.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([("url", "filename"), *rows])
    metadata.write_text(json.dumps(records, ensure_ascii=False, indent=1), encoding="utf-8")
    return SyntheticVideos(folder, videos, info, metadata, tuple(records), made, reasons)


def _make_id(index: int, chance: random.Random) -> str:
    letters = "".join(chance.choices("abcdefghijklmnopqrstuvwxyzABCDEFGH0123456789_-", k=9))
    # An id may begin with a hyphen, which looks like an option or a separator.
    return f"-{letters}{index}" if index == 1 else f"v{letters}{index}"


def _name_file(index: int, vid: str) -> tuple[str, str]:
    """Return the title in `info.csv` and the name of the file."""
    if index % 3 == 0:
        return f"Episode {index}", f"Episode {index} [{vid}].mp4"
    if index % 3 == 1:
        return f"Episode {index}.mp4", f"Episode {index}.mp4"
    # As downloaders write a title with characters that no file name may hold.
    return f"What? Episode {index} &amp; more | part: {index}", (
        f"What？ Episode {index} & more ｜ part： {index}.mp4"  # noqa: RUF001
    )


def _iter_clips(vid: str, num_frames: int, chance: random.Random) -> list[dict[str, Any]]:
    length_s = num_frames / _FPS
    clips: list[dict[str, Any]] = []
    for _ in range(4):
        begin = round(chance.uniform(0, length_s / 2), 2)
        end = round(begin + chance.uniform(1.0, length_s / 2 - 0.2), 2)
        text = " ".join(chance.choices(_WORDS, k=8))
        sizes = [round(chance.uniform(0, 1), 4) for _ in range(16)]
        clips.append(_record(vid, begin, end, text, sizes))
    return clips


def _record(vid: str, begin: Any, end: Any, text: str, size: Any) -> dict[str, Any]:
    return {
        "vid": vid,
        "transcript clip": text,
        "begin position": begin,
        "end position": end,
        "size": size,
    }


def _bad_records(vid: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        ("missing_source", _record("gone0000000", 0.0, 2.0, "never downloaded", [0.1])),
        ("null_position", _record(vid, None, None, "nobody knows when", [0.1])),
        ("empty_text", _record(vid, 0.0, 2.0, "  ", [0.1])),
        ("bad_position", _record(vid, 3.0, 1.0, "backwards", [0.1])),
    ]
