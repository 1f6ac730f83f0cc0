"""What a device says and is told: readings, signs of life, its status, commands."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import Error as DatabaseProblem

from accounts.access import Right, may
from devices.readings import Report
from devices.registry import Known
from devices.services import commands, devices
from realtime.calls import AWAY_SECONDS, call
from realtime.consumers import BLOCKED_SECONDS
from realtime.core.errors import Forbidden, NotFound, Unavailable
from realtime.core.events import CommandIssued
from realtime.core.session import Principal
from realtime.dialects.telemetry import schema
from realtime.dialects.telemetry.schema import (
    Code,
    CommandResponse,
    Heartbeat,
    Rejection,
    Status,
    Telemetry,
    TelemetryDialect,
    measured,
)
from realtime.hub import Member
from realtime.intake import Intake

logger = logging.getLogger("vitalwire.commands")

DATABASE_AWAY = "the database does not answer now: try again later"
OFFLINE = "offline"
JSON = TelemetryDialect()


async def ask(service: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a service; a database that is away is Unavailable."""
    try:
        return await call(service, *args, **kwargs)
    except DatabaseProblem as problem:
        raise Unavailable(DATABASE_AWAY) from problem


class Reporter:
    """What one connection may report, and of which device: its own, or any for who manages them."""

    def __init__(self, member: Member, intake: Intake, *, own_device: int | None) -> None:
        self._member = member
        self._intake = intake
        self._own_device = own_device
        # Whose rights were looked at; another role makes another principal.
        self._judged: Principal | None = None
        # Of which device it was last found that it may report.
        self._passed: Known | None = None
        self._is_manager = False
        self._is_device = False

    async def find(self, device_id: int) -> Known | None:
        """Return a device, read anew where it is not known yet. Raises Unavailable."""
        known = self._intake.registry.get(device_id)
        return known if known is not None else await self._know(device_id)

    async def meet(self, device_id: int) -> None:
        """Know the device that has just signed in, with its account. Raises Unavailable."""
        await self._know(device_id, account_id=self._member.session.principal.user_id)

    async def _know(self, device_id: int, **account: UUID) -> Known | None:
        try:
            async with asyncio.timeout(settings.AUTH_TIMEOUT_SECONDS):
                return await self._intake.know(device_id, **account)
        except TimeoutError:
            raise Unavailable(DATABASE_AWAY) from None

    def is_new(self, message: Telemetry) -> bool:
        """Tell whether the device has to be read first: `find` does."""
        return self._intake.registry.get(message.device_id) is None

    def report(self, message: Telemetry, now: datetime) -> Report:
        """Return what a device reported, ready to be taken in. Raises Failure."""
        known = self._checked(message.device_id)
        return Report(
            device_id=known.device_id,
            account_id=known.account_id,
            metrics=measured(message, now),
            received_at=now,
            message_id=message.id or "",
        )

    async def heartbeat(self, message: Heartbeat, now: datetime) -> None:
        known = await self._named(message.device_id)
        self._intake.alive(known.device_id, now=now)

    async def status(self, message: Status, now: datetime) -> None:
        known = await self._named(message.device_id)
        await ask(
            devices.change_status,
            known.device_id,
            message.status,
            reason=message.reason,
            now=now,
        )
        # To say good-bye is no sign of life.
        if message.status != OFFLINE:
            self._intake.alive(known.device_id, now=now)

    async def command_response(self, message: CommandResponse, now: datetime) -> None:
        self._check_role()
        device_id = None
        if not self._is_manager or message.device_id is not None:
            device_id = (await self._named(message.device_id)).device_id
        try:
            ended = await ask(
                commands.end_command,
                message.command_id,
                device_id=device_id,
                status=message.status,
                result=message.result,
                now=now,
            )
        except NotFound as missing:
            raise Rejection(Code.NOT_FOUND, str(missing), field="command_id") from None
        self._intake.alive(ended.device_id, now=now)

    async def _named(self, device_id: int | None) -> Known:
        """Return the device that is named, or else is the one that speaks. Raises Rejection."""
        self._check_role()
        if device_id is None:
            device_id = self._own_device
            if device_id is None:
                raise Rejection(
                    Code.MISSING_FIELD,
                    "device_id is missing: you are not a device yourself",
                    field="device_id",
                )
        await self.find(device_id)
        return self._checked(device_id)

    def _checked(self, device_id: int) -> Known:
        """Return the device if this connection may report of it. Raises Rejection, Forbidden."""
        known = self._intake.registry.get(device_id)
        principal = self._member.session.principal
        if known is not None and known is self._passed and principal is self._judged:
            return known
        self._check_role()
        if not self._is_manager and (known is None or known.account_id != principal.user_id):
            raise Rejection(Code.FORBIDDEN, f"device {device_id} is not you", field="device_id")
        if known is None:
            raise Rejection(
                Code.UNKNOWN_DEVICE, f"there is no device {device_id}", field="device_id"
            )
        if not known.is_active:
            text = f"device {device_id} is not in service"
            raise Rejection(Code.FORBIDDEN, text, field="device_id")
        self._passed = known
        return known

    def _check_role(self) -> None:
        principal = self._member.session.principal
        if principal is not self._judged:
            self._judged, self._passed = principal, None
            self._is_manager = may(principal, Right.MANAGE_DEVICES)
            self._is_device = may(principal, Right.REPORT_OWN_READINGS)
        if not self._is_manager and not self._is_device:
            raise Forbidden("your role may not report for devices")


class Deliveries:
    """Takes a device's commands for one connection of it; whoever takes one delivers it."""

    def __init__(self, device_id: int, member: Member, dialect: TelemetryDialect = JSON) -> None:
        self.device_id = device_id
        self._member = member
        self._dialect = dialect
        self._is_due = False
        self._task: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Some command may wait."""
        self._is_due = True
        if self._task is None:
            self._task = asyncio.ensure_future(self._deliver())
            self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and task.exception() is not None:
            logger.error("delivering commands failed", exc_info=task.exception())

    async def _deliver(self) -> None:
        transport = self._member.transport
        while self._is_due:
            self._is_due = False
            while transport.is_blocked and transport.is_open:  # noqa: ASYNC110
                await asyncio.sleep(BLOCKED_SECONDS)
            if not transport.is_open or self._member.is_ending:
                return  # It waits for the device's next connection.
            try:
                # Not patiently: by the time the database is back the device may be gone.
                taken = await call(commands.take_commands, self.device_id, now=datetime.now(UTC))
            except DatabaseProblem:
                self._is_due = True
                await asyncio.sleep(AWAY_SECONDS)
                continue
            for command in taken:
                if not transport.is_open:
                    logger.warning("command %d was sent to nobody", command.pk)
                self._member.send(self._dialect.frame(_command(command)))


def _command(command: Any) -> schema.Command:
    return schema.Command(
        command_id=command.pk, command=command.command, parameters=command.parameters
    )


class Connected:
    """The connections of this process by the device that signed in with them."""

    def __init__(self) -> None:
        self._deliveries: dict[int, dict[Deliveries, None]] = {}

    def add(self, deliveries: Deliveries) -> None:
        """Let a connection have its device's commands, those that wait already first."""
        self._deliveries.setdefault(deliveries.device_id, {})[deliveries] = None
        deliveries.look()

    def remove(self, deliveries: Deliveries) -> None:
        of_device = self._deliveries.get(deliveries.device_id, {})
        of_device.pop(deliveries, None)
        if not of_device:
            self._deliveries.pop(deliveries.device_id, None)

    def on_issued(self, event: CommandIssued) -> None:
        """A command waits for a device: one of its connections takes it, here or elsewhere.

        The newest is asked first: an old one may be dead without knowing it.
        """
        for deliveries in reversed(list(self._deliveries.get(event.device_id, ()))):
            deliveries.look()
