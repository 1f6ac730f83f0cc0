"""Alerts: raised once, acknowledged, resolved, and who said so."""

import pytest

from accounts.models import User
from devices.models import Alert, AlertRule, Device
from devices.services.alerts import (
    acknowledge_alert,
    raise_alert,
    resolve_alert,
    resolve_cleared,
)
from devices.tests.builders import (
    LATER,
    MUCH_LATER,
    NOW,
    Announced,
    a_device,
    a_rule,
    an_alert,
    names,
)
from realtime.core.errors import Conflict, NotFound

NOWHERE = 4_711


@pytest.fixture
def rule(device: Device) -> AlertRule:
    return a_rule(device)


def test_raising_stores_an_active_alert_and_announces_it(
    device: Device, rule: AlertRule, announced: Announced
) -> None:
    announced.clear()
    alert = raise_alert(
        title="High temperature",
        message="Temperature exceeds safe threshold",
        severity="critical",
        alert_type="threshold",
        device_id=device.pk,
        rule_id=rule.pk,
        metric="temperature",
        threshold_value=30.0,
        actual_value=32.5,
        now=LATER,
    )
    alert = Alert.objects.get(pk=alert.pk)
    assert (alert.title, alert.severity, alert.alert_type) == (
        "High temperature",
        "critical",
        "threshold",
    )
    assert (alert.device, alert.rule, alert.status) == (device, rule, "active")
    assert (alert.metric, alert.threshold_value, alert.actual_value) == ("temperature", 30.0, 32.5)
    assert alert.created_at == LATER
    assert announced == [("alert_raised", {"alert": alert})]


def test_an_alert_may_be_about_this_system(db: None, announced: Announced) -> None:
    for _ in range(2):
        assert raise_alert(title="Flood", severity="warning", alert_type="system", now=NOW)
    assert names(announced) == ["alert_raised", "alert_raised"]


@pytest.mark.parametrize("is_acknowledged", [False, True])
def test_of_a_rule_and_a_device_one_alert_is_open(
    device: Device, rule: AlertRule, operator: User, announced: Announced, is_acknowledged: bool
) -> None:
    alert = an_alert(device, rule=rule)
    if is_acknowledged:
        acknowledge_alert(alert.pk, by=operator, now=NOW)
    announced.clear()
    again = raise_alert(
        title="Too warm",
        severity="warning",
        alert_type="threshold",
        device_id=device.pk,
        rule_id=rule.pk,
        now=LATER,
    )
    assert again is None
    assert Alert.objects.count() == 1
    assert not announced


def test_after_it_was_resolved_the_rule_raises_a_new_one(device: Device, rule: AlertRule) -> None:
    first = an_alert(device, rule=rule)
    resolve_alert(first.pk, by=None, now=LATER)
    assert an_alert(device, rule=rule, now=MUCH_LATER) != first


def test_two_devices_and_two_rules_have_alerts_of_their_own(
    device: Device, rule: AlertRule
) -> None:
    for each in (device, a_device("PRESS-002")):
        for by in (rule, a_rule()):
            an_alert(each, rule=by)
    assert Alert.objects.count() == 4


def test_alerts_by_hand_are_not_counted(device: Device) -> None:
    an_alert(device)
    an_alert(device)
    assert Alert.objects.count() == 2


def test_an_alert_is_not_raised_about_what_is_gone(
    device: Device, rule: AlertRule, announced: Announced
) -> None:
    announced.clear()
    for gone in ({"device_id": NOWHERE}, {"rule_id": NOWHERE, "device_id": device.pk}):
        with pytest.raises(NotFound):
            raise_alert(title="x", severity="info", alert_type="manual", now=NOW, **gone)
    assert not announced


def test_a_text_that_is_too_long_is_cut(device: Device) -> None:
    alert = raise_alert(
        title="t" * 500, message="m" * 5_000, severity="info", alert_type="manual", now=NOW
    )
    assert (len(alert.title), len(alert.message)) == (200, 1_000)
    assert alert.title.endswith("t…")


# --- acknowledged ---------------------------------------------------------------------


def test_acknowledging_says_who_and_when(
    device: Device, operator: User, announced: Announced
) -> None:
    alert = an_alert(device)
    announced.clear()
    acknowledge_alert(alert.pk, by=operator, note=" I go there. ", now=LATER)
    alert.refresh_from_db()
    assert (alert.status, alert.acknowledged_by) == ("acknowledged", operator)
    assert (alert.acknowledged_at, alert.note) == (LATER, "I go there.")
    assert announced == [("alert_updated", {"alert": alert})]


def test_an_alert_is_acknowledged_once(
    device: Device, operator: User, administrator: User, announced: Announced
) -> None:
    alert = an_alert(device)
    acknowledge_alert(alert.pk, by=operator, now=NOW)
    announced.clear()
    with pytest.raises(Conflict, match="acknowledged already"):
        acknowledge_alert(alert.pk, by=administrator, now=LATER)
    resolve_alert(alert.pk, by=operator, now=LATER)
    with pytest.raises(Conflict, match="resolved already"):
        acknowledge_alert(alert.pk, by=administrator, now=LATER)
    alert.refresh_from_db()
    assert alert.acknowledged_by == operator
    assert names(announced) == ["alert_updated"]


def test_what_does_not_exist_is_not_found(operator: User) -> None:
    with pytest.raises(NotFound, match="Alert not found"):
        acknowledge_alert(NOWHERE, by=operator, now=NOW)
    with pytest.raises(NotFound, match="Alert not found"):
        resolve_alert(NOWHERE, by=operator, now=NOW)


# --- resolved -------------------------------------------------------------------------


def test_resolving_says_who_and_when_and_keeps_what_was_noted(
    device: Device, operator: User, administrator: User, announced: Announced
) -> None:
    alert = an_alert(device)
    acknowledge_alert(alert.pk, by=operator, note="I go there.", now=NOW)
    announced.clear()
    resolve_alert(alert.pk, by=administrator, note="The door was open.", now=LATER)
    alert.refresh_from_db()
    assert (alert.status, alert.resolved_by, alert.resolved_at) == (
        "resolved",
        administrator,
        LATER,
    )
    assert alert.acknowledged_by == operator
    assert alert.note == "I go there.\nThe door was open."
    assert announced == [("alert_updated", {"alert": alert})]


def test_an_alert_is_resolved_once(device: Device, operator: User, announced: Announced) -> None:
    alert = an_alert(device)
    resolve_alert(alert.pk, by=None, now=NOW)
    announced.clear()
    with pytest.raises(Conflict, match="resolved already"):
        resolve_alert(alert.pk, by=operator, now=LATER)
    alert.refresh_from_db()
    assert alert.resolved_by is None
    assert not announced


def test_a_condition_that_went_away_resolves_the_open_alert(
    device: Device, rule: AlertRule, operator: User, announced: Announced
) -> None:
    alert = an_alert(device, rule=rule)
    acknowledge_alert(alert.pk, by=operator, now=NOW)
    announced.clear()
    assert resolve_cleared(rule.pk, device.pk, actual_value=24.5, now=LATER)
    alert.refresh_from_db()
    assert (alert.status, alert.resolved_by, alert.resolved_at) == ("resolved", None, LATER)
    assert (alert.actual_value, alert.note) == (32.5, "Cleared at 24.5.")
    assert names(announced) == ["alert_updated"]


def test_a_condition_that_went_away_resolves_nothing_else(
    device: Device, rule: AlertRule, announced: Announced
) -> None:
    an_alert(device)
    an_alert(device, rule=a_rule())
    an_alert(a_device("PRESS-002"), rule=rule)
    announced.clear()
    assert not resolve_cleared(rule.pk, device.pk, actual_value=None, now=LATER)
    assert not announced
    assert not Alert.objects.exclude(status="active").exists()
