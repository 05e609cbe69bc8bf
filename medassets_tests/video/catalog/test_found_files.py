"""Files of videos: each is found and probed once, and only if a clip needs it."""

import os
from dataclasses import replace
from pathlib import Path

from medassets.errors import Reason, SampleRejectedError
from medassets.shards.catalog.planning import plan_catalog
from medassets.video.catalog.columns import VIDEO_ROW_SCHEMA
from medassets.video.catalog.coverage import summarize_coverage
from medassets_tests.shelf import FACTS, Shelf, clip


def test_each_video_is_probed_once_and_only_if_a_clip_needs_it(shelf: Shelf) -> None:
    shelf.put("aaaaaaaaaaa.mp4", "bbbbbbbbbbb.mp4", "ccccccccccc.mp4", "unknown.mp4")
    shelf.write(
        [
            clip("aaaaaaaaaaa", 1, 2),
            clip("bbbbbbbbbbb", None, 2),
            clip("aaaaaaaaaaa", 3, 4),
            clip("ccccccccccc", 59, 90),
        ]
    )
    shelf.read()
    assert shelf.probed == [["aaaaaaaaaaa.mp4", "ccccccccccc.mp4"]]


def test_facts_of_unchanged_files_are_kept(shelf: Shelf) -> None:
    shelf.put("aaaaaaaaaaa.mp4", "bbbbbbbbbbb.mp4", "ccccccccccc.mp4", "ddddddddddd.mp4")
    shelf.answers = {
        "bbbbbbbbbbb.mp4": replace(FACTS, codec="vp9", duration_ms=None, fps=None),
        "ccccccccccc.mp4": SampleRejectedError(Reason.DECODE_FAILED, "no header"),
    }
    # The only clip of the last one is excluded: its facts are kept all the same.
    shelf.write(
        [clip("aaaaaaaaaaa"), clip("bbbbbbbbbbb"), clip("ccccccccccc"), clip("ddddddddddd", 1, 99)]
    )
    first = plan_catalog(shelf.read(), None, samples_per_shard=2)
    again = shelf.read(previous=first)
    assert again.select(VIDEO_ROW_SCHEMA.names).equals(shelf.read())
    assert shelf.probed[1] == ["ccccccccccc.mp4"]

    shelf.put("aaaaaaaaaaa.mp4", "eeeeeeeeeee.mp4")
    os.utime(shelf.folder / "videos/bbbbbbbbbbb.mp4", ns=(5, 5))
    shelf.answers = {"aaaaaaaaaaa.mp4": replace(FACTS, width=1280)}
    shelf.write([clip(letter * 11) for letter in "abcde"])
    rows = shelf.by_row(previous=first)
    assert shelf.probed[3] == [f"{letter * 11}.mp4" for letter in "abce"]
    assert [rows[n]["width"] for n in (1, 2, 3, 4, 5)] == [1280, 640, 640, 640, 640]
    assert rows[2]["codec"] == "h264"
    assert [row["excluded"] for row in rows.values()] == [None] * 5


def test_nothing_is_probed_when_there_is_nothing_new(shelf: Shelf) -> None:
    shelf.put("aaaaaaaaaaa.mp4")
    shelf.write([clip("aaaaaaaaaaa")])
    first = plan_catalog(shelf.read(), None, samples_per_shard=2)
    shelf.read(previous=first)
    assert len(shelf.probed) == 1


def test_facts_that_are_no_numbers_do_not_reach_the_catalog(shelf: Shelf) -> None:
    shelf.put("aaaaaaaaaaa.mp4")
    shelf.answers["aaaaaaaaaaa.mp4"] = replace(FACTS, fps=float("nan"))
    shelf.write([clip("aaaaaaaaaaa")])
    assert shelf.read()["fps"].to_pylist() == [None]


def test_names_that_are_no_utf8_do_not_reach_the_catalog(shelf: Shelf) -> None:
    for name in (b"\xff [aaaaaaaaaaa].mp4", b"\xff.mp4"):
        Path(os.fsdecode(os.fsencode(shelf.folder / "videos") + b"/" + name)).write_bytes(b"")
    shelf.write([clip("aaaaaaaaaaa")])
    table = shelf.read()
    assert table["excluded"].to_pylist() == ["bad_name"]
    assert summarize_coverage(table).videos.unnamed == ["\\udcff.mp4"]
