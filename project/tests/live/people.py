"""People in the pubsub dialect, for live tests: who is there, what they hear."""

import json
import time
from collections.abc import Callable
from typing import Any

from project.tests.live.raw import RawWebSocket, Silence
from project.tests.live.server import Server

Connect = Callable[..., RawWebSocket]


def enter(
    connect: Connect, server: Server, username: str, *topics: str, **query: str
) -> RawWebSocket:
    """Open a connection as a user and subscribe; what is shown then is still to be read."""
    ws = connect(server.ws_url("/ws/pubsub", token=server.token_for(username), **query))
    assert until(ws, "Status")["status"] == "connected"
    if topics:
        ws.send_json({"type": "Subscribe", "id": "s", "data": {"topics": topics}})
        until(ws, "Ack")
    return ws


def until(ws: RawWebSocket, kind: str, *, within: float = 10.0) -> dict[str, Any]:
    """Return the data of the next message of this type; what comes before it is passed over."""
    deadline = time.monotonic() + within
    while (left := deadline - time.monotonic()) > 0:
        message = ws.read_json(within=left)
        if message["type"] == kind:
            data: dict[str, Any] = message["data"]
            return data
    raise Silence(f"no {kind} within {within} s")


def presence_of(
    ws: RawWebSocket, username: str, status: str, *, within: float = 10.0
) -> dict[str, Any]:
    """Return what is told when `username` has become `status`."""
    deadline = time.monotonic() + within
    while True:
        told = until(ws, "Presence", within=deadline - time.monotonic())
        if (told["user_id"], told["status"]) == (username, status):
            return told


def presences(ws: RawWebSocket, username: str, *, seconds: float) -> list[str]:
    """Return what a user is told to be, in this time."""
    return [
        message["data"]["status"]
        for message in ws.messages(seconds=seconds)
        if message["type"] == "Presence" and message["data"]["user_id"] == username
    ]


def say(ws: RawWebSocket, kind: str, **data: Any) -> None:
    ws.send_text(json.dumps({"type": kind, "data": data}))
