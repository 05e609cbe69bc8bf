"""Explain missing files of videos by links and unusable rows of `info.csv`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from medassets.errors import Reason
from medassets.video.catalog.info_table import InfoProblem
from medassets.video.catalog.listing import LinksOut
from medassets.video.catalog.matching import Match, Matching

MatchPaths = Callable[[Sequence[str], Sequence[str]], Matching]
"""Matches videos to paths, as the files of the folder were matched."""

_NUM_SHOWN = 3


def explain_missing(
    matching: Matching,
    *,
    find_links: Callable[[], LinksOut],
    match: MatchPaths,
    problems: Iterable[InfoProblem] = (),
) -> Matching:
    """Return the same with explanations that name the link or row that causes it.

    Args:
        matching: Result of matching all videos.
        find_links: Lists links that are not followed; called only if a video is missing.
        match: Matches videos to the names of such links.
        problems: Rows of `info.csv` that could not be used.
    """
    missing = [v for v, m in matching.matches.items() if m.reason is Reason.MISSING_SOURCE]
    if not missing:
        return matching
    links = find_links()
    blamed = _blame_links(missing, links, match)
    rows = {problem.vid: problem for problem in reversed(list(problems)) if problem.vid}
    notes = _note_folders(links.folders)
    explained = dict(matching.matches)
    for vid in missing:
        detail = blamed.get(vid) or f"{explained[vid].detail}{_note_row(rows.get(vid))}{notes}"
        explained[vid] = replace(explained[vid], detail=detail)
    return replace(matching, matches=explained)


def _blame_links(missing: Sequence[str], links: LinksOut, match: MatchPaths) -> Mapping[str, str]:
    """Return explanations for videos whose file is behind a link."""
    blamed: dict[str, str] = {}
    if links.broken:
        for vid, path in _find_paths(match(missing, links.broken).matches):
            blamed[vid] = f"its file is a broken link: {path!r}"
    if links.files:
        for vid, path in _find_paths(match(missing, links.files).matches):
            blamed[vid] = (
                f"its file is a link out of the folder, which is not followed: {path!r}; put the "
                f"file into the folder, or declare the folder that contains it"
            )
    return blamed


def _find_paths(matches: Mapping[str, Match]) -> Iterable[tuple[str, str]]:
    return ((vid, found.path) for vid, found in matches.items() if found.path)


def _note_row(problem: InfoProblem | None) -> str:
    if problem is None:
        return ""
    return f"; row {problem.row} of info.csv, which names it, cannot be used: {problem.detail}"


def _note_folders(folders: Sequence[str]) -> str:
    if not folders:
        return ""
    more = f" and {len(folders) - _NUM_SHOWN} more" if len(folders) > _NUM_SHOWN else ""
    shown = ", ".join(map(repr, folders[:_NUM_SHOWN]))
    return f"; linked folders are not searched: {shown}{more}"
