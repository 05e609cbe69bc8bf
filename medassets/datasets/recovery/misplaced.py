"""Put shards back that were renamed or swapped: their records say where they belong.

A shard moves by two renames, the tar first. After a kill in between, its record is in the old place and
its tar, alone, in the new one: the next call brings the record to it and goes on from there.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from medassets.datasets.recovery.places import FoundShard, list_places, look_at_place
from medassets.shards.files import lock_path
from medassets.shards.record import ShardRecord
from medassets.storage.atomic import fsync_folder
from medassets.storage.checksums import sha256_file
from medassets.storage.locks import lock_file
from medassets.storage.paths import DatasetPaths, format_partition_key

_LAST_INDEX = 999_999


@dataclass(frozen=True)
class Move:
    """One step of a shard on its way back.

    Attributes:
        shard: The shard as it is found before any step.
        tar: Place that its tar leaves.
        record: Place that its record leaves.
        place: Place where both are after it.
    """

    shard: FoundShard
    tar: str
    record: str
    place: str

    @property
    def is_last(self) -> bool:
        """Whether the shard is in its own place after it."""
        return self.place == _target(self.shard)

    def describe(self) -> str:
        """Return one line on a shard that is in its own place after it."""
        return f"{self.shard.shard}: put back to {self.shard.paths.shard(self.place)}"


def find_misplaced(paths: DatasetPaths) -> list[FoundShard]:
    """Return the places of a stage with a record of another shard of the dataset, in order."""
    found = (look_at_place(paths, place) for place in list_places(paths))
    return [one for one in found if one.is_misplaced]


def plan_moves(paths: DatasetPaths) -> list[Move]:
    """Return the steps that bring misplaced shards to their own places; nothing is written.

    Only a tar whose bytes are those of its record is moved, and only to a free place. Swapped shards
    are taken out of each other's way over a place that no plan uses.

    Args:
        paths: Paths of the dataset and stage.
    """
    return list(_Planner(paths).iter_moves())


def put_back(paths: DatasetPaths) -> list[Move]:
    """Move misplaced shards to their own places; return the steps; see `plan_moves`.

    Args:
        paths: Paths of the dataset and stage.
    """
    with ExitStack() as locks:
        for place in sorted(_Planner(paths).list_concerned()):
            locks.enter_context(lock_file(lock_path(paths.shard(place))))
        moves = plan_moves(paths)
        for move in moves:
            _carry_out(paths, move)
    return moves


def explain_misplaced(one: FoundShard) -> str:
    """Return one line on a shard that is not in its place, and why it stays there."""
    target = one.paths.shard(_target(one))
    if not one.has_tar:
        why = "its tar is not beside it"
    elif one.record is not None and _is_tar_of(one, one.record):
        why = "that place is taken"
    else:
        why = "its bytes are not those of the record"
    return f"{one.shard}: {one.trouble}; {why}: move it away, or to {target} if it is the right one"


class _Planner:
    """The places of a stage, as they are after the steps that were planned so far."""

    def __init__(self, paths: DatasetPaths) -> None:
        places = [look_at_place(paths, place) for place in list_places(paths)]
        self._tars = {one.place: one for one in places if one.has_tar}
        self._taken = {one.place for one in places if os.path.lexists(one.shard)}
        self._records = {p.place for p in places if os.path.lexists(paths.record(p.place))}
        self._left = {one.place: one for one in places if one.is_misplaced}
        self._known: dict[tuple[str, str], bool] = {}

    def list_concerned(self) -> set[str]:
        """Return the places that a step may leave or reach, without the spare one."""
        own = {place for one in self._left.values() for place in (one.place, _target(one))}
        return own | (self._tars.keys() - self._records) if own else own

    def iter_moves(self) -> Iterator[Move]:
        """Yield the steps in order."""
        yield from self._join_parts()
        while movable := {p: one for p, one in self._left.items() if self._is_whole(p, one)}:
            place = next((p for p, one in movable.items() if self._is_free(_target(one))), None)
            if place is not None:
                yield self._move(place, place, _target(movable[place]))
                continue
            # In a ring, each is in the place of another: one gives way.
            place = _find_ring(movable)
            if place is None:
                return
            yield self._move(place, place, self._find_spare(movable[place]))

    def _join_parts(self) -> Iterator[Move]:
        """Yield the steps that bring records to tars that a killed process moved before them."""
        for place, one in list(self._left.items()):
            if place in self._taken or one.record is None:
                continue
            # The own place first: a copy of the tar may be elsewhere.
            alone = [_target(one), *sorted(self._tars.keys() - self._records - {_target(one)})]
            tar = next((p for p in alone if self._is_alone(p) and self._is_whole(p, one)), None)
            if tar is not None:
                yield self._move(tar, place, tar)

    def _move(self, tar: str, record: str, place: str) -> Move:
        one = self._left.pop(record)
        self._records.remove(record)
        self._records.add(place)
        self._taken.discard(tar)
        self._taken.add(place)
        self._tars[place] = self._tars.pop(tar)
        if place != _target(one):
            self._left[place] = one
        return Move(one, tar, record, place)

    def _is_whole(self, place: str, one: FoundShard) -> bool:
        tar, record = self._tars.get(place), one.record
        if tar is None or record is None:
            return False
        pair = tar.place, one.place
        if pair not in self._known:
            self._known[pair] = _is_tar_of(tar, record)
        return self._known[pair]

    def _is_alone(self, place: str) -> bool:
        return place in self._tars and place not in self._records

    def _is_free(self, place: str) -> bool:
        return place not in self._taken and place not in self._records

    def _find_spare(self, one: FoundShard) -> str:
        """Return a place of the split that nothing uses."""
        split = one.record.split if one.record is not None else ""
        keys = (format_partition_key(split, index) for index in range(_LAST_INDEX, 0, -1))
        return next(key for key in keys if self._is_free(key))


def _find_ring(found: Mapping[str, FoundShard]) -> str | None:
    """Return a place of shards that are in each other's places; None if there are none.

    Of several copies of one shard, none is in a ring: which of them is right is not known.
    """
    counts = Counter(map(_target, found.values()))
    ways = {place: _target(one) for place, one in found.items() if counts[_target(one)] == 1}
    while astray := {place for place, target in ways.items() if target not in ways}:
        ways = {place: target for place, target in ways.items() if place not in astray}
    # Without copies and dead ends, every way is part of a ring.
    return next(iter(ways), None)


def _target(one: FoundShard) -> str:
    return one.record.partition if one.record is not None else one.place


def _is_tar_of(found: FoundShard, record: ShardRecord) -> bool:
    """Return whether the tar that is found at a place is the one of a record."""
    size = found.shard.stat().st_size
    return size == record.size_bytes and sha256_file(found.shard) == record.sha256


def _carry_out(paths: DatasetPaths, move: Move) -> None:
    shard = paths.shard(move.place)
    shard.parent.mkdir(parents=True, exist_ok=True)
    if move.tar != move.place:
        paths.shard(move.tar).rename(shard)
    paths.record(move.record).rename(paths.record(move.place))
    for folder in {paths.shard(move.tar).parent, paths.record(move.record).parent, shard.parent}:
        fsync_folder(folder)
