"""Where a manifest on disk says something else than the shards do."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from medassets.datasets.manifests.differences import describe_differences
from medassets.shards.manifest import encode_document

MANIFEST: dict[str, Any] = {
    "split": "train",
    "total_samples": 5,
    "shards": [
        {"filename": "shard-000000.tar", "num_samples": 3, "keys": ["a", "b", "c"]},
        {"filename": "shard-000001.tar", "num_samples": 2, "keys": ["d", "e"]},
    ],
}


def describe(change: Callable[[dict[str, Any]], object]) -> list[str]:
    stated = copy.deepcopy(MANIFEST)
    change(stated)
    return describe_differences(MANIFEST, encode_document(stated))


def test_the_expected_bytes_have_no_difference() -> None:
    assert describe_differences(MANIFEST, encode_document(MANIFEST)) == []


def test_a_manifest_of_an_earlier_version_lacks_only_what_it_could_not_say() -> None:
    today = {"kind": "ct_volume", **MANIFEST, "account": {"items": 5}}
    earlier = encode_document(MANIFEST)
    assert describe_differences(today, earlier) == []
    assert describe_differences({**today, "split": "valid"}, earlier) == [
        'split is "train", expected "valid"'
    ]
    other = encode_document({**today, "account": {"items": 6}})
    assert describe_differences(today, other) == ['account is {"items": 6}, expected {"items": 5}']


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda m: m.update(total_samples=6), ["total_samples is 6, expected 5"]),
        (lambda m: m.pop("split"), ["split is missing"]),
        (lambda m: m.update(more=1), ['"more" is unknown']),
        (lambda m: m["shards"].pop(), ["shard-000001.tar is not listed"]),
        (
            lambda m: m.update(shards=7),
            ["shard-000000.tar is not listed", "shard-000001.tar is not listed"],
        ),
        (
            lambda m: m["shards"][0].update(num_samples=2),
            ["shard-000000.tar: num_samples is 2, expected 3"],
        ),
        (
            lambda m: m["shards"][0]["keys"].remove("b"),
            ['shard-000000.tar: sample "b" is not listed'],
        ),
        (
            lambda m: m["shards"][1]["keys"].append("f"),
            ['shard-000001.tar: sample "f" is listed, but not in the shard'],
        ),
        (
            lambda m: m["shards"][1]["keys"].reverse(),
            ["shard-000001.tar: its samples are listed in another order, or twice"],
        ),
    ],
)
def test_a_difference_is_named_by_shard_and_field(
    change: Callable[[dict[str, Any]], object], expected: list[str]
) -> None:
    assert describe(change) == expected


def test_a_shard_that_is_no_whole_one_or_listed_twice_is_named() -> None:
    (unknown,) = describe(lambda m: m["shards"].append({"filename": "shard-000002.tar"}))
    assert unknown.startswith("shard-000002.tar is listed")
    (twice,) = describe(lambda m: m["shards"].append(m["shards"][0]))
    assert twice.startswith("a shard is listed twice")


def test_the_order_of_shards_is_no_difference_but_the_bytes_are() -> None:
    assert describe(lambda m: m["shards"].reverse()) == ["it is written in another way"]
    compact = json.dumps(MANIFEST).encode()
    assert describe_differences(MANIFEST, compact) == ["it is written in another way"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_named(content: bytes) -> None:
    (found,) = describe_differences(MANIFEST, content)
    assert "JSON" in found


def test_ten_differences_are_shown_and_the_others_counted() -> None:
    found = describe(lambda m: m.update({f"field{n}": n for n in range(13)}))
    assert len(found) == 11
    assert found[-1] == "and 3 more differences"


def test_a_long_value_is_shortened() -> None:
    (found,) = describe(lambda m: m.update(split="x" * 1000))
    assert found == f'split is "{"x" * 59}..., expected "train"'


def test_an_index_is_compared_by_the_urls_of_its_shards() -> None:
    index = {"shardlist": [{"url": "a.tar", "nsamples": 3}]}
    stated = {"shardlist": [{"url": "a.tar", "nsamples": 4}]}
    found = describe_differences(index, encode_document(stated))
    assert found == ["a.tar: nsamples is 4, expected 3"]
