"""Whether this process lives, whether it can serve, and its figures for Prometheus."""

from collections.abc import Iterator

from django.db import Error as DatabaseProblem
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from realtime import journal
from realtime.runtime import Runtime, runtime


def alive(request: HttpRequest) -> HttpResponse:
    """Answer 200 as long as the process answers at all."""
    return JsonResponse({"status": "alive"})


def ready(request: HttpRequest) -> HttpResponse:
    """Answer 200 when this process can serve, else 503; either way say part by part."""
    parts = {
        "runtime": "ok" if runtime.is_started and not runtime.is_draining else "not running",
        "database": _database_state(),
        "layer": "deaf" if runtime.is_layer_deaf else "ok",
    }
    # A deaf layer slows other processes' events down; it is no reason to send clients away.
    is_ready = parts["runtime"] == "ok" and parts["database"] == "ok"
    body = {"status": "ready" if is_ready else "not ready", **parts}
    return JsonResponse(body, status=200 if is_ready else 503)


def metrics(request: HttpRequest) -> HttpResponse:
    """Return this process's figures in Prometheus' text format."""
    return HttpResponse(generate_latest(_registry), content_type=CONTENT_TYPE_LATEST)


def _database_state() -> str:
    try:
        journal.head()
    except DatabaseProblem:
        return "does not answer"
    return "ok"


class RuntimeCollector(Collector):
    """Reads the runtime's state when asked; nothing is counted twice."""

    def __init__(self, source: Runtime) -> None:
        self._runtime = source

    def collect(self):
        hub = self._runtime.hub
        connections = GaugeMetricFamily(
            "vitalwire_connections", "Open sockets by endpoint", labels=["endpoint"]
        )
        for endpoint, count in hub.counts().items():
            connections.add_metric([endpoint], count)
        connections.add_metric([UNKNOWN], len(self._runtime.lobby))
        yield connections
        yield GaugeMetricFamily(
            "vitalwire_journal_position", "Last event handed to the hub", value=hub.position
        )
        yield CounterMetricFamily(
            "vitalwire_deliveries", "Events written to sockets", value=hub.delivered
        )
        yield GaugeMetricFamily(
            "vitalwire_layer_deaf",
            "1 while other processes are heard by polling only",
            value=int(self._runtime.is_layer_deaf),
        )
        yield from _figures(self._runtime)
        refused = CounterMetricFamily(
            "vitalwire_refused_attempts",
            "Connections refused or cut, by reason and endpoint",
            labels=["reason", "endpoint"],
        )
        for (reason, endpoint), count in list(self._runtime.oversight.attempts.counts.items()):
            refused.add_metric([reason, endpoint], count)
        yield refused


def _figures(source: Runtime) -> Iterator[Metric]:
    """Yield what the process has counted, and its share of the latest sample."""
    for name, value in source.oversight.figures(timezone.now()).items():
        if name in COUNTERS:
            metric, text = COUNTERS[name]
            yield CounterMetricFamily(metric, text, value=value)
    own = source.oversight.sampler.own
    for name, text in GAUGES.items():
        yield GaugeMetricFamily(f"vitalwire_{name}", text, value=own.get(name, 0.0))


# Sockets whose peer has not said yet who it is.
UNKNOWN = "unauthenticated"
COUNTERS = {
    "opened": ("vitalwire_connections_opened", "Sockets opened"),
    "closed": ("vitalwire_connections_closed", "Sockets closed"),
    "messages_in": ("vitalwire_messages_received", "Messages from clients"),
    "messages_out": ("vitalwire_messages_sent", "Messages to clients"),
    "seconds_open": ("vitalwire_connection_seconds", "Seconds that sockets were open, added up"),
}
GAUGES = {
    "messages_per_second": "Messages from and to clients within the last second",
    "event_loop_delay_ms": "How late the event loop was at worst within the last second",
    "queue_depth_writer": "What waits for the database",
    "queue_depth_outbox": "What waits for the channel layer",
}

_registry = CollectorRegistry()
_registry.register(RuntimeCollector(runtime))
for _collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
    _registry.register(_collector)
