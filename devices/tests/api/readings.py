"""Readings for the tests of devices over REST."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from devices.models import Device
from devices.readings import Report
from devices.services.telemetry import record_reports
from realtime.core.events import Measured

ClientOf = Callable[[User], APIClient]

ROOT = "/api/v1"
KEYS = ["metric_name", "metric_value", "unit", "id", "device_id", "timestamp"]
NOON = datetime(2026, 3, 5, 12, 0, tzinfo=UTC)


def stored(
    device: Device, *values: float, metric: str = "temperature", start: datetime | None = None
) -> list[int]:
    """Store one value for each minute until now, or from `start` on; return their ids."""
    now = timezone.now()
    first = start or now - timedelta(minutes=len(values))
    reports = [
        Report(
            device_id=device.pk,
            account_id=None,
            metrics={metric: Measured(value, "°C", first + timedelta(minutes=n))},
            received_at=now,
        )
        for n, value in enumerate(values)
    ]
    return [each.id for each in record_reports(reports, now=now)]
