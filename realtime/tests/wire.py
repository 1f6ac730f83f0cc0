"""An ASGI server's side of one WebSocket, in memory."""

import asyncio
from typing import Any

from realtime.core.session import Principal
from realtime.negotiation import Gate, endpoint_of
from realtime.tests.described import assert_bytes_described, assert_described, channel_of

Message = dict[str, Any]
PATIENCE_SECONDS = 10
# Whose words are described: our consumers, alone or behind the gate.
OURS = "realtime.dialects."
ROUTING = "realtime.routing"


class Wire:
    """Hands messages to an application and keeps what it sends.

    `jam` makes `send` wait, as a server does whose peer has stopped reading. What an endpoint
    of ours says has to be described by the AsyncAPI document.
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
        self.channel: str | None = None

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
        self.channel = self._channel_of(application)
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
            message = await self.outbound.get()
        if self.channel is not None and message["type"] == "websocket.send":
            if message.get("text") is not None:
                assert_described(self.channel, message["text"])
            else:
                assert_bytes_described(self.channel, message["bytes"])
        return message

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

    def _channel_of(self, application: Any) -> str | None:
        """Return how the document calls what answers: one of our consumers, or all of them."""
        path: str = self.scope["path"]
        if _is_everything(application):
            return channel_of(endpoint_of(path, self.scope))
        if not type(application).__module__.startswith(OURS):
            return None
        # A dialect's other form is named behind a dot.
        name: str = application.dialect.name.partition(".")[0]
        return channel_of(path) if name == "surgery" else name

    async def end(self) -> None:
        """Leave, and wait for the application to have noticed."""
        assert self.application is not None
        self.leave()
        self.unjam()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.application


def _is_everything(application: Any) -> bool:
    """Tell whether it is what `routing` makes, and not a gate that a test put before its own."""
    inner = getattr(application, "_inner", None)
    return isinstance(application, Gate) and getattr(inner, "__module__", "") == ROUTING


async def turns(count: int = 10) -> None:
    """Let everything run that can run without waiting for the outside."""
    for _ in range(count):
        await asyncio.sleep(0)


def authenticated(principal: Principal) -> dict[str, Any]:
    """Return what `realtime.auth` puts into a scope."""
    return {"principal": principal, "user": principal}
