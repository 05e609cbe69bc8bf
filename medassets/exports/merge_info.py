"""Several exports as one dataset for the trainer: their `dataset_info.json` merged."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medassets.errors import CatalogError, MedassetsError, UsageError
from medassets.exports.clip4mc import Clip4mcFormat
from medassets.exports.dataset_info import (
    SPLITS,
    check_absolute,
    encode_dataset_info,
    read_dataset_info,
)
from medassets.exports.journal import open_journal
from medassets.exports.survey import is_index_as_written
from medassets.exports.target import open_folder
from medassets.storage.made_file import MadeFile

_SAMPLE_NAME = re.compile(r"sample_[0-9]+_(.+)")
# Searching for whole videos that make up a number takes the product of both.
_SEARCHED_SAMPLES, _SEARCHED_VIDEOS = 1000, 2000


@dataclass(frozen=True, kw_only=True)
class MergeResult:
    """What a merge found and wrote.

    Attributes:
        listed: Split -> folders listed.
        repeated: Folders that were named more than once, and are listed once.
        moved: Folders that were moved from train to val.
        parted: The one video that this merge divided, None if only whole ones moved.
        leaks: Video that is in more than one split -> split -> number of folders, from any export,
            `parted` included; sorted by id.
        absent: Folders that do not exist.
    """

    listed: dict[str, int]
    repeated: int
    moved: int
    parted: str | None
    leaks: dict[str, dict[str, int]]
    absent: list[str]


def merge_infos(
    infos: Sequence[Path],
    out: Path,
    *,
    val_count: int = 0,
    seed: int = 0,
    relative: bool = False,
) -> MergeResult:
    """Write one `dataset_info.json` for the samples of several.

    Entries are found from the folder of the file that names them. Order stays: file by file, as each
    lists them.

    Args:
        infos: Files to merge; one is enough to take `val` from it, or to change its paths.
        out: The merged file, which may be one of `infos`; replaced atomically if an earlier merge or
            the export in its folder wrote it and it was not changed since.
        val_count: Samples of train that become val, beside those that are val already; see
            `choose_val`.
        seed: Seed of that choice.
        relative: Write paths as seen from the folder of the merged file; otherwise absolute ones, so
            that a trainer finds them from any folder.

    Raises:
        CatalogError: If a file is malformed, or two name one folder for different splits.
        UsageError: If train has not more than `val_count` samples, `out` cannot be written, or the
            path of a folder is not UTF-8 and `relative` is False.
    """
    for info in () if relative else infos:
        check_absolute(info.parent, field="INFO")
    merged, repeated = _collect(infos)
    splits = {split: [f for f, s in merged.items() if s == split] for split in SPLITS}
    if not 0 <= val_count <= max(len(splits["train"]) - 1, 0):
        has = len(splits["train"])
        what = f"expected less than the {has} samples of train, got {val_count}"
        raise UsageError(field="--val-count", what=what)
    others = {split: {_video_of(f) for f in splits[split]} for split in ("val", "test")}
    chosen, parted = choose_val(splits["train"], val_count, seed=seed, **others)
    splits["val"] += [folder for folder in splits["train"] if folder in chosen]
    splits["train"] = [folder for folder in splits["train"] if folder not in chosen]
    home = out.parent.resolve()
    written = {
        split: [os.path.relpath(folder, home) if relative else folder for folder in folders]
        for split, folders in splits.items()
    }
    _publish(out, encode_dataset_info(written))
    return MergeResult(
        listed={split: len(folders) for split, folders in splits.items()},
        repeated=repeated,
        moved=len(chosen),
        parted=parted,
        leaks=_find_leaks(splits),
        absent=[folder for folder in merged if not Path(folder).is_dir()],
    )


def choose_val(
    train: Sequence[str],
    count: int,
    *,
    seed: int,
    val: Collection[str] = (),
    test: Collection[str] = (),
) -> tuple[set[str], str | None]:
    """Choose exactly `count` samples of train, whole videos wherever some make up that number.

    Videos that val has already come first, those that test has last, and otherwise in the order of
    a seeded hash of their id. Where no whole videos have as many samples, one video is divided.

    Args:
        train: Folders; a name `sample_<number>_<vid>` tells the video, any other is its own.
        count: Samples to choose, less than there are.
        seed: Seed of the hash.
        val: Videos of val.
        test: Videos of test.

    Returns:
        The chosen folders, and the id of the video that was divided.
    """
    videos: dict[str, list[str]] = {}
    for folder in train:
        videos.setdefault(_video_of(folder), []).append(folder)

    def place(vid: str) -> tuple[int, bytes]:
        digest = hashlib.sha256(f"{seed}:{vid}".encode()).digest()
        return (0 if vid in val else 2 if vid in test else 1), digest

    chosen: list[str] = []
    left: list[str] = []
    missing = count
    for vid in sorted(videos, key=place):
        # The last ones are searched for; those of val and, far from the end, all are just taken.
        is_taken = vid in val or missing - len(videos[vid]) > _SEARCHED_SAMPLES
        if is_taken and len(videos[vid]) <= missing:
            chosen.append(vid)
            missing -= len(videos[vid])
        else:
            left.append(vid)
    found = _make_up({vid: len(videos[vid]) for vid in left[:_SEARCHED_VIDEOS]}, missing)
    folders = {folder for vid in [*chosen, *found] for folder in videos[vid]}
    if len(folders) == count:
        return folders, None
    missing = count - len(folders)
    # Had it no more clips than are missing, it would have been found.
    parted = next(vid for vid in left if vid not in found and len(videos[vid]) > missing)
    return folders | set(videos[parted][:missing]), parted


def _make_up(sizes: Mapping[str, int], total: int) -> set[str]:
    """Return videos whose sizes add up to a total, or come nearest from below; early ones first."""
    last: dict[int, tuple[str, int]] = {}
    sums = [0]
    for vid, size in sizes.items():
        if total in last:
            break
        for before in sums[:]:
            if (reached := before + size) <= total and reached not in last:
                last[reached] = (vid, before)
                sums.append(reached)
    found: set[str] = set()
    at = max(sums)
    while at:
        vid, at = last[at]
        found.add(vid)
    return found


def _find_leaks(splits: Mapping[str, Sequence[str]]) -> dict[str, dict[str, int]]:
    """Return the videos of more than one split, with how many folders of theirs each lists."""
    counts = {split: Counter(map(_video_of, folders)) for split, folders in splits.items()}
    seen = Counter(vid for count in counts.values() for vid in count)
    return {
        vid: {split: count[vid] for split, count in counts.items() if vid in count}
        for vid in sorted(vid for vid, number in seen.items() if number > 1)
    }


def _publish(out: Path, content: bytes) -> None:
    open_folder(out.parent, "--out")
    try:
        MadeFile(out, is_ours=_is_index_of_export).publish(content)
    except MedassetsError:
        raise
    except OSError as error:
        raise UsageError(field="--out", what=f"cannot write {out}: {error.strerror}") from error


def _is_index_of_export(path: Path) -> bool:
    """Tell whether a file is the index of the export in its folder, as that wrote it."""
    try:
        with open_journal(path.parent) as journal:
            form = Clip4mcFormat()
            is_same = (journal.format, path.name) == (form.name, form.index_name)
            return is_same and is_index_as_written(path, form, journal)
    except (FileNotFoundError, CatalogError):
        return False


def _video_of(folder: str) -> str:
    match = _SAMPLE_NAME.fullmatch(Path(folder).name)
    return match[1] if match else folder


def _collect(infos: Sequence[Path]) -> tuple[dict[str, str], int]:
    """Return absolute folder -> split, and how many were named again."""
    merged: dict[str, str] = {}
    repeated = 0
    for info in infos:
        home = info.parent.resolve()
        for split, folders in read_dataset_info(info).items():
            for folder in folders:
                place = os.path.normpath(home / folder)
                if merged.setdefault(place, split) != split:
                    msg = (
                        f"{info}: field {split!r}: {folder!r} is in {merged[place]} already; a "
                        f"sample belongs to one split"
                    )
                    raise CatalogError(msg)
                repeated += 1
    return merged, repeated - len(merged)
