"""A hub and what the runtime connects to it, in memory: history, a clock, members."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from realtime.core.events import AlertRaised, Event, Measured, TelemetryReceived, encode
from realtime.hub import Hub, Member
from realtime.journal import Numbered
from realtime.tests.doubles import NOW, FakeTransport, PlainDialect, member


class History:
    """A journal in memory, wired to a hub: what the tail and the runtime do for it."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.entries: list[Numbered] = []
        self.reads = 0
        self.is_away = False
        self.tasks: list[asyncio.Task[None]] = []
        hub.history = self.read
        hub.spawn = self.spawn

    async def read(self, n: int, limit: int) -> list[Numbered]:
        self.reads += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise ConnectionError("the database is away")
        return [entry for entry in self.entries if entry.n > n][:limit]

    def spawn(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self.tasks.append(task)
        return task

    def happen(self, event: Event) -> None:
        """Number a durable event and deliver it, as the tail does."""
        n = self.hub.position + 1
        self.entries.append(Numbered(n, event.topic, encode(event)))
        self.hub.deliver(event, n)

    async def settled(self) -> None:
        """Wait for all catching up that was begun."""
        while self.tasks:
            await asyncio.gather(*self.tasks, return_exceptions=True)
            self.tasks = [task for task in self.tasks if not task.done()]


class Alarm:
    """One call that a `FakeClock` was asked for."""

    def __init__(self, at: float, call: Callable[[], object]) -> None:
        self.at = at
        self.call = call
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class FakeClock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._alarms: list[Alarm] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Alarm:
        alarm = Alarm(self.now + delay, lambda: callback(*args))
        self._alarms.append(alarm)
        return alarm

    @property
    def pending(self) -> list[Alarm]:
        self._alarms = [alarm for alarm in self._alarms if not alarm.is_cancelled]
        return self._alarms

    def advance(self, seconds: float) -> None:
        """Let time pass and call what was due, in order."""
        until = self.now + seconds
        while due := [alarm for alarm in self.pending if alarm.at <= until]:
            first = min(due, key=lambda alarm: alarm.at)
            self._alarms.remove(first)
            self.now = first.at
            first.call()
        self.now = until


def joined(hub: Hub, *patterns: str, **options: Any) -> Member:
    one = member(**options)
    hub.join(one)
    for pattern in patterns:
        hub.subscribe(one, pattern)
    return one


class Speechless(PlainDialect):
    """Has a fault where its words should be."""

    def render(
        self, event: Event, position: str | None, *, recover_from: str | None = None
    ) -> bytes | None:
        raise TypeError("a fault in this dialect")


def texts(one: Member) -> list[str]:
    transport = one.transport
    assert isinstance(transport, FakeTransport)
    return transport.texts


def transport_of(one: Member) -> FakeTransport:
    assert isinstance(one.transport, FakeTransport)
    return one.transport


def reported(
    id: str = "e1", *, device: int = 1, after: float = 0, crossed: str = "", **values: float
) -> TelemetryReceived:
    """Return what a device measured, `after` seconds after NOW; by default one temperature."""
    at = NOW + timedelta(seconds=after)
    metrics = values or {"temperature": 20.5}
    return TelemetryReceived(
        id=id,
        at=at,
        device_id=device,
        metrics={name: Measured(value, "", at) for name, value in metrics.items()},
        crossed=frozenset(crossed.split()),
    )


def raised(id: str = "a1", *, device: int = 1, severity: str = "warning") -> AlertRaised:
    return AlertRaised(
        id=id,
        at=NOW,
        alert_id=1,
        device_id=device,
        severity=severity,
        alert_type="threshold",
        title="too warm",
        message="",
    )


class MeasuringDialect(PlainDialect):
    """Says what was measured: "1 temperature=20.5", with "20..21 x2" for a window of two."""

    def render(
        self, event: Event, position: str | None, *, recover_from: str | None = None
    ) -> bytes | None:
        if not isinstance(event, TelemetryReceived):
            return super().render(event, position)
        self.renders += 1
        told = (_told(name, measured) for name, measured in event.metrics.items())
        return " ".join([str(event.device_id), *told]).encode()


def _told(name: str, measured: Measured) -> str:
    window = "" if measured.count is None else f"({measured.low:g}..{measured.high:g}"
    return f"{name}={measured.value:g}" + (window and f"{window} x{measured.count})")
