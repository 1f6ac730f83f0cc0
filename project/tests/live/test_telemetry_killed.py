"""A server that dies or is told to end while devices report: what was acknowledged stays."""

import contextlib
import random
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from devices.models import Alert
from project.tests.live.conftest import KIND
from project.tests.live.crowd import Gauge
from project.tests.live.halls import UNLIMITED, listen, new_rules, stored_ids, until
from project.tests.live.raw import Ended, RawWebSocket
from project.tests.live.server import Server
from project.tests.live.surgeons import eventually
from project.tests.live.test_faults import CLEAN_EXITS

Connect = Callable[..., RawWebSocket]
GOOD, BAD = 20.0, 90.0


@pytest.fixture
def doomed(django_db_setup: None, start_server: Callable[..., Any]) -> Iterator[Server]:
    """Yield a server to be ended, which lets devices report as fast as they can."""
    with start_server(**UNLIMITED) as running:
        yield running


def read_to_the_end(gauge: Gauge, *, within: float = 10.0) -> Ended:
    """Read the acknowledgements that are on their way, to the end of the connection."""
    with pytest.raises(Ended) as ended:
        gauge.read(seconds=within)
    return ended.value


def assert_stored_once(gauge: Gauge, names: set[str]) -> None:
    found = stored_ids(gauge.device)
    assert len(found) == len(set(found)), "something is stored twice"
    assert set(found) == names


# --- kill -9 --------------------------------------------------------------------------------


def test_every_acknowledged_reading_is_stored_once_whenever_the_server_is_killed(
    doomed: Server, connect: Connect, soak: int
) -> None:
    dice = random.Random(7)
    gauges = [Gauge() for _ in range(4)]
    for _ in range(2 * soak):
        for gauge in gauges:
            gauge.connect(connect, doomed)
        deadline = time.monotonic() + dice.uniform(0.3, 1.2)
        while time.monotonic() < deadline:
            for gauge in gauges:
                for _ in range(dice.randint(1, 40)):
                    gauge.report()
            for gauge in gauges:
                gauge.read(seconds=0.001)
        for gauge in gauges:
            for _ in range(20):
                gauge.report()
        doomed.kill()
        for gauge in gauges:
            with contextlib.suppress(Ended):
                gauge.read(seconds=1)
        for gauge in gauges:
            found = stored_ids(gauge.device)
            assert len(found) == len(set(found))
            assert gauge.acknowledged <= set(found) <= set(gauge.sent)
        doomed.restart()
        # Some of them were stored, and their acknowledgements lost on the way.
        for gauge in gauges:
            gauge.connect(connect, doomed)
            gauge.report_again([*gauge.unacknowledged, *list(gauge.acknowledged)[-20:]])
            gauge.settle()
            gauge.read(seconds=0.2)
            assert_stored_once(gauge, set(gauge.sent))
            gauge.ws.drop()
    assert sum(len(gauge.sent) for gauge in gauges) > 100


def test_an_alert_that_a_reading_should_have_raised_is_there_once_after_the_restart(
    doomed: Server, connect: Connect, soak: int
) -> None:
    for turn in range(3 * soak):
        gauges = [Gauge() for _ in range(10)]
        new_rules(*(gauge.device for gauge in gauges), cooldown_seconds=0)
        for gauge in gauges:
            gauge.connect(connect, doomed)
            gauge.report(GOOD)
        for gauge in gauges:
            gauge.settle()
        names = [gauge.report(BAD) for gauge in gauges]
        if turn % 3 < 2:  # Once it is killed before it has answered.
            for gauge, name in zip(gauges, names, strict=True):
                gauge.acknowledge(name)
        if turn % 3 == 1:  # And once when it may have raised some of them.
            time.sleep(0.02)
        doomed.kill()
        doomed.restart()
        listener = listen(connect, doomed, {"channel": "alerts"})
        # What is sent again raises nothing that was raised, and ends nothing.
        for gauge in gauges:
            gauge.connect(connect, doomed)
            gauge.report_again(gauge.sent)
            gauge.read(seconds=0.05)
            gauge.settle()
        devices = [gauge.device.pk for gauge in gauges]
        alerts = Alert.objects.filter(device__in=devices)
        # Where Redis connects processes, the dead one counts among them for twelve seconds.
        eventually(lambda: alerts.count() >= len(gauges), within=40)  # noqa: B023
        time.sleep(0.5)
        assert sorted(alerts.values_list("device", "status")) == [
            (device_id, "active") for device_id in devices
        ]
        told = [each for each in listener.messages(seconds=0.2) if each["type"] == "alert"]
        assert len(told) == len({each["alert_id"] for each in told})
        # And each of them ends when its value is good again.
        for gauge in gauges:
            gauge.report(GOOD)
        eventually(lambda: alerts.filter(status="resolved").count() == len(gauges))  # noqa: B023
        for gauge in gauges:
            gauge.ws.drop()


def test_a_hold_time_goes_on_over_a_crash(doomed: Server, connect: Connect) -> None:
    gauge = Gauge()
    new_rules(gauge.device, raise_after_seconds=3.0)
    gauge.connect(connect, doomed)
    # The reading's own time counts, which is before it is acknowledged.
    began = time.monotonic()
    gauge.acknowledge(gauge.report(BAD))
    doomed.kill()
    doomed.restart()
    gauge.connect(connect, doomed)
    alerts = Alert.objects.filter(device=gauge.device)
    while not alerts.exists():
        assert time.monotonic() - began < 20
        gauge.acknowledge(gauge.report(BAD))
        time.sleep(0.05)
    assert time.monotonic() - began >= 3
    assert alerts.count() == 1


def test_a_subscriber_is_told_after_the_restart_what_it_missed(
    doomed: Server, connect: Connect
) -> None:
    gauge = Gauge()
    new_rules(gauge.device)
    of_device = {"channel": "alerts", "device_id": gauge.device.pk}
    listener = listen(connect, doomed)
    listener.send_json({"type": "subscribe", **of_device})
    position = until(listener, "subscribed")["position"]
    gauge.connect(connect, doomed)
    gauge.acknowledge(gauge.report(BAD))
    doomed.kill()
    doomed.restart()
    again = listen(connect, doomed)
    again.send_json({"type": "subscribe", **of_device, "since": position})
    assert until(again, "subscribed")["complete"]
    assert until(again, "alert", within=40)["device_id"] == gauge.device.pk
    assert [each for each in again.messages(seconds=0.5) if each["type"] == "alert"] == []


# --- SIGTERM --------------------------------------------------------------------------------


def test_a_server_that_ends_acknowledges_what_it_stored_and_closes_with_1012(
    doomed: Server, connect: Connect
) -> None:
    gauges = [Gauge().connect(connect, doomed) for _ in range(30)]
    listener = listen(connect, doomed, {"channel": "telemetry"})
    for gauge in gauges:
        for _ in range(100):
            gauge.report()
    doomed.send_signal(signal.SIGTERM)
    endings = [read_to_the_end(gauge, within=20).ending for gauge in gauges]
    assert {(ending.by, ending.code) for ending in endings} == {("a close frame", 1012)}
    assert listener.ending().code == 1012
    assert doomed.wait() in CLEAN_EXITS[KIND]
    for gauge in gauges:
        assert gauge.acknowledged <= set(stored_ids(gauge.device))
        if KIND == "daphne":
            # Nobody is left in doubt; uvicorn closes before what it took in is stored.
            assert_stored_once(gauge, gauge.acknowledged)

    doomed.restart()
    for gauge in gauges:
        gauge.connect(connect, doomed)
        gauge.report_again(gauge.unacknowledged)
        gauge.settle()
        assert_stored_once(gauge, set(gauge.sent))


def test_devices_that_report_on_while_the_server_ends_lose_nothing(
    doomed: Server, connect: Connect, soak: int
) -> None:
    gauges = [Gauge() for _ in range(5)]
    for _ in range(soak):
        for gauge in gauges:
            gauge.connect(connect, doomed)
            gauge.report()
        doomed.send_signal(signal.SIGTERM)
        alive, codes = set(gauges), []
        deadline = time.monotonic() + 20
        while alive:
            assert time.monotonic() < deadline
            for gauge in list(alive):
                for _ in range(5):
                    gauge.report()
                try:
                    gauge.read(seconds=0.002)
                except Ended as ended:
                    codes.append(ended.ending.code)
                    alive.discard(gauge)
        assert set(codes) == {1012}
        assert doomed.wait() in CLEAN_EXITS[KIND]
        for gauge in gauges:
            assert gauge.acknowledged <= set(stored_ids(gauge.device))
        doomed.restart()
        for gauge in gauges:
            gauge.connect(connect, doomed)
            gauge.report_again(gauge.unacknowledged)
            gauge.settle()
            assert_stored_once(gauge, set(gauge.sent))
            gauge.ws.drop()
