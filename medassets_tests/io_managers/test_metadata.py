"""What Dagster shows of a shard: a small picture, counts and reasons."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from medassets.datasets.volumes import VolumeDataset
from medassets_tests.location import Location, metadata_of, picture_of, size_of

KEY = "train-000000"
LARGEST = 32_000


def test_the_picture_of_a_shard_is_a_small_jpeg(first_shard: Location) -> None:
    content = picture_of(first_shard.events("shards", KEY)[-1])
    assert len(content) <= 10_000
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        assert picture.format == "JPEG"
        assert picture.width > picture.height > 50
        low, high = picture.convert("L").getextrema()
    assert isinstance(low, int)
    assert isinstance(high, int)
    assert high - low > 100


def test_the_picture_of_the_full_grid_fits_an_event(
    locate: Callable[..., Location], repository: Any
) -> None:
    fields = {"target_shape": (), "target_spacing_mm": (), "samples_per_shard": 1}
    location = locate(repository.folder, **fields)
    location.materialize("catalog", config={"catalog": {"limit": 1}})
    location.materialize("shards", partition=KEY)
    (event,) = location.events("shards", KEY)
    with Image.open(io.BytesIO(picture_of(event))) as picture:
        picture.load()
    assert size_of(event) < LARGEST


def test_a_picture_that_is_too_large_is_left_out(
    first_shard: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    for num_bytes, shown in ((20_000, True), (20_001, False)):
        monkeypatch.setattr(VolumeDataset, "draw_preview", lambda *_, n=num_bytes: b"\xff" * n)
        first_shard.materialize("shards", partition=KEY)
        event = first_shard.events("shards", KEY)[-1]
        assert ("medassets/preview" in event.metadata) is shown
        assert size_of(event) < LARGEST


def test_a_shard_without_samples_has_no_picture(
    locate: Callable[..., Location], repository: Any
) -> None:
    location = locate(repository.folder, min_slices=1000)
    location.materialize("catalog")
    location.materialize("shards", partition=KEY)
    told = metadata_of(location.events("shards", KEY)[-1])
    assert told["dagster/row_count"] == 0
    assert told["medassets/rejected_by_reason"] == {"too_few_slices": 3}
    assert "medassets/preview" not in told
