"""A WebSocket on any ASGI server, by nothing but ASGI's own `receive` and `send`."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from realtime.core.errors import Disconnect
from realtime.core.frames import Frame
from realtime.transports.base import OUTBOUND_HIGH, Closed, Message, Transport


class AsgiTransport(Transport):
    """Queues what is written and sends it from a task of its own; slow, but everywhere."""

    __slots__ = ("_ending", "_is_open", "_outbox", "_outbox_bytes", "_reading", "_sender")

    def __init__(self, receive: Callable[[], Any], send: Callable[[Message], Any]) -> None:
        super().__init__(receive, send)
        self._outbox: deque[tuple[Message, int]] = deque()
        self._outbox_bytes = 0
        self._sender: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[Message] | None = None
        self._ending: Disconnect | Closed | None = None
        self._is_open = False

    async def accept(self, subprotocol: str | None = None) -> None:
        await self._send({"type": "websocket.accept", "subprotocol": subprotocol})
        self._is_open = True

    async def receive(self) -> str | bytes:
        if self._ending is not None:
            raise self._take_ending()
        self._reading = asyncio.ensure_future(self._receive())
        try:
            message = await self._reading
        except asyncio.CancelledError:
            if self._ending is not None:
                raise self._take_ending() from None
            raise
        finally:
            self._reading = None
        return self._data_of(message)

    def _take_ending(self) -> Disconnect | Closed:
        """Return it once: afterwards the peer's departure is waited for."""
        ending, self._ending = self._ending, None
        assert ending is not None
        return ending

    def _data_of(self, message: Message) -> str | bytes:
        if message["type"] == "websocket.disconnect":
            self._is_open = False
            raise Closed(message.get("code") or 1005)
        text = message.get("text")
        return text if text is not None else message["bytes"]

    def write(self, frame: Frame) -> None:
        if self._is_open:
            self._note([frame.wire])
            payload = frame.payload
            content = {"bytes": payload} if frame.is_binary else {"text": payload.decode()}
            self._put({"type": "websocket.send", **content}, len(payload))

    def close(self, code: int, reason: str) -> None:
        if self._is_open:
            self._put({"type": "websocket.close", "code": code, "reason": reason}, 0)
            self._is_open = False

    def close_after_received(self, error: Disconnect) -> None:
        self._end_receiving(error)

    def abort(self) -> None:
        """Let the application return; what becomes of the connection is the server's affair."""
        self._is_open = False
        self._empty_outbox()
        if self._sender is not None:
            self._sender.cancel()
        self._end_receiving(Closed(1006))

    @property
    def is_open(self) -> bool:
        return self._is_open

    def _end_receiving(self, ending: Disconnect | Closed) -> None:
        self._ending = ending
        if self._reading is not None:
            self._reading.cancel()

    def _empty_outbox(self) -> None:
        self._outbox.clear()
        self._count(-self._outbox_bytes)

    def _count(self, more: int) -> None:
        self._outbox_bytes += more
        self.is_blocked = self._outbox_bytes > OUTBOUND_HIGH

    def _put(self, message: Message, size: int) -> None:
        self._outbox.append((message, size))
        self._count(size)
        if self._sender is None:
            self._sender = asyncio.ensure_future(self._drain())

    async def _drain(self) -> None:
        was_blocked = False
        try:
            while self._outbox:
                was_blocked = was_blocked or self.is_blocked
                message, size = self._outbox.popleft()
                await self._send(message)
                self._count(-size)
        except (OSError, RuntimeError):
            # What servers raise when the peer is gone; `receive` tells for good.
            self._is_open = False
            self._empty_outbox()
        finally:
            self._sender = None
        if was_blocked and self.on_drained is not None:
            self.on_drained()
