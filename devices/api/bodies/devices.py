"""Devices as clients of this API know them: `device_id` is the maker's name, `id` our number."""

from typing import Any

from rest_framework import serializers

from devices.api.bodies.commands import CommandItem
from devices.api.bodies.common import NaiveUtcField, naive_utc
from devices.api.bodies.telemetry import ReadingItem
from devices.api.fields import OneOfField, TextField
from devices.models import Device


def _optional(length: int) -> TextField:
    return TextField(max_length=length, required=False, allow_null=True)


class _Optional(serializers.Serializer):
    manufacturer = _optional(100)
    model = _optional(100)
    firmware_version = _optional(50)
    location = _optional(200)


class NewDevice(_Optional):
    """A device to register; it starts offline. Other keys are ignored."""

    name = TextField(min_length=1, max_length=100)
    device_id = TextField(min_length=1, max_length=100)
    device_type = TextField(min_length=1, max_length=50)


class DeviceChange(_Optional):
    """Any subset; what is not given stays as it is."""

    name = TextField(min_length=1, max_length=100, required=False)
    device_type = TextField(min_length=1, max_length=50, required=False)
    status = OneOfField(Device.Status.choices, required=False)


class StatusChange(serializers.Serializer):
    """A status in the body; the query will do as well."""

    status = TextField(max_length=20, required=False)
    reason = TextField(max_length=200, required=False, allow_null=True)


class DeviceItem(serializers.Serializer):
    """A device. Times are UTC, written without a zone."""

    name = serializers.CharField()
    device_id = serializers.CharField()
    device_type = serializers.CharField()
    manufacturer = serializers.CharField(allow_null=True)
    model = serializers.CharField(allow_null=True)
    firmware_version = serializers.CharField(allow_null=True)
    location = serializers.CharField(allow_null=True)
    id = serializers.IntegerField()
    status = serializers.ChoiceField(Device.Status.choices)
    is_active = serializers.BooleanField()
    created_at = NaiveUtcField()
    updated_at = NaiveUtcField()
    last_seen = NaiveUtcField(allow_null=True)


class DeviceDetailItem(DeviceItem):
    """The same, with the newest reading of each metric and the commands that wait."""

    latest_telemetry = ReadingItem(many=True)
    pending_commands = CommandItem(many=True)


class DeviceStats(serializers.Serializer):
    """How many devices there are in service, by status and by type."""

    total_devices = serializers.IntegerField()
    online_devices = serializers.IntegerField()
    offline_devices = serializers.IntegerField()
    error_devices = serializers.IntegerField()
    warning_devices = serializers.IntegerField()
    maintenance_devices = serializers.IntegerField()
    devices_by_type = serializers.DictField(child=serializers.IntegerField())


def device_item(device: Device) -> dict[str, Any]:
    """Return what DeviceItem describes; a text that was never given is null."""
    return {
        "name": device.name,
        "device_id": device.external_id,
        "device_type": device.device_type,
        "manufacturer": device.manufacturer or None,
        "model": device.model or None,
        "firmware_version": device.firmware_version or None,
        "location": device.location or None,
        "id": device.pk,
        "status": device.status,
        "is_active": device.is_active,
        "created_at": naive_utc(device.created_at),
        "updated_at": naive_utc(device.updated_at),
        "last_seen": naive_utc(device.last_seen),
    }
