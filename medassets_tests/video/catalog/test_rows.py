"""Catalog rows of a video dataset: each record ends in exactly one."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.shards.catalog.files import read_partition, write_catalog
from medassets.shards.catalog.plan import plan_of
from medassets.shards.catalog.planning import plan_catalog
from medassets.shards.fingerprint import rows_fingerprint
from medassets.video.catalog.columns import VIDEO_ROW_SCHEMA
from medassets.video.catalog.coverage import summarize_coverage
from medassets.video.catalog.keys_and_splits import split_videos
from medassets.video.files.probe import probe_video
from medassets_tests.shelf import FACTS, Answer, Shelf, clip, pair


def test_a_row_joins_record_file_and_facts(shelf: Shelf) -> None:
    shelf.put("some/Film [aaaaaaaaaaa].mp4")
    shelf.write([clip("aaaaaaaaaaa", 1.25, 20.5, "dig here", size=[1, 2.5])])
    table = shelf.read()
    assert table.schema.equals(VIDEO_ROW_SCHEMA)
    stat = (shelf.folder / "videos/some/Film [aaaaaaaaaaa].mp4").stat()
    assert table.to_pylist() == [
        {
            "key": "aaaaaaaaaaa_1250_20500",
            "split": split_videos(["aaaaaaaaaaa"], mode="random", seed=0)[0],
            "path": "some/Film [aaaaaaaaaaa].mp4",
            "revision": None,
            "excluded": None,
            "detail": None,
            "num_bytes": 1,
            "mtime_ns": stat.st_mtime_ns,
            "vid": "aaaaaaaaaaa",
            "begin_ms": 1250,
            "end_ms": 20500,
            "from_ms": 1250,
            "to_ms": 20500,
            "transcript": "dig here",
            "size": [1.0, 2.5],
            "row": 1,
            "matched_by": "id",
            "codec": "h264",
            "width": 640,
            "height": 360,
            "duration_ms": 60_000,
            "rotation": 90,
            "fps": 25.0,
        }
    ]


def test_rows_make_a_catalog_whose_digests_are_those_of_its_items(shelf: Shelf) -> None:
    vids = [f"{number:011d}" for number in range(40)]
    shelf.put(*(f"{vid}.mp4" for vid in vids[:30]))
    shelf.write([clip(vid, begin, begin + 2) for begin in range(3) for vid in vids])
    catalog = plan_catalog(shelf.read(), None, samples_per_shard=8, pinned=False)
    path = shelf.folder / "catalog.parquet"
    write_catalog(catalog, path)
    plan = plan_of(catalog)
    assert sum(plan.partitions.values()) == 90
    assert plan.excluded_by_reason() == {"missing_source": 30}
    for partition, digest in plan.digests.items():
        items = read_partition(path, partition)
        assert rows_fingerprint(items) == digest
        assert [item.key for item in items] == sorted(item.key for item in items)
        assert {item.split for item in items} == {partition.split("-")[0]}


def test_what_keeps_a_clip_from_being_one_is_said_with_its_row(shelf: Shelf) -> None:
    shelf.put(
        "aaaaaaaaaaa.mp4",
        "x/bbbbbbbbbbb.mp4",
        "y/bbbbbbbbbbb.mp4",
        "broken_____.mp4",
        "sound______.mp4",
    )
    shelf.answers = {
        "broken_____.mp4": SampleRejectedError(Reason.DECODE_FAILED, "no header"),
        "sound______.mp4": SampleRejectedError(Reason.NO_VIDEO_STREAM, "sound only"),
    }
    shelf.write(
        [
            clip("aaaaaaaaaaa"),
            clip("bbbbbbbbbbb"),
            clip("ccccccccccc"),
            clip("broken_____"),
            clip("sound______"),
            clip("aaaaaaaaaaa", 59, 61),
            clip("aaaaaaaaaaa", None, 3),
            clip("aaaaaaaaaaa", 1, 2, "dig"),
            [1],
        ]
    )
    rows = shelf.by_row()
    assert {number: row["excluded"] for number, row in rows.items()} == {
        1: None,
        2: "ambiguous_source",
        3: "missing_source",
        4: "decode_failed",
        5: "no_video_stream",
        6: None,
        7: "null_position",
        8: "duplicate_row",
        9: "bad_record",
    }
    assert {number: row["detail"] for number, row in rows.items()} == {
        1: None,
        2: "metadata row 2: 2 files match by id: 'x/bbbbbbbbbbb.mp4', 'y/bbbbbbbbbbb.mp4'",
        3: "metadata row 3: no file name contains the id ccccccccccc",
        4: "metadata row 4: 'broken_____.mp4': no header",
        5: "metadata row 5: 'sound______.mp4': sound only",
        6: None,
        7: "metadata row 7: begin position is null",
        8: "metadata row 8: the same clip and text as in row 1",
        9: "metadata row 9: expected an object with vid, got [1]",
    }
    assert {number: row["key"] for number, row in rows.items()} == {
        1: "aaaaaaaaaaa_1000_2000",
        2: "bbbbbbbbbbb_1000_2000",
        3: "ccccccccccc_1000_2000",
        4: "broken______1000_2000",
        5: "sound_______1000_2000",
        6: "aaaaaaaaaaa_59000_61000",
        7: "metadata-row-7",
        8: "metadata-row-8",
        9: "metadata-row-9",
    }
    assert [rows[number]["path"] for number in (2, 3, 4, 6, 9)] == [
        "", "", "broken_____.mp4", "aaaaaaaaaaa.mp4", "",
    ]  # fmt: skip


@pytest.mark.parametrize("duration_ms", [None, 0, 1, 330, 59_000])
def test_a_header_that_states_too_short_a_duration_excludes_no_clip(
    shelf: Shelf, duration_ms: int | None
) -> None:
    shelf.put("aaaaaaaaaaa.mp4")
    shelf.answers["aaaaaaaaaaa.mp4"] = replace(FACTS, duration_ms=duration_ms)
    shelf.write([clip("aaaaaaaaaaa", 1, end) for end in (2, 60, 10**6)])
    assert shelf.read(end_tolerance_ms=0)["excluded"].to_pylist() == [None] * 3


def test_equal_stretches_with_other_texts_are_counted_up(shelf: Shelf) -> None:
    shelf.put("aaaaaaaaaaa.mp4", "bbbbbbbbbbb.mp4")
    texts = ["one", "two", "one", "three", "two", "one"]
    records = [clip("aaaaaaaaaaa", 1, 2, text) for text in texts]
    records[3]["end position"] = 2.0001
    shelf.write([clip("bbbbbbbbbbb", 1, 2, "one"), *records, clip("aaaaaaaaaaa", 1, 3, "one")])
    rows = shelf.by_row()
    assert {n: row["key"] for n, row in rows.items() if row["excluded"] is None} == {
        1: "bbbbbbbbbbb_1000_2000",
        2: "aaaaaaaaaaa_1000_2000",
        3: "aaaaaaaaaaa_1000_2000-2",
        5: "aaaaaaaaaaa_1000_2000-3",
        8: "aaaaaaaaaaa_1000_3000",
    }
    assert {n: row["detail"] for n, row in rows.items() if row["excluded"]} == {
        4: "metadata row 4: the same clip and text as in row 2",
        6: "metadata row 6: the same clip and text as in row 3",
        7: "metadata row 7: the same clip and text as in row 2",
    }


def test_an_excluded_record_is_not_a_duplicate(shelf: Shelf) -> None:
    shelf.put("aaaaaaaaaaa.mp4")
    bad, good = clip("aaaaaaaaaaa", size=[None]), clip("aaaaaaaaaaa", size=[1])
    shelf.write([bad, good, bad])
    excluded = {n: row["excluded"] for n, row in shelf.by_row().items()}
    assert excluded == {1: "bad_size", 2: None, 3: "bad_size"}


def test_a_key_that_no_shard_can_hold_is_reported(shelf: Shelf) -> None:
    fits, too_long = "f" * 79, "l" * 81
    shelf.put(f"{fits}.mp4", f"{too_long}.mp4")
    shelf.write([clip(fits), clip(too_long), clip(fits, text="other")])
    rows = shelf.by_row()
    assert rows[1]["key"] == f"{fits}_1000_2000"
    assert len(rows[1]["key"]) == 89
    assert [rows[n]["excluded"] for n in (1, 2, 3)] == [None, "bad_name", "bad_name"]
    assert rows[2]["detail"].startswith("metadata row 2: its key llll")
    assert [rows[n]["key"] for n in (2, 3)] == ["metadata-row-2", "metadata-row-3"]
    plan_catalog(shelf.read(), None, samples_per_shard=2)


def test_a_real_video_is_probed(shelf: Shelf, short_video: Path) -> None:
    (shelf.folder / "videos/aaaaaaaaaaa.mp4").write_bytes(short_video.read_bytes())
    (shelf.folder / "videos/bbbbbbbbbbb.mp4").write_bytes(short_video.read_bytes()[:100])
    shelf.write([clip("aaaaaaaaaaa", 0, 1), clip("aaaaaaaaaaa", 1, 3), clip("bbbbbbbbbbb", 0, 1)])

    def probe_all(files: Mapping[str, Path]) -> dict[str, Answer]:
        found: dict[str, Answer] = {}
        for path, place in files.items():
            try:
                found[path] = probe_video(place)
            except SampleRejectedError as error:
                found[path] = error
        return found

    shelf.probe = probe_all
    rows = shelf.by_row()
    assert [rows[n]["excluded"] for n in (1, 2, 3)] == [
        None, None, "decode_failed",
    ]  # fmt: skip
    assert rows[1]["codec"] == "h264"
    assert rows[1]["duration_ms"] == 2000
    assert str(shelf.folder) not in str(rows)


def test_a_split_belongs_to_a_video_and_depends_on_nothing_else(shelf: Shelf) -> None:
    vids = [f"{number:011d}" for number in range(1000)]

    def draw(vid: str, seed: int) -> str:
        digest = hashlib.sha256(f"{seed}:{vid}".encode()).digest()
        share = int.from_bytes(digest[:8], "big") / 2**64
        return "train" if share < 0.8 else "val" if share < 0.9 else "test"

    shelf.write([clip(vid, b, b + 1) for b in (1, 5) for vid in vids[:300]])
    for seed in (0, 7):
        rows = shelf.read(seed=seed).to_pylist()
        assert all(row["split"] == draw(row["vid"], seed) for row in rows)
    splits = split_videos(vids, mode="random", seed=3)
    assert split_videos(reversed(vids), mode="random", seed=3) == splits[::-1]
    assert 0.75 < splits.count("train") / 1000 < 0.85
    assert 0.07 < splits.count("val") / 1000 < 0.13
    for mode, split in (("all_train", "train"), ("all_test", "test")):
        assert set(shelf.read(mode=mode)["split"].to_pylist()) == {split}


def test_records_without_a_video_have_a_split_too(shelf: Shelf) -> None:
    shelf.write([clip("aaaaaaaaaaa"), []])
    assert set(shelf.read(mode="all_test")["split"].to_pylist()) == {"test"}
    assert shelf.read()["split"].null_count == 0


def test_no_records_make_no_rows(shelf: Shelf) -> None:
    shelf.put("aaaaaaaaaaa.mp4")
    shelf.write([])
    table = shelf.read()
    assert table.num_rows == 0
    assert table.schema.equals(VIDEO_ROW_SCHEMA)
    assert plan_of(plan_catalog(table, None, samples_per_shard=2)).num_rows == 0
    assert summarize_coverage(table).videos.num_unnamed == 1


def test_clips_that_were_cut_before_are_whole_files(shelf: Shelf) -> None:
    shelf.put("clips/aaaaaaaaaaa_3_5.mp4", "clips/b.mp4")
    shelf.answers["clips/aaaaaaaaaaa_3_5.mp4"] = replace(FACTS, duration_ms=2000)
    shelf.write(
        [
            pair("clips/aaaaaaaaaaa_3_5.mp4"),
            pair("clips/gone.mp4", begin=9, end=11),
            pair("/far/away/clips/b.mp4", "bbbbbbbbbbb"),
            pair("clips/b.mp4", "", 1, 2),
        ]
    )
    rows = shelf.by_row(source="clips")
    whole = rows[1]
    assert (whole["key"], whole["path"]) == ("aaaaaaaaaaa_3000_5000", "clips/aaaaaaaaaaa_3_5.mp4")
    assert (whole["begin_ms"], whole["end_ms"]) == (3000, 5000)
    assert (whole["from_ms"], whole["to_ms"], whole["duration_ms"]) == (0, None, 2000)
    assert (whole["excluded"], whole["matched_by"]) == (None, "path")
    assert rows[2]["excluded"] == "missing_source"
    assert rows[2]["detail"] == "metadata row 2: no file 'clips/gone.mp4' in the folder of clips"
    assert (rows[3]["path"], rows[3]["excluded"]) == ("clips/b.mp4", None)
    assert (rows[4]["path"], rows[4]["excluded"]) == ("", "bad_name")
    assert rows[1]["split"] == rows[2]["split"]
    assert shelf.probed == [["clips/aaaaaaaaaaa_3_5.mp4", "clips/b.mp4"]]
