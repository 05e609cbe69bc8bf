"""`/metrics` of the server: how far every dataset is, in the text format of Prometheus.

Source of the format: prometheus.io/docs/instrumenting/exposition_formats.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock

from prometheus_client import CollectorRegistry, make_asgi_app
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Receive, Scope, Send

from medassets.datasets.summary import Summary, summarize
from medassets.datasets.workspace import Workspace
from medassets.errors import MedassetsError

PATH = "/metrics"
_LABELS = ("dataset", "stage")
# A look at ten thousand shards takes a second; scrapers of one server share it.
_KEPT_S = 10.0


def serving_metrics(app: ASGIApp, list_workspaces: Callable[[], Iterable[Workspace]]) -> ASGIApp:
    """Return an application that answers `/metrics` and passes everything else on.

    Args:
        app: The other application.
        list_workspaces: Returns the stages of shards of all declared datasets.
    """
    registry = CollectorRegistry()
    registry.register(_Datasets(list_workspaces))
    metrics = make_asgi_app(registry)

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        wanted = metrics if scope["type"] == "http" and scope["path"] == PATH else app
        await wanted(scope, receive, send)

    return route


@dataclass(eq=False)
class _Datasets(Collector):
    """Looks at all datasets when it is asked."""

    list_workspaces: Callable[[], Iterable[Workspace]]
    _lock: Lock = field(default_factory=Lock)
    _found: Sequence[Metric] = ()
    _until: float = 0.0

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: registering must not look at the disk."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of all datasets that have a catalog."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._found = list(_measure(self.list_workspaces()))
                self._until = time.monotonic() + _KEPT_S
            yield from self._found


def _measure(workspaces: Iterable[Workspace]) -> Iterator[Metric]:
    readable = _gauge("readable", "Whether catalog and shards can be read.")
    metrics = _Metrics()
    for workspace in workspaces:
        labels = (workspace.kind.spec.name, str(workspace.kind.stage))
        if not workspace.paths.catalog.exists():
            continue
        try:
            metrics.add(summarize(workspace, now=time.time()))
        except (MedassetsError, OSError):
            readable.add_metric(labels, 0)
        else:
            readable.add_metric(labels, 1)
    yield readable
    yield from metrics.list()


class _Metrics:
    """The gauges of all stages."""

    def __init__(self) -> None:
        self._items = _gauge("items", "Source items by state.", "state")
        self._reasons = _gauge("items_by_reason", "Source items by reason.", "state", "reason")
        self._shards = _gauge("shards", "Planned shards by state.", "state")
        self._rate = _gauge("samples_per_second", "Samples made within the last hour, per second.")
        self._left = _gauge("seconds_left", "Time until the rest is made at this rate.")
        self._free = _gauge("free_bytes", "Bytes that may be written to the disk of the shards.")

    def add(self, found: Summary) -> None:
        """Add one stage."""
        labels, counts = (found.dataset, found.stage), found.account.as_dict()
        for state in ("done", "rejected", "excluded", "held", "left"):
            self._items.add_metric((*labels, state), counts[state])
            for reason, count in counts["reasons"].get(state, {}).items():
                self._reasons.add_metric((*labels, state, reason), count)
        for state, count in found.shards.items():
            self._shards.add_metric((*labels, state), count)
        if found.throughput.samples_per_s is not None:
            self._rate.add_metric(labels, found.throughput.samples_per_s)
        if found.seconds_left is not None:
            self._left.add_metric(labels, found.seconds_left)
        self._free.add_metric(labels, found.free_bytes)

    def list(self) -> list[Metric]:
        """Return all gauges."""
        return [self._items, self._reasons, self._shards, self._rate, self._left, self._free]


def _gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"medassets_{name}", documentation, labels=(*_LABELS, *labels))
