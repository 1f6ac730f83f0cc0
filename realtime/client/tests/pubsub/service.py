"""A server of the protocol that a test speaks for: it keeps what it is told over connections."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from realtime.client.pubsub import RealtimeClient
from realtime.client.tests.doubles import PROMPT, Tokens, serving


class Connection:
    """The server's end of one connection: what was heard, and words for what to say."""

    def __init__(self, wire: ServerConnection) -> None:
        self.wire = wire
        self.path = wire.request.path if wire.request else ""
        self.heard: list[Any] = []
        self._news = asyncio.Condition()

    async def say(self, kind: str, data: Any = None, **more: Any) -> None:
        await self.wire.send(json.dumps({"type": kind, "data": data or {}, **more}))

    async def greet(self, **details: Any) -> None:
        details = {"connection_id": "c", **details}
        await self.say("Status", {"status": "connected", "details": details})

    async def confirm(self, message: dict[str, Any], **details: Any) -> None:
        told = {"topics": message["data"]["topics"], **details}
        recover = message["data"].get("recover")
        if recover is not None:
            told = {"position": recover["position"], "recovered": True, **told}
        await self.say("Status", {"status": "subscribed", "details": told})
        await self.ack(message, status="subscribed")

    async def ack(self, message: dict[str, Any], **more: Any) -> None:
        await self.say("Ack", {"message_id": message["id"], "status": "delivered", **more})

    async def refuse(self, code: int, **details: Any) -> None:
        await self.say("Error", {"code": code, "message": "no", "details": details})

    async def tell(self, payload: Any, **metadata: Any) -> None:
        await self.say("Broadcast", {"topic": "a", "payload": payload, "metadata": metadata})

    def cut(self) -> None:
        self.wire.transport.abort()

    def of(self, kind: str) -> list[Any]:
        return [message for message in self.heard if message.get("type") == kind]

    async def until(self, kind: str, count: int = 1) -> list[Any]:
        """Return the messages of this type once there are so many."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.of(kind)) >= count)
        return self.of(kind)

    async def listen(self, on_message: Callable[["Connection", dict[str, Any]], Any]) -> None:
        try:
            async for frame in self.wire:
                binary = {"type": "Binary", "frame": frame}
                message = json.loads(frame) if isinstance(frame, str) else binary
                async with self._news:
                    self.heard.append(message)
                    self._news.notify_all()
                await on_message(self, message)
        except ConnectionClosed:
            pass


class Service:
    """Greets, confirms subscriptions, acknowledges; change `on_message` or `on_open` for more."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.position = "e-0"
        self.acknowledges = True
        self.url = ""
        self._opened = asyncio.Condition()

    async def handle(self, wire: ServerConnection) -> None:
        connection = Connection(wire)
        await self.on_open(connection)
        async with self._opened:
            self.connections.append(connection)
            self._opened.notify_all()
        await connection.listen(self.on_message)

    async def on_open(self, connection: Connection) -> None:
        await connection.greet()

    async def on_message(self, connection: Connection, message: dict[str, Any]) -> None:
        match message["type"]:
            case "Subscribe":
                details = {} if "recover" in message["data"] else {"position": self.position}
                await connection.confirm(message, **details)
            case "Broadcast" | "DirectMessage" if self.acknowledges:
                await connection.ack(message, recipients=1)
            case "Batch" if self.acknowledges:
                for each in message["data"]["messages"]:
                    await connection.ack(each)

    async def until_opened(self, number: int = 1) -> Connection:
        """Return the connection of this number, counted from 1, once it is there."""
        async with self._opened:
            await self._opened.wait_for(lambda: len(self.connections) >= number)
        return self.connections[number - 1]

    def client(self, **options: Any) -> RealtimeClient:
        """Return a client of this service; its `heard` are payloads, its `states` states."""
        tokens = options.pop("tokens", None) or Tokens()
        client = RealtimeClient(self.url, tokens, backoff=PROMPT, **options)
        client.heard, client.states, client.gaps = [], [], []  # type: ignore[attr-defined]
        client.on("Broadcast", lambda data: client.heard.append(data["payload"]))
        client.on_state(lambda told: client.states.append(told["state"]))
        client.on_gap(lambda gap: client.gaps.append(gap))
        return client


@asynccontextmanager
async def service() -> AsyncIterator[Service]:
    """Yield a running service; a test that waits for ever fails."""
    running = Service()
    async with serving(running.handle) as url, asyncio.timeout(10):
        running.url = url
        yield running
