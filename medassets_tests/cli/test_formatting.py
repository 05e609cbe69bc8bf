"""Numbers as the command prints them."""

import pytest

from medassets.cli.formatting import count_words, format_bytes, format_seconds


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_234_567, "1.2 MB"),
        (-2_500_000_000, "-2.5 GB"),
        (1_234_567_000_000_000, "1,234.6 TB"),
    ],
)
def test_bytes_are_told_in_powers_of_ten(count: int, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0:00:00"), (59.6, "0:01:00"), (3661, "1:01:01"), (90_000, "25:00:00")],
)
def test_durations_are_rounded_to_seconds_and_hours_may_exceed_a_day(
    seconds: float, text: str
) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 shards"), (1, "1 shard"), (2, "2 shards"), (12_345, "12,345 shards")]
)
def test_one_alone_is_singular(count: int, text: str) -> None:
    assert count_words(count, "shard") == text
