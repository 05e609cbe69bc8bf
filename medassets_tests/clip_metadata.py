"""Metadata of the size of CLIP4MC, and the names of its videos without a picture in them."""

import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

NUM_CLIPS = 1_300_000
"""Records of CLIP4MC's metadata, rounded."""
NUM_VIDEOS = 100_000
"""Videos that they are clips of, rounded."""

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_WORDS = [
    "so",
    "we",
    "are",
    "going",
    "to",
    "build",
    "the",
    "house",
    "with",
    "wood",
    "and",
    "stone",
    "then",
    "mine",
    "iron",
    "ore",
    "in",
    "this",
    "cave",
    "where",
    "a",
    "zombie",
    "or",
    "creeper",
    "comes",
    "at",
    "night",
    "until",
    "day",
    "while",
    "my",
    "farm",
    "near",
    "village",
    "grows",
    "let",
    "us",
    "see",
]
_TEXT_LENGTH = 150
_NUM_SIZES = 16


def make_clip_metadata(
    path: Path, *, num_clips: int, num_videos: int, as_array: bool = False, seed: int = 0
) -> list[str]:
    """Write metadata with texts of 150 characters and sizes of 16 numbers.

    Args:
        path: Where to.
        num_clips: Records; no two are the same clip.
        num_videos: Videos that they are clips of, as many of each.
        as_array: Write one JSON array, else an object per line.
        seed: Same seed, same file.

    Returns:
        The ids of the videos.
    """
    chance = random.Random(seed)
    vids = list(dict.fromkeys("".join(chance.choices(_LETTERS, k=11)) for _ in range(num_videos)))
    with path.open("w", encoding="utf-8") as file:
        file.write("[" if as_array else "")
        for index, record in enumerate(_iter_records(vids, num_clips, chance)):
            file.write((",\n" if as_array else "\n") if index else "")
            file.write(json.dumps(record))
        file.write("]\n" if as_array else "\n")
    return vids


def make_empty_videos(folder: Path, vids: Iterable[str]) -> None:
    """Make a file without content for each video, its id in its name."""
    folder.mkdir(parents=True, exist_ok=True)
    for vid in vids:
        (folder / f"Let us play [{vid}].mp4").touch()


def _iter_records(
    vids: list[str], num_clips: int, chance: random.Random
) -> Iterator[dict[str, Any]]:
    for index in range(num_clips):
        # One after the other in its video, so that none is twice.
        begin = round(30 * (index // len(vids)) + chance.random(), 3)
        text = " ".join(chance.choices(_WORDS, k=40))[:_TEXT_LENGTH]
        yield {
            "vid": vids[index % len(vids)],
            "transcript clip": text,
            "begin position": begin,
            "end position": round(begin + 1 + 28 * chance.random(), 3),
            "size": [chance.random() for _ in range(_NUM_SIZES)],
        }
