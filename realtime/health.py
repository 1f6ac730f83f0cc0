"""Whether this process lives, whether it can serve, and its figures for Prometheus."""

from django.db import Error as DatabaseProblem
from django.http import HttpRequest, HttpResponse, JsonResponse
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
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


_registry = CollectorRegistry()
_registry.register(RuntimeCollector(runtime))
for _collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
    _registry.register(_collector)
