"""Keys of clips are unique, and a split depends on the video alone."""

import hashlib
from collections import Counter

import pyarrow as pa

from medassets.video.catalog.columns import RECORD_SCHEMA, ClipColumns
from medassets.video.catalog.keys_and_splits import name_clips, number_values, split_videos


def name(*clips: tuple[str, int, int, str]) -> ClipColumns:
    """Return the named columns of clips: video, begin, end, text."""
    rows = [
        {"row": row, "vid": vid, "begin_ms": begin, "end_ms": end, "transcript": text}
        for row, (vid, begin, end, text) in enumerate(clips, start=1)
    ]
    columns = ClipColumns(*pa.Table.from_pylist(rows, schema=RECORD_SCHEMA).columns)
    name_clips(columns)
    return columns


def test_texts_of_one_segment_are_numbered_and_repeats_excluded() -> None:
    columns = name(
        ("a", 1, 2, "dig"), ("a", 1, 2, "run"), ("a", 1, 2, "dig"), ("a", 1, 3, "dig"),
        ("b", 1, 2, "dig"),
    )  # fmt: skip
    assert columns.key.to_pylist() == ["a_1_2", "a_1_2-2", "metadata-row-3", "a_1_3", "b_1_2"]
    assert columns.excluded.to_pylist() == [None, None, "duplicate_row", None, None]
    assert columns.detail.to_pylist()[2] == ("metadata row 3: the same clip and text as in row 1")


def test_a_key_has_at_most_ninety_characters() -> None:
    columns = name(("x" * 86, 1, 2, "dig"), ("x" * 87, 1, 2, "dig"))
    assert columns.key.to_pylist() == ["x" * 86 + "_1_2", "metadata-row-2"]
    assert columns.excluded.to_pylist() == [None, "bad_name"]


def test_values_are_numbered_in_order_and_null_is_none_of_them() -> None:
    codes, names = number_values(pa.chunked_array([["b", None], ["a", "b"]]))
    assert (codes.tolist(), names) == ([0, -1, 1, 0], ["b", "a"])


def test_a_random_split_is_the_share_of_a_hash() -> None:
    vids = [f"video{number}" for number in range(2_000)]
    splits = split_videos(vids, mode="random", seed=3)
    for vid, split in zip(vids, splits, strict=True):
        share = int(hashlib.sha256(f"3:{vid}".encode()).hexdigest()[:16], 16) / 16**16
        assert split == ("train" if share < 0.8 else "val" if share < 0.9 else "test")
    assert Counter(splits)["train"] > 1_500
    assert splits != split_videos(vids, mode="random", seed=4)
    assert split_videos(vids[:7], mode="random", seed=3) == splits[:7]


def test_all_videos_may_have_one_split() -> None:
    assert split_videos(["a", None], mode="all_test", seed=0) == ["test", "test"]
