"""What devices are told to do: queued, taken once, ended. One verb per function, one transaction.

Times are passed in, aware UTC.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from accounts.models import User
from devices.models import Command, Device
from devices.objects import check_object
from devices.services.rows import lock_device
from realtime.core.errors import Conflict, Invalid, NotFound

log = logging.getLogger("vitalwire.commands")

# Source: facts of seed 001's product, its REST texts.
NO_SUCH_COMMAND = "Command not found"

# So many may wait for one device.
PENDING_MAX = 100

ENDINGS = frozenset({Command.Status.EXECUTED, Command.Status.FAILED})


@transaction.atomic
def queue_command(
    device_id: int,
    *,
    command: str,
    parameters: dict[str, Any],
    by: User | None,
    now: datetime,
    seconds: int | None = None,
) -> Command:
    """Let a command wait for its device, `seconds` at most (VITALWIRE_COMMAND_SECONDS by default).

    Raises NotFound, Invalid for parameters that are too large or no JSON, and Conflict when too
    many wait already.
    """
    check_object(parameters, "parameters")
    device = lock_device(device_id)
    if _pending(device_id).count() >= PENDING_MAX:
        raise Conflict(f"{PENDING_MAX} commands wait for this device: no more until it takes some")
    lifetime = settings.COMMAND_SECONDS if seconds is None else seconds
    queued = Command(
        device=device,
        command=command,
        parameters=parameters,
        created_by=by,
        created_at=now,
        expires_at=now + timedelta(seconds=lifetime),
    )
    queued.save(force_insert=True)
    log.info("command %d waits for device %d", queued.pk, device_id)
    return queued


@transaction.atomic
def take_commands(device_id: int, *, now: datetime) -> list[Command]:
    """Return what waits for a device, in order, and count it as sent.

    Whoever takes a command delivers it: nobody else gets it again.
    """
    waiting = _pending(device_id).filter(expires_at__gt=now).order_by("id")
    taken = list(waiting.select_for_update(of=("self",)))
    for command in taken:
        command.status, command.sent_at = Command.Status.SENT, now
        command.save(update_fields=["status", "sent_at"])
    return taken


@transaction.atomic
def end_command(
    command_id: int,
    *,
    device_id: int | None,
    status: str,
    result: dict[str, Any],
    now: datetime,
) -> Command:
    """Keep that a command was executed or failed; told the same again, change nothing.

    `device_id` is the device that says so, None for a person. Raises NotFound, also for another
    device's command, Invalid, and Conflict when it ended otherwise.
    """
    if status not in ENDINGS:
        raise Invalid("status must be executed or failed", field="status")
    check_object(result, "result")
    command = _find_locked(command_id)
    if command is None or device_id not in (None, command.device_id):
        raise NotFound(NO_SUCH_COMMAND)
    if command.status == status:
        return command
    if command.ended_at is not None:
        raise Conflict(f"the command is {command.get_status_display()} already")
    return _end(command, status, result=result, now=now)


def expire_commands(*, now: datetime) -> int:
    """End the commands that waited too long; return how many.

    One short transaction for each, so that a long list holds no lock for long.
    """
    overdue = Command.objects.filter(status=Command.Status.PENDING, expires_at__lte=now)
    ids = list(overdue.values_list("id", flat=True))
    return sum(_expire(command_id, now) for command_id in ids)


def expire_commands_of(device: Device, *, now: datetime) -> None:
    """End whatever waits for a device. The caller holds its row, in a transaction."""
    for command in _pending(device.pk).order_by("id").select_for_update(of=("self",)):
        _end(command, Command.Status.EXPIRED, result={}, now=now)


@transaction.atomic
def _expire(command_id: int, now: datetime) -> bool:
    command = _find_locked(command_id)
    if command is None or command.status != Command.Status.PENDING:
        return False
    _end(command, Command.Status.EXPIRED, result={}, now=now)
    return True


def _end(command: Command, status: str, *, result: dict[str, Any], now: datetime) -> Command:
    command.status, command.result, command.ended_at = status, result, now
    command.save(update_fields=["status", "result", "ended_at"])
    log.info("command %d is %s", command.pk, status)
    return command


def _pending(device_id: int) -> QuerySet[Command]:
    commands = Command.objects.select_related("device")
    return commands.filter(device_id=device_id, status=Command.Status.PENDING)


def _find_locked(command_id: int) -> Command | None:
    commands = Command.objects.select_related("device").filter(pk=command_id)
    return commands.select_for_update(of=("self",)).first()
