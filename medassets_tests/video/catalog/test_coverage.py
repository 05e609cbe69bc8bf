"""What becomes of every record, counted."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medassets.errors import CatalogError
from medassets.shards.catalog.planning import plan_catalog
from medassets.video.catalog.coverage import summarize_coverage
from medassets_tests.shelf import FACTS, Shelf, clip


def test_coverage_counts_records_videos_and_files(shelf: Shelf) -> None:
    shelf.put(
        "aaaaaaaaaaa.mp4", "My film.mp4", "Your\uff1a film.mp4", "x/eeeeeeeeeee.mp4",
        "y/eeeeeeeeeee.mp4", "spare.mp4", "z \\ [fffffffffff].mp4",
    )  # fmt: skip
    info = "".join(
        f"https://youtu.be/{letter * 11},{name}\n"
        for letter, name in [("b", "My film.mp4"), ("c", "Your: film.mp4"), ("d", "None.mp4")]
    )
    letters = "aabbbcdef"
    records: list[Any] = [clip(letter * 11, n, n + 1) for n, letter in enumerate(letters)]
    records += [records[0], clip("aaaaaaaaaaa", None, 1), clip("ddddddddddd", None, 1), 7]
    shelf.write(records, info=info + "rubbish\n")
    table = shelf.read()
    for source in (table, plan_catalog(table, None, samples_per_shard=2)):
        coverage = summarize_coverage(source)
        assert (coverage.num_records, coverage.num_clips) == (13, 6)
        assert coverage.excluded == {
            "ambiguous_source": 1, "bad_name": 1, "bad_record": 1, "duplicate_row": 1,
            "missing_source": 1, "null_position": 2,
        }  # fmt: skip
        assert (coverage.num_null_positions, coverage.num_duplicates) == (2, 1)
        videos = coverage.videos
        assert videos.num_named == 6
        assert (videos.by_id, videos.by_filename, videos.by_title, videos.by_path) == (1, 1, 1, 0)
        assert (videos.num_missing, videos.num_ambiguous, videos.num_unusable) == (1, 1, 1)
        assert (videos.num_files, videos.num_unnamed, videos.unnamed) == (7, 1, ["spare.mp4"])
        assert videos.num_info_problems == 1
        assert videos.info_problems[0].startswith("row 4: expected 2 cells, got 1")


def test_coverage_of_another_table_is_refused() -> None:
    with pytest.raises(CatalogError, match="refresh it"):
        summarize_coverage(pa.table({"excluded": pa.nulls(1, pa.string())}))


def _expected(records: list[Any], files: set[str]) -> dict[int, tuple[str, str | None]]:
    """Return key and reason by row, told record by record."""
    found: dict[int, tuple[str, str | None]] = {}
    texts: dict[tuple[str, int, int], list[str]] = {}
    for row, record in enumerate(records, start=1):
        vid, begin, end = record["vid"], record["begin position"], record["end position"]
        reason: str | None = None
        key = f"metadata-row-{row}"
        stretch = (vid, 1000 * (begin or 0), 1000 * (end or 0))
        if "." in vid:
            reason = "bad_name"
        elif not record["transcript clip"]:
            reason = "empty_text"
        elif begin is None or end is None:
            reason = "null_position"
        elif end <= begin:
            reason = "bad_position"
        elif record["transcript clip"] in texts.get(stretch, []):
            reason = "duplicate_row"
        else:
            known = texts.setdefault(stretch, [])
            known.append(record["transcript clip"])
            key = "_".join(map(str, stretch)) + (f"-{len(known)}" if len(known) > 1 else "")
            copies = [file for file in files if file.endswith(f"{vid}.mp4")]
            if len(copies) != 1:
                reason = "ambiguous_source" if copies else "missing_source"
        found[row] = (key, reason)
    return found


_records = st.lists(
    st.builds(
        clip,
        st.sampled_from(["a", "b", "c", "x.y"]),
        st.none() | st.integers(0, 3),
        st.none() | st.integers(1, 6),
        st.sampled_from(["dig", "dug", ""]),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(records=_records, files=st.sets(st.sampled_from(["a.mp4", "b.mp4", "x/b.mp4"])))
def test_every_record_ends_in_the_one_row_that_a_naive_reading_gives(
    tmp_path_factory: pytest.TempPathFactory, records: list[Any], *, files: set[str]
) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    (shelf.folder / "videos").mkdir()
    shelf.put(*files)
    shelf.answers = dict.fromkeys(files, replace(FACTS, duration_ms=4000))
    shelf.write(records)
    table = shelf.read(end_tolerance_ms=0)
    rows = {row["row"]: (row["key"], row["excluded"]) for row in table.to_pylist()}
    assert rows == _expected(records, files)
    assert len(set(table["key"].to_pylist())) == len(records)
    catalog = plan_catalog(table, None, samples_per_shard=3)
    assert catalog["key"].to_pylist() == sorted(
        table["key"].to_pylist(), key=_place_in_plan(table).__getitem__
    )


def _place_in_plan(table: pa.Table) -> Mapping[str, tuple[Any, ...]]:
    """Return what clips are sorted by in a plan; the rest keeps its order."""
    splits = ["train", "val", "test"]
    return {
        row["key"]: (row["excluded"] is not None, splits.index(row["split"]), row["key"])
        for row in table.to_pylist()
    }
