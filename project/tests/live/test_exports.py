"""A long export and its reader: complete, in bounded memory, cut when nobody reads."""

import contextlib
import http.client
import time
from collections.abc import Iterator

import pytest
from django.db import connection
from django.utils import timezone

from devices.models import Device, Series
from devices.models.fields import to_microseconds
from devices.services.devices import register_device
from project.tests.live.conftest import KIND, TIMES
from project.tests.live.server import Server

MIB = 1024 * 1024
ROWS = 300_000
STALLED_SECONDS = float(TIMES["VITALWIRE_STALLED_SECONDS"])

daphne_only = pytest.mark.skipif(KIND != "daphne", reason="other servers have a timeout of theirs")


@pytest.fixture(scope="module")
def device(django_db_setup: None) -> Iterator[Device]:
    """Yield a device with so many readings that they do not fit into any buffer."""
    now = timezone.now()
    device = register_device(name="Recorder", external_id="LONG-1", device_type="sensor", now=now)
    series = Series.objects.create(device=device, metric="temperature", unit="°C")
    first = to_microseconds(now) - ROWS * 1000
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %s)"
            " INSERT INTO devices_reading"
            " (series_id, at, value, unit, received_at, is_skewed, message_id)"
            " SELECT %s, %s + i * 1000, i, '°C', %s, %s, '' FROM n",
            [ROWS - 1, series.pk, first, first, False],
        )
    yield device
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM devices_reading WHERE series_id = %s", [series.pk])
    device.delete()


@contextlib.contextmanager
def _export(server: Server, device: Device) -> Iterator[http.client.HTTPResponse]:
    """Ask for all readings, and yield the answer that has begun."""
    peer = http.client.HTTPConnection("127.0.0.1", server.port, timeout=15)
    token = server.token_for("operator")
    path = f"/api/v1/devices/{device.pk}/telemetry/export?format=jsonl"
    try:
        peer.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        response = peer.getresponse()
        assert response.status == 200
        yield response
    finally:
        peer.close()


def test_an_export_waits_for_its_reader_in_bounded_memory(server: Server, device: Device) -> None:
    before = server.rss()
    with _export(server, device) as response:
        # Long enough to make and buffer all of its 40 MB, if nothing held it back.
        time.sleep(2)
        assert server.rss() - before < 20 * MIB
        lines = sum(part.count(b"\n") for part in iter(lambda: response.read(MIB), b""))
    assert lines == ROWS


@daphne_only
def test_a_reader_that_stopped_is_cut(server: Server, device: Device) -> None:
    with _export(server, device) as response:
        time.sleep(STALLED_SECONDS + 2)
        # What the kernels had buffered comes; then the cut.
        lines = _lines_until_cut(response)
    assert lines < ROWS
    assert server.request("GET", "/healthz")[0] == 200


def _lines_until_cut(response: http.client.HTTPResponse) -> int:
    lines = 0
    with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
        while part := response.read1(MIB):
            lines += part.count(b"\n")
    return lines
