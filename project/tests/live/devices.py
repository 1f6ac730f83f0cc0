"""Devices and the people who watch them, for tests that share one database."""

import itertools
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from devices.models import Device
from devices.services import devices
from project.tests.live.raw import RawWebSocket
from project.tests.live.server import Server
from project.tests.live.surgeons import new_surgeon

_numbers = itertools.count(1)


def now() -> datetime:
    return datetime.now(UTC)


def new_device(**fields: Any) -> tuple[Device, str]:
    """Put a device of the test's own into service; return it with its token."""
    name = f"live {next(_numbers)} {uuid.uuid4().hex[:6]}"
    device = devices.register_device(
        name=name, external_id=name, device_type="sensor", now=now(), **fields
    )
    return devices.issue_device_token(device.pk, now=now())


def new_person(role: str = "ROLE_OPERATOR") -> str:
    """Create an account of the test's own, with connection budgets of its own."""
    return new_surgeon(role)


def signed_in(
    connect: Callable[..., RawWebSocket], server: Server, token: str, path: str = "/ws"
) -> RawWebSocket:
    """Return a socket that has said who it is, as the document's clients do."""
    ws = connect(server.ws_url(path))
    ws.send_json({"type": "auth", "token": token})
    assert ws.read_json() == {"type": "auth_response", "success": True}
    return ws


def report(device_id: int, id: str | None = None, **values: float) -> dict[str, Any]:
    """Return a message with these values, measured now."""
    at = now().isoformat().replace("+00:00", "Z")
    telemetry = {
        name: {"value": value, "unit": "", "timestamp": at} for name, value in values.items()
    }
    return {"type": "telemetry", "device_id": device_id, "telemetry": telemetry, "id": id}
