"""A real `medassets up` for the tests of its processes."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from medassets_tests.running_ui import RunningUi, run_ui


@pytest.fixture
def running_ui() -> Callable[..., AbstractContextManager[RunningUi]]:
    """Return a function that runs `medassets up` on a home folder, with options and variables."""
    return run_ui
