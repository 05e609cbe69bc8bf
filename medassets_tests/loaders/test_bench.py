"""What a loader is said to give, from what it gave."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from medassets.loaders.bench import LoaderTiming, recommend_workers, time_loader


def timing(num_workers: int, samples_per_s: float, **changes: float) -> LoaderTiming:
    """Return what ten batches of two would have taken."""
    total = 20 / samples_per_s
    waits = {"first_s": total / 10, "mean_s": total / 10, "std_s": 0.0, **changes}
    return LoaderTiming(num_workers, 10, 20, 20_000_000, total_s=total, **waits)


@pytest.mark.parametrize(
    ("speeds", "chosen"),
    [
        ({0: 10, 1: 20, 2: 40, 4: 41}, 2),
        ({1: 10, 2: 10.2}, 1),
        ({0: 50, 1: 10, 2: 40}, 2),
        ({0: 50}, 0),
        ({1: 5, 8: 40}, 8),
        ({4: 7}, 4),
    ],
)
def test_the_fewest_workers_that_are_nearly_fastest_are_recommended(
    speeds: dict[int, float], chosen: int
) -> None:
    timings = [timing(workers, speed) for workers, speed in speeds.items()]
    recommendation = recommend_workers(timings, num_cores=4)
    assert recommendation.num_workers == chosen
    assert f"{speeds[chosen]:.1f} samples/s" in recommendation.reasons[0]


def test_reasons_say_what_else_was_seen() -> None:
    uneven = timing(8, 40, mean_s=0.05, std_s=0.04)
    reasons = " ".join(recommend_workers([timing(0, 10), uneven], num_cores=2).reasons)
    assert "vary by 40 ms around 50 ms" in reasons
    assert "has 2 cores" in reasons
    slow = LoaderTiming(1, 3, 6, 1, 0.1, 0.1, 0.0, 1.0, transfer_s=0.2)
    assert "GPU takes longer" in recommend_workers([slow], num_cores=2).reasons[-1]


def test_waits_and_bytes_of_batches_are_counted() -> None:
    batches = [{"points": torch.zeros(5, 3), "batch_idx": torch.tensor([0, 0, 1, 2, 2])}] * 3
    measured = time_loader(batches, num_workers=0, num_batches=2)
    assert (measured.num_batches, measured.num_samples) == (2, 6)
    assert measured.num_bytes == 2 * (5 * 3 * 4 + 5 * 8)
    nested: list[Sequence[object]] = [[torch.zeros(4), "a", [np.zeros(2), torch.zeros(1)]]]
    assert time_loader(nested, num_workers=0, num_batches=9).num_bytes == 20
    with pytest.raises(ValueError, match="gave no batch"):
        time_loader([], num_workers=0, num_batches=1)
