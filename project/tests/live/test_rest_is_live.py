"""What is written over REST is heard by whoever listens."""

from collections.abc import Callable
from typing import Any

import pytest

from project.tests.live.halls import new_device, new_person, signed_in
from project.tests.live.raw import RawWebSocket
from project.tests.live.server import Server
from project.tests.live.test_telemetry import heard

Connect = Callable[..., RawWebSocket]


def hearing(ws: RawWebSocket, channel: str, device_id: int) -> RawWebSocket:
    """Subscribe to one device's channel."""
    ws.send_json({"type": "subscribe", "channel": channel, "device_id": device_id})
    heard(ws, "subscribed")
    return ws


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_reading_an_alert_and_a_status_are_heard(
    server: Server, connect: Connect, slash: str
) -> None:
    device, device_token = new_device()
    token = server.token_for(new_person())
    ws = signed_in(connect, server, token)
    for channel in ("telemetry", "alerts", "devices"):
        hearing(ws, channel, device.pk)

    def ask(method: str, path: str, body: Any, by: str = token) -> Any:
        status, answer = server.request(method, f"/api/v1{path}{slash}", token=by, body=body)
        assert status in (200, 201), answer
        return answer

    reading = {"metric_name": "oddity", "metric_value": 31.5, "unit": "°C"}
    ask("POST", f"/devices/{device.pk}/telemetry", reading, by=device_token)
    # Its first sign of life, too; what is live and what is durable come in an order of their own.
    told = {message["type"]: message for message in (ws.read_json(), ws.read_json())}
    assert told["device_status_update"]["new_status"] == "online"
    assert told["telemetry_update"]["telemetry"]["oddity"]["value"] == 31.5
    batch = [{**reading, "metric_value": value} for value in (32, 33)]
    ask("POST", f"/devices/{device.pk}/telemetry/batch", batch, by=device_token)
    values = [heard(ws, "telemetry_update")["telemetry"]["oddity"]["value"] for _ in batch]
    assert values == [32, 33]
    new = {
        "device_id": device.pk,
        "title": "Too warm",
        "severity": "critical",
        "alert_type": "manual",
    }
    alert = ask("POST", "/alerts", new)
    assert heard(ws, "alert")["alert_id"] == alert["id"]
    ask("PATCH", f"/alerts/{alert['id']}/acknowledge", {"note": "On my way"})
    assert heard(ws, "alert_update")["status"] == "acknowledged"
    ask("PATCH", f"/devices/{device.pk}/status", {"status": "warning", "reason": "Low battery"})
    update = heard(ws, "device_status_update")
    assert (update["new_status"], update["reason"]) == ("warning", "Low battery")


def test_a_command_queued_over_rest_reaches_its_device_once(
    server: Server, connect: Connect
) -> None:
    device, device_token = new_device()
    token = server.token_for(new_person())
    path = f"/api/v1/devices/{device.pk}/commands"
    body = {"command": "restart", "parameters": {"delay": 5}}
    status, queued = server.request("POST", path, token=token, body=body)
    assert status == 201
    ws = signed_in(connect, server, device_token)
    command = heard(ws, "command")
    assert (command["command_id"], command["parameters"]) == (queued["id"], {"delay": 5})
    assert server.request("GET", path, token=token) == (200, [])
    outcome = f"/api/v1/commands/{queued['id']}/status"
    status, ended = server.request("PATCH", f"{outcome}?status=executed", token=device_token)
    assert (status, ended["status"]) == (200, "executed")


def test_a_rule_added_over_rest_is_in_force_within_a_second(
    server: Server, connect: Connect
) -> None:
    device, device_token = new_device()
    token = server.token_for(new_person())
    ws = hearing(signed_in(connect, server, token), "alerts", device.pk)
    rule = {
        "name": "Too warm",
        "device_id": device.pk,
        "metric_name": "oddity",
        "condition": "gt",
        "threshold_value": 30,
        "cooldown_minutes": 0,
    }
    status, _ = server.request("POST", "/api/v1/alerts/rules/", token=token, body=rule)
    assert status == 201
    told = []
    # It takes hold in its own time; a reading that came before it is not judged.
    for value in range(31, 41):
        server.request(
            "POST",
            f"/api/v1/devices/{device.pk}/telemetry",
            token=device_token,
            body={"metric_name": "oddity", "metric_value": value},
        )
        told += [each for each in ws.messages(seconds=0.2) if each["type"] == "alert"]
        if told:
            break
    [alert] = told
    assert alert["metadata"]["threshold_value"] == 30
