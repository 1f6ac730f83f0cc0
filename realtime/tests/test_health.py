"""`/metrics`: this process's figures for Prometheus."""

import pytest
from django.test import Client

from realtime.runtime import runtime
from realtime.tests.doubles import member

pytestmark = pytest.mark.django_db


def metrics() -> str:
    return Client().get("/metrics").content.decode()


def test_refused_attempts_are_counted_by_reason_and_endpoint() -> None:
    for _ in range(3):
        runtime.oversight.attempts.note("of a test", username="", address="", endpoint="ai")
    line = 'vitalwire_refused_attempts_total{endpoint="ai",reason="of a test"} 3.0'
    assert line in metrics()


def test_connections_messages_and_queues_are_told() -> None:
    one = member()
    runtime.hub.join(one)
    one.session.messages_in = 5
    text = metrics()
    runtime.hub.leave(one)
    for name in (
        "vitalwire_connections_opened_total",
        "vitalwire_messages_received_total",
        "vitalwire_messages_sent_total",
        "vitalwire_connection_seconds_total",
        "vitalwire_event_loop_delay_ms",
        "vitalwire_queue_depth_writer",
        "vitalwire_queue_depth_outbox",
        "vitalwire_messages_per_second",
    ):
        assert f"\n{name} " in text
