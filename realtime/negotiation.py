"""Whether a handshake is let in at all, which subprotocol it gets, and who answers at `/ws`.

`/ws` is two dialects' address: a credential in the handshake, be it empty or bad, means
pubsub, none means telemetry, whose clients say in their first message who they are.

What is refused here is refused before accept, with HTTP 403: a forbidden origin, an unknown
path, an address over its budget. Everything else is accepted first, so that the client can
read the close code.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from realtime.auth import SUBPROTOCOL_PREFIX, tokens_in
from realtime.core.limits import ConnectionBudget
from realtime.dialects.pubsub import schema as pubsub
from realtime.dialects.telemetry.schema import MSGPACK

App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
# Told why who was denied, and what was wrong with it.
NoteRefusal = Callable[[str, dict[str, Any], str], None]

REALTIME_V1 = "realtime.v1"
ANY_ORIGIN = "*"

PRIMARY = "/ws"
PUBSUB = "/ws/pubsub"
# Where telemetry is spoken, in the form that the client chooses.
TELEMETRY = frozenset(
    {PRIMARY, "/ws/device", "/ws/telemetry", "/ws/alerts", "/ws/devices", "/ws/system"}
)
UNAUTHORIZED = 401


class Gate:
    """ASGI middleware in front of everything that is a WebSocket."""

    def __init__(
        self,
        inner: App,
        *,
        origins: list[str],
        budget: ConnectionBudget,
        is_draining: Callable[[], bool],
        note_refusal: NoteRefusal = lambda reason, scope, detail: None,
    ) -> None:
        self._inner = inner
        self._origins = origins
        self._budget = budget
        self._is_draining = is_draining
        self._note_refusal = note_refusal

    def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Awaitable[None]:
        client = scope.get("client")
        address = client[0] if client else ""
        if not self._lets_in(scope, address):
            return deny(scope, receive, send)
        scope["accepted_subprotocol"] = subprotocol_for(
            scope.get("subprotocols", ()), is_telemetry=is_telemetry(scope)
        )
        if not self._budget.connections:
            return self._inner(scope, receive, send)
        return self._serve_counted(address, scope, receive, send)

    async def _serve_counted(
        self, address: str, scope: dict[str, Any], receive: Any, send: Any
    ) -> None:
        try:
            await self._inner(scope, receive, send)
        finally:
            self._budget.release(address)

    def _lets_in(self, scope: dict[str, Any], address: str) -> bool:
        if self._is_draining():
            return False
        if not self._allows_origin(scope):
            self._note_refusal("forbidden_origin", scope, ", ".join(_origins_of(scope)))
            return False
        if not self._budget.admit(address, time.monotonic()):
            self._note_refusal("address_budget", scope, "")
            return False
        return True

    def _allows_origin(self, scope: dict[str, Any]) -> bool:
        """A browser always sends its origin; a client that is none need not."""
        if ANY_ORIGIN in self._origins:
            return True
        return all(_normalised(origin) in self._origins for origin in _origins_of(scope))


def endpoint_of(path: str, scope: dict[str, Any]) -> str:
    """Return the path that serves this handshake: another one only for `/ws`."""
    return PUBSUB if path == PRIMARY and tokens_in(scope) else path


def is_telemetry(scope: dict[str, Any]) -> bool:
    """Tell whether it is telemetry that answers this handshake."""
    return endpoint_of(path_of(scope), scope) in TELEMETRY


def path_of(scope: dict[str, Any]) -> str:
    """Return the path below the root path, without a slash at its end."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path") or "").rstrip("/")


class _PubsubShape(msgspec.Struct):
    type: str
    data: msgspec.Raw


_decode_shape = msgspec.json.Decoder(_PubsubShape).decode


def pubsub_answer(first: str) -> bytes | None:
    """Return pubsub's `Error 401` to a first message in its shape, None to any other.

    Its clients have to bring their token in the handshake.
    """
    try:
        _decode_shape(first)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None
    return pubsub.error(UNAUTHORIZED, "a token is required in the handshake")


async def deny(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Refuse before accept."""
    await receive()
    await send({"type": "websocket.close", "code": 1008})


def subprotocol_for(offers: Sequence[str], *, is_telemetry: bool = False) -> str | None:
    """Return what to select of what the client offered.

    Whoever offers MessagePack where it is spoken gets it, whatever else it offers.

    A browser fails a connection whose offers are all ignored. A token is echoed only when it
    is the sole offer, since the answer would carry it a second time.
    """
    if is_telemetry and MSGPACK in offers:
        return MSGPACK
    if REALTIME_V1 in offers:
        return REALTIME_V1
    tokens = [offer for offer in offers if offer.startswith(SUBPROTOCOL_PREFIX)]
    return tokens[0] if tokens and len(tokens) == len(offers) else None


def _origins_of(scope: dict[str, Any]) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]


def _normalised(origin: str) -> str:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}".lower()
