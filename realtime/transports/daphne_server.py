"""daphne's server with what it lacks: a drain, deadlines, a body limit, a discreet log.

`install` is called by `project/asgi.py`, which the stock `daphne` command imports before it
builds its server; the classes below then take the place of daphne 4.2's own. Guarded by
`project/tests/live/test_http.py` (deadlines, 413, log) and `test_faults.py` (SIGTERM).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from daphne import access, cli, http_protocol, server, ws_protocol
from twisted.internet import defer, reactor
from twisted.web import http

from realtime.transports.body import REFUSAL
from realtime.transports.daphne import GatewayProtocol
from realtime.transports.daphne_pace import PacedRequest

BODY_SECONDS = 60
REFUSED_UPLOAD_SECONDS = 5
REQUESTS_AT_DRAIN_SECONDS = 3
CANCEL_SECONDS = 2
# Before the application's own deadline for a handshake begins it may wait for the start of our
# background work; daphne drops at its own deadline without a word, so ours has to come first.
HANDSHAKE_MARGIN_SECONDS = 10
# Connections that wait to be accepted. Twisted's 50 fill while we are busy for a moment, and
# the kernel then drops who comes: it tries again after a whole second.
BACKLOG = 1_024

Hook = Callable[[], Awaitable[None]]


def install(
    *,
    start: Hook,
    drain: Hook,
    body_bytes: int,
    header_seconds: float,
    handshake_seconds: float,
    stalled_seconds: float,
) -> None:
    """Put our classes in the place of daphne's.

    `start` runs once when the reactor does; `drain` at SIGTERM, after the ports are closed
    and before the applications are cancelled. A request whose head takes longer than
    `header_seconds` is cut, and so is a client that has not read for `stalled_seconds`; one whose
    body exceeds `body_bytes` gets 413 at once. A handshake that the application answers within
    `handshake_seconds` is never dropped.
    """
    GatewayServer.start_hook = staticmethod(start)
    GatewayServer.drain_hook = staticmethod(drain)
    GatewayServer.handshake_seconds = handshake_seconds + HANDSHAKE_MARGIN_SECONDS
    GatewayRequest.body_bytes = body_bytes
    GatewayRequest.stalled_seconds = stalled_seconds
    GatewayHTTPFactory.header_seconds = header_seconds
    cli.CommandLineInterface.server_class = GatewayServer
    cli.AccessLogGenerator = DiscreetAccessLog
    server.HTTPFactory = GatewayHTTPFactory
    http_protocol.WebRequest = GatewayRequest
    ws_protocol.WebSocketFactory.protocol = GatewayProtocol


class DiscreetAccessLog(access.AccessLogGenerator):
    """daphne prints whole URIs; tokens and passwords travel in their queries."""

    def __call__(self, protocol: str, action: str, details: dict[str, Any]) -> None:
        details = {**details, "path": details["path"].partition("?")[0]}
        super().__call__(protocol, action, details)


class GatewayServer(server.Server):
    """Starts and drains our background work with the reactor."""

    start_hook: Hook
    drain_hook: Hook
    handshake_seconds: float = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Each dialect has a size limit of its own, and a connection may live longer than a day.
        kwargs.update(
            websocket_timeout=-1, websocket_max_message_size=0, websocket_max_frame_size=0
        )
        for name in ("websocket_connect_timeout", "websocket_handshake_timeout"):
            kwargs[name] = max(kwargs.get(name) or 0, self.handshake_seconds)
        super().__init__(*args, **kwargs)
        self.ports: list[Any] = []

    def run(self) -> None:
        reactor.callWhenRunning(lambda: asyncio.ensure_future(self.start_hook()))
        super().run()

    def listen_success(self, port: Any) -> None:
        self.ports.append(port)
        port.socket.listen(BACKLOG)
        super().listen_success(port)

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Called for each `send`; that of a part of an answer waits until there is room."""
        await super().handle_reply(protocol, message)
        if isinstance(protocol, PacedRequest):
            await protocol.room()

    def kill_all_applications(self) -> defer.Deferred:
        """Called once at shutdown; the reactor waits for what this returns."""
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._drain()))

    async def _drain(self) -> None:
        for port in self.ports:
            port.stopListening()
        try:
            await self.drain_hook()
        finally:
            await self._finish_applications()

    async def _finish_applications(self) -> None:
        running = [
            application
            for details in self.connections.values()
            if (application := details.get("application_instance")) and not application.done()
        ]
        if running:
            _, late = await asyncio.wait(running, timeout=REQUESTS_AT_DRAIN_SECONDS)
            for application in late:
                application.cancel()
            if late:
                await asyncio.wait(late, timeout=CANCEL_SECONDS)


class Deadline:
    """One absolute deadline per HTTP connection; Twisted's restarts with every byte."""

    __slots__ = ("_call", "_channel")

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._call: Any = None

    def start(self, seconds: float) -> None:
        self.stop()
        self._call = reactor.callLater(seconds, self._cut)

    def start_unless_running(self, seconds: float) -> None:
        if self._call is None:
            self.start(seconds)

    def stop(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def _cut(self) -> None:
        self._call = None
        transport = getattr(self._channel, "transport", None)
        if transport is not None:
            transport.abortConnection()


class GatewayChannel(http.HTTPChannel):
    """One HTTP connection, under a deadline while the head of a request is awaited.

    The first head has it from the moment the connection is made, every later one from its first
    byte: in between the connection may rest for as long as Twisted lets it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.deadline = Deadline(self)

    def connectionMade(self) -> None:
        super().connectionMade()
        self.deadline.start(self.factory.header_seconds)

    def dataReceived(self, data: bytes) -> None:
        # What comes while a request is answered is kept by Twisted and handed in here again.
        if not self._handlingRequest:
            self.deadline.start_unless_running(self.factory.header_seconds)
        super().dataReceived(data)

    def connectionLost(self, reason: Any) -> None:
        self.deadline.stop()
        super().connectionLost(reason)


class GatewayHTTPFactory(http_protocol.HTTPFactory):
    """Makes connections that have a deadline."""

    header_seconds: float = 15

    def protocol(self) -> Any:
        # Twisted 26.10 wraps the channel, to switch to HTTP/2 by ALPN.
        return http._GenericHTTPChannelProtocol(GatewayChannel())


class GatewayRequest(PacedRequest, http_protocol.WebRequest):
    """An HTTP request with a bound on its body and on the time it takes to arrive."""

    body_bytes: int = 2 * 1024 * 1024
    _body_received = 0
    _is_refused = False

    def __init__(self, channel: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(channel, *args, **kwargs)
        # An HTTP/2 channel has none.
        self._deadline: Deadline | None = getattr(channel, "deadline", None)

    def __repr__(self) -> str:
        """daphne logs requests that take too long; Twisted's repr has the query in it."""
        path = self.uri.partition(b"?")[0].decode("latin-1")
        return f"<{type(self).__name__} client={self.client_addr!r} path={path!r}>"

    def gotLength(self, length: int | None) -> None:
        """The head is complete; `length` is None for a body of unknown size."""
        if self._deadline is not None:
            self._deadline.start(BODY_SECONDS)
        if length is not None and length > self.body_bytes:
            super().gotLength(0)
            self._refuse()
        else:
            super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:
        self._body_received += len(data)
        if self._is_refused:
            return
        if self._body_received > self.body_bytes:
            self._refuse()
        else:
            super().handleContentChunk(data)

    def process(self) -> Any:
        if self._deadline is not None:
            self._deadline.stop()
        if self._is_refused:
            self.channel.loseConnection()
            return None
        return super().process()

    def _refuse(self) -> None:
        """Answer 413 now and throw away what comes: closing at once would lose the answer."""
        self._is_refused = True
        self.channel.transport.write(
            b"HTTP/1.1 413 Content Too Large\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(REFUSAL), REFUSAL)
        )
        if self._deadline is not None:
            self._deadline.start(REFUSED_UPLOAD_SECONDS)
