"""What a refresh found at a source with revisions; stored with the catalog."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from medassets.storage.checksums import canonical_json
from medassets.storage.later_versions import take_fields

UPSTREAM_KEY = b"medassets.upstream"
"""Key of the catalog's metadata that holds an `Upstream`."""


@dataclass(frozen=True)
class Move:
    """How a source differs from what was planned.

    Attributes:
        changed: Planned files with another size or digest.
        new: Items that are not planned, or whose file was missing before.
        gone: Planned items whose row or file no longer exists.
        rows: Planned items with other cells in the source's tables; their files are the same.
    """

    changed: int = 0
    new: int = 0
    gone: int = 0
    rows: int = 0


@dataclass(frozen=True)
class Upstream:
    """What a refresh found at a source with revisions.

    Attributes:
        revision: Where the source was.
        move: How it differed from the plan before.
        left: How it differs from the plan made then, because built shards keep their content.
        repinned: Rows that were never built and took this revision.
        updated: Rows of built shards that took new content, because the user asked for it.
        dropped: Rows that were never built and left the plan: files are gone, or rows excluded now.
        lost: Revisions of the plan before that no longer exist.
    """

    revision: str
    move: Move = Move()
    left: Move = Move()
    repinned: int = 0
    updated: int = 0
    dropped: int = 0
    lost: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**asdict(self), "lost": list(self.lost)}


def store_upstream(rows: pa.Table, upstream: Upstream) -> pa.Table:
    """Return rows of a catalog with what a refresh found in their metadata."""
    stored = {UPSTREAM_KEY: canonical_json(upstream.as_dict())}
    return rows.replace_schema_metadata({**(rows.schema.metadata or {}), **stored})


def read_upstream(metadata: Mapping[bytes, bytes] | None) -> Upstream | None:
    """Return what the last refresh found; None if the catalog does not say.

    Args:
        metadata: Metadata of the catalog's schema.
    """
    found = json.loads((metadata or {}).get(UPSTREAM_KEY, b"null"))
    if found is None:
        return None
    found["lost"] = tuple(found["lost"])
    moves = {name: take_fields(Move, found[name], "catalog") for name in ("move", "left")}
    return take_fields(Upstream, {**found, **moves}, "catalog")
