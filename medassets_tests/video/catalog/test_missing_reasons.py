"""A video without a file: what is to blame is named, be it a link or a row of info.csv."""

from pathlib import Path
from typing import Any

import pytest

from medassets.video.catalog.listing import LinksOut, find_links_out
from medassets_tests.shelf import Shelf, clip, pair

A, B, C, D = ("aaaaaaaaaaa", "bbbbbbbbbbb", "ccccccccccc", "ddddddddddd")


def details_of(shelf: Shelf, **spec: Any) -> dict[str, str]:
    rows = shelf.read(**spec).to_pylist()
    return {row["vid"]: row["detail"] for row in rows if row["excluded"] == "missing_source"}


def link_out(shelf: Shelf, tmp_path: Path, *names: str) -> None:
    """Put links into the folder of videos that lead to files elsewhere."""
    outside = tmp_path / "another disk"
    outside.mkdir(exist_ok=True)
    for name in names:
        (outside / name).write_bytes(b"x")
        (shelf.folder / "videos" / name).symlink_to(outside / name)


def test_a_link_that_leads_out_is_named_by_id_by_name_and_by_title(
    shelf: Shelf, tmp_path: Path
) -> None:
    shelf.put("dddddddddddd.mp4")
    link_out(shelf, tmp_path, f"Film [{A}].mp4", "My film.mp4", "Your\uff1a film.mp4")
    info = f"https://youtu.be/{B},My film.mp4\nhttps://youtu.be/{C},Your: film.mp4\n"
    shelf.write([clip(A), clip(B), clip(C), clip(D)], info=info)
    details = details_of(shelf)
    for vid, name in ((A, f"Film [{A}].mp4"), (B, "My film.mp4"), (C, "Your\uff1a film.mp4")):
        assert (
            f"its file is a link out of the folder, which is not followed: {name!r}; put the file "
            "into the folder, or declare the folder that contains it"
        ) in details[vid]
        assert "no file name contains" not in details[vid]
    assert details[D].endswith(f"no file name contains the id {D}")


def test_a_video_with_a_file_is_not_hurt_by_a_link_beside_it(shelf: Shelf, tmp_path: Path) -> None:
    shelf.put(f"{A}.mp4")
    link_out(shelf, tmp_path, f"Film [{A}].mp4")
    shelf.write([clip(A)])
    (row,) = shelf.read().to_pylist()
    assert (row["path"], row["excluded"]) == (f"{A}.mp4", None)


def test_linked_folders_and_links_to_nothing_are_named(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    shelf.put("x.mp4")
    (shelf.folder / "videos" / "batch 1").symlink_to(tmp_path / "disk")
    (shelf.folder / "videos" / f"{B}.mp4").symlink_to(tmp_path / "gone.mp4")
    shelf.write([clip(A), clip(B)])
    details = details_of(shelf)
    assert details[A].endswith(f"the id {A}; linked folders are not searched: 'batch 1'")
    assert details[B].endswith(f"its file is a broken link: '{B}.mp4'")


def test_clips_behind_links_are_named_too(shelf: Shelf, tmp_path: Path) -> None:
    shelf.put("a.mp4")
    link_out(shelf, tmp_path, "b.mp4")
    shelf.write([pair("clips/a.mp4"), pair("clips/b.mp4", B), pair("clips/c.mp4", C)])
    details = details_of(shelf, source="clips")
    assert "is not followed: 'b.mp4'" in details[B]
    assert "no file 'clips/c.mp4'" in details[C]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (f"https://youtu.be/{A},Foo, bar.mp4", "expected 2 cells, got 3"),
        (f"https://youtu.be/{A},  ", "the file name is empty"),
        (f'"https://youtu.be/{A},a.mp4', "not CSV"),
        (f'https://youtu.be/{A},"a.mp4', "not CSV"),
        (f"https://youtu.be/{A}", "expected 2 cells, got 1"),
        (f"My film.mp4,https://youtu.be/{A}", "'My film.mp4' is not the URL"),
    ],
)
def test_an_unusable_row_of_info_csv_is_told_to_its_video(shelf: Shelf, row: str, why: str) -> None:
    shelf.put("My film.mp4")
    shelf.write([clip(A), clip(B)], info=f"url,filename\nhttps://youtu.be/{C},c.mp4\n{row}\n")
    details = details_of(shelf)
    assert (
        f"no file name contains the id {A}; row 3 of info.csv, which names it, cannot be used: "
        in (details[A])
    )
    assert why in details[A]
    assert details[B].endswith(f"no file name contains the id {B}")


def test_only_links_that_are_not_followed_are_listed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    (inside / "sub").mkdir(parents=True)
    outside.mkdir()
    (outside / "a.mp4").touch()
    (inside / "own.mp4").touch()
    (inside / "sub" / "out.mp4").symlink_to(outside / "a.mp4")
    (inside / "in.mp4").symlink_to("own.mp4")
    (inside / "loop").symlink_to(inside)
    (inside / "disk").symlink_to(outside)
    (inside / "notes.txt").symlink_to(outside)
    (inside / ".hidden").symlink_to(outside)
    (inside / "gone.mp4").symlink_to("nothing.mp4")
    expected = LinksOut(("sub/out.mp4",), ("gone.mp4",), ("disk", "notes.txt"))
    assert find_links_out(inside) == expected
