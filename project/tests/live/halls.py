"""Devices for tests that share one database, and what they say."""

import itertools
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from devices.models import AlertRule, Device, Reading
from devices.services import devices
from project.tests.live.raw import RawWebSocket
from project.tests.live.server import Server
from project.tests.live.surgeons import new_surgeon

# Of a server for tests that report and connect more than a peer may.
UNLIMITED = {
    f"VITALWIRE_TELEMETRY_{name}": "0"
    for name in (
        "CONNECTIONS_PER_USER",
        "CONNECTIONS_PER_MINUTE",
        "MESSAGES_PER_SECOND",
        "MESSAGE_BYTES",
    )
}

# Every process has heard of a changed rule after a second at most, and this machine may be busy.
IN_FORCE_SECONDS = 1.5

_numbers = itertools.count(1)


def now() -> datetime:
    return datetime.now(UTC)


def new_device(device_type: str = "sensor", **fields: Any) -> tuple[Device, str]:
    """Register a device of the test's own; return it and its token."""
    number = f"{next(_numbers)}-{uuid.uuid4().hex[:6]}"
    named = {"name": f"Live device {number}", "external_id": f"LIVE-{number}", **fields}
    device = devices.register_device(device_type=device_type, now=now(), **named)
    return devices.issue_device_token(device.pk, now=now())


def telemetry(device_id: int, report_id: str | None = None, **values: float) -> dict[str, Any]:
    """Return a message with these metrics, in °C, measured now."""
    timestamp = now().isoformat().replace("+00:00", "Z")
    message: dict[str, Any] = {
        "type": "telemetry",
        "device_id": device_id,
        "telemetry": {
            metric: {"value": value, "unit": "°C", "timestamp": timestamp}
            for metric, value in values.items()
        },
    }
    return message if report_id is None else {**message, "id": report_id}


def sign_in(ws: RawWebSocket, token: str) -> RawWebSocket:
    """Say `auth` and expect to be let in."""
    ws.send_json({"type": "auth", "token": token})
    answer = ws.read_json()
    assert answer == {"type": "auth_response", "success": True}, answer
    return ws


def until(ws: RawWebSocket, kind: str, *, within: float = 10.0) -> dict[str, Any]:
    """Return the next message of this type, passing over others."""
    deadline = time.monotonic() + within
    while True:
        message: dict[str, Any] = ws.read_json(within=max(0.01, deadline - time.monotonic()))
        if message["type"] == kind:
            return message


def new_rules(*devices: Device | None, **fields: Any) -> list[AlertRule]:
    """Add a rule for each device that does not want it warmer than 30; return once in force."""
    given = {"name": "Too warm", "metric": "temperature", "condition": "gt", "threshold": 30.0}
    rules = [AlertRule.objects.create(device=device, **(given | fields)) for device in devices]
    time.sleep(IN_FORCE_SECONDS)
    return rules


def listen(
    connect: Callable[..., RawWebSocket],
    server: Server,
    *subscriptions: dict[str, Any],
    token: str | None = None,
    **options: Any,
) -> RawWebSocket:
    """Sign in, as an operator of its own without a token, and subscribe."""
    if token is None:
        token = server.token_for(new_surgeon("ROLE_OPERATOR"))
    ws = sign_in(connect(server.ws_url("/ws"), **options), token)
    for subscription in subscriptions:
        ws.send_json({"type": "subscribe", **subscription})
        until(ws, "subscribed")
    return ws


def heard(ws: RawWebSocket, *, seconds: float, **wanted: Any) -> list[dict[str, Any]]:
    """Return the messages that come within this time and have these fields."""
    return [
        message for message in ws.messages(seconds=seconds) if wanted.items() <= message.items()
    ]


def stored_values(device: Device, metric: str = "temperature") -> list[float]:
    """Return what the table has of a metric, in the order in which it was stored."""
    rows = Reading.objects.filter(series__device=device, series__metric=metric).order_by("pk")
    return list(rows.values_list("value", flat=True))


def stored_ids(device: Device, metric: str = "temperature") -> list[str]:
    """Return how the device called the messages that the table has."""
    rows = Reading.objects.filter(series__device=device, series__metric=metric)
    return list(rows.values_list("message_id", flat=True))


def error_to(ws: RawWebSocket, message: Any) -> dict[str, Any]:
    """Return the error that a message gets, JSON or not, after which the connection lives."""
    if isinstance(message, str):
        ws.send_text(message)
    else:
        ws.send_json(message)
    error = until(ws, "error")
    assert is_alive(ws)
    assert error["message"]
    return error


def is_alive(ws: RawWebSocket) -> bool:
    ws.send_json({"type": "ping", "timestamp": "still"})
    return bool(until(ws, "pong")["timestamp"] == "still")


def new_person(role: str = "ROLE_OPERATOR") -> str:
    """Create an account of the test's own, with connection budgets of its own."""
    return new_surgeon(role)


def signed_in(
    connect: Callable[..., RawWebSocket], server: Server, token: str, path: str = "/ws"
) -> RawWebSocket:
    """Return a socket that has said who it is, as the document's clients do."""
    return sign_in(connect(server.ws_url(path)), token)


def report(device_id: int, id: str | None = None, **values: float) -> dict[str, Any]:
    """Return a message with these values, measured now."""
    at = now().isoformat().replace("+00:00", "Z")
    telemetry = {
        name: {"value": value, "unit": "", "timestamp": at} for name, value in values.items()
    }
    return {"type": "telemetry", "device_id": device_id, "telemetry": telemetry, "id": id}
