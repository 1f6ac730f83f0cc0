"""Devices over REST: registered, looked at, edited, given a status, taken out of service."""

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Count
from django.utils import timezone
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from devices import access, history
from devices.api.base import (
    DeviceView,
    checked_body,
    checked_query,
    described,
    device_in_path,
    given_in_query_or_body,
)
from devices.api.bodies.commands import command_item
from devices.api.bodies.common import LIMIT_MAX, PageQuery, StatusQuery, page_of
from devices.api.bodies.devices import (
    DeviceChange,
    DeviceDetailItem,
    DeviceItem,
    DeviceStats,
    NewDevice,
    StatusChange,
    device_item,
)
from devices.api.bodies.telemetry import reading_item
from devices.api.commands import pending_of
from devices.models import Device
from devices.services import devices as services
from realtime.core.errors import Conflict, Invalid

INVALID_STATUS = "Invalid status. Must be: online, offline, warning, error, or maintenance"
# What our fields are called where a client leaves them out or sends null.
OPTIONAL = ("manufacturer", "model", "firmware_version", "location")


class DeviceList(DeviceView):
    """The devices in service."""

    @described("devices_list", tag="devices", query=PageQuery, answer=DeviceItem(many=True))
    def get(self, request: Request) -> Response:
        page = checked_query(PageQuery, request)
        devices = access.devices_visible_to(request.auth)
        return Response([device_item(each) for each in page_of(devices, **page)])

    @described(
        "device_create",
        tag="devices",
        body=NewDevice,
        answer=DeviceItem,
        code=201,
        refusals=[400, 422],
    )
    def post(self, request: Request) -> Response:
        """Put a device into service."""
        body = checked_body(NewDevice, request)
        try:
            device = services.register_device(
                name=body["name"],
                external_id=body["device_id"],
                device_type=body["device_type"],
                now=timezone.now(),
                **_texts(body),
            )
        except Conflict as taken:
            # The document's server says 400 here.
            raise Invalid(str(taken)) from taken
        return Response(device_item(device), status.HTTP_201_CREATED)


class DeviceStatistics(DeviceView):
    @described("devices_stats", tag="devices", answer=DeviceStats)
    def get(self, request: Request) -> Response:
        """Count the devices in service by status and by type."""
        devices = access.devices_visible_to(request.auth).order_by()
        counted = devices.values_list("status", "device_type").annotate(Count("id"))
        by_status = dict.fromkeys(Device.Status.values, 0)
        by_type: dict[str, int] = {}
        for its_status, its_type, count in counted.order_by("device_type"):
            by_status[its_status] += count
            by_type[its_type] = by_type.get(its_type, 0) + count
        body = {f"{name}_devices": by_status[name] for name in by_status}
        return Response(
            {"total_devices": sum(by_type.values()), **body, "devices_by_type": by_type}
        )


class DevicesWithStatus(DeviceView):
    @described("devices_by_status", tag="devices", answer=DeviceItem(many=True), refusals=[400])
    def get(self, request: Request, status: str) -> Response:
        """List the devices that have this status, 1,000 at most."""
        devices = access.devices_visible_to(request.auth).filter(status=_status(status))
        return Response([device_item(each) for each in devices[:LIMIT_MAX]])


class DeviceDetail(DeviceView):
    """One device."""

    for_devices = frozenset({"GET"})

    @described("device", tag="devices", path=["device_id"], answer=DeviceDetailItem)
    def get(self, request: Request, device_id: str) -> Response:
        """Show a device with its last known values and the commands that wait for it."""
        device = device_in_path(request, device_id)
        now = timezone.now()
        latest = history.newest_stored(device.pk, now=now)
        waiting = pending_of(request, device.pk, now)
        return Response(
            {
                **device_item(device),
                "latest_telemetry": [reading_item(each) for each in latest],
                "pending_commands": [command_item(each) for each in waiting],
            }
        )

    @described(
        "device_update",
        tag="devices",
        path=["device_id"],
        body=DeviceChange,
        answer=DeviceItem,
    )
    def put(self, request: Request, device_id: str) -> Response:
        """Change what is given; the rest stays as it is."""
        device = device_in_path(request, device_id)
        body = checked_body(DeviceChange, request)
        fields = {name: body[name] for name in ("name", "device_type") if name in body}
        now = timezone.now()
        with transaction.atomic():
            if "status" in body:
                reason = f"set by {request.user.username}"
                services.change_status(device.pk, body["status"], reason=reason, now=now)
            changed = services.update_device(device.pk, now=now, **fields, **_texts(body))
        return Response(device_item(changed))

    @described("device_retire", tag="devices", path=["device_id"], code=204)
    def delete(self, request: Request, device_id: str) -> Response:
        """Take a device out of service; what it measured is kept."""
        services.retire_device(device_in_path(request, device_id).pk, now=timezone.now())
        return Response(status=status.HTTP_204_NO_CONTENT)


class DeviceStatus(DeviceView):
    """The status of one device, told by itself or set by a person."""

    for_devices = frozenset({"PATCH", "PUT"})

    @described(
        "device_status",
        tag="devices",
        path=["device_id"],
        query=StatusQuery,
        body=StatusChange,
        answer=DeviceItem,
        refusals=[400],
    )
    def patch(self, request: Request, device_id: str) -> Response:
        """Set the status; it counts as a sign of life."""
        return self._set(request, device_id)

    @described(
        "device_status_replace",
        tag="devices",
        path=["device_id"],
        query=StatusQuery,
        body=StatusChange,
        answer=DeviceItem,
        refusals=[400],
    )
    def put(self, request: Request, device_id: str) -> Response:
        """The same, for clients that replace."""
        return self._set(request, device_id)

    def _set(self, request: Request, device_id: str) -> Response:
        device = device_in_path(request, device_id, to_write=True)
        given = given_in_query_or_body(StatusQuery, StatusChange, request, needed="status")
        by = "reported" if device.account_id == request.user.pk else "set"
        reason = given.get("reason") or f"{by} by {request.user.username}"
        _set_status(device.pk, _status(given["status"]), reason=reason, now=timezone.now())
        return Response(device_item(access.access_device(request.auth, device.pk, to_write=True)))


def _set_status(device_id: int, status: str, *, reason: str, now: datetime) -> None:
    with transaction.atomic():
        services.change_status(device_id, status, reason=reason, now=now)
        services.note_seen({device_id: now})


def _status(text: str) -> str:
    if text not in Device.Status.values:
        raise Invalid(INVALID_STATUS)
    return text


def _texts(body: dict[str, Any]) -> dict[str, str]:
    """Return the optional texts that were given; null empties one."""
    return {name: body[name] or "" for name in OPTIONAL if name in body}
