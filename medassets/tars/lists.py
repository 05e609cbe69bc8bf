"""Find the shards that a user names: by a manifest, a folder, patterns or a list of tars."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from braceexpand import braceexpand

from medassets.errors import ShardIntegrityError
from medassets.storage.checksums import parse_json
from medassets.storage.foreign_bytes import MALFORMED
from medassets.storage.later_versions import refuse_later
from medassets.storage.unreadable import read_regular

_MOST_NAMES = 3

Source = Path | str | Sequence[Path | str]
"""A manifest, a folder, a pattern such as `shard-{000000..000314}.tar` or `*.tar`, or several."""


@dataclass(frozen=True)
class FoundShard:
    """One shard that a source names.

    Attributes:
        path: The tar; absolute, because a job may change its working directory.
        num_samples: Number of samples in the manifest; None without a manifest.
        size_bytes: Size in the manifest; None without a manifest.
        kind: What its samples are, according to the manifest; empty if it does not say.
        sha256: Digest in the manifest; empty if it does not say.
        meaning: What samples of the manifest mean; a shard that was made again since has the same, or
            does not belong to the manifest. Empty if it does not say.
        lacks: What the manifest lacks, for a person; empty if it is complete.
    """

    path: Path
    num_samples: int | None = None
    size_bytes: int | None = None
    kind: str = ""
    sha256: str = field(default="", compare=False)
    meaning: str = field(default="", compare=False)
    lacks: str = field(default="", compare=False)


def find_shards(shards: Source) -> list[FoundShard]:
    """Return the named shards, in the given order; those of a folder or a glob by name.

    In a folder with a `manifest.json`, only the tars in the manifest are used. A pattern in braces
    names every shard, so that a missing one is an error.

    Two spellings of the same path (relative, absolute, with `..`) are the same shard. Symbolic links
    are different shards: linking a split several times into one folder makes a longer epoch.

    Raises:
        ShardIntegrityError: If it names no shard or one shard twice, a file that is not a
            manifest, or is a pattern that cannot be parsed.
    """
    parts = [shards] if isinstance(shards, str | Path) else list(shards)
    found = [shard for part in parts for shard in _find_part(part)]
    if not found:
        msg = f"{shards}: names no shard; expected a manifest.json, a folder of tars or a pattern"
        raise ShardIntegrityError(msg)
    seen: set[str] = set()
    for shard in found:
        name = os.path.normpath(shard.path)
        if name in seen:
            msg = f"{shard.path}: named twice; its samples would be trained on twice"
            raise ShardIntegrityError(msg)
        seen.add(name)
    return found


def _find_part(part: Path | str) -> Iterable[FoundShard]:
    text = str(part)
    if "://" in text or text.startswith("pipe:"):
        msg = f"{text}: not a path; shards are read from a file system, so mount or copy them"
        raise ShardIntegrityError(msg)
    path = _make_absolute(text)
    if path.is_dir():
        manifest = path / "manifest.json"
        return read_manifest(manifest) if manifest.exists() else _glob(path, "*.tar")
    if path.suffix == ".json":
        return read_manifest(path)
    if "{" in text and not path.exists():
        paths = [_make_absolute(name) for name in _expand_braces(text)]
    else:
        paths = [path]
    return [shard for item in paths for shard in _find_files(item)]


def _make_absolute(text: str) -> Path:
    try:
        # Not resolved: `..` after a symbolic link is not the parent that its text names.
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        msg = f"{text}: {error}; give the full path"
        raise ShardIntegrityError(msg) from error


def _expand_braces(text: str) -> list[str]:
    try:
        return list(braceexpand(text))
    except ValueError as error:
        msg = f"{text}: {error}; expected such as shard-{{000000..000314}}.tar"
        raise ShardIntegrityError(msg) from error


def _find_files(path: Path) -> list[FoundShard]:
    if any(mark in str(path) for mark in "*?[") and not path.exists():
        # Path.glob accepts relative patterns only.
        return _glob(Path(path.anchor), str(path.relative_to(path.anchor)))
    return [FoundShard(path)]


def _glob(folder: Path, pattern: str) -> list[FoundShard]:
    try:
        found = sorted(folder.glob(pattern))
    except ValueError as error:
        msg = f"{folder / pattern}: {error}; expected such as shard-*.tar"
        raise ShardIntegrityError(msg) from error
    return [FoundShard(path) for path in found if not path.name.startswith(".")]


def require_known_manifest(path: Path, document: Mapping[str, Any]) -> None:
    """Refuse a manifest of a later version, which states the version; those of this one do not.

    Raises:
        LaterVersionError: The message names the version.
    """
    refuse_later(path, "manifest_version", document.get("manifest_version"), 1)


def read_manifest(path: Path) -> list[FoundShard]:
    """Return the shards that a split's manifest lists.

    Raises:
        ShardIntegrityError: If the file is missing, cannot be read or is not a manifest.
    """
    path = path.absolute()
    if path.exists() and not path.is_file():
        msg = f"{path}: the manifest cannot be read (not a regular file)"
        raise ShardIntegrityError(msg)
    try:
        document = parse_json(read_regular(path))
        require_known_manifest(path, document)
        entries = document["shards"]
        common = {
            "kind": str(document.get("kind") or ""),
            "meaning": str(document.get("sample_meaning") or ""),
            "lacks": _describe_lacks(path, document),
        }
        found = [_read_entry(path.parent, entry, common) for entry in entries]
    except FileNotFoundError as error:
        msg = f"{path}: no such manifest; `medassets build` makes it, or name the tars themselves"
        raise ShardIntegrityError(msg) from error
    except OSError as error:
        msg = f"{path}: the manifest cannot be read ({error.strerror})"
        raise ShardIntegrityError(msg) from error
    except MALFORMED as error:
        msg = f"{path}: not a manifest of medassets; expected the manifest.json beside the shards"
        raise ShardIntegrityError(msg) from error
    if not found:
        raise ShardIntegrityError(_explain_empty(path, document))
    return found


def _explain_empty(path: Path, document: Mapping[str, Any]) -> str:
    """Return why a manifest lists no shard: nothing is made yet, or the split has no sample."""
    name = document.get("dataset", "DATASET")
    if document.get("missing_partitions"):
        return (
            f"{path}: lists no shard, {len(document['missing_partitions']):,} are still to be made; "
            f"`medassets build {name}` makes them"
        )
    counts = document.get("account")
    items = f" of {counts['items']:,} source items" if isinstance(counts, dict) else ""
    return (
        f"{path}: the split is empty: no sample{items} is planned in it; name another split, or see "
        f"`medassets status {name}`"
    )


def _describe_lacks(path: Path, document: Mapping[str, Any]) -> str:
    """Return what a manifest lacks: samples of shards to be made, held ones, and older shards."""
    if document.get("complete", True):
        return ""
    missing = [str(key) for key in document.get("missing_partitions") or ()]
    stale = {str(key): lines for key, lines in (document.get("stale_partitions") or {}).items()}
    reasons = _name_some([f"{key}: {'; '.join(map(str, why))}" for key, why in stale.items()])
    held = int(document.get("held_samples") or 0)
    total = int(document.get("total_samples") or 0)
    lacks = [
        f"{_count(missing, 'shard')} still to be made ({_name_some(missing)})" if missing else "",
        f"{held:,} samples held by a limit" if held else "",
        f"{_count(stale, 'listed shard')} older than the current files or settings ({reasons})"
        if stale
        else "",
    ]
    name = document.get("dataset", "DATASET")
    return (
        f"{path}: lists {total:,} samples and is not complete: "
        f"{', '.join(text for text in lacks if text) or 'it does not say what it lacks'}; "
        f"`medassets build {name}` completes it"
    )


def _count(items: Collection[str], noun: str) -> str:
    return f"{len(items):,} {noun}{'' if len(items) == 1 else 's'}"


def _name_some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _read_entry(folder: Path, entry: Any, common: Mapping[str, str]) -> FoundShard:
    if not isinstance(entry, dict):
        raise TypeError(entry)
    size = entry.get("size_bytes")
    return FoundShard(
        folder / entry["filename"],
        int(entry["num_samples"]),
        None if size is None else int(size),
        sha256=str(entry.get("sha256") or ""),
        **common,
    )
