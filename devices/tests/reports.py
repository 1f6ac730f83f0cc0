"""Reports of devices for tests."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from devices.models import Device, Reading
from devices.models.fields import to_microseconds
from devices.readings import Report
from devices.storing import ReadingStore
from devices.tests.builders import NOW
from realtime.core.events import Measured


def measured(value: float, *, unit: str = "°C", at: datetime = NOW) -> Measured:
    return Measured(value, unit, at)


def a_report(
    device: Device | int,
    *,
    at: datetime = NOW,
    received_at: datetime | None = None,
    message_id: str = "",
    unit: str = "°C",
    **values: float,
) -> Report:
    """Return a report of these metrics (temperature 21.5 without any), received when measured."""
    return Report(
        device_id=device.pk if isinstance(device, Device) else device,
        account_id=None,
        metrics={
            metric: measured(value, unit=unit, at=at)
            for metric, value in (values or {"temperature": 21.5}).items()
        },
        received_at=received_at or at,
        message_id=message_id,
    )


def store_reports(reports: Sequence[Report]) -> None:
    """Insert readings without a writer."""
    with transaction.atomic():
        refused, _ = ReadingStore().insert(reports)
    assert not refused


def store_values(device: Device, values: Sequence[float], *, every: timedelta, **how: Any) -> None:
    """Insert one temperature after the other, the first at `at`."""
    at = how.pop("at", NOW)
    store_reports(
        [
            a_report(device, at=at + every * n, temperature=value, **how)
            for n, value in enumerate(values)
        ]
    )


def stored_values() -> list[tuple[int, str, float, int]]:
    """Return everything that is stored: device, metric, value, microseconds after NOW."""
    rows = Reading.objects.order_by("series__device_id", "series__metric", "at")
    return [
        (device_id, metric, value, to_microseconds(at) - to_microseconds(NOW))
        for device_id, metric, value, at in rows.values_list(
            "series__device_id", "series__metric", "value", "at"
        )
    ]
