"""Matching files to videos: right or reported, never wrong."""
# ruff: noqa: RUF001 - characters that look alike are what is tested.

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medassets.errors import Reason
from medassets.video.catalog.matching import (
    Match,
    find_named_id,
    fold_title,
    match_clips,
    match_videos,
    normalize_title,
)

ID = "-QT_9NhQUsA"


def match_one(
    vid: str, paths: Iterable[str], filenames: Mapping[str, Sequence[str]] | None = None
) -> Match:
    """Match one video."""
    return match_videos([vid], list(paths), filenames or {}).matches[vid]


@pytest.mark.parametrize(
    "path",
    [
        "-QT_9NhQUsA.mp4",
        "deep/er/-QT_9NhQUsA.WEBM",
        "Title [-QT_9NhQUsA].mkv",
        "[-QT_9NhQUsA].mp4",
        "Title--QT_9NhQUsA.mp4",
        "A title [HD] (2020) - [-QT_9NhQUsA].mp4",
        "I. Title.mp4---QT_9NhQUsA.mp4",
    ],
)
def test_a_file_bears_its_id(path: str) -> None:
    assert find_named_id(path, {ID}) == ID
    assert match_one(ID, [path, "other.mp4"]) == Match(path, "id")


@pytest.mark.parametrize(
    "path",
    [
        "-QT_9NhQUsAx.mp4",
        "x-QT_9NhQUsA.mp4",
        "-QT_9NhQUs.mp4",
        "Title [-QT_9NhQUsAx].mp4",
        "Title [x-QT_9NhQUsA].mp4",
        "Title-x-QT_9NhQUsA.mp4",
        "Title--QT_9NhQUsA-2.mp4",
        "[-QT_9NhQUsA] Title.mp4",
        "-QT_9NhQUsA/film.mp4",
        "-qt_9nhqusa.mp4",
        "-QT_9NhQUsA.mp4.mp4",
        "Title -QT_9NhQUsA .mp4",
    ],
)
def test_a_longer_name_around_an_id_is_not_that_id(path: str) -> None:
    assert find_named_id(path, {ID}) is None
    assert match_one(ID, [path]).reason is Reason.MISSING_SOURCE


@pytest.mark.parametrize("path", ["Title [lecture_7].mp4", "Title-lecture_7.mp4"])
def test_an_id_that_is_not_of_youtube_is_the_whole_name(path: str) -> None:
    assert find_named_id(path, {"lecture_7"}) is None
    assert match_one("lecture_7", [path, "a/lecture_7.mp4"]) == Match("a/lecture_7.mp4", "id")


def test_the_whole_name_goes_before_an_id_at_its_end() -> None:
    vids = ["talk-abcdefghijk", "abcdefghijk"]
    matches = match_videos(vids, ["talk-abcdefghijk.mp4"], {}).matches
    assert matches[vids[0]].path == "talk-abcdefghijk.mp4"
    assert matches[vids[1]].reason is Reason.MISSING_SOURCE


_id_text = st.text("ab-_", min_size=11, max_size=11)
_stem = st.one_of(
    st.text("ab-_[] .", max_size=14),
    st.tuples(st.text("ab-_ ", max_size=4), _id_text).map("-".join),
    st.tuples(st.text("ab-_ ", max_size=4), _id_text).map(lambda t: f"{t[0]}[{t[1]}]"),
    _id_text,
)


def _naive_id(stem: str, known: Iterable[str]) -> str | None:
    """One regex per known id; the whole name first."""
    for form in ("{}", r".*\[{}\]", ".*-{}"):
        for vid in known:
            is_youtube = re.fullmatch(r"[A-Za-z0-9_-]{11}", vid)
            if (form == "{}" or is_youtube) and re.fullmatch(form.format(re.escape(vid)), stem):
                return vid
    return None


@settings(max_examples=500)
@given(st.lists(_id_text | st.text("ab-_", min_size=1, max_size=13), max_size=6), _stem)
def test_ids_are_found_as_a_naive_search_finds_them(known: list[str], stem: str) -> None:
    for vid in [*known, stem[-11:], stem[-12:-1]]:
        names = [*known, vid] if vid else known
        assert find_named_id(f"folder/{stem}.mp4", set(names)) == _naive_id(stem, names)


def test_the_name_of_the_table_comes_after_the_id() -> None:
    names = {ID: ["My film.mp4"]}
    assert match_one(ID, ["My film.mp4"], names) == Match("My film.mp4", "filename")
    assert match_one(ID, ["My film.mp4", f"x/{ID}.mp4"], names) == Match(f"x/{ID}.mp4", "id")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("My film.mp4", "some/where/My film.mp4"),
        ("where/My film.mp4", "where/My film.mp4"),
        ("My film", "My film.mkv"),
        ("My film.mp4", "My film.webm"),
        ("Minecraft 1.16", "Minecraft 1.16.mp4"),
        ("Minecraft 1.16.mp4", "Minecraft 1.16.MP4"),
    ],
)
def test_names_match_with_or_without_extension(name: str, path: str) -> None:
    others = ["My film 2.mp4", "Minecraft 1.webm", "Minecraft.mp4"]
    assert match_one(ID, [path, *others], {ID: [name]}) == Match(path, "filename")


def test_the_exact_name_goes_before_another_extension() -> None:
    paths = ["film.mp4", "film.webm"]
    assert match_one(ID, paths, {ID: ["film.mp4"]}).path == "film.mp4"
    assert match_one(ID, paths, {ID: ["film"]}).reason is Reason.AMBIGUOUS_SOURCE


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("What? AC/DC: a | b * c.mp4", "What？ AC／DC： a ｜ b ＊ c.mp4"),
        ("What？ AC／DC： a ｜ b ＊ c.mp4", "What? AC⧸DC: a | b * c.mp4"),
        ('He said "no" <now>', "He said ＂no＂ ＜now＞.webm"),
        ("Tom &amp; Jerry &lt;3 &#39;x&#39;.mp4", "Tom & Jerry <3 'x'.mp4"),
        ("Tom & Jerry.mp4", "Tom &amp;amp; Jerry.mp4"),
        ("a  b\u00a0 c .mp4", " a b\u3000c.mp4"),
        ("Cafe\u0301.mp4", "Café.mp4"),
        ("Ｆｕｌｌ ｗｉｄｔｈ.mp4", "Full width.mkv"),
        ("ﬁne ①.mp4", "fine 1.mp4"),
    ],
)
def test_titles_match_however_they_were_saved(name: str, path: str) -> None:
    others = ["What.mp4", "Tom.mp4", "a b.mp4", "Cafe.mp4"]
    assert match_one(ID, [*others, path], {ID: [name]}) == Match(path, "title")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("How To Build A House.mp4", "how to build a HOUSE.mp4"),
        ("Let's Play! Part 3.mp4", "Lets_Play_Part_3.mkv"),
        ("What?! AC/DC: a | b * c", "What AC_DC - a b c.mp4"),
        ("Straße", "STRASSE.mp4"),
        ("ΟΔΟΣ ΚΑΙ ΣΠΙΤΙ", "οδος και σπιτι.mp4"),
        ("Élan — “Vie”", "e\u0301lan - 'vie'.mp4"),
        ("I \u2764\ufe0f it \u200b(again)", "i \u2764 it again.mp4"),
        ("E\u0345\u0323 x", "e\u0323\u03b9 X.mp4"),
        ("Ep. 1-2 & 10:30", "ep 1_2, 10.30.mp4"),
    ],
)
def test_titles_match_in_another_case_punctuation_or_unicode_form(name: str, path: str) -> None:
    others = ["Ep 12 1030.mp4", "Let's Play Part 4.mp4", "elan vie.mp4", "c.mp4"]
    assert match_one(ID, [*others, path], {ID: [name]}) == Match(path, "folded_title")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("Part 1-2", "part 12.mp4"),
        ("Minecraft 1.5", "minecraft 15.mp4"),
        ("C++ course", "C course.mp4"),
        ("Café", "cafe.mp4"),
        ("good \u2764", "good.mp4"),
        ("Part 1", "part 1 extra.mp4"),
        ("???", "!!!.mp4"),
        ("???", "x.mp4"),
    ],
)
def test_other_titles_are_never_folded_together(name: str, path: str) -> None:
    assert match_one(ID, [path], {ID: [name]}).reason is Reason.MISSING_SOURCE


def test_a_folded_title_is_matched_only_where_one_file_and_one_video_can_be_meant() -> None:
    two_files = match_one(ID, ["my film.mp4", "MY-FILM.mp4"], {ID: ["My film!"]})
    assert two_files.reason is Reason.AMBIGUOUS_SOURCE
    assert two_files.detail == "2 files match by folded_title: 'MY-FILM.mp4', 'my film.mp4'"
    exact = match_one(ID, ["my film.mp4", "My film.mp4"], {ID: ["My film"]})
    assert exact == Match("My film.mp4", "filename")
    names = {"aaaaaaaaaaa": ["My film?"], "bbbbbbbbbbb": ["My Film"]}
    shared = match_videos(["aaaaaaaaaaa"], ["my film.mp4"], names).matches["aaaaaaaaaaa"]
    assert shared.reason is Reason.AMBIGUOUS_SOURCE
    owned = match_videos(names, ["My Film.mp4"], names).matches
    assert owned["bbbbbbbbbbb"] == Match("My Film.mp4", "filename")
    assert owned["aaaaaaaaaaa"].reason is Reason.MISSING_SOURCE
    assert "is similar, but belongs to bbbbbbbbbbb" in owned["aaaaaaaaaaa"].detail


_title = st.text("aAßΣςéE\u0301\u0345\u0323 １1２2-_.!'+｜|\u200d\ufe0f\u2764", max_size=8)


@settings(max_examples=300)
@given(_title)
def test_folding_a_title_again_changes_nothing(title: str) -> None:
    folded = fold_title(title)
    assert fold_title(folded) == folded
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert fold_title(unicodedata.normalize(form, title)) == folded
    assert fold_title(title.upper()) == fold_title(title.lower().upper())


def test_titles_that_begin_alike_stay_apart() -> None:
    begin = "Minecraft survival let's play part"
    assert len(begin) > 30
    paths = [f"{begin}： one.mp4", f"{begin}： two.mp4"]
    names = {"aaaaaaaaaaa": [f"{begin}: one.mp4"], "bbbbbbbbbbb": [f"{begin}: two.mp4"]}
    matches = match_videos(names, paths, names).matches
    assert [matches[vid].path for vid in names] == paths
    missing = match_videos(names, paths[:1], names).matches["bbbbbbbbbbb"]
    assert missing.reason is Reason.MISSING_SOURCE


@pytest.mark.parametrize("title", ["a", "A.mp4", "x &amp;amp;amp; y", "⧸／/", " \t ", "ﷺ½", ""])
def test_a_normalised_title_is_a_title_of_its_own(title: str) -> None:
    once = normalize_title(title)
    assert once == once.strip()
    assert normalize_title(title.replace("a", "ａ")) == once


def test_two_files_for_one_video_are_not_decided() -> None:
    found = match_one(ID, ["b/-QT_9NhQUsA.mp4", f"a [{ID}].mp4"])
    assert found.reason is Reason.AMBIGUOUS_SOURCE
    assert found.path == ""
    assert found.detail == f"2 files match by id: 'a [{ID}].mp4', 'b/-QT_9NhQUsA.mp4'"
    by_name = match_one(ID, ["a/x.mp4", "b/x.mp4"], {ID: ["x.mp4"]})
    assert by_name.detail == "2 files match by filename: 'a/x.mp4', 'b/x.mp4'"
    by_title = match_one(ID, ["ｘ.mp4", "x .mp4"], {ID: ["x&#32;.avi"]})
    assert (by_title.reason, by_title.detail[:24]) == (
        Reason.AMBIGUOUS_SOURCE,
        "2 files match by title: ",
    )
    many = match_one(ID, [f"{n}/{ID}.mp4" for n in range(9)])
    assert many.detail.startswith("9 files match")
    assert many.detail.endswith(" and 4 more")


def test_one_file_for_two_videos_is_not_decided() -> None:
    names = {"aaaaaaaaaaa": ["Same title.mp4"], "bbbbbbbbbbb": ["Same title.mp4"]}
    found = match_videos(["aaaaaaaaaaa"], ["Same title.mp4"], names).matches["aaaaaaaaaaa"]
    assert found.reason is Reason.AMBIGUOUS_SOURCE
    assert found.detail == (
        "'Same title.mp4' matches 2 videos by filename: aaaaaaaaaaa, bbbbbbbbbbb"
    )


def test_a_file_that_is_another_videos_is_not_taken() -> None:
    names = {"aaaaaaaaaaa": ["Ｗhat.mp4"], "bbbbbbbbbbb": ["What.mp4"]}
    matches = match_videos(names, ["What.mp4"], names).matches
    assert matches["bbbbbbbbbbb"] == Match("What.mp4", "filename")
    assert matches["aaaaaaaaaaa"].reason is Reason.MISSING_SOURCE
    assert matches["aaaaaaaaaaa"].detail == (
        "no file name contains the id aaaaaaaaaaa or equals 'Ｗhat.mp4' of info.csv; 'What.mp4' is "
        "similar, but belongs to bbbbbbbbbbb"
    )
    # Also where the other one is only in the table, or bears its id.
    known = {"aaaaaaaaaaa": ["x [bbbbbbbbbbb].mp4"], "bbbbbbbbbbb": ["y.mp4"]}
    taken = match_videos(["aaaaaaaaaaa"], ["x [bbbbbbbbbbb].mp4"], known).matches["aaaaaaaaaaa"]
    assert taken.reason is Reason.MISSING_SOURCE


def test_a_file_that_two_may_own_is_given_to_no_third() -> None:
    names = {"aaaaaaaaaaa": ["x.mp4"], "bbbbbbbbbbb": ["x.mp4"], "ccccccccccc": ["ｘ.mp4"]}
    matches = match_videos(names, ["x.mp4"], names).matches
    assert [matches[vid].reason for vid in names] == [
        Reason.AMBIGUOUS_SOURCE,
        Reason.AMBIGUOUS_SOURCE,
        Reason.MISSING_SOURCE,
    ]


def test_what_is_missing_says_what_was_looked_for() -> None:
    assert match_one("a", []).detail == "no file name contains the id a"
    found = match_one("a", ["y.mp4"], {"a": ["x.mp4"]})
    assert found.detail == "no file name contains the id a or equals 'x.mp4' of info.csv"


@pytest.mark.parametrize(
    "path", ["a\n [-QT_9NhQUsA].mp4", "b\\-QT_9NhQUsA.mp4", "\udcff/-QT_9NhQUsA.mp4"]
)
def test_a_name_that_no_catalog_can_hold_is_reported(path: str) -> None:
    found = match_one(ID, [path] if "\\" not in path else [f"x\\ [{ID}].mp4"])
    assert found.reason is Reason.BAD_NAME
    assert found.path == ""
    assert found.detail.isprintable()
    found.detail.encode()


def test_files_that_nothing_names_are_told_from_those_that_are_claimed() -> None:
    paths = [f"{ID}.mp4", "a/x.mp4", "b/x.mp4", "spare.mp4", "elsewhere.mp4"]
    names = {"aaaaaaaaaaa": ["x.mp4"], "bbbbbbbbbbb": ["elsewhere.mp4"]}
    matching = match_videos([ID, "aaaaaaaaaaa"], paths, names)
    assert matching.claimed == {f"{ID}.mp4", "a/x.mp4", "b/x.mp4"}


@pytest.mark.parametrize(
    "written",
    [
        "clips/a_0_1.mp4",
        "./clips//a_0_1.mp4",
        "../out/clips/a_0_1.mp4",
        "/mnt/disk/out/clips/a_0_1.mp4",
        "C:\\out\\clips\\a_0_1.mp4",
    ],
)
def test_clips_are_found_by_the_end_of_their_path(written: str) -> None:
    paths = ["clips/a_0_1.mp4", "other/a_0_1.mp4", "clips/a_0_10.mp4"]
    assert match_clips([written], paths).matches[written] == Match("clips/a_0_1.mp4", "path")


def test_clips_are_found_in_their_own_folder() -> None:
    assert match_clips(["clips/a.mp4"], ["a.mp4"]).matches["clips/a.mp4"].path == "a.mp4"


@pytest.mark.parametrize("written", ["a_0_1.mp4", "x/a_0_1.mp4", "", "..", "clips", "a_0_1"])
def test_clips_are_not_guessed(written: str) -> None:
    found = match_clips([written], ["clips/a_0_1.mp4", "b.mp4"]).matches[written]
    assert found == Match(
        reason=Reason.MISSING_SOURCE, detail=f"no file {written!r} in the folder of clips"
    )


def test_two_paths_that_end_alike_are_not_decided() -> None:
    matches = match_clips(["/one/a.mp4", "/two/a.mp4"], ["a.mp4"]).matches
    assert {match.reason for match in matches.values()} == {Reason.AMBIGUOUS_SOURCE}
    exact = match_clips(["a.mp4", "/two/a.mp4"], ["a.mp4"]).matches
    assert exact["a.mp4"].path == "a.mp4"
    assert exact["/two/a.mp4"].reason is Reason.MISSING_SOURCE


@pytest.mark.parametrize(
    "name",
    ["aaaaaaaaaaa_720p.mp4", "aaaaaaaaaaa (1).mp4", "720p-aaaaaaaaaaa_x.mkv", "x aaaaaaaaaaa y.gif",
     "[aaaaaaaaaaa] title.mp4"],
)  # fmt: skip
def test_a_file_that_contains_an_id_in_another_way_is_named_and_not_taken(name: str) -> None:
    matching = match_videos(["aaaaaaaaaaa", "bbbbbbbbbbb"], [f"x/{name}"], {})
    found = matching.matches["aaaaaaaaaaa"]
    assert (found.path, found.reason) == ("", Reason.MISSING_SOURCE)
    assert found.detail == (
        f"no file is named by the id aaaaaaaaaaa, but these contain it: {f'x/{name}'!r}; rename the "
        f"right one to aaaaaaaaaaa with its extension, or name it in info.csv"
    )
    other = matching.matches["bbbbbbbbbbb"].detail
    assert other == "no file name contains the id bbbbbbbbbbb"


@pytest.mark.parametrize("name", ["aaaaaaaaaaab.mp4", "xaaaaaaaaaaa_720p.mp4", "aaaa.mp4", "b.mp4"])
def test_an_id_within_a_longer_word_is_not_an_id(name: str) -> None:
    detail = match_videos(["aaaaaaaaaaa"], [name], {}).matches["aaaaaaaaaaa"].detail
    assert detail == "no file name contains the id aaaaaaaaaaa"
