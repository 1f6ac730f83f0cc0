"""A telemetry server without a database: devices in memory, tokens by name, a client."""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from devices.latest import Latest
from devices.readings import Report
from devices.registry import Known, Registry
from realtime.core.errors import VitalwireError
from realtime.core.limits import DialectLimits
from realtime.core.session import Principal
from realtime.dialects.telemetry.consumer import Backing, TelemetryConsumer
from realtime.dialects.telemetry.device import Connected
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
        client = Client(Wire(path="/ws", query_string=query.encode()))
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
    """A client of the dialect: sends and hears JSON."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def send(self, **message: Any) -> None:
        self.wire.say(json.dumps(message))

    async def hear(self) -> Any:
        return json.loads(await self.wire.hear())

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
