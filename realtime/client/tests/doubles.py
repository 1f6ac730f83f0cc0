"""What the tests talk to: a small WebSocket server, a REST transport, and time that is told."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
from websockets.asyncio.server import ServerConnection, serve

from realtime.client.connection import Backoff
from realtime.client.rest import RestClient

Handler = Callable[[ServerConnection], Awaitable[None]]

PROMPT = Backoff(first_seconds=0.0, most_seconds=0.0)


class Time:
    """A clock that moves only by what is slept."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class Tokens:
    """A token source that counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.forgotten = 0

    async def token(self) -> str:
        self.asked += 1
        return f"token-{self.asked}"

    def forget_token(self) -> None:
        self.forgotten += 1


@asynccontextmanager
async def serving(*handlers: Handler) -> AsyncIterator[str]:
    """Answer the first connection with the first handler and so on, the last for all others.

    Yields the http address beside the WebSockets.
    """
    waiting = list(handlers)

    async def handle(connection: ServerConnection) -> None:
        handler = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        await handler(connection)

    async with serve(handle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"


def closing(code: int, reason: str = "") -> Handler:
    """Return a handler that closes at once."""

    async def handle(connection: ServerConnection) -> None:
        await connection.close(code, reason)

    return handle


async def cutting(connection: ServerConnection) -> None:
    """A handler that drops the connection without a close frame."""
    connection.transport.abort()


def rest_answering(
    url: str, answer: Callable[[httpx.Request], httpx.Response], *, clock: Time | None = None
) -> RestClient:
    """Return a client whose login always works and whose other requests `answer` answers."""

    def respond(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/v1/auth/login":
            return httpx.Response(200, json={"token": "secret-token"})
        return answer(request)

    return RestClient(
        url,
        "ada",
        "secret-password",
        transport=httpx.MockTransport(respond),
        clock=clock or Time(),
    )


def body_of(request: httpx.Request) -> dict:
    return json.loads(request.content)
