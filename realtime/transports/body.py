"""A bound on HTTP request bodies, whatever the server: 413 before the body is read."""

from collections.abc import Awaitable, Callable
from typing import Any

App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]

REFUSAL = b'{"error":"the request body is larger than this server accepts"}'


class _TooLarge(Exception):
    """Raised into the application that reads a body of unknown length beyond the bound."""


class BodyLimit:
    """ASGI middleware: answers 413 to a request whose body has more than `most` bytes.

    Under daphne the server itself refuses earlier, before the body is in memory.
    """

    def __init__(self, inner: App, *, most: int) -> None:
        self._inner = inner
        self._most = most

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if _declared_length(scope) > self._most:
            await _refuse(send)
            return
        received = 0

        async def receive_bounded() -> dict[str, Any]:
            nonlocal received
            message: dict[str, Any] = await receive()
            received += len(message.get("body", b""))
            if received > self._most:
                raise _TooLarge
            return message

        try:
            await self._inner(scope, receive_bounded, send)
        except _TooLarge:
            await _refuse(send)


def _declared_length(scope: dict[str, Any]) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


async def _refuse(send: Any) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(REFUSAL)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": REFUSAL})
