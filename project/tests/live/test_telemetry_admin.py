"""What an operator does in the admin, and who learns of it: in every process, once."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings

from devices.models import Alert, AlertRule, Command
from project.tests.live.admin import Admin
from project.tests.live.crowd import Gauge
from project.tests.live.halls import heard, listen, new_rules, until
from project.tests.live.raw import RawWebSocket
from project.tests.live.server import Server
from project.tests.live.surgeons import eventually, new_surgeon

Connect = Callable[..., RawWebSocket]
ALERTS, RULES, DEVICES = (f"/admin/devices/{name}/" for name in ("alert", "alertrule", "device"))


@pytest.fixture
def everywhere(server: Server, request: pytest.FixtureRequest) -> list[Server]:
    """Return every process of the deployment."""
    return list(request.getfixturevalue("servers")) if settings.REDIS_URL else [server]


@pytest.fixture
def admin(server: Server) -> Admin:
    return Admin(server)


def listen_as_pubsub(connect: Connect, server: Server, topic: str) -> RawWebSocket:
    token = server.token_for(new_surgeon("ROLE_OPERATOR"))
    ws = connect(server.ws_url("/ws/pubsub", token=token))
    ws.send_json({"type": "Subscribe", "id": "1", "data": {"topics": [topic]}})
    while ws.read_json()["type"] != "Ack":
        pass
    return ws


def of_event(messages: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    """Return the payloads of pubsub's broadcasts about this event."""
    payloads = [each["data"].get("payload", {}) for each in messages if each["type"] == "Broadcast"]
    return [payload for payload in payloads if payload.get("event") == event]


def test_a_rule_that_is_edited_is_in_force_everywhere_within_a_second(
    everywhere: list[Server], admin: Admin, connect: Connect
) -> None:
    gauges = [Gauge("boiler").connect(connect, each) for each in everywhere]
    [rule] = new_rules(None, device_type="boiler", threshold=1e6, cooldown_seconds=0)
    took = []
    # This machine may be busy: the quickest of three counts.
    for _ in range(3):
        admin.change(f"{RULES}{rule.pk}/change/", threshold="50")
        began = time.monotonic()
        open_alerts = Alert.objects.filter(rule=rule).exclude(status="resolved")
        while open_alerts.count() < len(gauges):
            assert time.monotonic() - began < 15
            for gauge in gauges:
                gauge.acknowledge(gauge.report(60.0))
        took.append(time.monotonic() - began)
        # And it is taken back as quickly.
        admin.change(f"{RULES}{rule.pk}/change/", threshold="70")
        began = time.monotonic()
        while open_alerts.exists():
            assert time.monotonic() - began < 15
            for gauge in gauges:
                gauge.acknowledge(gauge.report(60.0))
        took.append(time.monotonic() - began)
    assert min(took[::2]) < 1, took
    assert min(took[1::2]) < 1, took
    assert Alert.objects.filter(rule=rule).count() == 3 * len(gauges)
    for gauge in gauges:
        gauge.ws.drop()


def test_a_rule_that_is_switched_off_raises_nothing_more(
    everywhere: list[Server], admin: Admin, connect: Connect
) -> None:
    gauge = Gauge().connect(connect, everywhere[-1])
    [rule] = new_rules(gauge.device, cooldown_seconds=0)
    gauge.report(60.0)
    eventually(lambda: Alert.objects.filter(rule=rule).exists())
    gauge.report(20.0)
    eventually(lambda: Alert.objects.filter(rule=rule, status="resolved").exists())
    form = f"{RULES}{rule.pk}/change/"
    admin.switch_off(form, "is_active")
    assert not AlertRule.objects.get(pk=rule.pk).is_active
    time.sleep(1)
    gauge.acknowledge(gauge.report(60.0))
    time.sleep(0.5)
    assert Alert.objects.filter(rule=rule).count() == 1


def test_an_alert_is_told_acknowledged_and_resolved_in_each_one_s_words_once(
    everywhere: list[Server], admin: Admin, connect: Connect
) -> None:
    gauge = Gauge().connect(connect, everywhere[-1])
    new_rules(gauge.device)
    listeners = [
        listen(connect, each, {"channel": "alerts", "device_id": gauge.device.pk})
        for each in everywhere
    ]
    pubsubs = [listen_as_pubsub(connect, each, f"alerts.{gauge.device.pk}") for each in everywhere]
    gauge.report(90.0)
    alert_ids = {until(listener, "alert")["alert_id"] for listener in listeners}
    [alert_id] = alert_ids
    for verb, status in (("acknowledge", "acknowledged"), ("resolve", "resolved")):
        admin.act(ALERTS, verb, [alert_id])
        assert Alert.objects.get(pk=alert_id).status == status
        for listener in listeners:
            update = until(listener, "alert_update")
            assert (update["alert_id"], update["status"], update["by"]) == (
                alert_id,
                status,
                "admin",
            )
    for listener in listeners:
        assert heard(listener, seconds=0.4, type="alert_update") == []
    for pubsub in pubsubs:
        messages = pubsub.messages(seconds=0.4)
        assert [each["alertId"] for each in of_event(messages, "ALERT_RAISED")] == [alert_id]
        updates = of_event(messages, "ALERT_UPDATED")
        assert [(each["status"], each["by"]) for each in updates] == [
            ("acknowledged", "admin"),
            ("resolved", "admin"),
        ]


def test_a_command_of_the_admin_reaches_its_device_once_wherever_it_is(
    everywhere: list[Server], admin: Admin, connect: Connect
) -> None:
    # It is connected everywhere at once, and one of its connections gets it.
    gauge = Gauge()
    sockets = [gauge.connect(connect, each).ws for each in everywhere for _ in range(2)]
    fields = {"command": "restart", "parameters": '{"delay": 5}', "seconds": "60"}
    admin.act(DEVICES, "send_command", [gauge.device.pk], **fields)
    queued = Command.objects.get(device=gauge.device)
    eventually(lambda: Command.objects.get(pk=queued.pk).status == "sent")
    found = [each for ws in sockets for each in heard(ws, seconds=0.3, type="command")]
    assert found == [
        {
            "type": "command",
            "command_id": queued.pk,
            "command": "restart",
            "parameters": {"delay": 5},
        }
    ]
    answer = {"command_id": queued.pk, "status": "executed", "result": {"took": 1.5}}
    for ws in sockets:  # Told again by the others, it changes nothing.
        ws.send_json({"type": "command_response", **answer})
    eventually(lambda: Command.objects.get(pk=queued.pk).status == "executed")
    assert Command.objects.get(pk=queued.pk).result == {"took": 1.5}
