"""Commands over REST: what waits for a device, and how it went."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from devices import access
from devices.api.base import (
    DeviceView,
    checked_body,
    described,
    device_in_path,
    given_in_query_or_body,
    number_in_path,
)
from devices.api.bodies.commands import CommandItem, CommandOutcome, NewCommand, command_item
from devices.api.bodies.common import StatusQuery
from devices.models import Command
from devices.services.commands import ENDINGS, NO_SUCH_COMMAND, end_command, queue_command
from realtime.core.errors import Invalid

INVALID_STATUS = "Invalid status. Must be: executed or failed"


class DeviceCommands(DeviceView):
    """The commands of one device."""

    for_devices = frozenset({"GET"})

    @described(
        "device_commands",
        tag="commands",
        path=["device_id"],
        answer=CommandItem(many=True),
    )
    def get(self, request: Request, device_id: str) -> Response:
        """List what waits for the device, oldest first. Looking does not take them."""
        device = device_in_path(request, device_id)
        now = timezone.now()
        return Response([command_item(each) for each in pending_of(request, device.pk, now)])

    @described(
        "device_command_create",
        tag="commands",
        path=["device_id"],
        body=NewCommand,
        answer=CommandItem,
        code=201,
        refusals=[409],
    )
    def post(self, request: Request, device_id: str) -> Response:
        """Queue a command; it is delivered once, or expires."""
        device = device_in_path(request, device_id)
        body = checked_body(NewCommand, request)
        queued = queue_command(
            device.pk,
            command=body["command"],
            parameters=body.get("parameters") or {},
            by=request.user,
            now=timezone.now(),
        )
        return Response(command_item(queued), status.HTTP_201_CREATED)


def _described_outcome(operation_id: str) -> Callable[[Any], Any]:
    return described(
        operation_id,
        tag="commands",
        path=["command_id"],
        query=StatusQuery,
        body=CommandOutcome,
        answer=CommandItem,
        refusals=[400, 409],
    )


class _CommandOutcome(DeviceView):
    """How a command went, told by its device or by a person."""

    for_devices = frozenset({"PATCH"})

    def _end(self, request: Request, command_id: str) -> Response:
        number = number_in_path(command_id, "command_id", NO_SUCH_COMMAND)
        command = access.access_command(request.auth, number, to_write=True)
        given = given_in_query_or_body(StatusQuery, CommandOutcome, request, needed="status")
        if given["status"] not in ENDINGS:
            raise Invalid(INVALID_STATUS)
        is_own = command.device.account_id == request.user.pk
        ended = end_command(
            command.pk,
            device_id=command.device_id if is_own else None,
            status=given["status"],
            result=given.get("result") or {},
            now=timezone.now(),
        )
        return Response(command_item(ended))


class CommandStatus(_CommandOutcome):
    """The path that clients use."""

    @_described_outcome("command_status")
    def patch(self, request: Request, command_id: str) -> Response:
        """End a command; told the same again, nothing changes."""
        return self._end(request, command_id)


class DeviceCommandStatus(_CommandOutcome):
    """The path that the document's server has."""

    @_described_outcome("device_command_status")
    def patch(self, request: Request, command_id: str) -> Response:
        """End a command; told the same again, nothing changes."""
        return self._end(request, command_id)


def pending_of(request: Request, device_id: int, now: datetime) -> QuerySet[Command]:
    """Return the commands that wait for a device, oldest first."""
    commands = access.commands_visible_to(request.auth).filter(device_id=device_id)
    waiting = commands.filter(status=Command.Status.PENDING, expires_at__gt=now)
    return waiting.order_by("id")
