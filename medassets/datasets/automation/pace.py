"""How long automation waits before it tries something again."""

import os
from dataclasses import dataclass

from medassets.errors import UsageError

VARIABLE = "MEDASSETS_RETRY_SECONDS"
"""Environment variable with other waits, such as `600,3600,21600`; for trials with a short clock."""


@dataclass(frozen=True)
class Pace:
    """The waits between the tries of one item, and between looks at a source that is away.

    Attributes:
        retries_s: Seconds after the first, second and each later failed try; after one more failure
            the item is left as failed.
    """

    retries_s: tuple[float, ...] = (600.0, 3600.0, 21600.0)

    @classmethod
    def from_environment(cls) -> "Pace":
        """Return the waits that `MEDASSETS_RETRY_SECONDS` names, or the usual ones.

        Raises:
            UsageError: If it is not a list of positive numbers.
        """
        text = os.environ.get(VARIABLE, "")
        if not text:
            return cls()
        try:
            waits = tuple(float(part) for part in text.split(","))
        except ValueError:
            waits = ()
        if not waits or not all(0 < wait < float("inf") for wait in waits):
            what = f"expected seconds such as 600,3600,21600, got {text!r}"
            raise UsageError(field=VARIABLE, what=what)
        return cls(waits)

    def after_failure(self, num_failures: int) -> float | None:
        """Return the wait after a number of failures; None when the item is left as failed."""
        waits = self.retries_s
        return waits[num_failures - 1] if num_failures <= len(waits) else None

    def after_kill(self, num_killed: int) -> float:
        """Return the wait after tries that were killed, one after the other.

        The first is made good at once: a power cut kills whatever runs. A shard that ends its
        process each time, for lack of memory, must not do so each minute.
        """
        waits = (0.0, *self.retries_s)
        return waits[min(num_killed, len(waits)) - 1]

    def between_looks(self, num_looks: int) -> float:
        """Return the wait after a number of looks at a source that did not answer.

        It is never longer than the wait after a first failure: when the source is back, work goes on.
        """
        first = self.retries_s[0]
        return (first / 5, first / 2, first)[min(num_looks, 3) - 1]
