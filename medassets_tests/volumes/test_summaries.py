"""Sums over recorded facts, and volumes that differ from the others."""

from typing import Any

import numpy as np
import pytest

from medassets.volumes.summaries import (
    LEAST_SAMPLES,
    count_orientations,
    find_outliers,
    list_codes,
    sum_shares,
)


def make_facts(air: float, codes: str | None = "LPS") -> dict[str, Any]:
    return {"plausible_share": 0.4, "air_share": air, "dark_air_share": 0.3, "axis_codes": codes}


def test_orientations_are_counted_the_most_frequent_first() -> None:
    codes = ["RAS", "LPS", None, "LPS", "LAS", "LPS", "RAS"]
    counts = count_orientations([make_facts(0.5, one) for one in codes] + [{}])
    assert list(counts.items()) == [
        *(("LPS", 3), ("RAS", 2), ("LAS", 1)),
        *(("none stated", 1), ("not recorded", 1)),
    ]
    assert list_codes(counts) == ["LPS", "RAS", "LAS"]


def test_shards_of_an_older_version_add_nothing() -> None:
    old = [{"plausible_share": 0.5}, {"plausible_share": 0.6}]
    assert (count_orientations(old), sum_shares(old)) == ({}, {})


def test_shares_are_summed_up() -> None:
    values = [0.41, 0.52, 0.38, 0.6]
    assert sum_shares([make_facts(value) for value in values])["air_share"] == {
        "mean": round(float(np.mean(values)), 4),
        "median": round(float(np.median(values)), 4),
        "least": 0.38,
        "largest": 0.6,
    }


@pytest.mark.parametrize("wrong", [0.05, 0.12, 0.9, 0.99])
@pytest.mark.parametrize("num_wrong", [1, 3, 9])
def test_wrong_volumes_differ_however_many_of_a_fifth_they_are(
    wrong: float, num_wrong: int
) -> None:
    rng = np.random.default_rng(1)
    shares = [*rng.uniform(0.42, 0.62, 40), *[wrong] * num_wrong]
    samples = [(f"v{number}", make_facts(float(air))) for number, air in enumerate(shares)]
    found = find_outliers(samples)
    assert [one.key for one in found] == [f"v{40 + number}" for number in range(num_wrong)]
    assert {(one.share, one.value) for one in found} == {("air_share", wrong)}
    assert str(found[0]).startswith(f"v40: air share {wrong:.3f}, median of the dataset 0.5")


def test_volumes_within_the_spread_of_the_others_do_not_differ() -> None:
    rng = np.random.default_rng(2)
    air = rng.uniform(0.38, 0.68, 500)
    assert find_outliers([(str(n), make_facts(float(one))) for n, one in enumerate(air)]) == []


def test_small_differences_of_equal_volumes_do_not_count() -> None:
    samples = [(str(number), make_facts(0.5)) for number in range(20)]
    assert find_outliers([*samples, ("near", make_facts(0.53))]) == []
    assert [o.key for o in find_outliers([*samples, ("far", make_facts(0.55))])] == ["far"]


def test_a_few_volumes_have_no_distribution() -> None:
    samples = [(str(number), make_facts(0.5)) for number in range(LEAST_SAMPLES - 2)]
    assert find_outliers([*samples, ("far", make_facts(0.1))]) == []
