"""Whether tests with the mark `gpu` can run here."""

import os

import pytest

from medassets.video.processes.devices import count_gpus


def require_gpu() -> None:
    """Skip the test where there is no CUDA device, or fail if MEDASSETS_REQUIRE_GPU=1."""
    count = count_gpus()
    if count.num_gpus:
        return
    if os.environ.get("MEDASSETS_REQUIRE_GPU") == "1":
        pytest.fail(f"MEDASSETS_REQUIRE_GPU=1, but {count.problem}")
    pytest.skip(f"no GPU: {count.problem}")
