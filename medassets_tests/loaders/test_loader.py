"""The loop of a training script: order, workers, resume, arguments."""

import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medassets.loaders import Loader, VolumeDataset
from medassets.loaders.loader import choose_num_workers
from medassets_tests.loaders.loader_data import KINDS, Numbers, make_loader


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 40),
    world_size=st.integers(1, 8),
    num_workers=st.integers(0, 4),
    batch_size=st.integers(1, 4),
    uneven=st.sampled_from(["pad", "drop"]),
    stop=st.integers(0, 40),
    other_workers=st.integers(0, 4),
)
def test_ranks_share_the_dataset_and_resume_anywhere(
    count: int,
    world_size: int,
    num_workers: int,
    batch_size: int,
    uneven: Any,
    stop: int,
    other_workers: int,
) -> None:
    if uneven == "drop" and count < world_size:
        return
    lengths, seen = set(), []
    for rank in range(world_size):
        arguments = {
            "batch_size": batch_size,
            "shuffle": True,
            "uneven": uneven,
            "rank": rank,
            "world_size": world_size,
        }
        loader = make_loader(count, ("thread", num_workers), **arguments)
        first, second = list(loader), list(loader)
        lengths |= {len(first), len(second), len(loader)}
        seen += itertools.chain.from_iterable(first)
        stopped = make_loader(count, ("thread", num_workers), **arguments)
        for _ in zip(range(stop), stopped, strict=False):
            pass
        resumed = make_loader(count, ("thread", other_workers), **arguments)
        resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
        # zip asks once more than it hands out, unless the epoch has ended.
        taken = min(stop, len(first))
        done = stopped.state_dict()["batch"] if stop <= len(first) else len(first)
        assert done >= taken
        if done < len(first):
            assert list(resumed) == first[done:]
        assert list(resumed) == second
    assert len(lengths) == 1
    assert len(set(seen)) >= (count if uneven == "pad" else count - world_size + 1)
    if uneven == "drop":
        assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("other", KINDS, ids=lambda k: f"{k[0]}{k[1]}")
def test_stopping_after_any_batch_goes_on_with_the_next(
    kind: tuple[str, int], other: tuple[str, int]
) -> None:
    arguments = {"batch_size": 3, "shuffle": True, "seed": 4, "persistent_workers": False}
    reference = make_loader(10, ("thread", 0), **arguments)
    whole = [list(reference), list(reference)]
    stops = range(5) if "process" not in (kind[0], other[0]) else (0, 2, 4)
    for stop in stops:
        loader = make_loader(10, kind, **arguments)
        handed = list(itertools.islice(iter(loader), stop))
        assert handed == whole[0][:stop]
        state = loader.state_dict()
        assert (state["epoch"], state["batch"]) == (0, stop)
        resumed = make_loader(10, other, **arguments)
        resumed.load_state_dict(state)
        # Training scripts call it at the start of each epoch, also of the resumed one.
        resumed.set_epoch(0)
        assert list(resumed) == whole[0][stop:]
        assert list(resumed) == whole[1]
        assert resumed.state_dict()["epoch"] == 2


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_behind_the_last_batch_the_next_epoch_follows_whole(kind: tuple[str, int]) -> None:
    arguments = {"batch_size": 3, "shuffle": True, "persistent_workers": False}
    loader = make_loader(7, kind, **arguments)
    # Loops that know the length do not ask for what is not there.
    batches = iter(loader)
    for _ in range(3):
        next(batches)
    state = loader.state_dict()
    assert (state["epoch"], state["batch"]) == (0, 3)
    second = list(loader)
    resumed = make_loader(7, kind, **arguments)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    assert list(resumed) == second
    # A script that counts epochs itself may still be in the complete one.
    resumed.load_state_dict(state)
    resumed.set_epoch(0)
    assert list(resumed) == []
    assert list(resumed) == second


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_an_epoch_begins_with_its_first_batch(kind: tuple[str, int]) -> None:
    loader = make_loader(5, kind, shuffle=True, persistent_workers=False)
    epochs = [list(loader) for _ in range(4)]
    loader.set_epoch(1)
    iter(loader)
    batches = iter(loader)
    assert [next(batches), *batches] == epochs[1]
    batches = iter(loader)
    loader.set_epoch(3)
    assert list(batches) == epochs[3]
    assert loader.state_dict()["epoch"] == 4


def test_epochs_follow_each_other_and_can_be_chosen() -> None:
    loader = make_loader(20, ("thread", 2), shuffle=True)
    epochs = [list(loader) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    loader.set_epoch(1)
    assert list(loader) == epochs[1]
    assert list(loader) == epochs[2]
    assert loader.dataset.epochs == [0, 1, 2, 1, 2]
    with pytest.raises(ValueError, match="epoch: expected 0 or more"):
        loader.set_epoch(-1)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"workers": "fiber"}, "workers: expected thread or process"),
        ({"num_workers": -1}, "num_workers >= 0"),
        ({"prefetch_factor": 0}, "prefetch_factor >= 1"),
        ({"rank": 1}, "rank and world_size: expected both or neither"),
        ({"rank": 2, "world_size": 2}, "rank: expected 0 to 1"),
        ({"shard_window": 2}, "shard_window: the dataset has no"),
    ],
    ids=str,
)
def test_what_makes_no_loader_is_named(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Loader(Numbers(4), **arguments)


def test_workers_follow_the_size_of_the_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64))
    assert [choose_num_workers(n) for n in (1, 49, 50, 200, 201)] == [2, 2, 4, 4, 8]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(3))
    assert choose_num_workers(1000) == 3


def test_a_window_of_shards_is_kept(split: Path) -> None:
    loader = Loader(VolumeDataset(split), shuffle=True, shard_window=1, num_workers=1)
    keys = [batch["key"][0] for batch in loader]
    shards = [0 if n < 4 else 1 if n < 7 else 2 for n in (int(k.split("_")[1]) for k in keys)]
    assert len([s for s, _ in itertools.groupby(shards)]) == 3
