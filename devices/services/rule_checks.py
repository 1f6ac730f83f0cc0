"""Judge a device's last hour now, by the engine that judges its readings as they come."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec
from django.db.models import Max, Q

from devices import rules as engine
from devices.models import Alert, AlertRule, Device, Reading, Series
from devices.rules import Decision, Rule, RuleState
from devices.services.rules import compiled
from devices.services.verdicts import Outdated, carry_out

WINDOW = timedelta(hours=1)
# Of all its metrics, the newest: so many are judged in some hundredths of a second.
READINGS_MAX = 10_000


class Checked(msgspec.Struct, frozen=True):
    """How many readings were judged, and the alerts that were raised because of them."""

    readings: int
    alerts: list[Alert]


class _Taken(msgspec.Struct, frozen=True):
    """One reading: by which time it is judged, when it came, its value and unit."""

    at: datetime
    received_at: datetime
    value: float
    unit: str


def check_device(device: Device, *, now: datetime) -> Checked:
    """Raise what the rules in force say of the last hour, unless an alert of it is open.

    An alert is raised when its condition lasts to the end of the hour, hold time and cooldown
    included. Nothing is raised about a device in maintenance.
    """
    past = _past(device, now)
    alerts = []
    if device.status != Device.Status.MAINTENANCE:
        for rule in _rules_of(device):
            alert = _judge(rule, device, past.get(rule.metric, []), now)
            if alert is not None:
                alerts.append(alert)
    return Checked(sum(map(len, past.values())), alerts)


def _rules_of(device: Device) -> Iterable[Rule]:
    own = Q(device=device)
    typed = Q(device=None, device_type__in=("", device.device_type))
    return map(compiled, AlertRule.objects.filter(own | typed, is_active=True))


def _past(device: Device, now: datetime) -> dict[str, list[_Taken]]:
    """Return the last hour's readings of each metric, oldest first."""
    series = dict(Series.objects.filter(device=device).values_list("pk", "metric"))
    rows = Reading.objects.filter(
        series__in=series, at__gt=now - WINDOW, at__lte=now + engine.SKEW
    ).order_by("-at")
    found: dict[str, list[_Taken]] = {}
    columns = ("series_id", "at", "received_at", "value", "unit")
    for series_id, *taken in reversed(rows.values_list(*columns)[:READINGS_MAX]):
        found.setdefault(series[series_id], []).append(_Taken(*taken))
    return found


def _judge(rule: Rule, device: Device, past: list[_Taken], now: datetime) -> Alert | None:
    if rule.is_absence:
        return _judge_absence(rule, device, now)
    state = RuleState(raised_at=_last_alert(rule, device))
    value, unit = 0.0, ""
    for taken in past:
        moment = engine.moment_of(taken.at, taken.received_at)
        state, decision = engine.step(rule, state, taken.value, moment)
        if decision is Decision.RAISE:
            value, unit = taken.value, taken.unit
    return _raise(rule, device, value, unit, now) if state.is_raised else None


def _judge_absence(rule: Rule, device: Device, now: datetime) -> Alert | None:
    """Absence counts from when the device and the rule were there, or from the last reading."""
    readings = Reading.objects.filter(series__device=device, series__metric=rule.metric)
    heard = readings.aggregate(last=Max("received_at"))["last"]
    born = max(device.created_at, rule.changed_at)
    last = born if heard is None else max(born, heard)
    state = RuleState(last_at=last, raised_at=_last_alert(rule, device))
    _, decision = engine.absent(rule, state, now)
    return None if decision is None else _raise(rule, device, None, "", now)


def _last_alert(rule: Rule, device: Device) -> datetime | None:
    alerts = Alert.objects.filter(rule_id=rule.id, device=device)
    return alerts.aggregate(last=Max("created_at"))["last"]


def _raise(
    rule: Rule, device: Device, value: float | None, unit: str, now: datetime
) -> Alert | None:
    try:
        alert_id = carry_out(rule, device.pk, Decision.RAISE, value=value, unit=unit, at=now)
    except Outdated:
        # It is told already.
        return None
    return Alert.objects.filter(pk=alert_id).first()
