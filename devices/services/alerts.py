"""The life of an alert: raised, acknowledged, resolved. One verb per function, one transaction.

Times are passed in, aware UTC. Nobody in `by` stands for the system.
"""

import logging
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from accounts.models import User
from devices.models import Alert, AlertRule, Device
from devices.services.rows import lock_device
from realtime.core.errors import Conflict, NotFound

log = logging.getLogger("vitalwire.alerts")

# Source: facts of seed 001's product, its REST texts.
NO_SUCH_ALERT = "Alert not found"
NO_SUCH_RULE = "Rule not found"

TITLE_MAX = Alert._meta.get_field("title").max_length or 0
TEXT_MAX = Alert._meta.get_field("message").max_length or 0


@transaction.atomic
def raise_alert(
    *,
    title: str,
    severity: str,
    alert_type: str,
    now: datetime,
    device_id: int | None = None,
    rule_id: int | None = None,
    message: str = "",
    metric: str = "",
    threshold_value: float | None = None,
    actual_value: float | None = None,
) -> Alert | None:
    """Raise an alert; None when one of this rule and device is open: nobody is told twice.

    Without a device it is about this system. Texts that are too long are cut: an alert is too
    important to fail over its words. Raises NotFound when the rule or the device is gone.
    """
    alert = Alert(
        # Locked: it is not taken out of service before its alert is stored.
        device=None if device_id is None else lock_device(device_id),
        rule=_rule(rule_id),
        title=_cut(title, TITLE_MAX),
        message=_cut(message, TEXT_MAX),
        severity=severity,
        alert_type=alert_type,
        metric=metric,
        threshold_value=threshold_value,
        actual_value=actual_value,
        created_at=now,
    )
    if _open_alerts(rule_id, device_id).exists():
        return None
    try:
        # A savepoint, so that the caller's transaction outlives the refusal.
        with transaction.atomic():
            alert.save(force_insert=True)
    except IntegrityError:
        # Another process was first: the constraint has decided.
        if _open_alerts(rule_id, device_id).exists():
            return None
        raise
    log.info("alert %d raised, %s", alert.pk, severity)
    return alert


@transaction.atomic
def acknowledge_alert(alert_id: int, *, by: User, note: str = "", now: datetime) -> Alert:
    """Say that somebody looks after it. Raises NotFound, and Conflict unless it is active."""
    alert = _locked(alert_id)
    if alert.status != Alert.Status.ACTIVE:
        raise Conflict(f"the alert is {alert.get_status_display()} already")
    alert.status = Alert.Status.ACKNOWLEDGED
    alert.acknowledged_at, alert.acknowledged_by = now, by
    _add_note(alert, note)
    alert.save(update_fields=["status", "acknowledged_at", "acknowledged_by", "note"])
    log.info("alert %d acknowledged by %s", alert_id, by.pk)
    return alert


@transaction.atomic
def resolve_alert(alert_id: int, *, by: User | None, note: str = "", now: datetime) -> Alert:
    """End an alert, acknowledged or not. Raises NotFound, and Conflict when it has ended."""
    alert = _locked(alert_id)
    if alert.status == Alert.Status.RESOLVED:
        raise Conflict("the alert is resolved already")
    return _resolve(alert, by=by, note=note, now=now)


@transaction.atomic
def resolve_cleared(
    rule_id: int, device_id: int, *, actual_value: float | None, now: datetime
) -> bool:
    """End the open alert of a rule and a device, whose condition is gone; False without one."""
    alert = _open_alerts(rule_id, device_id).select_for_update(of=("self",)).first()
    if alert is None:
        return False
    note = "" if actual_value is None else f"Cleared at {actual_value:g}."
    _resolve(alert, by=None, note=note, now=now)
    return True


@transaction.atomic
def resolve_alerts_of(cause: Device | AlertRule, *, note: str, now: datetime) -> None:
    """End whatever is open of a device or a rule that is about to go."""
    unresolved = cause.alerts.select_related("device").exclude(status=Alert.Status.RESOLVED)
    for alert in unresolved.order_by("id").select_for_update(of=("self",)):
        _resolve(alert, by=None, note=note, now=now)


def _resolve(alert: Alert, *, by: User | None, note: str, now: datetime) -> Alert:
    alert.status = Alert.Status.RESOLVED
    alert.resolved_at, alert.resolved_by = now, by
    _add_note(alert, note)
    alert.save(update_fields=["status", "resolved_at", "resolved_by", "note"])
    log.info("alert %d resolved by %s", alert.pk, by.pk if by else "the system")
    return alert


def _add_note(alert: Alert, note: str) -> None:
    """Keep what was noted before, above."""
    alert.note = _cut("\n".join(filter(None, (alert.note, note.strip()))), TEXT_MAX)


def _open_alerts(rule_id: int | None, device_id: int | None) -> QuerySet[Alert]:
    """Return the open alert of a rule and a device; of no rule there may be any number."""
    if rule_id is None or device_id is None:
        return Alert.objects.none()
    alerts = Alert.objects.select_related("device").filter(rule_id=rule_id, device_id=device_id)
    return alerts.exclude(status=Alert.Status.RESOLVED)


def _rule(rule_id: int | None) -> AlertRule | None:
    """Return the rule, locked: it is not deleted before its alert is stored."""
    if rule_id is None:
        return None
    try:
        return AlertRule.objects.select_for_update(no_key=True).get(pk=rule_id)
    except AlertRule.DoesNotExist:
        raise NotFound(NO_SUCH_RULE) from None


def _locked(alert_id: int) -> Alert:
    alerts = Alert.objects.select_related("device")
    try:
        return alerts.select_for_update(of=("self",)).get(pk=alert_id)
    except Alert.DoesNotExist:
        raise NotFound(NO_SUCH_ALERT) from None


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
