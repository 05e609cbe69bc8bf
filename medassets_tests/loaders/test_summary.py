"""Summaries of loaders, and warnings about the memory of their batches."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medassets.loaders import Loader, VolumeDataset
from medassets.loaders.summary import find_memory_warnings, format_bytes, summarize_loader

GIB = 1 << 30


def test_too_much_in_flight_is_warned_of(split: Path) -> None:
    loader = Loader(VolumeDataset(split), batch_size=2, num_workers=1, prefetch_factor=2)
    one = summarize_loader("train", loader)
    assert one.batch_bytes == 2 * 5 * 7 * 11 * 2
    assert one.bytes_in_flight == 4 * one.batch_bytes
    assert not find_memory_warnings([one], memory_bytes=GIB, shared_bytes=0)
    large = replace(one, bytes_in_flight=GIB)
    (warning,) = find_memory_warnings([large], memory_bytes=GIB, shared_bytes=0)
    assert warning.startswith("1.1 GB in flight are more than half of the memory (1.1 GB); lower")
    shared = replace(large, workers="process")
    _, warning = find_memory_warnings([shared], memory_bytes=GIB, shared_bytes=GIB // 2)
    assert "more than /dev/shm has free (537 MB)" in warning
    assert not find_memory_warnings([shared], memory_bytes=4 * GIB, shared_bytes=GIB)
    assert find_memory_warnings([shared], memory_bytes=4 * GIB, shared_bytes=GIB, local_ranks=2)
    assert format_bytes(999) == "999 B"


@pytest.mark.parametrize(
    ("options", "num_samples", "in_flight"),
    [
        ({"batch_size": 16, "num_workers": 2}, 8, 8),
        ({"batch_size": 16, "num_workers": 0, "world_size": 3, "rank": 0}, 3, 3),
        ({"batch_size": 3, "num_workers": 2}, 3, 8),
        ({"batch_size": 1, "num_workers": 1}, 1, 4),
        ({"batch_size": 1, "num_workers": 0}, 1, 2),
    ],
)
def test_no_more_is_in_flight_than_there_is(
    split: Path, options: dict[str, Any], num_samples: int, in_flight: int
) -> None:
    one = summarize_loader("train", Loader(VolumeDataset(split), **options))
    assert one.batch_bytes == num_samples * 2 * 5 * 7 * 11
    assert one.bytes_in_flight == in_flight * 2 * 5 * 7 * 11


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_workers": 0}, "8 samples in order, 1 batch of 8; no workers, each batch is fetched"),
        ({"num_workers": 1, "prefetch_factor": 1}, "1 thread x 1 batch ahead, not pinned"),
        ({"num_workers": 2, "workers": "process"}, "2 worker processes x 2 batches ahead"),
    ],
)
def test_the_summary_is_a_sentence(split: Path, options: dict[str, Any], said: str) -> None:
    options = {"batch_size": 16, "shuffle": False, "pin_memory": False, **options}
    assert said in str(summarize_loader("train", Loader(VolumeDataset(split), **options)))
