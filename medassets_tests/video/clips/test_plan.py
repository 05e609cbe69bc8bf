"""The time scale of a clip."""

import pytest

from medassets.video.clips.plan import choose_rate_hz


@pytest.mark.parametrize("ticks_per_s", [1000, 12_800, 90_000, 10_000_000])
def test_ticks_of_the_source_are_kept_where_a_frame_may_last_minutes(ticks_per_s: int) -> None:
    rate = choose_rate_hz(ticks_per_s)
    assert rate == ticks_per_s
    # mp4 stores the duration of a frame in 32 bits.
    assert 2**32 / rate > 7 * 60


@pytest.mark.parametrize("ticks_per_s", [10_000_001, 90_000_000, 10**9])
def test_finer_ticks_become_microseconds(ticks_per_s: int) -> None:
    assert choose_rate_hz(ticks_per_s) == 1_000_000
