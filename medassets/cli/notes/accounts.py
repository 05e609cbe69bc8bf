"""Shows the account of a dataset on the terminal: one line that adds up, and the first items."""

from collections.abc import Iterator, Mapping

from medassets.shards.account import Account, ItemState

_NAMED = (ItemState.REJECTED, ItemState.EXCLUDED, ItemState.LEFT)


def describe_account(name: str, account: Account) -> str:
    """Return the first line that a person reads: `lungs: 9 source items = 7 done + …`."""
    return f"{name}: {account.describe()}"


def name_first_items(dataset: str, account: Account) -> Iterator[str]:
    """Yield a line for each state and reason that names its first items, and how to list all.

    Items of shards that were never made are not named: their shards are.

    Args:
        dataset: Name of the dataset, for the command that lists all.
        account: Its account, of one stage.
    """
    lines = [line for state in _NAMED for line in _name_state(account, state)]
    yield from lines
    if lines:
        first, *others = (state for state in _NAMED if any(_name_state(account, state)))
        also = "".join(f", `--list {state}` those {state}" for state in others)
        yield f"  `medassets status {dataset} --list {first}` lists all {first}{also}"


def name_excluded(account: Account) -> Iterator[str]:
    """Yield a line for each reason why the plan leaves items out, with the first of them."""
    return _name_state(account, ItemState.EXCLUDED)


def _name_state(account: Account, state: ItemState) -> Iterator[str]:
    counts: Mapping[str, int] = getattr(account, state)
    for reason in counts:
        items = account.select_first(state, reason)
        if items:
            keys = ", ".join(item.key for item in items)
            more = counts[reason] - len(items)
            # Of a shard that failed, only the items that its build rejected are named.
            others = "" if state is ItemState.LEFT or more <= 0 else f" and {more:,} more"
            first = f"; the first: {items[0].detail}" if items[0].detail else ""
            yield f"  {state}, {reason}: {keys}{others}{first}"
