"""Whether a handshake is let in at all, and which subprotocol it gets.

What is refused here is refused before accept, with HTTP 403: a forbidden origin, an unknown
path, an address over its budget. Everything else is accepted first, so that the client can
read the close code.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from realtime.auth import SUBPROTOCOL_PREFIX
from realtime.core.limits import ConnectionBudget

App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]

REALTIME_V1 = "realtime.v1"
ANY_ORIGIN = "*"


class Gate:
    """ASGI middleware in front of everything that is a WebSocket."""

    def __init__(
        self,
        inner: App,
        *,
        origins: list[str],
        budget: ConnectionBudget,
        is_draining: Callable[[], bool],
    ) -> None:
        self._inner = inner
        self._origins = origins
        self._budget = budget
        self._is_draining = is_draining

    def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Awaitable[None]:
        client = scope.get("client")
        address = client[0] if client else ""
        if not self._lets_in(scope, address):
            return deny(scope, receive, send)
        scope["accepted_subprotocol"] = subprotocol_for(scope.get("subprotocols", ()))
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
        return (
            not self._is_draining()
            and self._allows_origin(scope)
            and self._budget.admit(address, time.monotonic())
        )

    def _allows_origin(self, scope: dict[str, Any]) -> bool:
        """A browser always sends its origin; a client that is none need not."""
        if ANY_ORIGIN in self._origins:
            return True
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        return all(_normalised(origin.decode("latin-1")) in self._origins for origin in origins)


async def deny(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Refuse before accept."""
    await receive()
    await send({"type": "websocket.close", "code": 1008})


def subprotocol_for(offers: list[str]) -> str | None:
    """Return what to select of what the client offered.

    A browser fails a connection whose offers are all ignored. A token is echoed only when it
    is the sole offer, since the answer would carry it a second time.
    """
    if REALTIME_V1 in offers:
        return REALTIME_V1
    tokens = [offer for offer in offers if offer.startswith(SUBPROTOCOL_PREFIX)]
    return tokens[0] if tokens and len(tokens) == len(offers) else None


def _normalised(origin: str) -> str:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}".lower()
