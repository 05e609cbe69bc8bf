"""Which planned rows follow a source that moved, and which keep the content that was built."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from medassets.datasets.upstream.built_samples import find_built_rows
from medassets.datasets.upstream.move import Move, Upstream, read_upstream
from medassets.datasets.upstream.pins import PLACES, is_same_file, read_pins
from medassets.datasets.workspace import Workspace
from medassets.errors import Reason
from medassets.samples import SourceItem
from medassets.shards.catalog.files import as_item
from medassets.shards.catalog.growth import Follow, find_today
from medassets.shards.catalog.plan import STATE_EXCLUDED, plan_of
from medassets.shards.catalog.previous import PreviousCatalog
from medassets.shards.fingerprint import FILE_BYTES, FILE_DIGEST, NOTE_COLUMNS
from medassets.sources.base import RemoteFile
from medassets.storage.arrow import kernels

Mask: TypeAlias = npt.NDArray[np.bool_]

_ROWS_AT_A_TIME = 4096
_NOT_CONTENT = NOTE_COLUMNS | PLACES | {"revision", "excluded", "detail"}


@dataclass(frozen=True)
class Following:
    """What a refresh does about its source.

    Attributes:
        upstream: What it found.
        rows: The current rows; those without a file that left the plan are excluded.
        follow: What rows planned before do; None without a plan before.
        files: Current files by path, as far as they were described.
    """

    upstream: Upstream
    rows: pa.Table
    follow: Follow | None
    files: Mapping[str, RemoteFile]


def follow_upstream(
    workspace: Workspace,
    stored: PreviousCatalog | None,
    rows: pa.Table,
    *,
    revision: str,
    repin: bool = False,
    update: bool = False,
) -> Following:
    """Compare a source with the plan, and decide which planned rows take its current content.

    Rows that were never built follow the source if their revision no longer exists. Rows of built
    shards keep their content, and their shards stay current.

    Args:
        workspace: A dataset whose source has revisions.
        stored: The last catalog.
        rows: The current rows of the source.
        revision: Their revision.
        repin: All rows that were never built follow the source.
        update: Rows of built shards whose file or cells differ follow it, too.

    Raises:
        SourceAccessError: If the source refuses access.
        SourceUnavailableError: If it does not respond.
    """
    if stored is None:
        return Following(Upstream(revision), rows, None, {})
    return _Comparison(workspace, stored, rows, revision).decide(repin=repin, update=update)


class _Comparison:
    """Rows planned before, beside those of today; masks are in the order of the plan before."""

    def __init__(
        self, workspace: Workspace, stored: PreviousCatalog, rows: pa.Table, revision: str
    ) -> None:
        self.workspace, self.stored, self.revision = workspace, stored, revision
        columns = ("key", "path", "revision", "state", "excluded", FILE_BYTES, FILE_DIGEST)
        self.previous = stored.read_columns(*columns)
        self.plan = plan_of(self.previous)
        count = sum(self.plan.partitions.values())
        planned = self.previous.slice(0, count)
        self.paths: list[str] = planned["path"].to_pylist()
        self.revisions: list[str] = planned["revision"].to_pylist()
        self.pins = read_pins(planned)
        self.has_pins = FILE_DIGEST in planned.column_names
        self.today = find_today(rows, self.previous, count)
        self.rows = self._exclude_missing(rows)
        self.built = find_built_rows(workspace, self.plan, self._read_items)
        self.lost = self._find_lost()

    def decide(self, *, repin: bool, update: bool) -> Following:
        last = read_upstream(self.stored.file.schema_arrow.metadata)
        stranded = ~self.built.is_made & self._are_of(self.lost)
        seen = {last.revision} if last is not None else set(self.revisions)
        if repin or update or stranded.any() or seen != {self.revision}:
            return self._follow(stranded, repin=repin, update=update)
        none = np.zeros(len(self.paths), bool)
        follow = Follow(renewed=none, kept=self.built.is_made, dropped=none, closed=none)
        return Following(last or Upstream(self.revision), self.rows, follow, {})

    def _follow(self, stranded: Mask, *, repin: bool, update: bool) -> Following:
        made, held = self.built.is_made, self.built.is_held
        files = self.workspace.source.describe(self.paths, revision=self.revision)
        changed, come, gone = self._compare_files(files)
        rows = self._compare_rows() & ~changed & ~gone
        moving = ~made & ~self._are_of({self.revision}) if repin else stranded
        unusable = self._find_unusable(files)
        dropped = moving & unusable & ~held
        repinned = moving & ~unusable
        updated = made & (changed | come | rows) & ~unusable & update
        stays = ~(repinned | updated | dropped)
        upstream = Upstream(
            self.revision,
            move=Move(_sum(changed), self._count_new() + _sum(come), _sum(gone), _sum(rows)),
            left=Move(_sum(changed & stays), 0, _sum(gone & stays), _sum(rows & stays)),
            repinned=_sum(repinned),
            updated=_sum(updated),
            dropped=_sum(dropped),
            lost=tuple(sorted(self.lost)),
        )
        follow = Follow(
            renewed=repinned | updated,
            kept=made & ~updated,
            dropped=dropped,
            closed=self._whole_shards(moving & unusable & held),
        )
        return Following(upstream, self._exclude_dropped(dropped), follow, files)

    def _read_items(self, partition_key: str) -> list[SourceItem]:
        """Return the rows of a shard; the catalog that is on disk may be another one."""
        start, count = self.plan.starts[partition_key], self.plan.partitions[partition_key]
        rows = self.stored.fetch(np.arange(start, start + count))
        return [as_item(row) for row in rows.to_pylist()]

    def _find_unusable(self, files: Mapping[str, RemoteFile]) -> Mask:
        """Return which items have no file, no row, or a row that is excluded now."""
        found = np.zeros(len(self.paths), bool)
        there = self.today >= 0
        excluded = kernels.is_valid(self.rows["excluded"]).to_numpy()
        found[there] = excluded[self.today[there]]
        return found | ~there | np.array([path not in files for path in self.paths], bool)

    def _compare_files(self, files: Mapping[str, RemoteFile]) -> tuple[Mask, Mask, Mask]:
        """Return whose files changed, came into being, and are gone."""
        known = [pin or built for pin, built in zip(self.pins, self.built.digests, strict=True)]
        now = [
            files.get(path) if today >= 0 else None
            for path, today in zip(self.paths, self.today, strict=True)
        ]
        pairs = list(zip(known, now, strict=True))
        changed = [k is not None and f is not None and not is_same_file(k, f) for k, f in pairs]
        come = [k is None and f is not None and self.has_pins for k, f in pairs]
        gone = [f is None and (k is not None or not self.has_pins) for k, f in pairs]
        return np.array(changed, bool), np.array(come, bool), np.array(gone, bool)

    def _compare_rows(self) -> Mask:
        """Return for which rows the source's tables say something else now."""
        differs = np.zeros(len(self.paths), bool)
        there = np.flatnonzero(self.today >= 0)
        for start in range(0, len(there), _ROWS_AT_A_TIME):
            numbers = there[start : start + _ROWS_AT_A_TIME]
            before = _content_of(self.stored.fetch(numbers), self.rows.column_names)
            now = self.rows.take(pa.array(self.today[numbers]))
            differs[numbers] = [
                a != b for a, b in zip(before, _content_of(now, now.column_names), strict=True)
            ]
        return differs

    def _find_lost(self) -> set[str]:
        """Return the revisions of rows that were not built, or not pinned, that are gone."""
        open_rows = zip(self.revisions, self.built.is_made, self.pins, strict=True)
        asked = {at for at, made, pin in open_rows if not made or pin is None} - {self.revision}
        return {at for at in sorted(asked) if not self.workspace.source.has_revision(at)}

    def _are_of(self, revisions: set[str]) -> Mask:
        return np.array([at in revisions for at in self.revisions], bool)

    def _whole_shards(self, rows: Mask) -> Mask:
        """Return all rows of the shards of some rows."""
        counts = list(self.plan.partitions.values())
        shard = np.repeat(np.arange(len(counts)), counts)
        return np.isin(shard, shard[rows])

    def _count_new(self) -> int:
        usable = self.rows["key"].filter(kernels.is_null(self.rows["excluded"]))
        kept = kernels.not_equal(self.previous["state"], STATE_EXCLUDED)
        known = self.previous["key"].filter(kept).combine_chunks()
        return _sum(kernels.invert(kernels.is_in(usable, value_set=known)).to_numpy())

    def _exclude_missing(self, rows: pa.Table) -> pa.Table:
        """Exclude rows without a file that left the plan in an earlier refresh."""
        missing = kernels.equal(self.previous["excluded"], str(Reason.MISSING_UPSTREAM))
        keys = self.previous["key"].filter(missing).combine_chunks()
        if not len(keys):
            return rows
        numbers = np.flatnonzero(kernels.is_in(rows["key"], value_set=keys).to_numpy())
        paths = rows["path"].take(pa.array(numbers)).to_pylist()
        files = self.workspace.source.describe(paths, revision=self.revision)
        absent = [n for n, path in zip(numbers.tolist(), paths, strict=True) if path not in files]
        return _exclude(rows, absent, self.revision)

    def _exclude_dropped(self, dropped: Mask) -> pa.Table:
        left = self.today[dropped]
        return _exclude(self.rows, left[left >= 0].tolist(), self.revision)


def _exclude(rows: pa.Table, numbers: Sequence[int], revision: str) -> pa.Table:
    """Exclude rows whose file does not exist at a revision."""
    if not len(numbers):
        return rows
    chosen = np.zeros(rows.num_rows, bool)
    chosen[list(numbers)] = True
    paths = rows["path"].to_pylist()
    detail = [f"{path} does not exist at revision {revision}" for path in paths]
    cells = {"excluded": pa.scalar(str(Reason.MISSING_UPSTREAM)), "detail": pa.array(detail)}
    chosen &= kernels.is_null(rows["excluded"]).to_numpy()
    for name, cell in cells.items():
        column = kernels.if_else(pa.array(chosen), cell, rows[name])
        rows = rows.set_column(rows.column_names.index(name), name, column)
    return rows


def _content_of(table: pa.Table, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    common = [n for n in names if n in table.column_names and n not in _NOT_CONTENT]
    return iter(table.select(common).to_pylist())


def _sum(mask: npt.NDArray[np.bool_]) -> int:
    return int(mask.sum())
