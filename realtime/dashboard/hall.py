"""What the pages show of devices and alerts, read once for HTML and JSON alike."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Count
from django.http import QueryDict

from accounts.access import Right, may
from accounts.models import User
from devices import history
from devices.access import access_device, alerts_visible_to, devices_visible_to
from devices.models import Alert, Device
from devices.models.alert import Severity
from realtime.core.events import Measured
from realtime.dashboard.state import PAGE_SIZE

# A table a person can read; more are counted and can be searched for.
DEVICES_MAX = 500
METRICS_SHOWN = 4
SEARCH_LENGTH = 100
# Longer numbers are no device's: a database holds 63 bits.
NUMBER_LENGTH = 18
STATUS_CHANGES_MAX = 20
PAST = timedelta(hours=1)
# So many readings of a device are sent one by one; what is older, as the mean of each minute.
PAST_READINGS_MAX = 5_000
# A page draws no more charts.
PAST_METRICS_MAX = 40
OPEN = "open"
# In figures, values at least so large and smaller than so small are written with an exponent.
LARGE, SMALL = 1e9, 0.01


@dataclass(frozen=True)
class Reading:
    """The last value of one metric, as a table shows it."""

    metric: str
    value: float
    unit: str
    at: datetime

    @property
    def text(self) -> str:
        """Read like "21.5", as the script writes it: at most two digits after the point."""
        if self.value and not SMALL <= abs(self.value) < LARGE:
            return f"{self.value:.3g}"
        return f"{self.value:.2f}".rstrip("0").rstrip(".")

    def as_item(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "value": self.value,
            "unit": self.unit,
            "timestamp": self.at.isoformat(),
        }


@dataclass(frozen=True)
class Row:
    """A device with the last values of its first metrics."""

    device: Device
    readings: list[Reading]

    def as_item(self) -> dict[str, Any]:
        device = self.device
        return {
            "id": device.pk,
            "name": device.name,
            "type": device.device_type,
            "location": device.location,
            "status": device.status,
            "reason": device.status_reason,
            "lastSeen": device.last_seen.isoformat() if device.last_seen else None,
            "readings": [reading.as_item() for reading in self.readings],
        }


@dataclass(frozen=True)
class AlertPage:
    """One page of the filtered alerts, and the filters as they were understood."""

    page: Page
    status: str
    severity: str
    device: int | None

    @property
    def query(self) -> str:
        about = "" if self.device is None else f"&device={self.device}"
        return f"status={self.status}&severity={self.severity}{about}"

    @property
    def is_narrowed(self) -> bool:
        """Whether it shows anything but the open alerts of all devices."""
        return self.status != OPEN or bool(self.severity) or self.device is not None

    def as_json(self) -> dict[str, Any]:
        return {
            "items": [alert_item(alert) for alert in self.page],
            "page": self.page.number,
            "total": self.page.paginator.count,
        }


def status_counts(user: User) -> dict[str, int]:
    """Return how many devices have each status, those without any included."""
    counted = devices_visible_to(user).order_by().values_list("status").annotate(Count("id"))
    return dict.fromkeys(Device.Status.values, 0) | dict(counted)


def open_alert_counts(user: User) -> dict[str, int]:
    """Return how many alerts of each severity are not resolved."""
    open_alerts = alerts_visible_to(user).exclude(status=Alert.Status.RESOLVED)
    counted = open_alerts.order_by().values_list("severity").annotate(Count("id"))
    return dict.fromkeys(Severity.values, 0) | dict(counted)


def counts(user: User) -> dict[str, Any]:
    """Return both kinds of numbers; nothing to who may not read devices."""
    if not may(user, Right.READ_DEVICES):
        return {}
    return {"statuses": status_counts(user), "severities": open_alert_counts(user)}


def device_rows(user: User, query: QueryDict, *, now: datetime) -> list[Row]:
    """Return the devices of the query's `status` whose name, type or place holds its `search`."""
    devices = devices_visible_to(user)
    if status := status_in(query):
        devices = devices.filter(status=status)
    if words := query.get("search", "").replace("\0", "").strip()[:SEARCH_LENGTH]:
        devices = (
            devices.filter(name__icontains=words)
            | devices.filter(device_type__icontains=words)
            | devices.filter(location__icontains=words)
            | devices.filter(external_id__icontains=words)
        )
    newest = history.newest_values(now=now)
    return [
        Row(device, _readings(newest.get(device.pk, {}))[:METRICS_SHOWN])
        for device in devices[:DEVICES_MAX]
    ]


def status_in(query: QueryDict) -> str:
    """Return the status of devices that a query asks for; "" for every one."""
    status = query.get("status", "")
    return status if status in Device.Status.values else ""


def one_device(user: User, device_id: int, *, now: datetime) -> dict[str, Any]:
    """Return the context of a device's page. Raises NotFound or Forbidden."""
    device = access_device(user, device_id)
    return {
        "device": device,
        "readings": _readings(history.newest_of(device.pk, now=now)),
        "list": alert_page(user, QueryDict(f"status=all&device={device.pk}")),
        "changes": device.status_changes.all()[:STATUS_CHANGES_MAX],
    }


def facts_of(user: User, device_id: int) -> dict[str, Any]:
    """Return what changes of a device: its status, and how it came to it."""
    device = access_device(user, device_id)
    changes = device.status_changes.all()[:STATUS_CHANGES_MAX]
    return {
        "status": device.status,
        "reason": device.status_reason,
        "lastSeen": device.last_seen.isoformat() if device.last_seen else None,
        "changes": [
            {"at": change.at.isoformat(), "status": change.new_status, "reason": change.reason}
            for change in changes
        ],
    }


def past_of(user: User, device_id: int, *, now: datetime) -> dict[str, Any]:
    """Return the stored hour of every metric of a device: metric -> unit, times, values.

    Of a device that reports more than `PAST_READINGS_MAX` in an hour, the newest of them follow
    the means of the minutes before.
    """
    device = access_device(user, device_id)
    began = now - PAST
    rows = history.newest_rows(device.pk, limit=PAST_READINGS_MAX, since=began)
    metrics: dict[str, dict[str, Any]] = {}
    if len(rows) == PAST_READINGS_MAX:
        metrics = _minutes_of(device.pk, since=began, until=rows[-1].at)
    for row in reversed(rows):
        metric = metrics.setdefault(row.metric, {"unit": row.unit, "times": [], "values": []})
        metric["times"].append(row.at.isoformat())
        metric["values"].append(row.value)
    return metrics


def alert_page(user: User, query: QueryDict) -> AlertPage:
    """Return the page of alerts that a query's `status`, `severity`, `device`, `page` ask for."""
    alerts = alerts_visible_to(user)
    status = query.get("status", OPEN)
    if status == OPEN:
        alerts = alerts.exclude(status=Alert.Status.RESOLVED)
    elif status in Alert.Status.values:
        alerts = alerts.filter(status=status)
    else:
        status = ""
    severity = query.get("severity", "")
    if severity in Severity.values:
        alerts = alerts.filter(severity=severity)
    else:
        severity = ""
    device = _number(query.get("device", ""))
    if device is not None:
        alerts = alerts.filter(device=device)
    page = Paginator(alerts, PAGE_SIZE).get_page(query.get("page"))
    return AlertPage(page, status=status, severity=severity, device=device)


def alert_item(alert: Alert) -> dict[str, Any]:
    """Return what a list shows of an alert; a device out of service has no page to go to."""
    device = alert.device
    return {
        "id": alert.pk,
        "title": alert.title,
        "message": alert.message,
        "severity": alert.severity,
        "status": alert.status,
        "deviceId": device.pk if device and device.is_active else None,
        "device": device.name if device else None,
        "createdAt": alert.created_at.isoformat(),
        "by": _who(alert),
    }


def may_act(user: User) -> bool:
    """Tell whether the person may acknowledge, resolve and command."""
    return may(user, Right.MANAGE_DEVICES)


def _who(alert: Alert) -> str:
    person = alert.resolved_by or alert.acknowledged_by
    return person.username if person else ""


def _minutes_of(device_id: int, *, since: datetime, until: datetime) -> dict[str, dict[str, Any]]:
    metrics = {}
    for metric, unit in list(history.metrics_of(device_id).items())[:PAST_METRICS_MAX]:
        minutes = history.points(
            device_id, metric, interval="1m", aggregation="avg", since=since, until=until
        )
        metrics[metric] = {
            "unit": unit,
            "times": [minute.at.isoformat() for minute in minutes],
            "values": [minute.value for minute in minutes],
        }
    return metrics


def _number(text: str) -> int | None:
    """Return a device's number; None for what is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= NUMBER_LENGTH else None


def _readings(values: dict[str, Measured]) -> list[Reading]:
    return [
        Reading(metric, measured.value, measured.unit, measured.at)
        for metric, measured in sorted(values.items())
    ]


def items_of(rows: Iterable[Row]) -> list[dict[str, Any]]:
    return [row.as_item() for row in rows]
