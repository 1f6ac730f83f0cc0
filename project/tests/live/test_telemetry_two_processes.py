"""Devices and subscribers on different processes of one deployment: it makes no difference."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings

from devices.models import Alert, StatusChange
from devices.services import commands
from project.tests.live.crowd import Gauge
from project.tests.live.halls import (
    UNLIMITED,
    heard,
    listen,
    new_rules,
    now,
    stored_values,
    telemetry,
    until,
)
from project.tests.live.raw import RawWebSocket
from project.tests.live.server import Server
from project.tests.live.surgeons import eventually, new_surgeon
from realtime import nodes
from realtime.alarms.shares import owner_of
from realtime.models import Node

pytestmark = pytest.mark.redis

Connect = Callable[..., RawWebSocket]
Servers = tuple[Server, Server]
GOOD, BAD = 20.0, 90.0


def test_what_a_device_reports_to_one_is_told_by_the_other(
    servers: Servers, connect: Connect
) -> None:
    for here, there in (servers, servers[::-1]):
        gauge = Gauge()
        new_rules(gauge.device, cooldown_seconds=0)
        listener = listen(
            connect,
            there,
            {"channel": "telemetry", "device_id": gauge.device.pk},
            {"channel": "devices", "device_id": gauge.device.pk},
            {"channel": "alerts", "device_id": gauge.device.pk},
        )
        gauge.connect(connect, here)
        online = until(listener, "device_status_update")
        assert (online["old_status"], online["new_status"]) == ("offline", "online")
        for value in (GOOD, BAD):
            gauge.report(value)
            told = until(listener, "telemetry_update")
            assert told["telemetry"]["temperature"]["value"] == value
        assert until(listener, "alert")["metadata"]["actual_value"] == BAD
        gauge.report(GOOD)
        assert until(listener, "alert_update")["status"] == "resolved"
        gauge.ws.send_json({"type": "status", "status": "maintenance", "reason": "cleaning"})
        maintained = until(listener, "device_status_update")
        assert (maintained["new_status"], maintained["reason"]) == ("maintenance", "cleaning")
        rest = listener.messages(seconds=0.5)
        assert [each["type"] for each in rest if each["type"] != "telemetry_update"] == []


def test_who_subscribes_on_the_other_is_shown_the_last_value_first(
    servers: Servers, connect: Connect
) -> None:
    here, there = servers
    gauge = Gauge().connect(connect, here)
    witness = listen(connect, there, {"channel": "telemetry", "device_id": gauge.device.pk})
    gauge.report(7.0)
    until(witness, "telemetry_update")
    late = listen(connect, there)
    late.send_json({"type": "subscribe", "channel": "telemetry", "device_id": gauge.device.pk})
    assert until(late, "telemetry_update")["telemetry"]["temperature"]["value"] == 7.0


def test_a_reading_sent_to_both_is_stored_once_and_acknowledged_by_both(
    servers: Servers, connect: Connect
) -> None:
    gauge = Gauge()
    message = telemetry(gauge.device.pk, "same", temperature=5.0)
    sockets = [gauge.connect(connect, each).ws for each in servers]
    for ws in sockets:
        ws.send_json(message)
    assert [until(ws, "telemetry_ack")["id"] for ws in sockets] == ["same", "same"]
    assert stored_values(gauge.device) == [5.0]


def test_a_device_s_rules_are_evaluated_by_one_of_the_two(
    servers: Servers, connect: Connect, soak: int
) -> None:
    listener = listen(connect, servers[0], {"channel": "alerts"})
    gauges = [Gauge() for _ in range(20)]
    new_rules(*(gauge.device for gauge in gauges), cooldown_seconds=0)
    sockets = {gauge: [gauge.connect(connect, each).ws for each in servers] for gauge in gauges}
    # Now it reports to the one, now to the other, faster than they tell each other.
    for turn in range(6 * soak):
        for gauge in gauges:
            gauge.ws = sockets[gauge][turn % 2]
            gauge.report(BAD if turn % 2 else GOOD)
        for gauge in gauges:
            gauge.settle()
        time.sleep(0.2)
    devices = {gauge.device.pk for gauge in gauges}
    alerts = Alert.objects.filter(device__in=devices)
    expected = 3 * soak * len(gauges)
    eventually(lambda: alerts.count() >= expected, within=15)
    time.sleep(0.5)
    assert alerts.count() == expected
    told = heard(listener, seconds=1, type="alert")
    ids = [each["alert_id"] for each in told if each["device_id"] in devices]
    assert sorted(ids) == sorted(alerts.values_list("pk", flat=True))


def test_a_command_reaches_the_device_on_the_other_once(servers: Servers, connect: Connect) -> None:
    gauge = Gauge()
    sockets = [gauge.connect(connect, each).ws for each in servers]
    queued = [
        commands.queue_command(
            gauge.device.pk, command=f"c{n}", parameters={}, by=None, now=now()
        ).pk
        for n in range(10)
    ]
    found = [each["command_id"] for ws in sockets for each in heard(ws, seconds=1, type="command")]
    assert sorted(found) == queued


def test_a_silent_device_is_set_offline_once(servers: Servers, connect: Connect) -> None:
    gauge = Gauge(silence_seconds=1)
    listeners = [
        listen(connect, each, {"channel": "devices", "device_id": gauge.device.pk})
        for each in servers
    ]
    gauge.connect(connect, servers[1]).report(1.0)
    for listener in listeners:
        assert until(listener, "device_status_update")["new_status"] == "online"
        offline = until(listener, "device_status_update", within=20)
        assert offline["new_status"] == "offline"
        assert offline["reason"].startswith("no sign of life for ")
    for listener in listeners:
        assert heard(listener, seconds=2, type="device_status_update") == []
    changes = StatusChange.objects.filter(device=gauge.device).order_by("pk")
    assert list(changes.values_list("new_status", flat=True)) == ["online", "offline"]
    # And it is back wherever it reports.
    gauge.report(2.0)
    assert until(listeners[0], "device_status_update")["new_status"] == "online"


def test_a_device_that_reports_to_either_is_not_silent(servers: Servers, connect: Connect) -> None:
    gauge = Gauge(silence_seconds=3)
    sockets = [gauge.connect(connect, each).ws for each in servers]
    deadline = time.monotonic() + 12
    while time.monotonic() < deadline:
        for ws in sockets:
            ws.send_json({"type": "heartbeat"})
            time.sleep(0.5)
    changes = StatusChange.objects.filter(device=gauge.device)
    assert list(changes.values_list("new_status", flat=True)) == ["online"]


# --- When one of them dies ------------------------------------------------------------------


def node_of(server: Server) -> str:
    """Return what a process is called; it answers a little before it is entered."""
    return str(eventually(lambda: Node.objects.filter(pid=server.pid).first()).id)


def gauge_owned_by(*owners: str) -> Gauge:
    """Register devices until one of these processes evaluates one."""
    while True:
        gauge = Gauge()
        if owner_of(gauge.device.pk, nodes.living(now=now())) in owners:
            return gauge


def test_rules_of_a_killed_process_are_evaluated_by_another(
    servers: Servers, start_server: Callable[..., Any], connect: Connect
) -> None:
    survivor = servers[0]
    with start_server(**UNLIMITED) as doomed:
        node = node_of(doomed)
        time.sleep(2)  # The others see it, and leave its devices to it.
        gauge = gauge_owned_by(node)
        new_rules(gauge.device, cooldown_seconds=0)
        listener = listen(connect, survivor, {"channel": "alerts", "device_id": gauge.device.pk})
        gauge.connect(connect, survivor)
        gauge.report(BAD)
        first = until(listener, "alert")["alert_id"]
        gauge.report(GOOD)
        until(listener, "alert_update")
        doomed.kill()
    began = time.monotonic()
    gauge.acknowledge(gauge.report(BAD))
    second = until(listener, "alert", within=20)["alert_id"]
    # Whoever takes a reading in evaluates it, if its owner has not said for five seconds that it
    # has heard it; a process counts as dead after twelve.
    assert time.monotonic() - began < nodes.DEAD_AFTER.total_seconds()
    assert second > first
    gauge.report(GOOD)
    assert until(listener, "alert_update", within=20)["alert_id"] == second
    assert heard(listener, seconds=1, type="alert") == []
    assert Alert.objects.filter(device=gauge.device).count() == 2


def test_what_a_killed_process_had_taken_in_is_decided_by_another(
    servers: Servers, start_server: Callable[..., Any], connect: Connect
) -> None:
    with start_server(**UNLIMITED) as doomed:
        node = node_of(doomed)
        time.sleep(2)
        gauges = [gauge_owned_by(node) for _ in range(5)]
        new_rules(*(gauge.device for gauge in gauges))
        for gauge in gauges:
            gauge.connect(connect, doomed)
            gauge.acknowledge(gauge.report(GOOD))
        for gauge in gauges:
            gauge.acknowledge(gauge.report(BAD))
        doomed.kill()
    devices = [gauge.device.pk for gauge in gauges]
    alerts = Alert.objects.filter(device__in=devices)
    eventually(lambda: alerts.count() == len(gauges), within=30)
    time.sleep(1)
    assert sorted(alerts.values_list("device", flat=True)) == devices


def test_what_a_killed_process_had_not_passed_on_is_decided_by_its_owner(
    servers: Servers, start_server: Callable[..., Any], connect: Connect
) -> None:
    owners = {node_of(server) for server in servers}
    with start_server(**UNLIMITED) as doomed:
        time.sleep(2)
        gauges = [gauge_owned_by(*owners) for _ in range(20)]
        new_rules(*(gauge.device for gauge in gauges))
        for gauge in gauges:
            gauge.connect(connect, doomed)
            gauge.acknowledge(gauge.report(GOOD))
        time.sleep(1)
        for gauge in gauges:
            gauge.report(BAD)
        # Killed as soon as it has acknowledged the last: before all of them were passed on.
        gauges[-1].settle()
        doomed.kill()
    devices = {gauge.device.pk for gauge in gauges if stored_values(gauge.device) == [GOOD, BAD]}
    assert gauges[-1].device.pk in devices
    alerts = Alert.objects.filter(device__in=[gauge.device.pk for gauge in gauges])
    eventually(lambda: set(alerts.values_list("device", flat=True)) == devices, within=30)
    time.sleep(1)
    assert alerts.count() == len(devices)


# --- Budgets --------------------------------------------------------------------------------


def test_a_user_s_connections_are_counted_over_both(
    start_server: Callable[..., Any], environment: dict[str, str], connect: Connect
) -> None:
    if not settings.REDIS_URL:
        pytest.skip("one process only: this deployment has no Redis")
    limits = {
        "VITALWIRE_TELEMETRY_CONNECTIONS_PER_USER": "2",
        "REDIS_PREFIX": f"{environment.get('REDIS_PREFIX', 'live')}-telemetry",
    }
    with start_server(**limits) as one, start_server(**limits) as other:
        user = new_surgeon("ROLE_OPERATOR")
        token = one.token_for(user)
        for each in (one, other):
            listen(connect, each, token=token)
            time.sleep(0.3)
        for each in (one, other):
            ws = connect(each.ws_url("/ws"))
            ws.send_json({"type": "auth", "token": token})
            answer = ws.read_json()
            assert (answer["type"], answer["success"]) == ("auth_response", False)
            assert (answer["error"], answer["limit"], answer["used"]) == (
                "too_many_connections",
                2,
                2,
            )
            assert ws.ending().code == 1008
