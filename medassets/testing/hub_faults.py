"""Faults that a local Hub can be told to make, and the requests it records."""

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
    """One kind of fault, at one place, for some requests.

    Attributes:
        kind: Kind of fault.
        path: Pattern (`fnmatch`) of the file's path in the repository; `info`, `paths-info` and
            `tree` requests match by place alone.
        place: The Hub's `resolve` response, the `body` of the file itself (on the CDN for large
            files), or one of the API's responses.
        skip: Matching requests that succeed before the first fault.
        times: Requests that fail; None means all further ones.
        at_byte: Bytes of the body that are sent before a `reset` (-1: before the status line),
            a `stall`, a `truncate` (the connection ends early) or a `short` body (Content-Length
            is no more than that); for `wrong_bytes`, the byte of the file that is changed.
        retry_after_s: Retry-After of a `rate_limit` response, in s.
        bytes_per_s: Speed of a `slow` body.
        message: Text of an error response; empty means the usual one.
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
    """One request that a local Hub has answered or started to answer.

    Attributes:
        server: `hub`, or `cdn` for the bytes of large files.
        method: HTTP method.
        target: Path and query as sent.
        place: Kind of request, None if unknown.
        path: Path of the requested file in the repository, None for other requests.
        range_start: First requested byte, None without a Range.
        has_token: Whether it has an Authorization header.
    """

    server: Literal["hub", "cdn"]
    method: str
    target: str
    place: Place | None
    path: str | None
    range_start: int | None
    has_token: bool


class FaultPlan:
    """Planned faults and recorded requests; shared by all handler threads."""

    def __init__(self) -> None:
        """Start without faults."""
        self._lock = threading.Lock()
        self._faults: list[tuple[Fault, int]] = []
        self._requests: list[HubRequest] = []
        self._sent: dict[str, int] = {}

    def add(self, kind: FaultKind, path: str = "*", **changes: object) -> None:
        """Plan a fault; see `Fault` for what can be changed.

        Without a `place`, faults of the Hub's response happen at `resolve`, others in the `body`.

        Raises:
            ValueError: If the kind does not exist.
        """
        if kind not in get_args(FaultKind):
            msg = f"kind: expected one of {', '.join(get_args(FaultKind))}, got {kind!r}"
            raise ValueError(msg)
        place = "body" if kind in _IN_THE_BODY else "resolve"
        fault = Fault(**{"kind": kind, "path": path, "place": place, **changes})  # pyright: ignore[reportArgumentType]
        with self._lock:
            self._faults.append((fault, 0))

    def clear(self) -> None:
        """Remove all planned faults; recorded requests remain."""
        with self._lock:
            self._faults.clear()

    def note(self, request: HubRequest) -> None:
        """Record a request."""
        with self._lock:
            self._requests.append(request)

    def requests(self, place: Place | None = None) -> list[HubRequest]:
        """Return the recorded requests, of one place or of all."""
        with self._lock:
            return [r for r in self._requests if place is None or r.place == place]

    def forget_requests(self) -> None:
        """Clear the recorded requests and the sent bytes."""
        with self._lock:
            self._requests.clear()
            self._sent.clear()

    def count_sent(self, path: str, num_bytes: int) -> None:
        """Add bytes of a file that were sent."""
        with self._lock:
            self._sent[path] = self._sent.get(path, 0) + num_bytes

    def sent_bytes(self) -> dict[str, int]:
        """Return the bytes of each file that were sent, by path in the repository."""
        with self._lock:
            return dict(self._sent)

    def take(self, place: Place, path: str | None) -> Fault | None:
        """Count the request and return its fault, None if it succeeds."""
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
