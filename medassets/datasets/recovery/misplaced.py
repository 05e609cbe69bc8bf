"""Put shards back that were renamed or swapped: their records say where they belong.

A shard moves by two renames, the tar first. After a kill in between, its record is in the old place and
its tar in its own one, which the next call recognizes and finishes.
"""

from collections.abc import Iterator
from contextlib import ExitStack

from medassets.datasets.recovery.places import FoundShard, list_places, look_at_place
from medassets.shards.files import lock_path
from medassets.storage.atomic import fsync_folder
from medassets.storage.checksums import sha256_file
from medassets.storage.locks import lock_file
from medassets.storage.ownership import is_plain_file
from medassets.storage.paths import DatasetPaths, format_partition_key

_LAST_INDEX = 999_999


def find_misplaced(paths: DatasetPaths) -> list[FoundShard]:
    """Return the places of a stage with a record of another shard of the dataset, in order."""
    found = (look_at_place(paths, place) for place in list_places(paths))
    return [one for one in found if one.is_misplaced]


def put_back(paths: DatasetPaths) -> Iterator[str]:
    """Move misplaced shards to their own places, one line each on what was done or prevents it.

    Only a tar whose bytes are those of its record is moved, and only to a free place. Swapped shards
    are taken out of each other's way over a place that no plan uses.

    Args:
        paths: Paths of the dataset and stage.
    """
    with ExitStack() as locks:
        places = {place for one in find_misplaced(paths) for place in _places_of(one)}
        for place in sorted(places):
            locks.enter_context(lock_file(lock_path(paths.shard(place))))
        while movable := [one for one in find_misplaced(paths) if _is_whole(one)]:
            one = next((m for m in movable if _is_free(paths, m)), None)
            if one is not None:
                yield _move(one, _target(one))
                continue
            # Each is in the place of another: the first one gives way.
            if not all(_is_occupied_by(movable, _target(m)) for m in movable):
                break
            _move(movable[0], _find_spare(paths, movable[0]))
    for one in find_misplaced(paths):
        yield explain_misplaced(one)


def explain_misplaced(one: FoundShard) -> str:
    """Return one line on a shard that is not in its place, and why it stays there."""
    target = one.paths.shard(_target(one))
    why = "that place is taken" if _is_whole(one) else "its bytes are not those of the record"
    return f"{one.shard}: {one.trouble}; {why}: move it away, or to {target} if it is the right one"


def _places_of(one: FoundShard) -> tuple[str, str]:
    return one.place, _target(one)


def _target(one: FoundShard) -> str:
    return one.record.partition if one.record is not None else one.place


def _is_half_moved(one: FoundShard) -> bool:
    target = one.paths.shard(_target(one))
    return not one.has_tar and is_plain_file(target) and not _record_exists(one)


def _record_exists(one: FoundShard) -> bool:
    return look_at_place(one.paths, _target(one)).record is not None


def _is_whole(one: FoundShard) -> bool:
    tar = one.paths.shard(_target(one)) if _is_half_moved(one) else one.shard
    return (
        one.record is not None
        and is_plain_file(tar)
        and tar.stat().st_size == one.record.size_bytes
        and sha256_file(tar) == one.record.sha256
    )


def _is_free(paths: DatasetPaths, one: FoundShard) -> bool:
    target = _target(one)
    has_tar = paths.shard(target).exists() and not _is_half_moved(one)
    return not has_tar and not paths.record(target).exists()


def _is_occupied_by(movable: list[FoundShard], place: str) -> bool:
    return any(one.place == place for one in movable)


def _find_spare(paths: DatasetPaths, one: FoundShard) -> str:
    """Return a place of the split that nothing uses."""
    split = one.record.split if one.record is not None else ""
    known = set(list_places(paths))
    keys = (format_partition_key(split, index) for index in range(_LAST_INDEX, 0, -1))
    return next(key for key in keys if key not in known)


def _move(one: FoundShard, place: str) -> str:
    paths, shard = one.paths, one.paths.shard(place)
    shard.parent.mkdir(parents=True, exist_ok=True)
    if one.has_tar:
        one.shard.rename(shard)
    paths.record(one.place).rename(paths.record(place))
    for folder in {one.shard.parent, shard.parent}:
        fsync_folder(folder)
    return f"{one.shard}: put back to {shard}"
