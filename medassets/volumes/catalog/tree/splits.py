"""The split of each file of a tree: by folder, by a column, or by a seeded hash of its patient."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate

from medassets.errors import CatalogError, Reason
from medassets.storage.checksums import hash_share
from medassets.storage.formats.missing import is_missing
from medassets.volumes.catalog.tree.names import drop_prefix
from medassets.volumes.catalog.tree.split_names import read_split_name

Exclusion = tuple[Reason, str]

_FIRST_SHARE = 0.8
_MOST_SHOWN = 3


def choose_split_mode(
    folders: Mapping[str, str | None], *, declared: str, has_column: bool, before: str | None
) -> str:
    """Return how the splits are decided: `folder`, `column` or `hash`.

    Args:
        folders: Path -> split that a folder of it names, None where none does.
        declared: `split_by` of the declaration.
        has_column: Whether a column of splits is declared.
        before: What the first plan has decided; it is kept.

    Raises:
        CatalogError: If only some folders name a split, and the declaration does not decide.
    """
    if declared != "auto":
        return declared
    if before is not None:
        return before
    if has_column:
        return "column"
    named = [path for path, split in folders.items() if split is not None]
    if named and len(named) < len(folders):
        others = [path for path, split in folders.items() if split is None]
        msg = (
            f"{len(named):,} files are in a folder that names a split ({_shorten(named)}), {len(others):,} are "
            f"not ({_shorten(others)}); declare `split_by: hash`, or move them and declare "
            f"`split_by: folder`"
        )
        raise CatalogError(msg)
    return "folder" if named else "hash"


def read_split_folders(
    paths: Sequence[str], splits: Collection[str], prefix: Sequence[str] = ()
) -> dict[str, str | None]:
    """Return the split that the first folder of each path that is the name of one names.

    Args:
        paths: Paths of the files.
        splits: Declared names of splits.
        prefix: Folders that all files share; they are looked at last.
    """
    found: dict[str, str | None] = {}
    for path in paths:
        folders = (*drop_prefix(path, prefix)[:-1], *prefix)
        named = (read_split_name(folder, splits) for folder in folders)
        found[path] = next((split for split in named if split is not None), None)
    return found


def read_split_cell(cell: str, splits: Collection[str]) -> tuple[str | None, Exclusion | None]:
    """Return the split that a cell names, or why the file has none.

    Args:
        cell: The cell.
        splits: Declared names of splits.
    """
    if is_missing(cell):
        return None, (Reason.MISSING_METADATA, "the column of splits is empty")
    split = read_split_name(cell, splits)
    if split is None:
        what = f"the column of splits says {cell[:40]!r}; expected {', '.join(splits)}"
        return None, (Reason.BAD_RECORD, what)
    return split, None


def hash_split(group: str, splits: Sequence[str], *, shares: Sequence[float], seed: int) -> str:
    """Return the split of a patient, which depends on name, seed, splits and shares only.

    Args:
        group: The patient.
        splits: Names of the splits.
        shares: Share of each, of any sum; empty gives the first 0.8 and the others the rest.
        seed: Seed.
    """
    weights = tuple(shares) or _share_equally(len(splits))
    number = hash_share(f"{seed}:{group}") * sum(weights)
    ends = accumulate(weights)
    return next(
        (split for split, end in zip(splits, ends, strict=True) if number < end), splits[-1]
    )


def check_kept(split_of: Mapping[str, str], before: Mapping[str, str]) -> None:
    """Refuse splits that contradict the shards of the plan, which only grows.

    Args:
        split_of: Key -> split today.
        before: Key -> split of the samples that are planned.

    Raises:
        CatalogError: If a planned sample is in another split today.
    """
    moved = {key: split for key, split in split_of.items() if before.get(key, split) != split}
    if not moved:
        return
    shown = [f"{key} ({before[key]}, now {split})" for key, split in moved.items()]
    counts = Counter(before[key] for key in moved)
    where = ", ".join(f"{count:,} of {split}" for split, count in counts.items())
    msg = (
        f"planned samples are in another split now, by table, folders, `seed` or `split_shares`: {where}, such as "
        f"{_shorten(shown)}. A plan only grows: undo the change, or build under another name"
    )
    raise CatalogError(msg)


def _share_equally(count: int) -> tuple[float, ...]:
    if count == 1:
        return (1.0,)
    return (_FIRST_SHARE, *[(1 - _FIRST_SHARE) / (count - 1)] * (count - 1))


def _shorten(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_SHOWN:,} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(names[:_MOST_SHOWN]) + more
