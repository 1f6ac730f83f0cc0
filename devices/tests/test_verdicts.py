"""What comes of a decision: one alert, however many processes come to it."""

from typing import Any

import pytest

from devices.models import Alert, AlertRule, Device
from devices.rules import Decision, Rule
from devices.services.devices import retire_device
from devices.services.rules import compiled
from devices.services.verdicts import Outdated, carry_out
from devices.tests.builders import a_rule
from devices.tests.rules import at

pytestmark = pytest.mark.django_db


@pytest.fixture
def rule(device: Device) -> Rule:
    return compiled(a_rule(device))


def do(rule: Rule, decision: Decision, second: float, *, device: Device) -> int | None:
    value: dict[str, Any] = {"value": 32.5, "unit": "°C"}
    if rule.is_absence:
        value = {"value": None, "unit": ""}
    return carry_out(rule, device.pk, decision, at=at(second), **value)


def test_a_raise_becomes_an_alert_with_its_numbers(device: Device, rule: Rule) -> None:
    alert = Alert.objects.get(pk=do(rule, Decision.RAISE, 5, device=device))
    assert (alert.title, alert.message) == (
        "Warning: temperature above 30",
        "temperature is 32.5 °C, above 30 °C",
    )
    assert (alert.severity, alert.alert_type, alert.status) == ("warning", "threshold", "active")
    assert (alert.metric, alert.threshold_value, alert.actual_value) == ("temperature", 30.0, 32.5)
    assert (alert.rule_id, alert.device_id, alert.created_at) == (rule.id, device.pk, at(5))


def test_absence_becomes_an_alert_about_the_device(device: Device) -> None:
    silence = compiled(a_rule(condition="absent", threshold=90.0))
    alert = Alert.objects.get(pk=do(silence, Decision.RAISE, 5, device=device))
    assert alert.title == "Warning: temperature absent for 90 s"
    assert (alert.alert_type, alert.actual_value) == ("device", None)


def test_a_clear_resolves_the_alert(device: Device, rule: Rule) -> None:
    alert_id = do(rule, Decision.RAISE, 5, device=device)
    assert do(rule, Decision.CLEAR, 6, device=device) is None
    alert = Alert.objects.get(pk=alert_id)
    assert (alert.status, alert.resolved_at, alert.resolved_by) == ("resolved", at(6), None)


def test_a_clear_without_an_alert_does_nothing(device: Device, rule: Rule) -> None:
    assert do(rule, Decision.CLEAR, 6, device=device) is None
    assert not Alert.objects.exists()


def test_the_same_decision_counts_once_though_its_alert_has_ended(
    device: Device, rule: Rule
) -> None:
    do(rule, Decision.RAISE, 5, device=device)
    with pytest.raises(Outdated):
        do(rule, Decision.RAISE, 5, device=device)
    do(rule, Decision.CLEAR, 6, device=device)
    with pytest.raises(Outdated):
        do(rule, Decision.RAISE, 5, device=device)
    assert Alert.objects.count() == 1


def test_a_clear_that_comes_late_does_not_end_a_later_alert(device: Device, rule: Rule) -> None:
    do(rule, Decision.RAISE, 5, device=device)
    do(rule, Decision.CLEAR, 6, device=device)
    do(rule, Decision.RAISE, 10, device=device)
    with pytest.raises(Outdated):
        do(rule, Decision.CLEAR, 7, device=device)
    assert Alert.objects.filter(status="active").count() == 1


def test_what_cannot_be_done_any_more_is_left(device: Device, rule: Rule) -> None:
    AlertRule.objects.all().delete()
    assert do(rule, Decision.RAISE, 5, device=device) is None
    kept = compiled(a_rule())
    retire_device(device.pk, now=at(0))
    assert do(kept, Decision.RAISE, 5, device=device) is None
    assert not Alert.objects.exists()
