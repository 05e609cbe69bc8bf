"""The account of a dataset: every source item is done, rejected, excluded, held or left.

`items = done + rejected + excluded + held + left`, where `items` are the rows of the catalog. Every
face (command, JSON, manifest, metadata, checks) shows this one account.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from medassets.errors import ABSENT_REASONS, RULE_REASONS
from medassets.shards.record import Rejected, ShardRecord

NUM_FIRST = 3
"""Items that an account names of each state and reason."""


class ItemState(StrEnum):
    """State of a source item."""

    DONE = "done"
    """A sample of a whole shard that was made from today's plan and declaration."""

    REJECTED = "rejected"
    """Its shard is whole and lacks it: the file could not be made into a sample."""

    EXCLUDED = "excluded"
    """The plan leaves it out."""

    HELD = "held"
    """The plan does not give it a shard yet, because of a limit."""

    LEFT = "left"
    """Its shard is still to be made; the reason is one of `Left`."""


class Left(StrEnum):
    """Why a shard's items are left to do, as the disk tells it."""

    MISSING = "missing"
    """It was never made."""

    FAILED = "failed"
    """Too many of its items were rejected, so that nothing was published."""

    STALE = "stale"
    """It was made from other inputs or settings."""

    LOST = "lost"
    """Its tar or record is damaged or missing."""


@dataclass(frozen=True)
class AccountItem:
    """One source item that is not a sample.

    Attributes:
        key: Sample key.
        split: Its split.
        partition: Its shard; empty where it has none.
        state: Its state.
        reason: Reason code; of an item left to do, the state of its shard; of one held, empty.
        detail: One sentence for a person; may be empty.
    """

    key: str
    split: str
    partition: str
    state: ItemState
    reason: str
    detail: str = ""

    def describe(self) -> str:
        """Return one line."""
        where = self.partition or self.split
        what = ": ".join(part for part in (self.reason, self.detail) if part)
        return f"{self.key} ({where})" + (f": {what}" if what else "")


@dataclass(frozen=True)
class ShardFindings:
    """One planned shard as it is on disk.

    Attributes:
        num_planned: Items that the plan assigns to it.
        record: Its record, if it is whole and was made from today's plan.
        left: Why its items are left to do, without a record.
        known_bad: Items that its last build rejected, if too many were.
        older: Record of the shard on disk, if it is whole and was made from other inputs or settings.
    """

    num_planned: int
    record: ShardRecord | None
    left: Left = Left.MISSING
    known_bad: tuple[Rejected, ...] = ()
    older: ShardRecord | None = None

    def iter_items(self, partition: str, split: str) -> Iterator[AccountItem]:
        """Yield its rejected items; of a shard that failed, those that are known to be bad."""
        for bad in self.record.rejected if self.record else ():
            yield AccountItem(bad.key, split, partition, ItemState.REJECTED, bad.reason, bad.detail)
        for bad in self.known_bad:
            detail = f"{bad.reason}: {bad.detail}"
            yield AccountItem(bad.key, split, partition, ItemState.LEFT, self.left, detail)


@dataclass(frozen=True)
class Account:
    """Counts of all source items of a dataset or split, by state and reason.

    Attributes:
        items: Source items, counted in the catalog.
        done: Items that are samples.
        rejected: Reason -> items that a whole shard lacks.
        excluded: Reason -> items that the plan leaves out.
        held: Items beyond a limit.
        left: Why the shard is not done (`Left`) -> items whose shard is still to be made.
        first: The first items of each state and reason that are named; those done are not.
    """

    items: int = 0
    done: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    excluded: Mapping[str, int] = field(default_factory=dict)
    held: int = 0
    left: Mapping[str, int] = field(default_factory=dict)
    first: tuple[AccountItem, ...] = ()

    @property
    def num_rejected(self) -> int:
        """All rejected items."""
        return sum(self.rejected.values())

    @property
    def num_excluded(self) -> int:
        """All excluded items."""
        return sum(self.excluded.values())

    @property
    def num_left(self) -> int:
        """All items whose shard is still to be made."""
        return sum(self.left.values())

    @property
    def num_unaccounted(self) -> int:
        """Items without a state, or with two if it is negative; 0 unless a record is wrong."""
        counted = self.done + self.num_rejected + self.num_excluded + self.held + self.num_left
        return self.items - counted

    @property
    def unusable(self) -> dict[str, int]:
        """Excluded items that exist and cannot be used: neither absent nor left out by a rule."""
        no_limit = ABSENT_REASONS | RULE_REASONS
        return {reason: n for reason, n in self.excluded.items() if reason not in no_limit}

    @property
    def unusable_share(self) -> float:
        """Share of the unusable items among all that exist and no rule leaves out."""
        count = sum(self.unusable.values())
        there = self.items - self.num_excluded + count
        return count / there if there else 0.0

    def select_first(self, state: ItemState, reason: str | None = None) -> list[AccountItem]:
        """Return the first items of a state, and of one reason if it is given."""
        return [
            item for item in self.first if item.state is state and reason in (None, item.reason)
        ]

    def describe(self) -> str:
        """Return `9 source items = 6 done + 1 rejected (corrupt_gzip 1) + …` in one line."""
        parts = (
            f"{self.done:,} done",
            _count(self.rejected, "rejected"),
            _count(self.excluded, "excluded"),
            f"{self.held:,} held",
            _count(self.left, "left"),
        )
        noun = "source item" if self.items == 1 else "source items"
        text = f"{self.items:,} {noun} = {' + '.join(parts)}"
        if self.num_unaccounted:
            text += f"; {self.num_unaccounted:,} without a state"
        return text

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form: numbers that add up, their reasons, and the first items."""
        return {
            "items": self.items,
            "done": self.done,
            "rejected": self.num_rejected,
            "excluded": self.num_excluded,
            "held": self.held,
            "left": self.num_left,
            "reasons": {
                "rejected": dict(self.rejected),
                "excluded": dict(self.excluded),
                "left": dict(self.left),
            },
            "first": [asdict(item) for item in self.first],
        }


def join_accounts(accounts: Iterable[Account]) -> Account:
    """Return the account of several splits together."""
    parts = list(accounts)
    return Account(
        items=sum(part.items for part in parts),
        done=sum(part.done for part in parts),
        rejected=_add(part.rejected for part in parts),
        excluded=_add(part.excluded for part in parts),
        held=sum(part.held for part in parts),
        left=_add(part.left for part in parts),
        first=keep_first(item for part in parts for item in part.first),
    )


def draw_account(
    split: str,
    shards: Mapping[str, ShardFindings],
    *,
    items: int,
    excluded: Mapping[str, int],
    held: int,
    first_unplanned: Iterable[AccountItem] = (),
) -> Account:
    """Return the account of one split.

    Args:
        split: The split.
        shards: Its planned shards as they are on disk, in order.
        items: Rows of the split in the catalog.
        excluded: Reason -> rows that the plan leaves out.
        held: Rows beyond a limit.
        first_unplanned: The first of those excluded and held.
    """
    done, rejected, left = 0, Counter[str](), Counter[str]()
    for shard in shards.values():
        if shard.record is None:
            left[shard.left] += shard.num_planned
        else:
            done += shard.record.num_samples
            rejected.update(shard.record.rejected_by_reason())
    named = (item for key, one in shards.items() for item in one.iter_items(key, split))
    return Account(
        items=items,
        done=done,
        rejected=_add([rejected]),
        excluded=_add([excluded]),
        held=held,
        left=_add([left]),
        first=keep_first([*named, *first_unplanned]),
    )


def keep_first(items: Iterable[AccountItem]) -> tuple[AccountItem, ...]:
    """Return the first items of each state and reason, by state and reason."""
    kept: dict[tuple[ItemState, str], list[AccountItem]] = {}
    for item in items:
        group = kept.setdefault((item.state, item.reason), [])
        if len(group) < NUM_FIRST:
            group.append(item)
    order = list(ItemState)
    groups = sorted(kept, key=lambda group: (order.index(group[0]), group[1]))
    return tuple(item for group in groups for item in kept[group])


def _add(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total = Counter[str]()
    for one in counts:
        total.update({str(reason): n for reason, n in one.items()})
    return dict(sorted(total.items()))


def _count(counts: Mapping[str, int], what: str) -> str:
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in counts.items())
    return f"{sum(counts.values()):,} {what}" + (f" ({reasons})" if reasons else "")
