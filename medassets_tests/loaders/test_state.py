"""States of loaders: which are accepted, and how the others are refused."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from medassets.loaders import Loader, VolumeDataset
from medassets.loaders.order import EpochOrder
from medassets.loaders.state import Position, decode_state, describe_order, encode_state
from medassets_tests.loaders.loader_data import make_loader
from medassets_tests.small_shards import make_shards, make_volume_members


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"batch_size": 3},
        {"shuffle": False},
        {"rank": 0, "world_size": 2},
        {"drop_last": True},
        {"count": 21},
    ],
    ids=str,
)
def test_a_state_of_another_order_is_refused(change: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"count": 20, "batch_size": 2, "shuffle": True}
    state = make_loader(kind=("thread", 0), **arguments).state_dict()
    other = make_loader(kind=("thread", 0), **{**arguments, **change})
    name = {"rank": "world_size", "count": "num_samples"}.get(
        next(iter(change)), next(iter(change))
    )
    with pytest.raises(ValueError, match=rf"cannot continue from .*{name} was "):
        other.load_state_dict(state)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"version": 9, "epoch": 0, "batch": 0, "order": {}},
        {"version": 1, "epoch": 0, "batch": 0, "order": None},
        {"version": 1, "epoch": 1.7, "batch": 0, "order": {}},
    ],
)
def test_a_state_that_is_none_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="state of a loader"):
        make_loader(5, ("thread", 0)).load_state_dict(state)


def test_other_samples_of_the_same_number_are_refused(split: Path, tmp_path: Path) -> None:
    loader = Loader(VolumeDataset(split))
    other = make_shards(tmp_path, [8], partial(make_volume_members, shape=(2, 2, 2)))
    with pytest.raises(ValueError, match="samples_digest was"):
        Loader(VolumeDataset(other)).load_state_dict(loader.state_dict())


def make_order(**changes: Any) -> EpochOrder:
    return make_loader(10, ("thread", 0), **{"batch_size": 2, "shuffle": True, **changes}).order


def test_a_position_comes_back_through_json() -> None:
    order = describe_order(make_order(), 7)
    state = json.loads(json.dumps(encode_state(Position(3, 5), order)))
    assert decode_state(state, order, 5) == Position(3, 5)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"shuffle": False, "seed": 1}, {"shuffle": False, "seed": 2}),
        ({"uneven": "pad"}, {"uneven": "drop"}),
        (
            {"uneven": "pad", "rank": 0, "world_size": 5},
            {"uneven": "drop", "rank": 4, "world_size": 5},
        ),
    ],
    ids=["seed in order", "uneven on one rank", "uneven on equal ranks"],
)
def test_settings_without_effect_on_batches_do_not_count(
    changes: dict[str, Any], same: dict[str, Any]
) -> None:
    assert describe_order(make_order(**changes), 7) == describe_order(make_order(**same), 7)


@pytest.mark.parametrize("position", [Position(-1, 0), Position(0, -1), Position(0, 6)])
def test_a_position_outside_the_epoch_is_refused(position: Position) -> None:
    order = describe_order(make_order(), None)
    match = f"batch {position.batch} of epoch {position.epoch} of 5 batches"
    with pytest.raises(ValueError, match=match):
        decode_state(encode_state(position, order), order, 5)


def test_every_setting_that_differs_is_named() -> None:
    saved = encode_state(Position(), describe_order(make_order(), 1))
    match = "samples_digest was 1 and is 2; batch_size was 2 and is 5; give it the same settings"
    with pytest.raises(ValueError, match=match):
        decode_state(saved, describe_order(make_order(batch_size=5), 2), 2)
