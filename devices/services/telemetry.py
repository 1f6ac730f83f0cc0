"""Readings that come in otherwise than over a socket: checked, stored and told in one call."""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from devices import signals
from devices.history import stored_of
from devices.models import Device, Reading
from devices.readings import Report, Stored
from devices.services.devices import mark_alive, note_seen
from devices.services.rows import NO_SUCH_DEVICE
from devices.storing import ReadingStore
from realtime.core.errors import NotFound


@transaction.atomic
def record_reports(reports: Sequence[Report], *, now: datetime) -> list[Stored]:
    """Store these readings, all or none, and return them in order as they are stored.

    What was sent before is returned as it was stored then. Counts as a sign of life. Raises
    NotFound for a device that is not in service, Invalid for one metric too many.
    """
    device_ids = sorted({report.device_id for report in reports})
    _check_in_service(device_ids)
    refused, _ = ReadingStore().insert(reports)
    if refused:
        raise refused[min(refused)]
    note_seen(dict.fromkeys(device_ids, now))
    for device_id in device_ids:
        mark_alive(device_id, now=now)
    transaction.on_commit(
        lambda: signals.readings_recorded.send(Reading, readings=list(reports)), robust=True
    )
    return stored_of(reports)


def _check_in_service(device_ids: list[int]) -> None:
    found = Device.objects.filter(pk__in=device_ids, is_active=True).count()
    if found < len(device_ids):
        raise NotFound(NO_SUCH_DEVICE)
