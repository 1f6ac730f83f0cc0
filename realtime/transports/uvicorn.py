"""A WebSocket on uvicorn: like `asgi.py`, but frames go to the connection itself.

Reaches into uvicorn 0.54's `WebSocketsSansIOProtocol`; guarded by the live tests that run once
under uvicorn.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from typing import Any

from realtime.core.errors import Disconnect
from realtime.transports.asgi import AsgiTransport
from realtime.transports.base import CLOSE_TIMEOUT_SECONDS, OUTBOUND_HIGH, Message
from realtime.transports.joining import Joining, current_turn
from realtime.transports.uvicorn_deflate import Deflate, decline, extension_of

# struct linger: on, for no time at all.
RESET_AT_ONCE = struct.pack("ii", 1, 0)


class UvicornTransport(Joining, AsgiTransport):
    """Writes ready-made frames to the asyncio transport below uvicorn's protocol."""

    __slots__ = ("_connection", "_deflate", "_frames", "_held_pong", "_protocol", "_turn")

    def __init__(
        self,
        receive: Callable[[], Any],
        send: Callable[[Message], Any],
        protocol: Any,
        frame_bytes: int,
        deflate_bytes: int,
    ) -> None:
        super().__init__(receive, send)
        self._protocol = protocol
        self._held_pong = b""
        self._connection = protocol.transport
        self._frames = []
        self._turn = current_turn()
        # There 0 is a limit, too.
        protocol.conn.max_message_size = protocol.conn.max_fragment_size = frame_bytes or None
        self._deflate = extension_of(protocol)
        if not deflate_bytes:
            decline(protocol)
            self._deflate = None
        if self._deflate is not None:
            self._pack(self._deflate.agreement, least=deflate_bytes)

    @classmethod
    def recognise(
        cls,
        receive: Callable[[], Any],
        send: Callable[[Message], Any],
        frame_bytes: int,
        deflate_bytes: int,
    ) -> "UvicornTransport | None":
        """Under uvicorn 0.54 `send` is a bound method of the connection's protocol."""
        protocol = getattr(send, "__self__", None)
        if type(protocol).__name__ == "WebSocketsSansIOProtocol":
            return cls(receive, send, protocol, frame_bytes, deflate_bytes)
        return None

    async def accept(self, subprotocol: str | None = None) -> None:
        protocol = self._protocol
        if self._deflate is not None:
            self._deflate.open(protocol.conn)
        await super().accept(subprotocol)
        protocol.transport.set_write_buffer_limits(high=OUTBOUND_HIGH)
        protocol.writable = Writable(self)
        resume_writing = protocol.resume_writing

        def resume() -> None:
            resume_writing()
            self._write_held_pong()
            if self.on_drained is not None:
                self.on_drained()

        protocol.resume_writing = resume
        protocol.handle_ping = self._answer_ping

    def _answer_ping(self) -> None:
        """Answer at once, but only the latest to a peer that does not read (RFC 6455, 5.5.3)."""
        pongs = self._protocol.conn.data_to_send()
        if not self.is_blocked:
            self._protocol.transport.write(b"".join(pongs))
        elif pongs:
            self._held_pong = pongs[-1]

    def _write_held_pong(self) -> None:
        pong, self._held_pong = self._held_pong, b""
        self._protocol.transport.write(pong)

    def _count(self, more: int) -> None:
        """Count the outbox; whether the peer reads is the protocol's to tell."""
        self._outbox_bytes += more

    def write_now(self, data: bytes) -> None:
        # Whenever uvicorn sends a close frame of its own it closes the transport, too.
        if self._is_open and not self._connection.is_closing():
            self._connection.write(data)

    def close(self, code: int, reason: str) -> None:
        self.flush()
        if self._deflate is not None:
            self._deflate.close()
        super().close(code, reason)
        # uvicorn holds the close frame back until the peer reads: do not wait for ever.
        loop = asyncio.get_running_loop()
        loop.call_later(CLOSE_TIMEOUT_SECONDS, self._abort_if_blocked)

    def _abort_if_blocked(self) -> None:
        if self.is_blocked and not self._protocol.disconnected:
            self.abort()

    def close_after_received(self, error: Disconnect) -> None:
        self._protocol.queue.put_nowait({"type": "gateway.close", "error": error})

    async def receive(self) -> str | bytes:
        message = await self._receive()
        deflate = self._deflate
        if deflate is not None and deflate.waiting:
            self._read_on(deflate)
        if "error" in message:
            raise message["error"]
        return self._data_of(message)

    def _read_on(self, deflate: Deflate) -> None:
        """Let the parser go on with what it has when the application has taken everything."""
        protocol = self._protocol
        if protocol.queue.empty():
            was_full, deflate.waiting = deflate.is_full, 0
            if was_full and not protocol.close_sent:
                protocol.data_received(b"")

    def abort(self) -> None:
        transport = self._protocol.transport
        connection = transport.get_extra_info("socket")
        if connection is not None:
            # Else the kernel keeps what the peer does not read, for minutes.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_ONCE)
        transport.abort()


class Writable(asyncio.Event):
    """Takes the place of the protocol's own: set while the peer reads, and when it is gone."""

    def __init__(self, transport: UvicornTransport) -> None:
        super().__init__()
        self._transport = transport
        self.set()

    def set(self) -> None:
        super().set()
        self._transport.is_blocked = False

    def clear(self) -> None:
        super().clear()
        self._transport.is_blocked = True


class WithoutQuery(logging.Filter):
    """Cuts the query string from uvicorn's log lines: tokens and passwords travel in it."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                argument.partition("?")[0] if isinstance(argument, str) else argument
                for argument in record.args
            )
        return True


def hide_queries() -> None:
    """Make uvicorn's loggers forget query strings; harmless under another server."""
    for name in ("uvicorn.access", "uvicorn.error"):
        logging.getLogger(name).addFilter(WithoutQuery())
