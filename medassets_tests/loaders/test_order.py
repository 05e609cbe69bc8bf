"""Orders of epochs: equal on every rank, complete, seeded, and the same wherever they are computed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medassets.loaders import EpochOrder

PINNED = [3, 2, 1, 8, 6, 0, 7, 4, 5, 9]


@settings(max_examples=200, deadline=None)
@given(
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=7),
    world_size=st.integers(1, 8),
    batch_size=st.integers(1, 5),
    epoch=st.integers(0, 3),
    shuffle=st.booleans(),
    uneven=st.sampled_from(["pad", "drop"]),
    window=st.none() | st.integers(1, 8),
)
def test_ranks_get_equal_batches_and_together_the_dataset(
    counts: list[int],
    world_size: int,
    batch_size: int,
    epoch: int,
    shuffle: bool,
    uneven: str,
    window: int | None,
) -> None:
    total = sum(counts)
    if uneven == "drop" and total < world_size:
        return
    order = EpochOrder(
        num_samples=total,
        batch_size=batch_size,
        shuffle=shuffle,
        world_size=world_size,
        uneven=uneven,  # pyright: ignore[reportArgumentType]
        shard_window=window,
        shard_ends=np.cumsum(counts),
    )
    ranks = [order.plan_batches(epoch, rank) for rank in range(world_size)]
    assert {len(batches) for batches in ranks} == {order.num_batches}
    assert len({tuple(map(len, batches)) for batches in ranks}) == 1
    seen = [sample for batches in ranks for batch in batches for sample in batch]
    if uneven == "pad":
        assert set(seen) == set(range(total))
        assert len(seen) - total < world_size
        assert max(np.bincount(seen)) - min(np.bincount(seen)) <= 1
    else:
        assert len(set(seen)) == len(seen)
        assert total - len(seen) < world_size


def test_epochs_and_seeds_differ_and_repeat() -> None:
    order = EpochOrder(num_samples=10)
    assert order.arrange(0).tolist() == PINNED
    assert order.arrange(1).tolist() != PINNED
    assert EpochOrder(num_samples=10, seed=1).arrange(0).tolist() != PINNED
    assert EpochOrder(num_samples=10).arrange(0).tolist() == PINNED


def test_every_place_is_as_likely() -> None:
    places = np.array([EpochOrder(num_samples=6, seed=n).arrange(n) for n in range(3000)])
    counts = np.stack([np.bincount(column, minlength=6) for column in places.T])
    # Chi-square with 25 degrees of freedom; 60 is beyond 0.01 %.
    assert ((counts - 500.0) ** 2 / 500).sum() < 60


def test_a_window_opens_few_shards_at_a_time() -> None:
    ends = np.arange(10, 101, 10)
    order = EpochOrder(num_samples=100, shard_window=2, shard_ends=ends)
    arranged = order.arrange(0)
    shards = arranged // 10
    for start in range(0, 100, 20):
        assert len(set(shards[start : start + 20])) == 2
    assert len({tuple(order.arrange(epoch)[:20]) for epoch in range(5)}) == 5
    assert sorted(arranged) == list(range(100))


def test_a_full_batch_can_be_asked_for() -> None:
    order = EpochOrder(num_samples=11, batch_size=2, world_size=2, drop_last=True)
    assert [len(b) for b in order.plan_batches(0, 1)] == [2, 2, 2]
    order = EpochOrder(num_samples=10, batch_size=2, world_size=2, drop_last=True)
    assert [len(b) for b in order.plan_batches(0, 1)] == [2, 2]
    assert order.plan_batches(0, 1, start=1) == order.plan_batches(0, 1)[1:]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"num_samples": 0}, "num_samples: expected 1 or more, got 0"),
        ({"batch_size": 0}, "batch_size"),
        ({"seed": -1}, "seed"),
        ({"uneven": "error"}, "uneven: expected drop or pad"),
        ({"world_size": 4, "uneven": "drop"}, "3 samples make no batch of 1 for each of 4 ranks"),
        ({"batch_size": 4, "drop_last": True}, "use uneven='pad', drop_last=False"),
        ({"shard_window": 2}, "shard_window: the dataset has no"),
    ],
)
def test_what_cannot_be_an_order_is_named(arguments: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        EpochOrder(**{"num_samples": 3, **arguments})  # pyright: ignore[reportArgumentType]
