"""Where a manifest on disk says something else than the shards do."""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from medassets.shards.manifest import encode_document
from medassets.storage.checksums import parse_json

# Of a list of shards, and what names one: a manifest's, and that of a `wids` index.
_LISTS = {"shards": "filename", "shardlist": "url"}
# Fields that manifests of earlier versions do not have; the next build adds them.
_ADDED = ("kind", "account", "stale_partitions", "sample_meaning")
_MOST_SHOWN = 10
_LONGEST_VALUE = 60


def describe_differences(expected: Mapping[str, Any], there: bytes) -> list[str]:
    """Return what is wrong with a manifest or index, shard by shard; empty if it is as expected.

    Args:
        expected: As the shards say.
        there: The bytes on disk.
    """
    if there == encode_document(expected):
        return []
    try:
        stated = parse_json(there)
    except (RecursionError, ValueError):
        return ["it is not JSON"]
    if not isinstance(stated, dict):
        return ["it is not a JSON object"]
    earlier = [name for name in _ADDED if name not in stated]
    expected = {name: value for name, value in expected.items() if name not in earlier}
    if there == encode_document(expected):
        return []
    found = list(_compare(expected, stated)) or ["it is written in another way"]
    more = len(found) - _MOST_SHOWN
    return found[:_MOST_SHOWN] + ([f"and {more} more differences"] if more > 0 else [])


def _compare(expected: Mapping[str, Any], stated: Mapping[str, Any]) -> Iterator[str]:
    lists = {name: key for name, key in _LISTS.items() if name in expected}
    for name, key in lists.items():
        yield from _compare_shards(expected[name], stated.get(name), key)
    yield from _compare_fields(expected, stated, skip=lists)


def _compare_shards(expected: list[dict[str, Any]], stated: Any, key: str) -> Iterator[str]:
    listed = stated if isinstance(stated, list) else []
    entries = {str(e[key]): e for e in listed if isinstance(e, dict) and key in e}
    wanted = {str(entry[key]): entry for entry in expected}
    yield from (f"{name} is not listed" for name in wanted if name not in entries)
    yield from (
        f"{name} is listed, but is not a complete shard" for name in entries if name not in wanted
    )
    if len(listed) > len(entries):
        yield "a shard is listed twice, or without a name"
    for name, entry in wanted.items():
        if name in entries:
            yield from (f"{name}: {what}" for what in _compare_entry(entry, entries[name]))


def _compare_entry(expected: Mapping[str, Any], stated: Mapping[str, Any]) -> Iterator[str]:
    keys, listed = expected.get("keys"), stated.get("keys")
    skip = ()
    if isinstance(keys, list) and isinstance(listed, list) and keys != listed:
        skip = ("keys",)
        yield from _compare_keys(keys, listed)
    yield from _compare_fields(expected, stated, skip=skip)


def _compare_keys(expected: list[str], listed: list[Any]) -> Iterator[str]:
    lacking = [key for key in expected if key not in listed]
    unknown = [key for key in listed if key not in expected]
    yield from (f"sample {_shorten(key)} is not listed" for key in lacking)
    yield from (f"sample {_shorten(key)} is listed, but not in the shard" for key in unknown)
    if not lacking and not unknown:
        yield "its samples are listed in another order, or twice"


def _compare_fields(
    expected: Mapping[str, Any], stated: Mapping[str, Any], *, skip: Collection[str]
) -> Iterator[str]:
    for name in dict.fromkeys([*expected, *stated]):
        if name in skip:
            continue
        if name not in stated:
            yield f"{name} is missing"
        elif name not in expected:
            yield f"{_shorten(name)} is unknown"
        elif expected[name] != stated[name]:
            yield f"{name} is {_shorten(stated[name])}, expected {_shorten(expected[name])}"


def _shorten(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
