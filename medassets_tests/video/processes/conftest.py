"""A pool of decoder processes."""

from collections.abc import Iterator

import pytest

from medassets.video.processes.pool import DecoderPool
from medassets_tests.video.decoder_processes import all_gone


@pytest.fixture
def pool() -> Iterator[DecoderPool]:
    """Two processes; they must be gone after the test."""
    with DecoderPool("cpu", num_workers=2) as pool:
        yield pool
        pids = pool.pids
    assert all_gone(pids)
