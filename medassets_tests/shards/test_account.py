"""An account adds up, names the first items, and tells what cannot be used from what is absent."""

import json

import pytest

from medassets.errors import ABSENT_REASONS, RULE_REASONS, TRANSIENT_REASONS, Reason
from medassets.shards.account import (
    NUM_FIRST,
    Account,
    AccountItem,
    ItemState,
    Left,
    ShardFindings,
    draw_account,
    join_accounts,
    keep_first,
)
from medassets.shards.record import Rejected, ShardRecord


def make_record(num_samples: int, *rejected: Rejected) -> ShardRecord:
    return ShardRecord(
        dataset="tiny",
        split="train",
        partition="train-000000",
        filename="shard-000000.tar",
        num_samples=num_samples,
        size_bytes=0,
        sha256="",
        plan_fingerprint="",
        fingerprint="",
        source={},
        samples=(),
        rejected=rejected,
    )


BAD = Rejected("a", "corrupt_gzip", "it ends early")
SHARDS = {
    "train-000000": ShardFindings(5, make_record(4, BAD)),
    "train-000001": ShardFindings(5, None, Left.FAILED, (BAD,)),
    "train-000002": ShardFindings(2, None),
}


def test_an_account_adds_up_by_state_and_reason() -> None:
    account = draw_account("train", SHARDS, items=20, excluded={"no_chest": 6}, held=2)
    assert account.as_dict() == {
        "items": 20, "done": 4, "rejected": 1, "excluded": 6, "held": 2, "left": 7,
        "reasons": {
            "rejected": {"corrupt_gzip": 1},
            "excluded": {"no_chest": 6},
            "left": {"failed": 5, "missing": 2},
        },
        "first": [
            {"key": "a", "split": "train", "partition": "train-000000", "state": "rejected",
             "reason": "corrupt_gzip", "detail": "it ends early"},
            {"key": "a", "split": "train", "partition": "train-000001", "state": "left",
             "reason": "failed", "detail": "corrupt_gzip: it ends early"},
        ],
    }  # fmt: skip
    json.dumps(account.as_dict())
    assert account.num_unaccounted == 0
    assert account.describe() == (
        "20 source items = 4 done + 1 rejected (corrupt_gzip 1) + 6 excluded (no_chest 6) + 2 held "
        "+ 7 left (failed 5, missing 2)"
    )


@pytest.mark.parametrize("num_samples", [3, 5])
def test_a_record_with_other_numbers_than_the_plan_is_told(num_samples: int) -> None:
    shards = {"train-000000": ShardFindings(5, make_record(num_samples, BAD))}
    account = draw_account("train", shards, items=5, excluded={}, held=0)
    assert account.num_unaccounted == 4 - num_samples
    assert f"{4 - num_samples} without a state" in account.describe()


def test_accounts_of_splits_add_up_to_that_of_the_dataset() -> None:
    one = draw_account("train", SHARDS, items=14, excluded={"bad_name": 2}, held=0)
    other = Account(items=4, done=1, excluded={"bad_name": 1, "no_chest": 2}, first=one.first)
    both = join_accounts([one, other])
    assert both.items == 18
    assert both.excluded == {"bad_name": 3, "no_chest": 2}
    assert both.num_unaccounted == 0
    assert len(both.first) == 4
    assert join_accounts([]) == Account()


def test_only_the_first_items_of_each_state_and_reason_are_named() -> None:
    items = [
        AccountItem(f"{reason}_{n}", "train", "", ItemState.EXCLUDED, reason)
        for n in range(10)
        for reason in ("no_chest", "bad_name")
    ]
    kept = keep_first([*items, AccountItem("r", "train", "train-000000", ItemState.REJECTED, "x")])
    assert [item.key for item in kept] == [
        "r",
        *(f"bad_name_{n}" for n in range(NUM_FIRST)),
        *(f"no_chest_{n}" for n in range(NUM_FIRST)),
    ]
    account = Account(first=kept)
    assert len(account.select_first(ItemState.EXCLUDED)) == 2 * NUM_FIRST
    assert account.select_first(ItemState.EXCLUDED, "no_chest")[0].key == "no_chest_0"


def test_absent_items_and_rules_do_not_count_as_unusable() -> None:
    excluded = {"missing_source": 900, "no_chest": 50, "null_position": 30, "bad_position": 2}
    account = Account(items=1020, done=30, left={"missing": 8}, excluded=excluded)
    assert account.unusable == {"bad_position": 2}
    assert account.unusable_share == 2 / 40
    assert Account().unusable_share == 0
    assert Account(items=3, excluded={"missing_source": 3}).unusable_share == 0
    assert Account(items=3, excluded={"bad_name": 3}).unusable_share == 1


def test_a_reason_is_absent_or_a_rule_or_counts() -> None:
    assert not ABSENT_REASONS & RULE_REASONS
    assert not TRANSIENT_REASONS & (ABSENT_REASONS | RULE_REASONS)
    assert Reason.CORRUPT_TAR not in ABSENT_REASONS | RULE_REASONS


def test_an_item_is_one_line() -> None:
    item = AccountItem("k", "train", "train-000001", ItemState.REJECTED, "precision", "too coarse")
    assert item.describe() == "k (train-000001): precision: too coarse"
    assert AccountItem("k", "train", "", ItemState.HELD, "").describe() == "k (train)"
