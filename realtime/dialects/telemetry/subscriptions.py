"""What one connection hears: channels, filters and frequencies, asked of the hub."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.db import Error as DatabaseProblem

from accounts.access import Right, may
from devices.registry import Known
from realtime.core.errors import Forbidden, Invalid, Unavailable
from realtime.core.events import Event, SystemSampled, TelemetryReceived
from realtime.core.filters import Filter
from realtime.core.position import Position
from realtime.core.topics import ONE, root_of
from realtime.dialects.telemetry.schema import (
    Channel,
    Code,
    Outgoing,
    Rejection,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)
from realtime.hub import Hub, Member
from realtime.intake import Intake

TELEMETRY, ALERTS, DEVICES, SYSTEM = "telemetry", "alerts", "devices", "system"
REAL_TIME = "real-time"

SUBSCRIPTIONS_MAX = 1_000
# A snapshot of many devices is written in turns, so that nobody waits for it.
SHOWN_AT_ONCE = 100

_DURATION = re.compile(r"([0-9]{1,8})(ms|s|m|h)").fullmatch
_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}
SLOWEST_MS = 24 * 3_600_000
# What is asked for more often is had this often.
FASTEST_MS = {TELEMETRY: 100, SYSTEM: 1_000}
DEFAULT_MS = {TELEMETRY: 0, SYSTEM: 30_000}

FindDevice = Callable[[int], Awaitable[Known | None]]
# What is left to be done once the answer is written.
Afterwards = Callable[[], Awaitable[None]]


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription that is in order. `device_ids` is None for all of them.

    `echo` are the filters in force, in the words of the dialect.
    """

    channel: str
    device_ids: tuple[int, ...] | None
    filter: Filter
    echo: dict[str, Any]
    since: Position | None

    @property
    def patterns(self) -> list[str]:
        return patterns_of(self.channel, self.device_ids)


def patterns_of(channel: str, device_ids: Iterable[int] | None) -> list[str]:
    if channel == SYSTEM:
        return [SYSTEM]
    if device_ids is None:
        return [f"{channel}.{ONE}"]
    return [f"{channel}.{device_id}" for device_id in device_ids]


def wish_of(message: Subscribe) -> Wish:
    """Return what is asked for; filters that the channel does not know are left out.

    Raises Invalid for a frequency or a position that is none.
    """
    channel = message.channel
    echo: dict[str, Any] = {}
    metrics = severities = alert_types = statuses = frozenset[str]()
    every_ms = 0
    match channel:
        case "telemetry" | "system":
            metrics = _chosen(message, "metrics", echo)
            every_ms, echo["frequency"] = _frequency(channel, message.wish("frequency"))
        case "alerts":
            severities = _chosen(message, "severity", echo)
            alert_types = _chosen(message, "alert_type", echo)
        case "devices":
            statuses = _chosen(message, "status_types", echo)
    return Wish(
        channel=channel,
        device_ids=_device_ids(message),
        filter=Filter(
            metrics=metrics,
            severities=severities,
            alert_types=alert_types,
            statuses=statuses,
            every_ms=every_ms,
        ),
        echo=echo,
        since=_since(message),
    )


def _chosen(message: Subscribe, name: str, echo: dict[str, Any]) -> frozenset[str]:
    value = message.wish(name)
    if value is None:
        return frozenset()
    names = [value] if isinstance(value, str) else list(dict.fromkeys(value))
    echo[name] = names
    return frozenset(names)


def _frequency(channel: str, text: str | None) -> tuple[int, str]:
    """Return milliseconds, and how a client calls them."""
    default = DEFAULT_MS[channel]
    if text is None:
        return default, _words_for(default)
    every_ms = 0
    if text != REAL_TIME:
        duration = _DURATION(text)
        every_ms = int(duration[1]) * _UNIT_MS[duration[2]] if duration else 0
        if not 0 < every_ms <= SLOWEST_MS:
            raise Invalid(
                "frequency: real-time, or a duration up to 24h such as 500ms, 30s, 5m",
                field="frequency",
            )
    elif channel == TELEMETRY:
        return 0, REAL_TIME
    fastest = FASTEST_MS[channel]
    return (every_ms, text) if every_ms >= fastest else (fastest, _words_for(fastest))


def _words_for(every_ms: int) -> str:
    if not every_ms:
        return REAL_TIME
    return f"{every_ms}ms" if every_ms % 1000 else f"{every_ms // 1000}s"


def _device_ids(message: Subscribe) -> tuple[int, ...] | None:
    wanted = message.wish("device_id")
    if wanted is None or message.channel == SYSTEM:
        return None
    return tuple(dict.fromkeys(wanted)) if isinstance(wanted, list) else (wanted,)


def _since(message: Subscribe) -> Position | None:
    text = message.wish("since")
    if text is None:
        return None
    if message.channel not in (ALERTS, DEVICES):
        raise Invalid(f"since: nothing is kept of {message.channel} to be told", field="since")
    try:
        return Position.parse(text)
    except Invalid as problem:
        raise Invalid(f"since: {problem}", field="since") from None


def _as_asked(message: Subscribe, device_ids: tuple[int, ...] | None) -> int | list[int] | None:
    """Return the devices as the client wrote them: one, or a list."""
    if device_ids is None:
        return None
    return list(device_ids) if isinstance(message.wish("device_id"), list) else device_ids[0]


class Subscriptions:
    """What a member hears. `channel` is the only one that its endpoint serves, if any.

    `own_device` is the only device that one that signs in as a device may ask about.
    """

    def __init__(
        self,
        hub: Hub,
        member: Member,
        intake: Intake,
        *,
        channel: Channel | None,
        own_device: int | None,
        find_device: FindDevice,
        latest_sample: Callable[[], SystemSampled | None],
    ) -> None:
        self._hub = hub
        self._member = member
        self._intake = intake
        self._channel = channel
        self._own_device = own_device
        self._find_device = find_device
        self._latest_sample = latest_sample
        # What its endpoint gave it, until it asks for something itself.
        self._given: str | None = None

    @property
    def position(self) -> str:
        return f"{self._hub.epoch}-{self._hub.position}"

    async def start(self) -> tuple[Outgoing, Afterwards] | None:
        """Subscribe to the channel of the endpoint; None where there is none."""
        if self._channel is None:
            return None
        answer, afterwards = await self.subscribe(Subscribe(channel=self._channel))
        (self._given,) = patterns_of(self._channel, None)
        return answer, afterwards

    async def subscribe(self, message: Subscribe) -> tuple[Outgoing, Afterwards]:
        """Subscribe, replacing what was asked before of the same channel and device.

        Raises Failure, and then nothing has changed.
        """
        self._check_channel(message.channel)
        wish = wish_of(message)
        await self._check_devices(wish)
        new = [pattern for pattern in wish.patterns if pattern not in self._member.cohorts]
        if len(self._member.cohorts) + len(new) > SUBSCRIPTIONS_MAX:
            raise Rejection(
                Code.TOO_MANY_SUBSCRIPTIONS,
                f"at most {SUBSCRIPTIONS_MAX} subscriptions a connection",
                field="device_id",
                limit=SUBSCRIPTIONS_MAX,
            )
        complete: bool | msgspec.UnsetType = msgspec.UNSET
        if wish.since is not None:
            complete = await self._reaches_back(wish.since)
        self._hear(wish)
        answer = Subscribed(
            channel=wish.channel,
            device_id=_as_asked(message, wish.device_ids),
            filters=wish.echo,
            position=self.position,
            complete=complete,
        )
        return answer, lambda: self._tell_past(wish)

    def unsubscribe(self, message: Unsubscribe) -> Outgoing:
        """End what is heard of some devices, or all of the channel. Raises Failure."""
        self._check_channel(message.channel)
        wanted = _device_ids(message)
        if wanted is None:
            ended = [p for p in self._member.cohorts if root_of(p) == message.channel]
        else:
            patterns = patterns_of(message.channel, wanted)
            ended = [p for p in patterns if p in self._member.cohorts]
        if not ended:
            raise Rejection(
                Code.NOT_SUBSCRIBED,
                f"you are not subscribed to {message.channel}"
                + ("" if wanted is None else " of this device"),
                field="channel" if wanted is None else "device_id",
            )
        self._given = None
        for pattern in ended:
            self._hub.unsubscribe(self._member, pattern)
        return Unsubscribed(
            channel=message.channel,
            device_id=_as_asked(message, wanted),
            filters={},
            position=self.position,
        )

    def _check_channel(self, channel: str) -> None:
        if self._channel not in (None, channel):
            raise Rejection(
                Code.WRONG_ENDPOINT,
                f"this endpoint serves {self._channel} only; /ws serves every channel",
                field="channel",
            )

    async def _check_devices(self, wish: Wish) -> None:
        for device_id in wish.device_ids or ():
            is_own = device_id == self._own_device
            if not is_own and not may(self._member.session.principal, Right.READ_DEVICES):
                raise Rejection(
                    Code.FORBIDDEN, f"device {device_id} is not yours", field="device_id"
                )
            known = await self._find_device(device_id)
            if known is None or not known.is_active:
                raise Rejection(
                    Code.UNKNOWN_DEVICE, f"there is no device {device_id}", field="device_id"
                )

    async def _reaches_back(self, since: Position) -> bool:
        try:
            return await self._hub.reaches_back_to(since)
        except DatabaseProblem as problem:
            raise Unavailable("the journal cannot be read now: try again later") from problem

    def _hear(self, wish: Wish) -> None:
        for pattern in wish.patterns:
            try:
                self._hub.subscribe(self._member, pattern, wish.filter, held=wish.since is not None)
            except Forbidden:
                text = f"your role may not subscribe to {wish.channel}"
                raise Rejection(Code.FORBIDDEN, text, field="channel") from None
        if self._given is not None and self._given not in wish.patterns:
            self._hub.unsubscribe(self._member, self._given)
        self._given = None

    # --- What happened before ----------------------------------------------------------

    async def _tell_past(self, wish: Wish) -> None:
        if wish.since is not None:
            await self._replay(wish, wish.since)
        elif wish.channel == TELEMETRY:
            await self._show_latest(wish)
        elif wish.channel == SYSTEM and (sample := self._latest_sample()) is not None:
            self._hub.show(self._member, [sample])

    async def _replay(self, wish: Wish, since: Position) -> None:
        try:
            for pattern in wish.patterns:
                await self._hub.replay(self._member, pattern, since)
        except DatabaseProblem as problem:
            for pattern in wish.patterns:
                self._hub.unsubscribe(self._member, pattern)
            raise Rejection(
                Code.UNAVAILABLE,
                "the journal cannot be read now: subscribe again later",
                field="since",
            ) from problem

    async def _show_latest(self, wish: Wish) -> None:
        """Write the last known values, those that the subscription asks for."""
        ids = self._intake.latest.devices() if wish.device_ids is None else wish.device_ids
        for start in range(0, len(ids), SHOWN_AT_ONCE):
            self._hub.show(self._member, self._latest_of(ids[start : start + SHOWN_AT_ONCE]))
            await asyncio.sleep(0)

    def _latest_of(self, device_ids: Iterable[int]) -> Iterator[Event]:
        now = datetime.now(UTC)
        for device_id in device_ids:
            metrics = self._intake.latest.of(device_id)
            known = self._intake.registry.get(device_id)
            if metrics and known is not None:
                yield TelemetryReceived(
                    id=f"latest:{device_id}",
                    at=now,
                    device_id=device_id,
                    account_id=known.account_id,
                    metrics=metrics,
                )


def narrowed(patterns: Iterable[str], position: str) -> Iterator[Outgoing]:
    """Return what tells a client which subscriptions its new role ended."""
    for pattern in patterns:
        channel, _, device = pattern.partition(".")
        yield Unsubscribed(
            channel=channel,
            device_id=int(device) if device.isdigit() else None,
            filters={},
            position=position,
            reason="your role changed",
        )
