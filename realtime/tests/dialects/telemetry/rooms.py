"""A telemetry server without a database: devices in memory, tokens by name, a client."""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgpack

from devices.latest import Latest
from devices.readings import Report
from devices.registry import Known, Registry
from realtime.core.errors import VitalwireError
from realtime.core.limits import DialectLimits
from realtime.core.session import Principal
from realtime.dialects.telemetry.consumer import Backing, TelemetryConsumer
from realtime.dialects.telemetry.device import Connected
from realtime.dialects.telemetry.schema import MSGPACK
from realtime.hub import Hub
from realtime.lobby import Lobby
from realtime.tests.doubles import principal, user_id_of
from realtime.tests.wire import Wire

HEARS_ALL = ("telemetry.**", "alerts.**", "devices.**", "system.**", "commands.**")
ENDPOINTS = ("telemetry",)
NO_LIMITS = DialectLimits()


def operator(username: str = "olga", **more: Any) -> Principal:
    return principal(username, subscribe=HEARS_ALL, endpoints=ENDPOINTS, **more)


def viewer(username: str = "vera") -> Principal:
    return principal(username, role="ROLE_VIEWER", subscribe=HEARS_ALL, endpoints=ENDPOINTS)


def device_account(username: str = "probe") -> Principal:
    hears = ("own:devices.*", "own:commands.*")
    return principal(username, role="ROLE_DEVICE", subscribe=hears, endpoints=ENDPOINTS)


def known(device_id: int, account: str | None = None, *, is_active: bool = True) -> Known:
    return Known(
        device_id=device_id,
        account_id=None if account is None else user_id_of(account),
        device_type="sensor",
        is_active=is_active,
        silence=None,
        status="online",
    )


class FakeIntake:
    """Takes everything in; what is stored is for the test to say."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.latest = Latest()
        self.is_behind = False
        self.reports: list[Report] = []
        self.futures: list[asyncio.Future[Any]] = []
        self.signs_of_life: list[int] = []
        self.unread: dict[int, Known] = {}
        self.stores_at_once = True
        self.refuses: VitalwireError | None = None

    def take(self, report: Report) -> "asyncio.Future[Any]":
        return self._promise([report], None)

    def take_many(self, reports: Sequence[Report]) -> "asyncio.Future[Any]":
        return self._promise(reports, {})

    def alive(self, device_id: int, *, now: datetime | None = None) -> None:
        self.signs_of_life.append(device_id)

    async def know(self, device_id: int, *, account_id: UUID | None = None) -> Known | None:
        if device_id in self.unread:
            self.registry.put([self.unread[device_id]])
        return self.registry.get(device_id)

    def _promise(self, reports: Sequence[Report], result: Any) -> "asyncio.Future[Any]":
        if self.refuses is not None:
            raise self.refuses
        self.reports += reports
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.futures.append(future)
        if self.stores_at_once:
            future.set_result(result)
        return future


class Server:
    """What one process has for the dialect. Whose token is whose is in `tokens`."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.intake = FakeIntake()
        self.intake.registry.put([known(1, "probe"), known(2, "other"), known(3)])
        self.intake.registry.put([known(4, is_active=False)])
        self.connected = Connected()
        self.lobby = Lobby(100)
        self.sample: Any = None
        self.tokens: dict[str, Principal | VitalwireError] = {
            "operator": operator(),
            "viewer": viewer(),
            "device": device_account(),
        }
        self.clients: list[Client] = []
        # Whether its clients speak MessagePack.
        self.is_packed = False

    def consumer(
        self, limits: DialectLimits = NO_LIMITS, *, budget: Any = None, channel: Any = None
    ) -> TelemetryConsumer:
        backing = Backing(
            intake=self.intake,  # type: ignore[arg-type]
            connected=self.connected,
            lobby=self.lobby,
            latest_sample=lambda: self.sample,
        )
        return TelemetryConsumer(self.hub, limits, budget, backing=backing, channel=channel)

    async def stranger(
        self, consumer: TelemetryConsumer | None = None, query: str = ""
    ) -> "Client":
        """Return a client that is let in and has said nothing yet."""
        wire = Wire(path="/ws", query_string=query.encode())
        if self.is_packed:
            wire.scope["accepted_subprotocol"] = MSGPACK
        client = Client(wire, is_packed=self.is_packed)
        self.clients.append(client)
        await client.wire.opened(consumer or self.consumer())
        return client

    async def client(
        self, token: str = "operator", limits: DialectLimits = NO_LIMITS, **more: Any
    ) -> "Client":
        """Return a client that has said who it is."""
        client = await self.stranger(self.consumer(limits, **more))
        client.send(type="auth", token=token)
        assert await client.hear() == {"type": "auth_response", "success": True}
        return client


class Client:
    """A client of the dialect: sends and hears JSON, or the same in MessagePack."""

    def __init__(self, wire: Wire, *, is_packed: bool = False) -> None:
        self.wire = wire
        self.is_packed = is_packed

    def send(self, **message: Any) -> None:
        self.say(json.dumps(message))

    def size_of(self, message: Any) -> int:
        """Return how many bytes a message has as this client writes it."""
        return len(msgpack.packb(message)) if self.is_packed else len(json.dumps(message))

    def say(self, text: str) -> None:
        """Send a message that is written in JSON; what is none goes as it is."""
        if not self.is_packed:
            self.wire.say(text)
            return
        try:
            self.wire.say_bytes(msgpack.packb(json.loads(text)))
        except ValueError:
            self.wire.say_bytes(text.encode())

    def say_wrongly(self) -> None:
        """Send a binary message where text is spoken, and text where it is not."""
        if self.is_packed:
            self.wire.say('{"type":"ping"}')
        else:
            self.wire.say_bytes(msgpack.packb({"type": "ping"}))

    async def hear(self) -> Any:
        message = await self.wire.next()
        assert message["type"] == "websocket.send", message
        if self.is_packed:
            return msgpack.unpackb(message["bytes"])
        return json.loads(message["text"])

    async def ask(self, **message: Any) -> Any:
        """Send a message and return what is answered."""
        self.send(**message)
        return await self.hear()

    async def refusal(self, **message: Any) -> Any:
        """Send a message that is answered by an error, and return that."""
        answer = await self.ask(**message)
        assert answer["type"] == "error", answer
        return answer

    @property
    def has_heard_all(self) -> bool:
        return self.wire.outbound.empty()
