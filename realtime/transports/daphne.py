"""A WebSocket on daphne: the frame goes to the connection itself, back-pressure both ways.

Works around, each guarded by a test in `project/tests/live/`:
* autobahn 26.10 `sendClose` refuses most 1xxx codes and daphne 4.2 drops the reason:
  we send the close frame (`test_surgery.py`);
* autobahn's default answers a violation by dropping TCP: `failByDrop` off, and no reset after a
  close handshake (`test_protocol.py`);
* daphne's inbound queue and outbound buffer are without a bound: we stop reading from a peer
  at `INBOUND_HIGH` messages and learn from the connection when it stops reading ours
  (`test_faults.py`, the clients that flood and that never read);
* autobahn answers every ping, also of a peer that does not read the answers: we answer the
  latest when it reads again (`test_faults.py`, the pings).
"""

import functools
import time
from collections.abc import Callable
from typing import Any

from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import reactor

from realtime.core.errors import Disconnect
from realtime.core.frames import Frame, cut_reason
from realtime.transports.base import (
    CLOSE_TIMEOUT_SECONDS,
    INBOUND_HIGH,
    INBOUND_HIGH_BYTES,
    INBOUND_LOW,
    OUTBOUND_HIGH,
    Closed,
    Message,
    Transport,
)


class GatewayProtocol(WebSocketProtocol):
    """daphne's protocol, one per connection; installed by `daphne_server.py`."""

    is_reading_paused = False
    waiting_bytes = 0
    # Whether the peer does not read; the last of its pings meanwhile waits for an answer.
    is_blocked = False
    unanswered_ping: bytes | None = None

    def onConnect(self, request: Any) -> Any:
        self.failByDrop = False
        self.echoCloseCodeReason = True
        self.closeHandshakeTimeout = CLOSE_TIMEOUT_SECONDS
        return super().onConnect(request)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self.state != self.STATE_OPEN or self.muted:
            return
        self.last_ping = time.time()
        queue = self.application_queue
        if isBinary:
            queue.put_nowait({"type": "websocket.receive", "bytes": payload})
        else:
            queue.put_nowait({"type": "websocket.receive", "text": payload.decode()})
        self.waiting_bytes += len(payload)
        if queue.qsize() >= INBOUND_HIGH or self.waiting_bytes >= INBOUND_HIGH_BYTES:
            self.pause_reading()

    def message_taken(self) -> None:
        """The application has taken a message: read on when few are left."""
        waiting = self.application_queue.qsize()
        if waiting == 0:
            self.waiting_bytes = 0
        if self.is_reading_paused and (
            waiting == 0 or (waiting <= INBOUND_LOW and self.waiting_bytes < INBOUND_HIGH_BYTES)
        ):
            self.resume_reading()

    def pause_reading(self) -> None:
        if not self.is_reading_paused:
            self.is_reading_paused = True
            self.transport.pauseProducing()

    def resume_reading(self) -> None:
        if self.is_reading_paused:
            self.is_reading_paused = False
            self.transport.resumeProducing()

    def onPing(self, payload: bytes) -> None:
        """Answer at once, but only the latest to a peer that does not read (RFC 6455, 5.5.3)."""
        if self.is_blocked:
            self.unanswered_ping = payload
        else:
            super().onPing(payload)

    def block(self) -> None:
        """The connection's buffer is full."""
        self.is_blocked = True

    def unblock(self) -> None:
        """The connection's buffer is empty again, or the connection is no more."""
        self.is_blocked = False
        payload, self.unanswered_ping = self.unanswered_ping, None
        if payload is not None:
            self.onPing(payload)

    def onAutoPingTimeout(self) -> None:
        """The pong of a peer that we hold is not read: do not cut it for our own doing."""
        if self.is_reading_paused:
            self.autoPingTimeoutCall = None
            self.autoPingPending = None
        else:
            super().onAutoPingTimeout()

    def handle_reply(self, message: Message) -> None:
        if message["type"] == "websocket.close" and self.state == self.STATE_OPEN:
            self.send_close(message.get("code") or 1000, message.get("reason") or "")
        else:
            super().handle_reply(message)

    def dropConnection(self, abort: bool = False) -> None:
        """End TCP; after a close handshake only when our last frame has been written.

        autobahn aborts there, and the reset can overtake the frame. A peer that does not read
        gets `CLOSE_TIMEOUT_SECONDS` for it.
        """
        if abort and not self.wasClean:
            super().dropConnection(abort=True)
        else:
            super().dropConnection(abort=False)
            reactor.callLater(CLOSE_TIMEOUT_SECONDS, self.transport.abortConnection)

    def serverClose(self, code: int | None = None) -> None:
        self.send_close(code or 1000, "")

    def send_close(self, code: int, reason: str) -> None:
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=code, reasonUtf8=cut_reason(reason), isReply=False)
            self.resume_reading()


class DaphneTransport(Transport):
    """Writes ready-made frames to the Twisted transport below autobahn."""

    __slots__ = ("_connection", "_protocol")

    def __init__(
        self,
        receive: Callable[[], Any],
        send: Callable[[Message], Any],
        protocol: GatewayProtocol,
        frame_bytes: int,
    ) -> None:
        super().__init__(receive, send)
        self._protocol = protocol
        self._connection = protocol.transport
        protocol.maxMessagePayloadSize = frame_bytes
        protocol.maxFramePayloadSize = frame_bytes

    @classmethod
    def recognise(
        cls, receive: Callable[[], Any], send: Callable[[Message], Any], frame_bytes: int
    ) -> "DaphneTransport | None":
        """Under daphne 4.2 `send` is `partial(server.handle_reply, protocol)`."""
        if isinstance(send, functools.partial) and isinstance(send.args[0], GatewayProtocol):
            return cls(receive, send, send.args[0], frame_bytes)
        return None

    async def accept(self, subprotocol: str | None = None) -> None:
        await self._send({"type": "websocket.accept", "subprotocol": subprotocol})
        # daphne leaves the HTTP channel registered as the producer after the upgrade.
        self._connection.unregisterProducer()
        self._connection.bufferSize = OUTBOUND_HIGH
        self._connection.registerProducer(self, True)

    async def receive(self) -> str | bytes:
        message = await self._receive()
        self._protocol.message_taken()
        text = message.get("text")
        if text is not None:
            return text
        if "bytes" in message:
            return message["bytes"]
        if "error" in message:
            raise message["error"]
        raise Closed(message.get("code") or 1005)

    def write(self, frame: Frame) -> None:
        if self._protocol.state == WebSocketProtocol.STATE_OPEN:
            self._connection.write(frame.wire)

    def close(self, code: int, reason: str) -> None:
        self._protocol.send_close(code, reason)

    def close_after_received(self, error: Disconnect) -> None:
        self._protocol.application_queue.put_nowait({"type": "gateway.close", "error": error})

    def abort(self) -> None:
        self._connection.abortConnection()

    @property
    def is_open(self) -> bool:
        return self._protocol.state == WebSocketProtocol.STATE_OPEN

    @property
    def is_blocked(self) -> bool:
        return self._protocol.is_blocked

    # Twisted's push producer: the connection tells when its buffer is full and empty again.

    def pauseProducing(self) -> None:
        self._protocol.block()

    def resumeProducing(self) -> None:
        self._protocol.unblock()
        if self.on_drained is not None:
            self.on_drained()

    def stopProducing(self) -> None:
        self._protocol.unblock()
