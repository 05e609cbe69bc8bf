"""Which shards a user means: a manifest, a folder, patterns or a list of tars."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braceexpand import braceexpand

from medassets.errors import ShardIntegrityError

Source = Path | str | Sequence[Path | str]
"""A manifest, a folder, a pattern such as `shard-{000000..000314}.tar` or `*.tar`, or several."""


@dataclass(frozen=True)
class FoundShard:
    """One shard that a source names.

    Attributes:
        path: The tar.
        num_samples: What the manifest says of it; None without a manifest.
        size_bytes: Likewise.
    """

    path: Path
    num_samples: int | None = None
    size_bytes: int | None = None


def find_shards(source: Source) -> list[FoundShard]:
    """Return the shards of a source, in its order; a glob's and a folder's by name.

    A folder's `manifest.json` decides which of its tars count. A pattern in braces names every
    shard there must be, so that a missing one is noticed.

    Raises:
        ShardIntegrityError: If the source names no shard, one twice, or a file that is no manifest.
    """
    parts = [source] if isinstance(source, str | Path) else list(source)
    found = [shard for part in parts for shard in _find_part(part)]
    if not found:
        msg = f"{source}: names no shard; expected a manifest.json, a folder of tars or a pattern"
        raise ShardIntegrityError(msg)
    seen: set[Path] = set()
    for shard in found:
        if shard.path in seen:
            msg = f"{shard.path}: named twice; its samples would be trained on twice"
            raise ShardIntegrityError(msg)
        seen.add(shard.path)
    return found


def _find_part(part: Path | str) -> Iterable[FoundShard]:
    text = str(part)
    if "://" in text or text.startswith("pipe:"):
        msg = f"{text}: not a path; shards are read from a file system, so mount or copy them"
        raise ShardIntegrityError(msg)
    path = Path(text).expanduser()
    if path.is_dir():
        manifest = path / "manifest.json"
        return read_manifest(manifest) if manifest.exists() else _glob(path, "*.tar")
    if path.suffix == ".json":
        return read_manifest(path)
    if "{" in text and not path.exists():
        paths = [Path(name).expanduser() for name in braceexpand(text)]
    else:
        paths = [path]
    return [shard for item in paths for shard in _find_files(item)]


def _find_files(path: Path) -> list[FoundShard]:
    if any(mark in str(path) for mark in "*?[") and not path.exists():
        # An absolute pattern has its root taken off, as Path.glob asks for.
        root = Path(path.anchor or ".")
        return _glob(root, str(path.relative_to(path.anchor) if path.anchor else path))
    return [FoundShard(path)]


def _glob(folder: Path, pattern: str) -> list[FoundShard]:
    found = (path for path in folder.glob(pattern) if not path.name.startswith("."))
    return [FoundShard(path) for path in sorted(found)]


def read_manifest(path: Path) -> list[FoundShard]:
    """Return the shards that a split's manifest lists.

    Raises:
        ShardIntegrityError: If the file is missing or no manifest.
    """
    try:
        document = json.loads(path.read_bytes())
        return [_read_entry(path.parent, entry) for entry in document["shards"]]
    except FileNotFoundError as error:
        msg = f"{path}: no such manifest; `medassets build` makes it, or name the tars themselves"
        raise ShardIntegrityError(msg) from error
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{path}: not a manifest of medassets; expected the manifest.json beside the shards"
        raise ShardIntegrityError(msg) from error


def _read_entry(folder: Path, entry: dict[str, Any]) -> FoundShard:
    size = entry.get("size_bytes")
    return FoundShard(
        folder / entry["filename"],
        int(entry["num_samples"]),
        None if size is None else int(size),
    )
