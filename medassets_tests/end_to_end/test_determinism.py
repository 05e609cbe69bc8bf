"""The same bytes whoever builds, wherever, with how many threads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets.testing.ct_rate import make_ct_rate_repository
from medassets_tests.bad_volumes import pick_bad_volumes

pytestmark = pytest.mark.slow


@pytest.fixture
def declared(tmp_path: Path, declare: Callable[..., None]) -> None:
    """A folder of eleven volumes in two splits, two of them bad, with reports beyond ASCII."""
    repository = make_ct_rate_repository(
        tmp_path / "repository",
        num_patients=3,
        shape_range=((20, 18, 12), (26, 24, 16)),
        special_volumes=pick_bad_volumes("flipped_bit", "rescaled_twice"),
    )
    declare(
        source="folder",
        folder=str(repository.folder),
        splits=["train", "valid"],
        samples_per_shard=8,
        max_rejected_share=1.0,
        max_excluded_share=1.0,
    )


@pytest.mark.usefixtures("declared")
def test_bytes_depend_on_neither_workers_nor_locale_nor_time_zone_nor_hash_seed(
    make_home: Callable[..., Any], run_process: Callable[..., Any]
) -> None:
    places = [
        ("1", {"LC_ALL": "C", "TZ": "UTC", "PYTHONHASHSEED": "1"}),
        ("2", {"LC_ALL": "C.UTF-8", "TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "2"}),
        ("4", {"LC_ALL": "de_DE.UTF-8", "TZ": "America/St_Johns", "PYTHONHASHSEED": "3"}),
    ]
    made = []
    for workers, environment in places:
        home = make_home(f"workers-{workers}")
        outcome = run_process(home, "build", "tiny", "--num-workers", workers, **environment)
        assert outcome.code == 0, outcome.text
        made.append(home.contents())
    assert made[0] == made[1] == made[2]
    assert sum(path.endswith(".tar") for path in made[0]) == 3
