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
  latest when it reads again (`test_faults.py`, the pings);
* Twisted 26.10 `write` asks the reactor to tell when the socket is writable, for every write:
  two system calls and a turn of the reactor more than the one that matters. While Twisted
  holds nothing back for a connection we send to its socket ourselves, and give Twisted what
  the kernel does not take (`test_faults.py`, the clients that never read; `test_fanout.py`);
* autobahn 26.10 takes 10 µs for a short message that arrives: whole text frames we read
  ourselves, and leave it all others and every violation (`test_protocol.py`);
* autobahn goes through all that was read before it heeds a pause, and a little that was read can
  unpack to very much: what is left waits until we read on (`test_deflate.py`, the bombs).
"""

import functools
import socket
import time
from collections.abc import Callable
from typing import Any

from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import reactor, tcp

from realtime.core.deflate import Agreement
from realtime.core.errors import Disconnect
from realtime.core.frames import cut_reason
from realtime.transports.base import (
    CLOSE_TIMEOUT_SECONDS,
    INBOUND_HIGH,
    INBOUND_HIGH_BYTES,
    INBOUND_LOW,
    OUTBOUND_HIGH,
    Closed,
    Message,
)
from realtime.transports.daphne_deflate import HEADER, Deflate, agreement_with
from realtime.transports.joining import Joining, current_turn
from realtime.transports.texts import text_at

OPEN = WebSocketProtocol.STATE_OPEN


class GatewayProtocol(WebSocketProtocol):
    """daphne's protocol, one per connection; installed by `daphne_server.py`."""

    is_reading_paused = False
    waiting_bytes = 0
    # What writes to this connection, once there is an application to do so.
    gateway: "DaphneTransport | None" = None
    # Of a peer that does not read, the last ping waits for an answer.
    unanswered_ping: bytes | None = None
    # What we could agree on with this peer, if the application wants to.
    agreement: Agreement | None = None

    def onConnect(self, request: Any) -> Any:
        self.failByDrop = False
        self.echoCloseCodeReason = True
        self.closeHandshakeTimeout = CLOSE_TIMEOUT_SECONDS
        self.agreement = agreement_with(request)
        return super().onConnect(request)

    def succeedHandshake(self, answer: Any) -> None:
        """Let the peer in, with the subprotocol that the application has chosen."""
        self.websocket_extensions = []
        if self.gateway is not None and (agreement := self.gateway.agreed):
            self._perMessageCompress = Deflate(self.maxMessagePayloadSize)
            answer = (answer, {HEADER: agreement.header})
        super().succeedHandshake(answer)

    def consumeData(self) -> None:
        """Take whole text frames ourselves; all else that is not a plain message is autobahn's."""
        if self.state == OPEN and self.current_frame is None and not self.inside_message:
            self._take_texts()
        if self.data or self.state != OPEN:
            super().consumeData()

    def processData(self) -> bool:
        """Leave what was read where it is while the application has enough."""
        if self.is_reading_paused and self.state == OPEN:
            return False
        return bool(super().processData())

    def _take_texts(self) -> None:
        data, start = self.data, 0
        while found := text_at(data, start, self.maxFramePayloadSize):
            text, length, start = found
            self._take({"type": "websocket.receive", "text": text}, length)
        if start:
            self.data = data[start:]
            if self.autoPingTimeoutCall and self.autoPingRestartOnAnyTraffic:
                self._cancelAutoPingTimeoutCall()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if isBinary:
            self._take({"type": "websocket.receive", "bytes": payload}, len(payload))
        else:
            self._take({"type": "websocket.receive", "text": payload.decode()}, len(payload))

    def _take(self, message: Message, length: int) -> None:
        if self.state != self.STATE_OPEN or self.muted:
            return
        self.last_ping = time.time()
        queue = self.application_queue
        queue.put_nowait(message)
        self.waiting_bytes += length
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
            if self.data:
                self.consumeData()

    def onPing(self, payload: bytes) -> None:
        """Answer at once, but only the latest to a peer that does not read (RFC 6455, 5.5.3)."""
        if self.gateway is not None and self.gateway.is_blocked:
            self.unanswered_ping = payload
        else:
            super().onPing(payload)

    def answer_latest_ping(self) -> None:
        """The peer reads again, or the connection is no more."""
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

    def sendCloseFrame(self, *args: Any, **options: Any) -> None:
        """Nothing may follow a close frame, whoever sends it: what waits goes before it."""
        if self.gateway is not None:
            self.gateway.flush()
        super().sendCloseFrame(*args, **options)

    def send_close(self, code: int, reason: str) -> None:
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=code, reasonUtf8=cut_reason(reason), isReply=False)
            self.resume_reading()


class DaphneTransport(Joining):
    """Writes ready-made frames to the connection below autobahn."""

    __slots__ = ("_connection", "_frames", "_protocol", "_socket", "_turn", "agreed")

    def __init__(
        self,
        receive: Callable[[], Any],
        send: Callable[[Message], Any],
        protocol: GatewayProtocol,
        frame_bytes: int,
        deflate_bytes: int,
    ) -> None:
        super().__init__(receive, send)
        self._protocol = protocol
        self._connection = protocol.transport
        self._socket = _socket_of(self._connection)
        self._frames = []
        self._turn = current_turn()
        protocol.gateway = self
        protocol.maxMessagePayloadSize = frame_bytes
        protocol.maxFramePayloadSize = frame_bytes
        self.agreed = protocol.agreement if deflate_bytes else None
        if self.agreed is not None:
            self._pack(self.agreed, least=deflate_bytes)

    @classmethod
    def recognise(
        cls,
        receive: Callable[[], Any],
        send: Callable[[Message], Any],
        frame_bytes: int,
        deflate_bytes: int,
    ) -> "DaphneTransport | None":
        """Under daphne 4.2 `send` is `partial(server.handle_reply, protocol)`."""
        if isinstance(send, functools.partial) and isinstance(send.args[0], GatewayProtocol):
            return cls(receive, send, send.args[0], frame_bytes, deflate_bytes)
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

    def write_now(self, data: bytes) -> None:
        if self._protocol.state != OPEN:
            return
        connection = self._connection
        if self._socket is not None and not connection.dataBuffer and not connection._tempDataLen:
            try:
                sent = self._socket.send(data)
            except OSError:
                # It is full, or broken: Twisted finds out which, and what follows from it.
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        connection.write(data)

    def close(self, code: int, reason: str) -> None:
        self._protocol.send_close(code, reason)

    def close_after_received(self, error: Disconnect) -> None:
        self._protocol.application_queue.put_nowait({"type": "gateway.close", "error": error})

    def abort(self) -> None:
        self._connection.abortConnection()

    @property
    def is_open(self) -> bool:
        return self._protocol.state == WebSocketProtocol.STATE_OPEN

    # Twisted's push producer: the connection tells when its buffer is full and empty again.

    def pauseProducing(self) -> None:
        self.is_blocked = True

    def resumeProducing(self) -> None:
        self._unblock()
        if self.on_drained is not None:
            self.on_drained()

    def stopProducing(self) -> None:
        self._unblock()

    def _unblock(self) -> None:
        self.is_blocked = False
        self._protocol.answer_latest_ping()


def _socket_of(connection: Any) -> socket.socket | None:
    """Return what may be written to directly: plain TCP and Unix sockets, never TLS.

    A peer that left during the handshake has none any more.
    """
    if isinstance(connection, tcp.Connection) and not connection.TLS:
        return getattr(connection, "socket", None)
    return None
