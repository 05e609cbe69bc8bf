"""The lines of an account: one that adds up, then the first items of each state and reason."""

from medassets.cli.notes.accounts import describe_account, name_excluded, name_first_items
from medassets.shards.account import Account, AccountItem, ItemState


def make_items(state: ItemState, reason: str, count: int) -> tuple[AccountItem, ...]:
    return tuple(
        AccountItem(f"{reason}_{n}", "train", "", state, reason, f"detail {n}")
        for n in range(count)
    )


ACCOUNT = Account(
    items=19,
    done=5,
    rejected={"precision": 1},
    excluded={"no_chest": 7},
    left={"failed": 4, "missing": 2},
    first=(
        *make_items(ItemState.REJECTED, "precision", 1),
        *make_items(ItemState.EXCLUDED, "no_chest", 3),
        *make_items(ItemState.LEFT, "failed", 1),
    ),
)


def test_the_first_line_adds_up() -> None:
    assert describe_account("lungs", ACCOUNT) == (
        "lungs: 19 source items = 5 done + 1 rejected (precision 1) + 7 excluded (no_chest 7) + "
        "0 held + 6 left (failed 4, missing 2)"
    )


def test_the_first_items_are_named_with_the_first_detail_and_how_to_list_all() -> None:
    assert [*name_first_items("lungs", ACCOUNT)] == [
        "  rejected, precision: precision_0; the first: detail 0",
        "  excluded, no_chest: no_chest_0, no_chest_1, no_chest_2 and 4 more; the first: detail 0",
        "  left, failed: failed_0; the first: detail 0",
        "  `medassets status lungs --list rejected` lists all rejected, `--list excluded` those "
        "excluded, `--list left` those left",
    ]
    assert [*name_excluded(ACCOUNT)] == [*name_first_items("lungs", ACCOUNT)][1:2]


def test_an_account_without_losses_names_nothing() -> None:
    assert [*name_first_items("lungs", Account(items=3, done=1, left={"missing": 2}))] == []
