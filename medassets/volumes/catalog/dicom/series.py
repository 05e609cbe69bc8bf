"""Files grouped into series, and each series judged as a whole: it is never silently short of a slice."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from medassets.errors import Reason
from medassets.storage.checksums import sha256_bytes, sha256_file
from medassets.volumes.catalog.dicom.judging import LEFT_OUT, Problem, is_cut, is_image, judge_file
from medassets.volumes.catalog.dicom.scan import ScannedFile
from medassets.volumes.catalog.dicom.stacking import Stack, read_header, stack_files

_HASH_DIGITS = 16
_KEY = "series-"


@dataclass(frozen=True)
class SeriesRules:
    """What of the declaration decides which files make a volume.

    Attributes:
        modalities: Accepted modalities.
        accept_derived: Accept images whose ImageType says DERIVED.
        needs_rescaling: Whether slices must state RescaleSlope and RescaleIntercept.
    """

    modalities: tuple[str, ...] = ("CT",)
    accept_derived: bool = False
    needs_rescaling: bool = True


@dataclass(frozen=True)
class Series:
    """All files of one series.

    Attributes:
        key: Short hash; no name can be read from it.
        files: All of them.
        stacks: The volumes that they make.
        excluded: Reason -> sentence and number of files that are in no volume.
        has_uid: Whether files state a SeriesInstanceUID.
    """

    key: str
    files: tuple[ScannedFile, ...] = field(repr=False)
    stacks: tuple[Stack, ...]
    excluded: Mapping[Reason, tuple[str, int]]
    has_uid: bool

    @property
    def is_whole(self) -> bool:
        """Whether every file of the series is in its only volume."""
        return len(self.stacks) == 1 and not self.excluded


def group_series(top: Path, files: Sequence[ScannedFile], rules: SeriesRules) -> list[Series]:
    """Group files into series, and judge each.

    Args:
        top: Top of the source; pixels are read only where slices repeat a position.
        files: Files with their headers.
        rules: Which of them are accepted.
    """
    uids = {file.path: file.header["series_uid"] for file in files if file.header is not None}
    files = [_mark_cut(file, rules) for file in files]
    groups: dict[tuple[str, ...], list[ScannedFile]] = {}
    for file in files:
        if file.header is not None:
            groups.setdefault(_identify(file), []).append(file)
    damaged = _assign_damaged(groups, [one for one in files if one.header is None], uids)
    found = [
        _judge_series(top, name, group, rules, damaged.get(name, []))
        for name, group in groups.items()
    ]
    assigned = {file.path for group in damaged.values() for file in group}
    lost = [file for file in files if file.header is None and file.path not in assigned]
    return [*_exclude_copies(found), *(_lone(file) for file in lost)]


def exclude_unsettled(
    series: Sequence[Series], keys: Collection[str], moved: Iterable[ScannedFile]
) -> list[Series]:
    """Leave out series whose files come and go while they are listed: they may be short of slices.

    Args:
        series: What was found.
        keys: Keys of series that are being deleted, or whose deletion was interrupted.
        moved: Files that appeared or vanished between two listings.
    """
    groups = {_identify(file) for file in moved if file.header is not None}
    found: list[Series] = []
    for one in series:
        is_moved = groups and any(f.header and _identify(f) in groups for f in one.files)
        if one.key in keys:
            what = "its deletion is under way, or was interrupted: `medassets reclaim` ends it"
        else:
            what = "files of it appeared or vanished while they were listed; plan again"
        if one.key in keys or is_moved:
            excluded = {Reason.MISSING_SOURCE: (what, len(one.files))}
            found.append(replace(one, stacks=(), excluded=excluded))
        else:
            found.append(one)
    return found


def _mark_cut(file: ScannedFile, rules: SeriesRules) -> ScannedFile:
    """Return a file whose header is cut as one without a header: its last element may be cut as well."""
    header = file.header
    if header is None or not is_cut(header, rules.modalities):
        return file
    return replace(file, header=None, problem=(Reason.CORRUPT_DICOM, header.pixel_problem))


def _identify(file: ScannedFile) -> tuple[str, ...]:
    """Return what files of one series share; an empty text is absent."""
    header = file.header
    assert header is not None
    if header["series_uid"]:
        return ("uid", header["series_uid"])
    names = ("study_uid", "patient_id", "series_number", "modality", "kernel")
    return ("folder", file.folder, *(header[name] for name in names))


def _assign_damaged(
    groups: Mapping[tuple[str, ...], Sequence[ScannedFile]],
    damaged: Iterable[ScannedFile],
    uids: Mapping[str, str],
) -> dict[tuple[str, ...], list[ScannedFile]]:
    """Return damaged files by the series that they name, or else the only one of their folder."""
    by_folder: dict[str, set[tuple[str, ...]]] = {}
    for name, group in groups.items():
        for file in group:
            by_folder.setdefault(file.folder, set()).add(name)
    found: dict[tuple[str, ...], list[ScannedFile]] = {}
    for file in damaged:
        named = ("uid", uids.get(file.path, ""))
        names = {named} if named in groups else by_folder.get(file.folder, set())
        if len(names) == 1:
            found.setdefault(next(iter(names)), []).append(file)
    return found


def _judge_series(
    top: Path,
    name: tuple[str, ...],
    files: Sequence[ScannedFile],
    rules: SeriesRules,
    damaged: Sequence[ScannedFile],
) -> Series:
    has_uid = name[0] == "uid"
    key = _make_key(name[1]) if has_uid else _make_key(_describe_content(top, files))
    problems = {file.path: _judge(file, rules) for file in files}
    problems |= {file.path: file.problem for file in damaged}
    everything = (*files, *damaged)
    left_out = [p for p in problems.values() if p is not None and p[0] in LEFT_OUT]
    excluded = _count(left_out)
    troubles = [p for p in problems.values() if p is not None and p[0] not in LEFT_OUT]
    slices = [file for file in files if problems[file.path] is None]
    num_rest = len(everything) - len(left_out)
    stacks: tuple[Stack, ...] = ()
    if troubles and num_rest:
        (reason, (detail, number)) = next(iter(_count(troubles).items()))
        excluded[reason] = (f"{number:,} of {num_rest:,} slices: {detail}", num_rest)
    elif slices:
        problem = _find_conflict(slices, files, rules)
        found = problem or stack_files(top, key, slices)
        if isinstance(found[0], Reason):
            excluded[found[0]] = (str(found[1]), len(slices))
        else:
            stacks = tuple(one for one in found if isinstance(one, Stack))
    return Series(key, everything, stacks, excluded, has_uid)


def _judge(file: ScannedFile, rules: SeriesRules) -> Problem | None:
    assert file.header is not None
    return judge_file(file.header, modalities=rules.modalities, accept_derived=rules.accept_derived)


def _count(problems: Iterable[Problem]) -> dict[Reason, tuple[str, int]]:
    """Return reason -> its first sentence and how many files have it, the most frequent first."""
    counts = Counter(reason for reason, _ in problems)
    first: dict[Reason, str] = {}
    for reason, detail in problems:
        first.setdefault(reason, detail)
    return {reason: (first[reason], number) for reason, number in counts.most_common()}


def _find_conflict(
    slices: Sequence[ScannedFile], files: Sequence[ScannedFile], rules: SeriesRules
) -> Problem | None:
    """Return what slices of one volume, or all files of a series, cannot differ in, and these do."""
    headers = [read_header(file) for file in slices]
    images = [header for file in files if is_image(header := read_header(file))]
    several = (("patient_id", "patients"), ("study_uid", "studies"), ("modality", "modalities"))
    for name, what in several:
        if len({header[name] for header in images}) > 1:
            return Reason.AMBIGUOUS_SOURCE, f"slices of one series name several {what}"
    if len({header.shape for header in headers}) > 1:
        return Reason.MIXED_SLICES, "slices differ in Rows or Columns"
    if len({header.pixel_spacing for header in headers}) > 1:
        return Reason.MIXED_SLICES, "slices differ in PixelSpacing"
    if rules.needs_rescaling and any(h.slope is None or h.intercept is None for h in headers):
        what = "RescaleSlope or RescaleIntercept is not stated; declare `hu_rule: none` if stored values are HU"
        return Reason.HU_RULE_MISSING, what
    kinds = {header["rescale_type"].upper() for header in headers} - {"", "HU", "US"}
    if kinds and rules.needs_rescaling:
        shown = ", ".join(sorted(kind[:16] for kind in kinds))
        return Reason.HU_RULE_CONFLICT, f"RescaleType is {shown}, expected HU"
    return None


def _describe_content(top: Path, files: Sequence[ScannedFile]) -> str:
    """Return what tells a series without a UID from others: where its slices are, and the bytes of one."""
    told = {
        file.path: f"{read_header(file).position} {read_header(file).shape} {file.version[0]}"
        for file in files
    }
    first = min(files, key=lambda file: (told[file.path], file.path))
    try:
        digest = sha256_file(top / first.path)
    except OSError:
        digest = ""
    return "\n".join([*sorted(told.values()), digest])


def _make_key(identity: str) -> str:
    return f"{_KEY}{sha256_bytes(identity.encode())[:_HASH_DIGITS]}"


def _exclude_copies(series: Sequence[Series]) -> list[Series]:
    """Of series without a UID whose content is the same, keep the first: the others are copies of it."""
    seen: Counter[str] = Counter()
    found: list[Series] = []
    for one in series:
        seen[one.key] += 1
        if seen[one.key] == 1:
            found.append(one)
            continue
        excluded = {Reason.DUPLICATE_ROW: ("a copy of another series", len(one.files))}
        key = f"{one.key}-copy-{seen[one.key] - 1}"
        found.append(Series(key, one.files, (), excluded, one.has_uid))
    return found


def _lone(file: ScannedFile) -> Series:
    assert file.problem is not None
    reason, detail = file.problem
    key = _make_key(f"{file.version} {reason} {sha256_bytes(file.path.encode())}")
    return Series(key, (file,), (), {reason: (detail, 1)}, has_uid=False)
