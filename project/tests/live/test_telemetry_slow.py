"""A subscriber that stops reading among many that read on."""

import itertools
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import accumulate
from typing import Any

import msgspec
import pytest

from devices.models import Alert, Device
from devices.services import alerts
from project.tests.live.crowd import Crowd
from project.tests.live.halls import (
    UNLIMITED,
    listen,
    new_device,
    now,
    sign_in,
    stored_ids,
    telemetry,
    until,
)
from project.tests.live.raw import TEXT, RawWebSocket, frame
from project.tests.live.server import Server
from project.tests.live.surgeons import eventually

Connect = Callable[..., RawWebSocket]
READERS = 200
MIB = 1024 * 1024
# A report of so many metrics has some 24 KB; those who read take only one of them.
METRICS = {f"{number:03}-{'x' * 80}": float(number) for number in range(140)}
ALERTS = 40


@pytest.fixture(scope="module")
def patient_server(django_db_setup: None, start_server: Callable[..., Any]) -> Iterator[Server]:
    """Yield a server that lets nobody go for not reading while these tests take."""
    with start_server(**UNLIMITED, VITALWIRE_STALLED_SECONDS="300") as running:
        yield running


def raise_alert(device: Device, number: int) -> None:
    alerts.raise_alert(
        device_id=device.pk,
        title=f"Alert {number}",
        severity="warning",
        alert_type="manual",
        now=now(),
    )


def read_until_quiet(ws: RawWebSocket) -> list[dict[str, Any]]:
    """Return everything that comes until nothing does for a while."""
    found: list[dict[str, Any]] = []
    while more := ws.messages(seconds=2):
        found += more
    return found


def test_who_stops_reading_hurts_nobody_and_misses_no_alert(
    patient_server: Server, connect: Connect, soak: int
) -> None:
    device, token = new_device()
    reporter = sign_in(connect(patient_server.ws_url("/ws/device")), token)
    operator = patient_server.token_for("operator")
    everything = [
        {"channel": "telemetry", "device_id": device.pk},
        {"channel": "alerts", "device_id": device.pk},
    ]
    narrow = [{**everything[0], "metrics": ["number"]}, everything[1]]
    slow = listen(connect, patient_server, *everything, token=operator, receive_buffer=4096)
    numbers = itertools.count(1)

    def report() -> int:
        number = next(numbers)
        reporter.send_json(telemetry(device.pk, None, number=float(number), **METRICS))
        until(reporter, "telemetry_ack")
        return number

    with ExitStack() as stack:
        sockets = [listen(connect, patient_server, *narrow, token=operator) for _ in range(READERS)]
        crowd = stack.enter_context(Crowd(sockets))
        before = patient_server.rss()
        # More than every buffer on the way to the slow one holds.
        for _ in range(400 * soak):
            report()
        for number in range(ALERTS):
            raise_alert(device, number)
            last = report()
        sent = time.monotonic()
        eventually(lambda: crowd.all_heard("telemetry_update", last), within=20)
        eventually(lambda: crowd.all_heard("alert", ALERTS), within=20)
        assert time.monotonic() - sent < 5, "somebody waited"
        assert patient_server.rss() - before < 64 * MIB
    for index in range(READERS):
        told = [
            each["telemetry"]["number"]["value"] for each in crowd.of(index, "telemetry_update")
        ]
        assert told == [float(number) for number in range(1, last + 1)]
        assert [each["title"] for each in crowd.of(index, "alert")] == titles()
        assert crowd.of(index, "gap") == []

    # It reads again: what was buffered, then every alert, the latest values and what it missed.
    found = read_until_quiet(slow)
    assert [each["title"] for each in found if each["type"] == "alert"] == titles()
    updates = [each for each in found if each["type"] == "telemetry_update"]
    values = [each["telemetry"]["number"]["value"] for each in updates]
    assert values == sorted(set(values)), "none twice, none out of order"
    assert values[-1] == last
    gaps = [each for each in found if each["type"] == "gap"]
    assert {gap["channel"] for gap in gaps} == {"telemetry"}
    assert sum(gap["skipped"] for gap in gaps) == last - len(updates) > 100
    assert all(gap["from"] <= gap["to"] for gap in gaps)
    # And it hears what comes now like everybody else.
    report()
    raise_alert(device, ALERTS)
    assert until(slow, "telemetry_update")["telemetry"]["number"]["value"] == last + 1
    assert until(slow, "alert")["title"] == f"Alert {ALERTS}"
    assert Alert.objects.filter(device=device).count() == ALERTS + 1


def titles() -> list[str]:
    return [f"Alert {number}" for number in range(ALERTS)]


def test_a_device_that_reads_no_acknowledgement_is_read_no_more_and_loses_nothing(
    patient_server: Server, connect: Connect
) -> None:
    device, token = new_device()
    silent = sign_in(connect(patient_server.ws_url("/ws/device"), receive_buffer=4096), token)
    other = listen(connect, patient_server)
    before = patient_server.rss()
    frames = [
        frame(TEXT, msgspec.json.encode(telemetry(device.pk, f"n{number}", temperature=1.0)))
        for number in range(300_000)
    ]
    flood = b"".join(frames)
    taken = silent.send_for(flood, seconds=2)
    assert taken < len(flood) // 2, "it is read although it reads nothing"
    other.send_json({"type": "ping"})
    until(other, "pong")
    assert patient_server.rss() - before < 64 * MIB

    whole = bisect_left(list(accumulate(map(len, frames))), taken) + 1
    ends_at = sum(map(len, frames[:whole]))
    acknowledged = [each["id"] for each in read_until_quiet(silent)]
    silent.send(flood[taken:ends_at])
    acknowledged += [each["id"] for each in read_until_quiet(silent)]
    assert acknowledged == [f"n{number}" for number in range(whole)]
    assert sorted(stored_ids(device)) == sorted(acknowledged)
