"""Small inputs beside the checkout, each with one difficulty; tests that need them skip without."""

import os
from pathlib import Path

import pytest

from medassets_tests import shared_data

FOLDER = Path(os.environ.get("MEDASSETS_SHARED_CASES") or shared_data.CASES)


def find_case(name: str) -> Path:
    """Return the path of a case, such as `video/clap.mp4`; skip the test if it is not there.

    MEDASSETS_SHARED_CASES is the folder of the cases, where it is not `../shared/cases`.
    """
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"no {name} in {FOLDER}; set MEDASSETS_SHARED_CASES to the folder of cases")
    return path
