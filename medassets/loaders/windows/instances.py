"""Finds the instances of a window: those of the dataset, and those left out with a reason."""

import logging
import os
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from medassets.errors import WindowFileError
from medassets.loaders.index import ShardIndex
from medassets.loaders.sample_kinds import require_kind
from medassets.loaders.windows import folders as window_folders
from medassets.loaders.windows import shards as window_shards
from medassets.loaders.windows.dense_masks import DenseMask
from medassets.loaders.windows.folders import Case
from medassets.loaders.windows.points import PointSource
from medassets.loaders.windows.shards import ShardMask
from medassets.samples import SampleKind
from medassets.specs.windows import STANDARD_WINDOWS
from medassets.storage.checksums import canonical_json, crc32

logger = logging.getLogger(__name__)

TOO_FEW, MISSING, DAMAGED = "too_few_points", "missing_file", "damaged"

Roots = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_NUM_THREADS = 8
_OUTSIDE_BRACES = re.compile(r",(?![^{]*\})")


@dataclass(frozen=True)
class LeftOut:
    """One instance that is left out of the dataset.

    Attributes:
        case_id: Name of the case or key of the sample.
        path: Its file, or the folder searched if the file is missing.
        reason: `too_few_points`, `missing_file` or `damaged`.
        detail: One sentence.
    """

    case_id: str
    path: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Instance:
    """One instance of a window.

    Attributes:
        source: Reads its points.
        facts: `dataset_root, case_id, case_dir, window_path` and `num_points` (None if counting
            stopped early).
    """

    source: PointSource
    facts: dict[str, Any]


@dataclass
class Instances:
    """Instances found in some roots.

    Attributes:
        instances: In the order of the roots; within a root by name, or in the order of the shards.
        left_out: Instances that are not part of the dataset.
        metadata: Case -> row of its dataset's table.
        missing_roots: Roots that do not exist.
    """

    instances: list[Instance] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing_roots: list[str] = field(default_factory=list)

    def count_left_out(self) -> dict[str, int]:
        """Return the number of instances left out, by reason."""
        return dict(sorted(Counter(item.reason for item in self.left_out).items()))


@dataclass(frozen=True)
class WindowFiles:
    """Files of a dataset, as a loader's state and the benchmark use them.

    Attributes:
        paths: Files that are read, each once.
        digest: CRC-32 of everything that determines the points of a sample, apart from the paths:
            window, sampling settings, keys and numbers of points.
    """

    paths: tuple[str, ...]
    digest: int


def describe_files(instances: Sequence[Instance], settings: Sequence[Any]) -> WindowFiles:
    """Describe the files of some instances.

    Args:
        instances: The instances of a dataset, in order.
        settings: Further values that determine which points are sampled.
    """
    paths = dict.fromkeys(
        source.index.paths[source.index.locate(source.number).shard]
        if isinstance(source := instance.source, ShardMask)
        else instance.facts["window_path"]
        for instance in instances
    )
    keys = [[item.facts["case_id"], item.facts["num_points"]] for item in instances]
    return WindowFiles(tuple(paths), crc32(canonical_json([*settings, keys])))


def split_roots(roots: Roots) -> list[str]:
    """Split a comma-separated text of roots; commas within braces do not separate."""
    if isinstance(roots, str):
        return [part.strip() for part in _OUTSIDE_BRACES.split(roots) if part.strip()]
    if isinstance(roots, os.PathLike):
        return [os.fspath(roots)]
    return [os.fspath(root) for root in roots]


def find_instances(
    roots: Sequence[str], window: str, *, min_points: int, require_complete: bool = False
) -> Instances:
    """Find the instances of a window in folders of cases and in shards.

    Args:
        roots: Folders of cases; shards by manifest, folder or pattern.
        window: Name of the window.
        min_points: Instances with fewer points are left out.
        require_complete: Refuse manifests that lack samples; otherwise a warning says what they lack.

    Raises:
        IncompleteManifestError: If manifests must be complete, and one is not.
        ValueError: If no root has the window and it is not a standard one (the message lists those
            available), or if a root is a dataset of shards instead of one of its splits.
        ShardIntegrityError: If a shard is missing or damaged; the message names it and the remedy.
        WrongLoaderError: If shards hold samples of another kind.
    """
    found = Instances()
    available = set(STANDARD_WINDOWS)
    for root in roots:
        path = Path(root).expanduser()
        if _names_shards(root, path):
            index = ShardIndex(root, require_complete=require_complete)
            require_kind(index, SampleKind.CT_WINDOWS)
            windows = window_shards.list_windows(index)
            if window not in windows:
                raise _unknown_window(window, set(windows))
            available.add(window)
            _add_shards(found, index, window, min_points)
        elif not path.is_dir():
            logger.warning("%s: no such folder", root)
            found.missing_roots.append(root)
        else:
            _refuse_splits(path)
            _add_folder(found, path, window, min_points)
            if window not in available and not found.instances:
                available |= window_folders.list_windows(path)
    if window not in available and not found.instances:
        raise _unknown_window(window, available)
    return found


def _unknown_window(window: str, available: set[str]) -> ValueError:
    names = ", ".join([*STANDARD_WINDOWS, *sorted(available - set(STANDARD_WINDOWS))])
    names = names if available >= set(STANDARD_WINDOWS) else ", ".join(sorted(available))
    return ValueError(f"Invalid window_type: {window}. Available: {names or 'none'}")


def _names_shards(root: str, path: Path) -> bool:
    """Return whether a root names shards; tars in a folder of cases do not count."""
    if not path.is_dir():
        return path.suffix in (".json", ".tar") or any(mark in root for mark in "*?[{")
    if any(path.glob("*.tar")) or (path / "manifest.json").exists():
        return not window_folders.holds_cases(path)
    return False


def _refuse_splits(path: Path) -> None:
    """Refuse a folder with several splits: training on all of them would be a mistake."""
    shards = [*path.glob("*/shard-*.tar"), *path.glob("windows/*/shard-*.tar")]
    splits = sorted({str(shard.parent) for shard in shards})
    if splits and not window_folders.holds_cases(path):
        msg = f"{path}: holds all splits of a dataset; name the folder of one split: {', '.join(splits)}"
        raise ValueError(msg)


def _add_shards(found: Instances, index: ShardIndex, window: str, min_points: int) -> None:
    for number, num_points in enumerate(window_shards.count_points(index, window)):
        sample = index.locate(number)
        path = Path(index.paths[sample.shard])
        facts = {
            "dataset_root": str(path.parent),
            "case_id": sample.key,
            "case_dir": str(path.parent),
            "window_path": f"{path}/{sample.key}.{window}.bits",
            "num_points": num_points,
        }
        if num_points < min_points:
            found.left_out.append(_leave_out(facts, min_points))
        else:
            found.instances.append(Instance(ShardMask(index, number, window), facts))


def _add_folder(found: Instances, root: Path, window: str, min_points: int) -> None:
    cases = window_folders.find_cases(root, window)
    with ThreadPoolExecutor(_NUM_THREADS) as threads:
        for case, item in zip(
            cases, threads.map(partial(_open_case, min_points=min_points), cases), strict=True
        ):
            if isinstance(item, LeftOut):
                found.left_out.append(item)
                continue
            found.instances.append(item)
            if case.metadata:
                found.metadata[case.folder.name] = dict(case.metadata)


def _open_case(case: Case, *, min_points: int) -> Instance | LeftOut:
    name = case.folder.name
    if case.path is None:
        return LeftOut(name, str(case.folder / "windows"), MISSING, "no file of this window")
    facts: dict[str, Any] = {
        "dataset_root": str(case.dataset_root),
        "case_id": name,
        "case_dir": str(case.folder),
        "window_path": str(case.path),
    }
    try:
        points = case.open()
        if isinstance(points, DenseMask):
            counted, facts["num_points"] = points.count(min_points), None
        else:
            counted = facts["num_points"] = points.num_points
    except (OSError, WindowFileError) as error:
        return LeftOut(name, str(case.path), DAMAGED, str(error))
    if counted < min_points:
        return _leave_out({**facts, "num_points": counted}, min_points)
    return Instance(points, facts)


def _leave_out(facts: dict[str, Any], min_points: int) -> LeftOut:
    detail = f"{facts['num_points']:,} points, {min_points:,} wanted"
    return LeftOut(facts["case_id"], facts["window_path"], TOO_FEW, detail)
