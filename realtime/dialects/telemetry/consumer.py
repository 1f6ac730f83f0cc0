"""The telemetry dialect's order of talk: say who you are, then subscribe and report.

Source: seed 001. A wrong message gets an `error` and never ends the connection.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from devices.readings import Report
from realtime.attempts import record_error_report
from realtime.budgets import SharedBudget
from realtime.core.errors import Disconnect, Failure, PolicyViolation, TryLater
from realtime.core.events import SystemSampled
from realtime.core.limits import DialectLimits, Flood, TokenBucket
from realtime.dialects.telemetry import schema
from realtime.dialects.telemetry.acks import SETTLE_SECONDS, WAITING_MAX, Acks, about
from realtime.dialects.telemetry.auth import TelemetryAuth, refused
from realtime.dialects.telemetry.batch import Batching
from realtime.dialects.telemetry.device import Connected, Deliveries, Reporter, ask
from realtime.dialects.telemetry.schema import (
    Accepted,
    AnyIncoming,
    Auth,
    AuthResponse,
    Batch,
    Channel,
    Code,
    CommandResponse,
    ErrorReport,
    Heartbeat,
    Outgoing,
    Ping,
    Pong,
    Rejection,
    Status,
    Subscribe,
    Telemetry,
    TelemetryDialect,
    Unsubscribe,
    error,
    rejection_for,
)
from realtime.dialects.telemetry.subscriptions import Afterwards, Subscriptions, narrowed
from realtime.hub import Hub, Member
from realtime.intake import Intake
from realtime.lobby import Lobby

FLOOD_FACTOR = 3
FLOOD_SECONDS = 5
ERROR_REPORTS_PER_SECOND = 1
# What a large message has to say somewhere, or it is not looked at.
BATCH_MARK = "batch"


def no_sample() -> SystemSampled | None:
    """For whoever samples nothing."""
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Backing:
    """What of this process stands behind every connection of the dialect."""

    intake: Intake
    connected: Connected
    lobby: Lobby
    latest_sample: Callable[[], SystemSampled | None] = no_sample


class TelemetryConsumer(TelemetryAuth):
    """`/ws`, `/ws/device`, and `/ws/<channel>` for each `channel`."""

    endpoint = "telemetry"

    def __init__(
        self,
        hub: Hub,
        limits: DialectLimits,
        budget: SharedBudget | None = None,
        *,
        backing: Backing,
        channel: Channel | None = None,
    ) -> None:
        super().__init__(hub, limits, budget, lobby=backing.lobby)
        self.channel = channel
        self._backing = backing
        # Of those that come too early: as many as are in time come on top.
        self._flood = Flood(limits.messages_per_second * (FLOOD_FACTOR - 1), seconds=FLOOD_SECONDS)
        self._is_large = False
        self._acks = Acks(self.tell)
        self._afterwards: list[Afterwards] = []
        self._error_reports: TokenBucket | None = None
        self._deliveries: Deliveries | None = None
        self._reporter: Reporter
        self._subscriptions: Subscriptions

    # --- Opening and closing -----------------------------------------------------------

    async def on_open(self) -> None:
        self.tell(AuthResponse(success=True))
        backing, member = self._backing, self.member
        self._reporter = Reporter(member, backing.intake, own_device=self.own_device)
        self._subscriptions = Subscriptions(
            self.hub,
            member,
            backing.intake,
            channel=self.channel,
            own_device=self.own_device,
            find_device=self._reporter.find,
            latest_sample=backing.latest_sample,
        )
        try:
            if self.own_device is not None:
                await self._reporter.meet(self.own_device)
                backing.intake.alive(self.own_device)
                self._deliveries = Deliveries(self.own_device, member, self.dialect)
                backing.connected.add(self._deliveries)
            given = await self._subscriptions.start()
            if given is not None:
                answer, afterwards = given
                self.tell(answer)
                await afterwards()
        except Failure as failure:
            self.tell(error(rejection_for(failure)))

    async def on_close(self) -> None:
        if self._deliveries is not None:
            self._backing.connected.remove(self._deliveries)
        if self._acks.waiting and self.transport.is_open:
            await self._acks.settle(SETTLE_SECONDS)

    def on_expired(self) -> None:
        self.tell(error(Rejection(Code.TOKEN_EXPIRED, "your token has expired")))
        super().on_expired()

    # --- Messages ----------------------------------------------------------------------

    async def on_text(self, text: str) -> None:
        if self.dialect.is_packed:
            self.tell(self.dialect.wrong_form)
        else:
            await self._on_message(text)

    async def on_binary(self, data: bytes) -> None:
        if self.dialect.is_packed:
            await self._on_message(data)
        else:
            self.tell(self.dialect.wrong_form)

    async def _on_message(self, data: str | bytes) -> None:
        answer = await self._answer_to(data)
        if answer is not None:
            self.tell(answer)
        if self._afterwards:
            await self._do_afterwards()
        most = 1 if self._backing.intake.is_behind else WAITING_MAX
        if self._acks.waiting >= most:
            await self._acks.wait_for_room(most)

    async def _answer_to(self, data: str | bytes) -> Outgoing | None:
        is_large, self._is_large = self._is_large, False
        try:
            message = self.dialect.parse(data)
            kind = type(message)
            if kind is Batch:
                return await self._answer_batch(message)
            if is_large:
                raise self._too_large()
            if kind is Telemetry:
                return await self._take(message)
            return await HANDLERS[kind](self, message)
        except Failure as failure:
            return error(rejection_for(failure))

    async def _do_afterwards(self) -> None:
        afterwards, self._afterwards = self._afterwards, []
        for each in afterwards:
            try:
                await each()
            except Failure as failure:
                self.tell(error(rejection_for(failure)))

    async def on_auth(self, message: Auth) -> Outgoing:
        """Take another token of the same user; subscriptions stay."""
        session, changes = self.member.session, self.hub.access_changes
        try:
            principal = await self.verify(message.token)
            if principal.user_id != session.principal.user_id:
                raise PolicyViolation("this connection is another account's", kind="forbidden")
        except TryLater as end:
            return refused(end)
        except Disconnect as end:
            self.tell(refused(end))
            self.note_refusal(end, self.scope)
            raise
        session.principal = principal
        self.watch_expiry()
        if ended := self.hub.reauthorise(self.member):
            on_narrowed(self.hub, self.member, ended)
        if changes != self.hub.access_changes and self.hub.look_again is not None:
            self.hub.look_again(self.member)
        return AuthResponse(success=True)

    async def on_ping(self, message: Ping) -> Outgoing:
        now = datetime.now(UTC)
        return Pong(
            timestamp=now if message.timestamp is None else message.timestamp, server_time=now
        )

    async def on_subscribe(self, message: Subscribe) -> Outgoing:
        answer, afterwards = await self._subscriptions.subscribe(message)
        self._afterwards.append(afterwards)
        return answer

    async def on_unsubscribe(self, message: Unsubscribe) -> Outgoing:
        return self._subscriptions.unsubscribe(message)

    async def on_heartbeat(self, message: Heartbeat) -> None:
        await self._reporter.heartbeat(message, datetime.now(UTC))

    async def on_status(self, message: Status) -> None:
        await self._reporter.status(message, datetime.now(UTC))

    async def on_command_response(self, message: CommandResponse) -> None:
        await self._reporter.command_response(message, datetime.now(UTC))

    async def on_error_report(self, message: ErrorReport) -> None:
        now = time.monotonic()
        if self._error_reports is None:
            self._error_reports = TokenBucket(ERROR_REPORTS_PER_SECOND, now=now)
        if wait := self._error_reports.take(now):
            raise Rejection(
                Code.RATE_LIMITED,
                f"at most {ERROR_REPORTS_PER_SECOND} error reports a second",
                limit=ERROR_REPORTS_PER_SECOND,
                retry_after_ms=int(wait * 1000) + 1,
            )
        session = self.member.session
        await ask(
            record_error_report,
            username=session.principal.username,
            address=session.address,
            error=message.error,
            message=msgspec.json.encode(message.message).decode(),
            now=datetime.now(UTC),
        )

    # --- Readings ----------------------------------------------------------------------

    async def _take(self, message: Telemetry) -> Outgoing | None:
        """Take readings in; they are acknowledged once they are stored."""
        if self._reporter.is_new(message):
            await self._reporter.find(message.device_id)
        report = self._reported(message, datetime.now(UTC))
        try:
            stored = self._backing.intake.take(report)
        except Failure as failure:
            raise about(message, failure) from None
        self._acks.expect(message, stored)
        return None

    def _reported(self, message: Telemetry, now: datetime) -> Report:
        try:
            return self._reporter.report(message, now)
        except Failure as failure:
            raise about(message, failure) from None

    # --- Batches -----------------------------------------------------------------------

    async def _answer_batch(self, batch: Batch) -> Outgoing | None:
        """Do one item after another; the answer waits until the readings among them are stored."""
        most = self.limits.batch_items
        if most and len(batch.messages) > most:
            raise Rejection(
                Code.BATCH_TOO_LARGE,
                f"a batch has at most {most} messages",
                field="messages",
                limit=most,
            )
        batching = Batching(len(batch.messages), self._backing.intake.take_many)
        received_at = datetime.now(UTC)
        for place, raw in enumerate(batch.messages):
            try:
                message = self._item(raw)
                if type(message) is Telemetry:
                    if self._reporter.is_new(message):
                        await self._reporter.find(message.device_id)
                    batching.report(place, message, self._reported(message, received_at))
                else:
                    batching.take_in()
                    batching.answer(place, await self._answer_item(message))
            except Failure as failure:
                batching.refuse(place, failure)
        return batching.end(self._acks)

    def _item(self, raw: msgspec.Raw) -> AnyIncoming:
        most = self.limits.message_bytes
        if most and len(memoryview(raw)) > most:
            raise self._too_large()
        message = self.dialect.parse(raw)
        if type(message) is Batch:
            raise Rejection(Code.NESTED_BATCH, "a batch holds no batch", field="type")
        return message

    async def _answer_item(self, message: AnyIncoming) -> Outgoing:
        answer = await HANDLERS[type(message)](self, message)
        return Accepted(message=message.__struct_config__.tag) if answer is None else answer

    # --- Limits ------------------------------------------------------------------------

    async def takes_early(self, wait: float, data: str | bytes) -> bool:
        """Say so and drop it; who floods us has to leave."""
        limit = self.limits.messages_per_second
        if self._flood.goes_on(time.monotonic()):
            raise PolicyViolation(
                f"{FLOOD_FACTOR} times the {limit} messages a second for {FLOOD_SECONDS} s",
                kind="flood",
            )
        self.tell(
            schema.Error(
                code=Code.RATE_LIMITED,
                message=f"at most {limit} messages a second: this one was dropped",
                limit=limit,
                retry_after_ms=int(wait * 1000) + 1,
            )
        )
        return False

    async def takes_large(self, data: str | bytes) -> bool:
        """Only a batch may have more bytes than a message, for each of its items has few."""
        is_packed = isinstance(data, bytes)
        says_batch = BATCH_MARK.encode() in data if is_packed else f'"{BATCH_MARK}"' in data
        if says_batch and is_packed == self.dialect.is_packed:
            self._is_large = self._session is not None
            return True
        self.tell(error(self._too_large()))
        return False

    def _too_large(self) -> Rejection:
        most = self.limits.message_bytes
        return Rejection(Code.MESSAGE_TOO_LARGE, f"a message has at most {most} bytes", limit=most)


Handler = Callable[[TelemetryConsumer, Any], Awaitable[Outgoing | None]]
HANDLERS: dict[type, Handler] = {
    Auth: TelemetryConsumer.on_auth,
    Ping: TelemetryConsumer.on_ping,
    Subscribe: TelemetryConsumer.on_subscribe,
    Unsubscribe: TelemetryConsumer.on_unsubscribe,
    Heartbeat: TelemetryConsumer.on_heartbeat,
    Status: TelemetryConsumer.on_status,
    CommandResponse: TelemetryConsumer.on_command_response,
    ErrorReport: TelemetryConsumer.on_error_report,
}


def on_narrowed(hub: Hub, member: Member, ended: list[str]) -> None:
    """Tell a client of this dialect which subscriptions its new role ended."""
    assert isinstance(member.dialect, TelemetryDialect)
    for message in narrowed(ended, f"{hub.epoch}-{hub.position}"):
        member.send(member.dialect.frame(message))
