"""Several exports as one dataset for the trainer: their `dataset_info.json` merged."""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medassets.errors import CatalogError, SpecError
from medassets.exports.dataset_info import SPLITS, encode_dataset_info, read_dataset_info
from medassets.exports.target import open_folder
from medassets.storage.atomic import publish_bytes

_SAMPLE_NAME = re.compile(r"sample_[0-9]+_(.+)")


@dataclass(frozen=True, kw_only=True)
class MergeResult:
    """What a merge found and wrote.

    Attributes:
        listed: Split -> folders listed.
        repeated: Folders that were named more than once, and are listed once.
        moved: Folders that went from train to val.
        parted: The one video that has clips on both sides, None where every video is on one.
        absent: Folders that are not there.
    """

    listed: dict[str, int]
    repeated: int
    moved: int
    parted: str | None
    absent: list[str]


def merge_infos(
    infos: Sequence[Path],
    out: Path,
    *,
    val_count: int = 0,
    seed: int = 0,
    absolute: bool = False,
) -> MergeResult:
    """Write one `dataset_info.json` for the samples of several.

    Entries are found from the folder of the file that names them, and written as seen from the
    folder of the merged one. Order stays: file by file, as each lists them.

    Args:
        infos: Files to merge; one is enough to take `val` from it, or to make its paths absolute.
        out: The merged file; replaced atomically, and may be one of `infos`.
        val_count: Samples of train that become val, beside those that are val already; see
            `choose_val`.
        seed: Seed of that choice.
        absolute: Write absolute paths, so that a trainer finds them from any folder.

    Raises:
        CatalogError: If a file is malformed, or two name one folder for different splits.
        SpecError: If train has not more than `val_count` samples, or `out` cannot be written.
    """
    merged, repeated = _collect(infos)
    splits = {split: [f for f, s in merged.items() if s == split] for split in SPLITS}
    if not 0 <= val_count <= max(len(splits["train"]) - 1, 0):
        has = len(splits["train"])
        msg = f"--val-count: expected less than the {has} samples of train, got {val_count}"
        raise SpecError(msg)
    chosen, parted = choose_val(splits["train"], val_count, seed=seed)
    splits["val"] += [folder for folder in splits["train"] if folder in chosen]
    splits["train"] = [folder for folder in splits["train"] if folder not in chosen]
    home = out.parent.resolve()
    written = {
        split: [folder if absolute else os.path.relpath(folder, home) for folder in folders]
        for split, folders in splits.items()
    }
    open_folder(out.parent, "--out")
    publish_bytes(out, encode_dataset_info(written))
    return MergeResult(
        listed={split: len(folders) for split, folders in splits.items()},
        repeated=repeated,
        moved=len(chosen),
        parted=parted,
        absent=[folder for folder in merged if not Path(folder).is_dir()],
    )


def choose_val(train: Sequence[str], count: int, *, seed: int) -> tuple[set[str], str | None]:
    """Choose exactly `count` samples of train, whole videos as far as that goes.

    Videos come in the order of a seeded hash of their id, and are taken while they fit; what is
    then still missing comes from one video, the only one that ends on both sides.

    Args:
        train: Folders; a name `sample_<number>_<vid>` tells the video, any other is its own.
        count: Samples to choose, less than there are.
        seed: Seed of the hash.

    Returns:
        The chosen folders, and the id of the video that was parted.
    """
    videos: dict[str, list[str]] = {}
    for folder in train:
        videos.setdefault(_video_of(folder), []).append(folder)
    chosen: set[str] = set()
    left: list[str] = []
    for vid in sorted(videos, key=lambda vid: hashlib.sha256(f"{seed}:{vid}".encode()).digest()):
        if len(chosen) + len(videos[vid]) <= count:
            chosen.update(videos[vid])
        else:
            left.append(vid)
    if len(chosen) == count:
        return chosen, None
    # It did not fit, so it has more clips than are missing.
    return chosen | set(videos[left[0]][: count - len(chosen)]), left[0]


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
