"""What tests of the surgery dialect's talk share: its frames, its sockets, what is stored."""

import json
from typing import Any
from uuid import UUID

from accounts.models import User
from accounts.tokens import issue_access
from devices.models import Surgery
from devices.trajectory import Movement, decode_movements
from realtime.calls import call
from realtime.routing import websocket_application
from realtime.runtime import Runtime
from realtime.tests.wire import Wire


def frame(event: str = "NONE", timestamp: int = 1710523456789, **more: Any) -> str:
    return json.dumps(
        {"coordinates": [10.5, 20.3, 15.7], "event": event, "timestamp": timestamp, **more}
    )


FINISH = frame("FINISH", 1710523459999)


def account(username: str, role: str) -> str:
    """Create an account; return a token of it."""
    return issue_access(User.objects.create_user(username, role=role))


async def operating(runtime: Runtime, token: str, surgery: UUID | str | None = None) -> Wire:
    query = f"token={token}" + (f"&surgery={surgery}" if surgery is not None else "")
    wire = Wire(path="/ws/simulation", query_string=query.encode())
    await wire.opened(websocket_application(runtime))
    return wire


async def listening(runtime: Runtime, token: str) -> Wire:
    wire = Wire(path="/ws/ai", query_string=f"token={token}".encode())
    await wire.opened(websocket_application(runtime))
    assert json.loads(await wire.hear()) == {
        "status": "connected",
        "message": "IA conectada exitosamente",
    }
    return wire


async def saved(wire: Wire) -> UUID:
    answer = json.loads(await wire.hear())
    assert answer["status"] == "SAVED"
    return UUID(answer["surgeryId"])


def _stored(surgery_id: UUID) -> tuple[str, list[Movement]]:
    surgery = Surgery.objects.get(pk=surgery_id)
    payloads = surgery.chunks.order_by("seq").values_list("payload", flat=True)
    return surgery.status, [m for payload in payloads for m in decode_movements(bytes(payload))]


async def stored(surgery_id: UUID) -> tuple[str, list[int]]:
    """Return the operation's status and the times of its frames."""
    status, movements = await call(_stored, surgery_id)
    return status, [movement.timestamp for movement in movements]


async def only_surgery() -> Surgery:
    return await call(Surgery.objects.get)
