"""State of a loader: its position as a small JSON-like dict for a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import index
from typing import Any

from medassets.loaders.order import EpochOrder

State = dict[str, Any]

_VERSION = 1


@dataclass(frozen=True)
class Position:
    """A position between two batches.

    Attributes:
        epoch: The epoch.
        batch: Number of its batches that the caller has received.
    """

    epoch: int = 0
    batch: int = 0


def describe_order(order: EpochOrder, digest: int | None) -> State:
    """Return exactly the settings that determine which samples a batch holds."""
    shuffled, apart = order.shuffle, order.num_samples % order.world_size
    return {
        "num_samples": order.num_samples,
        "samples_digest": digest,
        "batch_size": order.batch_size,
        "shuffle": shuffled,
        "seed": order.seed if shuffled else None,
        "shard_window": order.shard_window if shuffled else None,
        "world_size": order.world_size,
        "uneven": order.uneven if apart else None,
        "drop_last": order.drop_last,
    }


def encode_state(position: Position, order: State) -> State:
    """Return the state of a loader.

    Args:
        position: Position of the loader.
        order: Result of `describe_order`.
    """
    return {
        "version": _VERSION,
        "epoch": position.epoch,
        "batch": position.batch,
        "order": dict(order),
    }


def decode_state(state: Mapping[str, Any], order: State, num_batches: int) -> Position:
    """Return the position of a state if it refers to the same batches.

    Raises:
        ValueError: If it is not a state, or belongs to another order; the message names what differs.
    """
    try:
        version, saved = state["version"], dict(state["order"])
        # Not int(), which accepts fractions.
        position = Position(index(state["epoch"]), index(state["batch"]))
    except (KeyError, TypeError, ValueError) as error:
        msg = f"state of a loader: expected what state_dict() returned, got {state!r}"
        raise ValueError(msg) from error
    if version != _VERSION:
        msg = f"state of a loader: version {version}, this medassets reads {_VERSION}"
        raise ValueError(msg)
    differing = [
        f"{name} was {saved.get(name)!r} and is {value!r}"
        for name, value in order.items()
        if saved.get(name) != value
    ]
    if differing:
        msg = (
            f"the loader cannot continue from the saved state: {'; '.join(differing)}; give it "
            "the same settings, or start a new epoch with set_epoch()"
        )
        raise ValueError(msg)
    if position.epoch < 0 or not 0 <= position.batch <= num_batches:
        msg = f"state of a loader: batch {position.batch} of epoch {position.epoch} of {num_batches} batches"
        raise ValueError(msg)
    return position
