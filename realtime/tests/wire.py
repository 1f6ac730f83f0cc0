"""An ASGI server's side of one WebSocket, in memory."""

import asyncio
from typing import Any

from realtime.core.session import Principal

Message = dict[str, Any]
PATIENCE_SECONDS = 10


class Wire:
    """Hands messages to an application and keeps what it sends.

    `jam` makes `send` wait, as a server does whose peer has stopped reading.
    """

    def __init__(self, **scope: Any) -> None:
        self.scope: dict[str, Any] = {
            "type": "websocket",
            "path": "/ws/pubsub",
            "headers": [],
            "query_string": b"",
            "subprotocols": [],
            "client": ("192.0.2.1", 50_000),
            **scope,
        }
        self.inbound: asyncio.Queue[Message] = asyncio.Queue()
        self.outbound: asyncio.Queue[Message] = asyncio.Queue()
        self.breaks_with: Exception | None = None
        self._is_flowing = asyncio.Event()
        self._is_flowing.set()
        self.application: asyncio.Task[None] | None = None

    # --- The application's end -----------------------------------------------------------

    async def receive(self) -> Message:
        return await self.inbound.get()

    async def send(self, message: Message) -> None:
        await self._is_flowing.wait()
        if self.breaks_with is not None:
            raise self.breaks_with
        self.outbound.put_nowait(message)

    # --- The peer's end ------------------------------------------------------------------

    def open(self, application: Any) -> None:
        """Begin the handshake with an ASGI application."""
        self.inbound.put_nowait({"type": "websocket.connect"})
        self.application = asyncio.ensure_future(application(self.scope, self.receive, self.send))

    async def opened(self, application: Any) -> str | None:
        """Complete the handshake; return the selected subprotocol."""
        self.open(application)
        accepted = await self.next()
        assert accepted["type"] == "websocket.accept", accepted
        subprotocol: str | None = accepted.get("subprotocol")
        return subprotocol

    def say(self, text: str) -> None:
        self.inbound.put_nowait({"type": "websocket.receive", "text": text, "bytes": None})

    def say_bytes(self, data: bytes) -> None:
        self.inbound.put_nowait({"type": "websocket.receive", "bytes": data})

    def leave(self, code: int = 1001) -> None:
        self.inbound.put_nowait({"type": "websocket.disconnect", "code": code})

    def jam(self) -> None:
        self._is_flowing.clear()

    def unjam(self) -> None:
        self._is_flowing.set()

    async def next(self) -> Message:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.outbound.get()

    async def hear(self) -> str:
        """Return the next text message."""
        message = await self.next()
        assert message["type"] == "websocket.send", message
        text: str = message["text"]
        return text

    async def ending(self) -> tuple[int, str]:
        """Return code and reason of the close frame, which must come next."""
        message = await self.next()
        assert message["type"] == "websocket.close", message
        return message["code"], message["reason"]

    async def end(self) -> None:
        """Leave, and wait for the application to have noticed."""
        assert self.application is not None
        self.leave()
        self.unjam()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.application


async def turns(count: int = 10) -> None:
    """Let everything run that can run without waiting for the outside."""
    for _ in range(count):
        await asyncio.sleep(0)


def authenticated(principal: Principal) -> dict[str, Any]:
    """Return what `realtime.auth` puts into a scope."""
    return {"principal": principal, "user": principal}
