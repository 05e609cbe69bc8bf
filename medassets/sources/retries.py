"""Retry policy of requests to a hub."""

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

from medassets.errors import MedassetsError, SourceUnavailableError
from medassets.sources.hub_errors import RETRYABLE, Failure, FailureKind
from medassets.sources.rate_limit import RateLimiter, sleep_ticking
from medassets.sources.stopping import current_stopper

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubPolicy:
    """Timeouts and retries of requests to a hub.

    Attributes:
        max_attempts: Failures in a row, without progress between them, that end a request.
        max_unreached: The same, while no request of this process ever got an answer: the address
            is wrong or does not answer, and a user waits at the terminal.
        max_wrong_bytes: Times a whole file may arrive with wrong bytes before it is given up.
        first_backoff_s: Pause after the first failure; doubled after each further one.
        longest_backoff_s: Longest such pause.
        max_retry_after_s: A longer pause asked for by the hub is cut to this.
        connect_timeout_s: Time to reach the hub.
        stall_timeout_s: A connection without a byte for this long counts as broken.
        answer_timeout_s: Longest time until the last byte of an answer that is no file.
        progress_bytes: So many new bytes of a file count as progress.
        paths_per_request: Files described by one request.
        lock_timeout_s: Longest wait for another process that downloads the same file.
    """

    max_attempts: int = 8
    max_unreached: int = 3
    max_wrong_bytes: int = 3
    first_backoff_s: float = 1.0
    longest_backoff_s: float = 60.0
    # The Hugging Face Hub counts requests in windows of five minutes.
    max_retry_after_s: float = 300.0
    connect_timeout_s: float = 10.0
    stall_timeout_s: float = 60.0
    answer_timeout_s: float = 120.0
    progress_bytes: int = 1 << 20
    paths_per_request: int = 500
    lock_timeout_s: float = 3600.0

    def backoff_s(self, num_failed: int) -> float:
        """Return the pause after a number of consecutive failures, in s, with 25 % jitter."""
        pause = self.first_backoff_s * 2.0 ** min(num_failed - 1, 30)
        return min(pause, self.longest_backoff_s) * random.uniform(0.75, 1.25)


class Attempts:
    """Counts the failures of one request, waits between attempts, and gives up after the last."""

    def __init__(
        self,
        policy: HubPolicy,
        limiter: RateLimiter,
        *,
        what: str,
        tick: Callable[[], None] | None = None,
    ) -> None:
        """Start without failures.

        Args:
            policy: When to give up.
            limiter: Door of the process; a pause asked for by the hub shuts it for all.
            what: What is asked for, as messages say it.
            tick: Called several times a second while waiting; what it raises ends the wait. None
                asks what stops this thread.
        """
        self._policy = policy
        self._limiter = limiter
        self._what = what
        stopper = current_stopper()
        self._tick = tick or (stopper.check if stopper is not None else None)
        self._num_failed = 0

    def wait_for_turn(self) -> None:
        """Wait until a request may be sent."""
        self._limiter.wait(tick=self._tick)

    def wait_after(self, failure: Failure, *, progressed: bool = False) -> None:
        """Wait until the next attempt is due.

        Args:
            failure: How the last attempt ended.
            progressed: Whether it brought the request forward all the same.

        Raises:
            SourceAccessError: If access was refused.
            SourceUnavailableError: If no further attempt can help, or all are used up.
        """
        self._num_failed = 1 if progressed else self._num_failed + 1
        if failure.kind not in RETRYABLE:
            raise failure.to_error()
        most = self._most_failures(failure)
        if self._num_failed >= most:
            raise self._give_up(failure)
        pause = self._pause_s(failure)
        logger.warning(
            "%s: %s; trying again in %.1f s (failure %d of at most %d)",
            self._what,
            failure.message,
            pause,
            self._num_failed,
            most,
        )
        if failure.kind is FailureKind.BUSY or failure.retry_after_s is not None:
            self._limiter.pause(pause)
        else:
            sleep_ticking(pause, tick=self._tick)

    def _most_failures(self, failure: Failure) -> int:
        if failure.kind is FailureKind.UNREACHED and not self._limiter.reached:
            return min(self._policy.max_unreached, self._policy.max_attempts)
        return self._policy.max_attempts

    def _pause_s(self, failure: Failure) -> float:
        if failure.retry_after_s is None:
            return self._policy.backoff_s(self._num_failed)
        return min(failure.retry_after_s, self._policy.max_retry_after_s)

    def _give_up(self, failure: Failure) -> MedassetsError:
        msg = (
            f"{self._what}: given up after {self._num_failed} failures in a row, the last: "
            f"{failure.message}. Run again later; what has arrived is kept"
        )
        return SourceUnavailableError(msg)
