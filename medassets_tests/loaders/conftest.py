"""Small splits of volumes: with records, and as other tools write them."""

from functools import partial
from pathlib import Path

import pytest

from medassets_tests.small_shards import (
    make_shards,
    make_trainer_members,
    make_volume_members,
    pack_tar,
)

SHAPE = (5, 7, 11)
"""(h, w, d) of most volumes."""

COUNTS = (4, 3, 1)
"""Samples per shard."""


@pytest.fixture(scope="session")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of a split of the real writer; read only."""
    root = tmp_path_factory.mktemp("split")
    return make_shards(root, COUNTS, partial(make_volume_members, shape=SHAPE))


@pytest.fixture
def own_split(tmp_path: Path) -> Path:
    """Manifest of a split that a test may damage."""
    return make_shards(tmp_path / "own", COUNTS, partial(make_volume_members, shape=SHAPE))


@pytest.fixture
def trainer_shards(tmp_path: Path) -> Path:
    """Folder of shards as the public trainer's script leaves them, without its manifest."""
    folder, number = tmp_path / "preprocessed", 0
    for shard, count in enumerate(COUNTS):
        samples = {
            f"sample_{n}": make_trainer_members(n, SHAPE) for n in range(number, number + count)
        }
        pack_tar(folder / f"shard-{shard:06d}.tar", samples)
        number += count
    return folder
