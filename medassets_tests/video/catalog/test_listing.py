"""Which files of a folder are videos, and which links are not followed."""

import os
from pathlib import Path

import pytest

from medassets.errors import CatalogError
from medassets.video.catalog.listing import LinksOut, find_links_out, list_videos, strip_extension


def test_a_listing_holds_whole_videos_by_path(tmp_path: Path) -> None:
    names = [
        "b.mp4",
        "a/c.MKV",
        "a/b/d.webm",
        "a.b.avi",
        "Cars.F1.mp4",
        "x [-QT_9NhQUsA].mov",
        "d.gif",
    ]
    ignored = [
        "notes.txt", "noextension", ".hidden.mp4", "._b.mp4", ".mp4", "b.mp4.part", "b.mp4.ytdl",
        "x.f137.mp4", "x.f251-drc.webm", "x.temp.mp4", "x.part.mp4", ".trash/e.mp4", "b.mp4~",
        ".b.mp4.0123456789abcdef.tmp", "mp4", "b.json",
    ]  # fmt: skip
    for name in [*names, *ignored]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "folder.mp4").mkdir()
    listing = list_videos(tmp_path)
    assert list(listing) == sorted(names)
    for name, file in listing.items():
        stat = (tmp_path / name).stat()
        assert (file.num_bytes, file.mtime_ns) == (len(name), stat.st_mtime_ns)
    assert list(list_videos(Path(os.path.relpath(tmp_path)))) == sorted(names)


def test_links_that_lead_out_are_not_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "a.mp4").write_bytes(b"a")
    (inside / "out.mp4").symlink_to(outside / "a.mp4")
    (inside / "gone.mp4").symlink_to(inside / "nothing.mp4")
    (inside / "loop").symlink_to(inside)
    (inside / "there").symlink_to(outside)
    (inside / "in.mp4").symlink_to("a.mp4")
    assert list(list_videos(inside)) == ["a.mp4", "in.mp4"]
    (tmp_path / "alias").symlink_to(inside)
    assert list(list_videos(tmp_path / "alias")) == ["a.mp4", "in.mp4"]


def test_a_fifo_is_no_video(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    assert list_videos(tmp_path) == {}


def test_names_that_are_no_utf8_are_listed(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mp4"))).write_bytes(b"")
    assert list(list_videos(tmp_path)) == ["\udcff.mp4"]


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"nothing: the folder of videos cannot be read"):
        list_videos(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.mp4", "a"),
        ("a.b.WebM", "a.b"),
        ("v1.16", "v1.16"),
        ("a", "a"),
        ("a.mp4.part", "a.mp4.part"),
    ],
)
def test_only_extensions_of_videos_are_stripped(name: str, stem: str) -> None:
    assert strip_extension(name) == stem


def test_links_that_are_not_followed_are_named_by_their_kind(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside / "deep", outside):
        folder.mkdir(parents=True)
    (outside / "a.mp4").write_bytes(b"a")
    (inside / "deep" / "out.mp4").symlink_to(outside / "a.mp4")
    (inside / "gone.mp4").symlink_to(inside / "nothing.mp4")
    (inside / "there").symlink_to(outside)
    (inside / "back").symlink_to(inside)
    (inside / "circle.mp4").symlink_to("circle.mp4")
    (inside / "notes.txt").symlink_to(outside / "a.mp4")
    (inside / ".hidden.mp4").symlink_to(outside / "a.mp4")
    found = find_links_out(inside)
    assert found.files == ("deep/out.mp4",)
    assert found.folders == ("there",)
    assert found.broken == ("gone.mp4",)
    assert find_links_out(outside) == LinksOut()
