"""A WebSocket that comes back: back-off, a token for every attempt, close codes as errors."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from urllib.parse import urlencode

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from realtime.client.errors import (
    ClientError,
    HandshakeRefused,
    NotAllowed,
    Unreachable,
    Unreadable,
    error_for_close,
)
from realtime.core.codes import CloseCode

T = TypeVar("T")

# A connection that lived this long was a good one: the next failure starts a new back-off.
SETTLED_SECONDS = 5.0
# A server that slows us down by TCP does not read our pings either: be patient with it.
PONG_SECONDS = 60.0
# What a server may send as one message, unless told otherwise.
MESSAGE_BYTES = 1 << 20

log = logging.getLogger("vitalwire.client")
# `websockets` prints the handshake's headers, the token among them, at DEBUG.
_wire_log = logging.getLogger("vitalwire.client.wire")
_wire_log.setLevel(logging.INFO)


class TokenSource(Protocol):
    """Where a link gets its tokens; `RestClient` is one."""

    async def token(self) -> str: ...

    def forget_token(self) -> None: ...


@dataclass(frozen=True)
class Backoff:
    """Exponential with full jitter: many clients cut at once do not come back at once.

    Source: M. Brooker, "Exponential Backoff And Jitter", 2015. `chance` answers 0.0 to 1.0.
    """

    first_seconds: float = 0.5
    most_seconds: float = 30.0
    chance: Callable[[], float] = random.random

    def delay(self, attempt: int, *, at_least: float = 0.0) -> float:
        """Return the seconds to wait after `attempt` failures in a row, counted from 0."""
        # 2**64 is past any maximum; a larger power would only cost time and overflow.
        span = min(self.most_seconds, self.first_seconds * 2.0 ** min(attempt, 64))
        return at_least + span * self.chance()


class Socket:
    """One open WebSocket that carries JSON, whose failures are this package's errors."""

    def __init__(self, wire: ClientConnection) -> None:
        self._wire = wire

    async def send(self, message: Any) -> None:
        """Send `message` as one text frame; waits while the server does not read."""
        await self.send_frame(msgspec.json.encode(message))

    async def send_frame(self, payload: bytes, *, text: bool = True) -> None:
        """Send what is encoded already; waits while the server does not read."""
        try:
            await self._wire.send(payload, text=text)
        except ConnectionClosed as closed:
            raise _ended(closed) from None

    async def receive_frame(self) -> str | bytes:
        """Return the next message as it came, text or binary."""
        try:
            return await self._wire.recv()
        except ConnectionClosed as closed:
            raise _ended(closed) from None

    async def receive(self, kind: type[T]) -> T:
        """Return the next message, read as `kind`. Raises Unreadable when it is none."""
        try:
            text = await self._wire.recv(decode=False)
        except ConnectionClosed as closed:
            raise _ended(closed) from None
        try:
            return msgspec.json.decode(text, type=kind)
        except msgspec.DecodeError as error:
            raise Unreadable(f"the server sent something else: {error}") from error


def _ended(closed: ConnectionClosed) -> ClientError:
    if closed.rcvd is None:
        return error_for_close(CloseCode.ABNORMAL, "")
    return error_for_close(closed.rcvd.code, closed.rcvd.reason)


def socket_url(url: str, path: str, **query: str) -> str:
    """Return the `ws` address beside an `http` one: ("http://h", "/ws/ai") -> "ws://h/ws/ai"."""
    address = "ws" + url.removeprefix("http") + path
    return f"{address}?{urlencode(query)}" if query else address


def never(_: ClientError) -> bool:
    """Give up on nothing."""
    return False


def when_final(error: ClientError) -> bool:
    """Give up when trying the same again cannot help."""
    return error.is_final


class Link:
    """A place on the server that is returned to after every cut, until told to give up.

    `gives_up` is asked after each failure; `on_wait` is told of it and of the seconds until the
    next attempt. `sleep` and `clock` (monotonic) count seconds, `max_bytes` is of one message.
    """

    def __init__(
        self,
        url: str,
        tokens: TokenSource,
        *,
        gives_up: Callable[[ClientError], bool] = never,
        on_wait: Callable[[ClientError, float], None] = lambda error, delay: None,
        backoff: Backoff | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        max_bytes: int = MESSAGE_BYTES,
    ) -> None:
        self._url = url
        self._on_wait = on_wait
        self._max_bytes = max_bytes
        self._tokens = tokens
        self._gives_up = gives_up
        self._backoff = backoff or Backoff()
        self._sleep = sleep
        self._clock = clock
        self._opened_at: float | None = None

    async def converse(self, conversation: Callable[[Socket], Awaitable[T]]) -> T:
        """Return what `conversation` returns; it begins again on a new socket after a cut.

        Raises the ClientError that `gives_up` said yes to, and at once whatever else the
        conversation raises.
        """
        failures = 0
        while True:
            self._opened_at = None
            try:
                async with self._open() as socket:
                    return await conversation(socket)
            except ClientError as error:
                if isinstance(error, NotAllowed):
                    self._tokens.forget_token()
                if self._gives_up(error):
                    raise
                if self._has_settled():
                    failures = 0
                delay = self._backoff.delay(failures, at_least=error.retry_after)
                failures += 1
                log.info("%s: %s; again in %.1f s", self._url, error, delay)
                self._on_wait(error, delay)
            await self._sleep(delay)

    def _has_settled(self) -> bool:
        return self._opened_at is not None and self._clock() - self._opened_at >= SETTLED_SECONDS

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Socket]:
        """Open the socket. The token travels in a header, because proxies log addresses."""
        headers = {"Authorization": f"Bearer {await self._tokens.token()}"}
        try:
            wire = await connect(
                self._url,
                additional_headers=headers,
                # Frames of 80 bytes: compressing costs both ends more than it saves.
                compression=None,
                ping_timeout=PONG_SECONDS,
                max_size=self._max_bytes,
                logger=_wire_log,
            )
        except InvalidStatus as error:
            raise HandshakeRefused(error.response.status_code) from None
        except (OSError, EOFError, TimeoutError, InvalidHandshake) as error:
            raise Unreachable(f"no WebSocket: {type(error).__name__}") from error
        self._opened_at = self._clock()
        try:
            yield Socket(wire)
        finally:
            await wire.close()
