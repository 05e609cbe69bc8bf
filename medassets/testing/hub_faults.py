"""What a local hub can be told to do wrong, and what it remembers of its callers."""

import fnmatch
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

FaultKind = Literal[
    "unauthorized",
    "bad_token",
    "gated",
    "forbidden",
    "missing",
    "missing_repo",
    "rate_limit",
    "unavailable",
    "expired_link",
    "web_page",
    "reset",
    "truncate",
    "short",
    "long",
    "wrong_bytes",
    "stall",
    "ignore_range",
    "slow",
]
Place = Literal["resolve", "body", "info", "paths-info", "tree"]

_IN_THE_BODY = frozenset(
    (
        "expired_link",
        "reset",
        "truncate",
        "short",
        "long",
        "wrong_bytes",
        "stall",
        "ignore_range",
        "slow",
    )
)


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, at one place, for some requests.

    Attributes:
        kind: What goes wrong.
        path: Pattern (`fnmatch`) of the file's path in the repository; of `info`, `paths-info`
            and `tree` requests the place alone counts.
        place: Where: the hub's `resolve` answer, the `body` of the file itself (on the CDN for
            large files), or one of the API's answers.
        skip: Matching requests that still go well before the first fault.
        times: Requests that go wrong; None means all from then on.
        at_byte: Bytes of the body that are sent before a `reset` (-1: before the status line),
            a `stall`, a `truncate` (the connection ends early) or a `short` one (the answer
            claims no more than that); of `wrong_bytes`, the byte of the file that is changed.
        retry_after_s: Seconds of a `rate_limit` answer's Retry-After.
        bytes_per_s: Speed of a `slow` body.
        message: Words of an error answer; empty means the usual ones.
    """

    kind: FaultKind
    path: str = "*"
    place: Place = "body"
    skip: int = 0
    times: int | None = 1
    at_byte: int = 0
    retry_after_s: int = 1
    bytes_per_s: int = 1 << 20
    message: str = ""


@dataclass(frozen=True)
class HubRequest:
    """One request that a local hub has answered, or begun to.

    Attributes:
        server: `hub`, or `cdn` for the bytes of large files.
        method: HTTP method.
        target: Path and query as sent.
        place: Which kind of request it was, None for unknown ones.
        path: Path of the file in the repository, where the request is for one.
        range_start: First byte asked for, None without a Range.
        has_token: Whether an Authorization header came with it.
    """

    server: Literal["hub", "cdn"]
    method: str
    target: str
    place: Place | None
    path: str | None
    range_start: int | None
    has_token: bool


class FaultPlan:
    """The faults still to come and the requests so far; shared by all handler threads."""

    def __init__(self) -> None:
        """Start without faults."""
        self._lock = threading.Lock()
        self._faults: list[tuple[Fault, int]] = []
        self._requests: list[HubRequest] = []

    def add(self, kind: FaultKind, path: str = "*", **changes: object) -> None:
        """Plan a fault; see `Fault` for what can be changed.

        Without a `place`, faults that are an answer of the hub happen at `resolve`, the others in
        the `body`.

        Raises:
            ValueError: If there is no such kind.
        """
        if kind not in get_args(FaultKind):
            msg = f"kind: expected one of {', '.join(get_args(FaultKind))}, got {kind!r}"
            raise ValueError(msg)
        place = "body" if kind in _IN_THE_BODY else "resolve"
        fault = Fault(**{"kind": kind, "path": path, "place": place, **changes})  # pyright: ignore[reportArgumentType]
        with self._lock:
            self._faults.append((fault, 0))

    def clear(self) -> None:
        """Forget all faults; requests stay."""
        with self._lock:
            self._faults.clear()

    def note(self, request: HubRequest) -> None:
        """Remember a request."""
        with self._lock:
            self._requests.append(request)

    def requests(self, place: Place | None = None) -> list[HubRequest]:
        """Return the requests so far, of one place or of all."""
        with self._lock:
            return [r for r in self._requests if place is None or r.place == place]

    def forget_requests(self) -> None:
        """Start counting requests anew."""
        with self._lock:
            self._requests.clear()

    def take(self, place: Place, path: str | None) -> Fault | None:
        """Return the fault of this request, None if it goes well; counts the request."""
        with self._lock:
            for i, fault in self._matching(place, path):
                seen = self._faults[i][1]
                self._faults[i] = (fault, seen + 1)
                if seen >= fault.skip and (fault.times is None or seen < fault.skip + fault.times):
                    return fault
        return None

    def _matching(self, place: Place, path: str | None) -> Iterator[tuple[int, Fault]]:
        for i, (fault, _) in enumerate(self._faults):
            if fault.place == place and (path is None or fnmatch.fnmatchcase(path, fault.path)):
                yield i, fault
