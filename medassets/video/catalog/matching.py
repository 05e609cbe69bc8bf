"""Find the file of each video: by the id in its name, by its name in `info.csv`, by its title.

Stronger levels are matched first, for all videos, and a file belongs to one video: an exact match
wins over similar titles of other videos. The weakest level ignores case and punctuation. Two
candidates are ambiguous; none is chosen.
"""

import html
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from medassets.errors import CatalogError, Reason
from medassets.storage.paths import check_member_path
from medassets.video.catalog.info_table import YOUTUBE_ID
from medassets.video.catalog.listing import strip_extension

Claims = dict[str, list[str]]
"""Video -> files that match it."""

# NFKC handles the other full-width characters that downloaders use for forbidden ones.
_SLASHES = str.maketrans({"\u29f8": "/", "\u29f9": "\\"})
# Symbols, but no file system of Windows takes them: downloaders write others for them.
_FORBIDDEN_SYMBOLS = frozenset("<>|")
# They choose between the coloured and the plain form of the character before.
_VARIATION_SELECTORS = frozenset(map(chr, range(0xFE00, 0xFE10)))
_NUM_SHOWN = 5


def match_videos(
    vids: Iterable[str], paths: Collection[str], filenames: Mapping[str, Sequence[str]]
) -> "Matching":
    """Find the file of each video, or the reason why there is none.

    Args:
        vids: Wanted videos.
        paths: Files of the folder, see `list_videos`.
        filenames: Video -> names of its file, from `info.csv`. Other videos of it are matched, too,
            so that their files are not assigned to wanted ones.
    """
    wanted = dict.fromkeys(vids)
    matcher = _Matcher(dict.fromkeys([*wanted, *filenames]))
    matcher.match("id", _claim_by_id(paths, matcher.open))
    for level, spell, whole_paths in _LEVELS:
        names = {vid: filenames[vid] for vid in matcher.open if vid in filenames}
        matcher.match(level, _claim_by_name(paths, names, spell, whole_paths=whole_paths))
    similar = _find_similar(paths, matcher.open)
    for vid in matcher.open:
        searched = _describe_search(vid, filenames.get(vid, ()), similar.get(vid, ()))
        matcher.give_up(vid, searched)
    return matcher.result(wanted)


def match_clips(clip_paths: Iterable[str], paths: Collection[str]) -> "Matching":
    """Find the files of clips by their paths, or the reasons why there are none.

    Leading folders of a path that was written on another machine, or from another folder, are
    removed until a file is found.

    Args:
        clip_paths: Paths in `text_video_pairs.json`.
        paths: Files of the folder, see `list_videos`.
    """
    wanted = dict.fromkeys(clip_paths)
    known = frozenset(paths)
    matcher = _Matcher(wanted)
    matcher.match("path", {path: [path] for path in wanted if path in known})
    shortened = {path: _find_tail(path, known) for path in matcher.open}
    matcher.match("path", {path: [tail] for path, tail in shortened.items() if tail})
    for path in matcher.open:
        matcher.give_up(path, f"no file {path!r} in the folder of clips")
    return matcher.result(wanted)


def find_named_id(path: str, known: Collection[str]) -> str | None:
    """Return the video whose id is in a file name: `ID.mp4`, `Title [ID].mp4` or `Title-ID.mp4`.

    Args:
        path: File, with forward slashes.
        known: Ids of videos. An id that is not from YouTube must be the whole name.
    """
    stem = strip_extension(path.rpartition("/")[2])
    if stem in known:
        return stem
    inside = stem[-12:-1] if stem.endswith("]") and stem[-13:-12] == "[" else ""
    behind = stem[-11:] if stem[-12:-11] == "-" else ""
    found = inside or behind
    return found if found in known and YOUTUBE_ID.fullmatch(found) else None


def normalize_title(title: str) -> str:
    """Normalize a title so that all spellings used for file names are equal.

    Applies NFKC, decodes HTML entities and folds white space.
    """
    plain = html.unescape(html.unescape(unicodedata.normalize("NFKC", title)))
    return " ".join(unicodedata.normalize("NFKC", plain).translate(_SLASHES).split())


def fold_title(title: str) -> str:
    """Fold a title so that spellings of other case, punctuation, spacing or Unicode form are equal.

    Letters, digits, accents and other symbols (`+`, `$`, emoji) stay. Digits that were apart stay
    apart: parts `1-2` and `12` are two titles.
    """
    folded: list[str] = []
    is_apart = False
    # The capital of a folded character may have another normal form (Unicode 3.13, D145).
    for char in unicodedata.normalize("NFKC", normalize_title(title).casefold()):
        if _separates(char):
            is_apart = True
            continue
        if is_apart and char.isdigit() and folded and folded[-1].isdigit():
            folded.append(" ")
        folded.append(char)
        is_apart = False
    return unicodedata.normalize("NFC", "".join(folded))


def _separates(char: str) -> bool:
    is_mark = unicodedata.category(char)[0] in "PZC" or char in _FORBIDDEN_SYMBOLS
    return is_mark or char in _VARIATION_SELECTORS


def _claim_by_id(paths: Iterable[str], known: Collection[str]) -> Claims:
    claims: Claims = {}
    for path in paths:
        if (vid := find_named_id(path, known)) is not None:
            claims.setdefault(vid, []).append(path)
    return claims


def _claim_by_name(
    paths: Iterable[str],
    names: Mapping[str, Sequence[str]],
    spell: Callable[[str], str],
    *,
    whole_paths: bool,
) -> Claims:
    wanted: dict[str, list[str]] = {}
    for vid, spellings in names.items():
        for name in dict.fromkeys(filter(None, map(spell, spellings))):
            wanted.setdefault(name, []).append(vid)
    claims: Claims = {}
    for path in paths if wanted else ():
        spelled = {spell(path.rpartition("/")[2])} | ({spell(path)} if whole_paths else set())
        for vid in dict.fromkeys(vid for name in spelled for vid in wanted.get(name, ())):
            claims.setdefault(vid, []).append(path)
    return claims


def _find_tail(path: str, known: Collection[str]) -> str | None:
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
    tails = ("/".join(parts[i:]) for i in range(len(parts)))
    return next((tail for tail in tails if tail in known), None)


def _find_similar(paths: Iterable[str], vids: Collection[str]) -> Claims:
    """Return the files whose names contain an id in another way than `find_named_id` accepts.

    An id that is part of a longer word is not found.
    """
    lengths = {len(vid) for vid in vids}
    found: Claims = {}
    for path in paths if vids else ():
        stem = strip_extension(path.rpartition("/")[2])
        starts = [i for i in range(len(stem)) if not i or not stem[i - 1].isalnum()]
        for start, length in product(starts, lengths):
            stop, vid = start + length, stem[start : start + length]
            if vid in vids and not stem[stop : stop + 1].isalnum():
                found.setdefault(vid, []).append(path)
    return found


def _describe_search(vid: str, filenames: Sequence[str], similar: Sequence[str]) -> str:
    names = f" or equals {_show(filenames)} of info.csv" if filenames else ""
    if not similar:
        return f"no file name contains the id {vid}{names}"
    return (
        f"no file is named by the id {vid}{names}, but these contain it: {_show(similar)}; rename the "
        f"right one to {vid} with its extension, or name it in info.csv"
    )


def _show(names: Sequence[str], *, quote: Callable[[str], str] = repr) -> str:
    shown = ", ".join(map(quote, sorted(names)[:_NUM_SHOWN]))
    return f"{shown} and {len(names) - _NUM_SHOWN} more" if len(names) > _NUM_SHOWN else shown


def _is_usable(path: str) -> bool:
    try:
        check_member_path(path).encode()
    except (CatalogError, UnicodeEncodeError):
        return False
    return True


def _spell_title(name: str) -> str:
    return normalize_title(strip_extension(name))


def _spell_folded(name: str) -> str:
    return fold_title(strip_extension(name))


_LEVELS: tuple[tuple[str, Callable[[str], str], bool], ...] = (
    ("filename", str, True),
    ("filename", strip_extension, True),
    # A slash in a title is not a folder.
    ("title", _spell_title, False),
    ("folded_title", _spell_folded, False),
)


@dataclass(frozen=True, slots=True)
class Match:
    """The file of a video, or the reason why there is none.

    Attributes:
        path: The file; empty if there is none.
        matched_by: `id`, `filename`, `title`, `folded_title` or `path`; None if there is no file.
        reason: Why it cannot be used, None if it can.
        detail: Explanation of the reason; empty without one.
    """

    path: str = ""
    matched_by: str | None = None
    reason: Reason | None = None
    detail: str = ""


@dataclass(frozen=True)
class Matching:
    """The files of all videos.

    Attributes:
        matches: Wanted video -> its file or the reason, in the given order.
        claimed: Files that match a wanted video.
    """

    matches: Mapping[str, Match] = field(repr=False)
    claimed: frozenset[str] = field(repr=False)


class _Matcher:
    """Assigns files to videos, level by level."""

    def __init__(self, videos: Iterable[str]) -> None:
        self.open = dict.fromkeys(videos)
        self._matches: dict[str, Match] = {}
        self._owners: dict[str, list[str]] = {}
        self._taken: dict[str, str] = {}

    def match(self, level: str, claims: Claims) -> None:
        """Match videos with a file at this level; the others stay open."""
        free: Claims = {}
        claimants: dict[str, list[str]] = {}
        for vid, paths in claims.items():
            free[vid] = [path for path in paths if path not in self._owners]
            for path in free[vid]:
                claimants.setdefault(path, []).append(vid)
            if not free[vid]:
                self._taken.setdefault(vid, paths[0])
        for vid, paths in free.items():
            if paths:
                self._matches[vid] = _decide(level, paths, claimants[paths[0]])
                del self.open[vid]
        self._owners.update(claimants)

    def give_up(self, vid: str, searched: str) -> None:
        """Mark a video as missing."""
        note = ""
        if (path := self._taken.get(vid)) is not None:
            owners = _show(self._owners[path], quote=str)
            note = f"; {path!r} is similar, but belongs to {owners}"
        self._matches[vid] = Match(reason=Reason.MISSING_SOURCE, detail=f"{searched}{note}")

    def result(self, wanted: Iterable[str]) -> Matching:
        """Return the result for the wanted videos."""
        matches = {vid: self._matches[vid] for vid in wanted}
        owned = (path for path, owners in self._owners.items() if any(o in matches for o in owners))
        return Matching(matches, frozenset(owned))


def _decide(level: str, paths: Sequence[str], claimants: Sequence[str]) -> Match:
    if len(paths) > 1:
        detail = f"{len(paths)} files match by {level}: {_show(paths)}"
        return Match(reason=Reason.AMBIGUOUS_SOURCE, detail=detail)
    if len(claimants) > 1:
        videos = _show(claimants, quote=str)
        detail = f"{paths[0]!r} matches {len(claimants)} videos by {level}: {videos}"
        return Match(reason=Reason.AMBIGUOUS_SOURCE, detail=detail)
    if not _is_usable(paths[0]):
        detail = (
            f"its file {paths[0]!r} has a name with control characters, backslashes or bytes that "
            f"are not UTF-8; rename it"
        )
        return Match(reason=Reason.BAD_NAME, detail=detail)
    return Match(path=paths[0], matched_by=level)
