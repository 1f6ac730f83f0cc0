"""What comes of a rule's decision: an alert, or its end. One transaction each.

Several processes may come to the same decision, each in its own time; it counts once.
"""

import logging
from datetime import datetime

from django.db import DataError, IntegrityError, transaction

from devices.models import Alert, AlertRule
from devices.rules import Decision, Rule, message_of, title_of
from devices.services.alerts import raise_alert, resolve_cleared
from realtime.core.errors import Failure

log = logging.getLogger("vitalwire.rules")


class Outdated(Failure):
    """Raised when the rule's alert of this device has moved on since that decision."""


def carry_out(
    rule: Rule, device_id: int, decision: Decision, *, value: float | None, unit: str, at: datetime
) -> int | None:
    """Do what was decided `at` that time by our clock; return the id of an alert it raised.

    Raises Outdated. What cannot be done at all, because the rule or the device is gone, is
    logged and left.
    """
    try:
        return _carry_out(rule, device_id, decision, value, unit, at)
    except Outdated:
        raise
    except (Failure, IntegrityError, DataError) as error:
        # Not to be tried again: a database that is away raises others.
        log.warning("rule %d on device %d is left undone: %s", rule.id, device_id, error)
        return None


@transaction.atomic
def _carry_out(
    rule: Rule,
    device_id: int,
    decision: Decision,
    value: float | None,
    unit: str,
    at: datetime,
) -> int | None:
    # Whoever decides on this rule waits here: looking and doing are one.
    AlertRule.objects.select_for_update(no_key=True).filter(pk=rule.id).first()
    last = Alert.objects.filter(rule_id=rule.id, device_id=device_id).order_by("-pk").first()
    if decision is Decision.CLEAR:
        if last is not None and last.created_at > at:
            raise Outdated("a later alert is open")
        resolve_cleared(rule.id, device_id, actual_value=value, now=at)
        return None
    if last is not None and (last.resolved_at is None or last.resolved_at >= at):
        raise Outdated("this has been told already")
    alert = raise_alert(
        title=title_of(rule),
        message=message_of(rule, value, unit),
        severity=rule.severity,
        alert_type=Alert.Type.DEVICE if rule.is_absence else Alert.Type.THRESHOLD,
        metric=rule.metric,
        threshold_value=rule.threshold,
        actual_value=value,
        device_id=device_id,
        rule_id=rule.id,
        now=at,
    )
    if alert is None:
        raise Outdated("an alert is open already")
    return alert.pk
