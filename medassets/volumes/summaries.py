"""Sums over the recorded facts of many volumes: orientations, shares of HU, and what differs from the rest."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medassets.volumes.grid.hu_guard import SHARES

UNORIENTED = "none stated"
"""Counts volumes whose files state no orientation."""

UNRECORDED = "not recorded"
"""Counts volumes of shards that an older version made."""

LEAST_SAMPLES = 8
"""Fewer samples have no distribution that one of them could differ from."""

LARGEST_SCORE = 3.5
"""Largest robust score of a sample that does not differ.

Source: Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993.
"""

_SIGMA_OF_MAD = 1.4826
# Shares that differ by less do not matter, however equal the others are.
_LEAST_SIGMA = 0.01

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Outlier:
    """One volume that differs from the others of its dataset.

    Attributes:
        key: Sample key.
        share: Name of the share of voxels.
        value: Its share.
        median: The dataset's.
    """

    key: str
    share: str
    value: float
    median: float

    def __str__(self) -> str:
        name = self.share.replace("_", " ")
        return f"{self.key}: {name} {self.value:.3f}, median of the dataset {self.median:.3f}"


def count_orientations(facts: Iterable[Facts]) -> dict[str, int]:
    """Return the number of volumes by axis codes, such as `LPS`; most frequent first.

    Empty if no volume records them.

    Args:
        facts: Recorded facts of samples.
    """
    codes = (
        one["axis_codes"] or UNORIENTED if "axis_codes" in one else UNRECORDED for one in facts
    )
    counts = dict(sorted(Counter(codes).items(), key=lambda item: (-item[1], item[0])))
    return {} if set(counts) == {UNRECORDED} else counts


def list_codes(orientations: Mapping[str, int]) -> list[str]:
    """Return the axis codes among counted orientations."""
    return [code for code in orientations if code not in (UNORIENTED, UNRECORDED)]


def sum_shares(facts: Sequence[Facts]) -> dict[str, dict[str, float]]:
    """Return mean, median, least and largest of each share of voxels that samples record.

    Shards of an older version, which recorded one share and no orientation, do not count.
    """
    found: dict[str, dict[str, float]] = {}
    for name in SHARES:
        values = [one[name] for one in facts if {name, "axis_codes"} <= one.keys()]
        if values:
            found[name] = {
                "mean": round(float(np.mean(values)), 4),
                "median": round(float(np.median(values)), 4),
                "least": round(min(values), 4),
                "largest": round(max(values), 4),
            }
    return found


def find_outliers(samples: Sequence[tuple[str, Facts]]) -> list[Outlier]:
    """Return the samples whose shares of voxels differ from those of the others.

    The distance from the median is compared with the median distance, which a few wrong samples do not
    move.

    Args:
        samples: Key and recorded facts of each sample of a dataset.

    Returns:
        In the order of the samples, once per share.
    """
    found: list[Outlier] = []
    for name in SHARES:
        known = [(key, facts[name]) for key, facts in samples if name in facts]
        if len(known) < LEAST_SAMPLES:
            continue
        values = np.array([value for _, value in known], np.float64)
        median, is_far = _compare(values)
        pairs = zip(known, is_far.tolist(), strict=True)
        found += [Outlier(key, name, value, median) for (key, value), far in pairs if far]
    order = {key: index for index, (key, _) in enumerate(samples)}
    return sorted(found, key=lambda outlier: order[outlier.key])


def _compare(values: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.bool_]]:
    median = float(np.median(values))
    distances = np.abs(values - median)
    sigma = max(_SIGMA_OF_MAD * float(np.median(distances)), _LEAST_SIGMA)
    return median, distances > LARGEST_SCORE * sigma
