"""Commands as clients of this API know them."""

from typing import Any

from rest_framework import serializers

from devices.api.bodies.common import NaiveUtcField, naive_utc
from devices.api.fields import ObjectField, TextField, id_field
from devices.models import Command


class NewCommand(serializers.Serializer):
    """What a device shall do. `device_id` may stand here too: the path decides."""

    command = TextField(min_length=1, max_length=200)
    parameters = ObjectField(required=False, allow_null=True)
    device_id = id_field(required=False, allow_null=True)


class CommandOutcome(serializers.Serializer):
    """How a command went: `executed` or `failed`, in the query or in the body."""

    status = TextField(max_length=20, required=False)
    result = ObjectField(required=False, allow_null=True)


class CommandItem(serializers.Serializer):
    """A command. `executed_at` is also when it failed or expired."""

    command = serializers.CharField()
    parameters = serializers.DictField()
    id = serializers.IntegerField()
    device_id = serializers.IntegerField()
    status = serializers.ChoiceField(Command.Status.choices)
    created_at = NaiveUtcField()
    executed_at = NaiveUtcField(allow_null=True)


def command_item(command: Command) -> dict[str, Any]:
    """Return what CommandItem describes."""
    return {
        "command": command.command,
        "parameters": command.parameters,
        "id": command.pk,
        "device_id": command.device_id,
        "status": command.status,
        "created_at": naive_utc(command.created_at),
        "executed_at": naive_utc(command.ended_at),
    }
