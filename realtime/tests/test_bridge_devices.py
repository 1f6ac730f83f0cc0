"""The bridge: what happens to devices, alerts and commands becomes events, in its transaction."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from accounts import roles
from accounts.models import User
from devices.models import AlertRule, Device
from devices.services import alerts, commands, devices
from devices.tests.builders import LATER, NOW, a_device, a_rule, an_alert
from realtime import journal
from realtime.core.events import (
    AlertRaised,
    AlertUpdated,
    AnyEvent,
    CommandEnded,
    CommandIssued,
    DevicesChanged,
    DeviceStatusChanged,
    RulesChanged,
)
from realtime.models import JournalEntry
from realtime.tests.test_bridge import Unforeseen, told

pytestmark = pytest.mark.django_db


@pytest.fixture
def device() -> Device:
    """A device with an account; what was told of that is forgotten."""
    device, _ = devices.issue_device_token(a_device().pk, now=NOW)
    JournalEntry.objects.all().delete()
    return device


@pytest.fixture
def operator() -> User:
    user = User.objects.create_user("operator", role=roles.OPERATOR)
    JournalEntry.objects.all().delete()
    return user


def only(kind: type) -> AnyEvent:
    """Return the one event that was told, of this kind."""
    (event,) = told()
    assert isinstance(event, kind)
    return event


# --- Devices -------------------------------------------------------------------------------


def test_a_new_device_is_told_to_our_processes() -> None:
    device = a_device()
    assert only(DevicesChanged).device_id == device.pk


@pytest.mark.parametrize(
    "change",
    [
        lambda device: devices.update_device(device.pk, now=LATER, name="Beta"),
        lambda device: devices.update_device(device.pk, now=LATER, silence_seconds=30),
        lambda device: Device.objects.create(name="x", external_id="x", device_type="x"),
    ],
)
def test_a_changed_device_is_told_to_our_processes(
    device: Device, change: Callable[[Device], object]
) -> None:
    change(device)
    only(DevicesChanged)


def test_a_status_is_told_with_its_reason_and_when_the_device_was_seen(device: Device) -> None:
    devices.mark_alive(device.pk, now=NOW)
    first = only(DeviceStatusChanged)
    assert (first.device_id, first.account_id) == (device.pk, device.account_id)
    assert (first.old_status, first.new_status) == ("offline", "online")
    assert (first.device, first.reason) == (device.name, "first sign of life")
    assert first.last_seen == NOW
    later = NOW + timedelta(seconds=125)
    devices.mark_silent(device.pk, now=later, default_silence=timedelta(seconds=120))
    second = only(DeviceStatusChanged)
    assert (second.old_status, second.new_status) == ("online", "offline")
    assert (second.reason, second.last_seen) == ("no sign of life for 125 s", NOW)


def test_when_a_device_was_seen_is_told_to_nobody(device: Device) -> None:
    devices.note_seen({device.pk: LATER})
    assert told() == []


# --- Alerts --------------------------------------------------------------------------------


def test_a_raised_alert_is_told_with_what_raised_it(device: Device) -> None:
    alert = an_alert(device)
    event = only(AlertRaised)
    assert (event.alert_id, event.device_id) == (alert.pk, device.pk)
    assert event.account_id == device.account_id
    assert (event.severity, event.alert_type, event.title) == ("warning", "threshold", "Too warm")
    assert (event.metric, event.threshold_value, event.actual_value) == ("temperature", 30.0, 32.5)


def test_an_alert_about_this_system_concerns_no_device() -> None:
    alerts.raise_alert(title="Flood", severity="warning", alert_type="system", now=NOW)
    event = only(AlertRaised)
    assert (event.device_id, event.account_id, event.topic) == (None, None, "alerts.system")


def test_an_alert_that_is_open_already_is_not_told_again(device: Device) -> None:
    rule = a_rule(device)
    an_alert(device, rule=rule)
    told()
    assert not alerts.raise_alert(
        title="Too warm",
        severity="warning",
        alert_type="threshold",
        device_id=device.pk,
        rule_id=rule.pk,
        now=LATER,
    )
    assert told() == []


def test_an_alert_that_changes_is_told_with_who_did_it(device: Device, operator: User) -> None:
    alert = an_alert(device)
    told()
    alerts.acknowledge_alert(alert.pk, by=operator, note="I go there.", now=LATER)
    event = only(AlertUpdated)
    assert (event.alert_id, event.device_id, event.title) == (alert.pk, device.pk, "Too warm")
    assert (event.status, event.by, event.note) == ("acknowledged", "operator", "I go there.")
    alerts.resolve_alert(alert.pk, by=None, now=LATER)
    event = only(AlertUpdated)
    assert (event.status, event.by) == ("resolved", "system")


def test_an_alert_whose_condition_went_away_was_resolved_by_the_system(
    device: Device, operator: User
) -> None:
    rule = a_rule(device)
    alert = an_alert(device, rule=rule)
    alerts.acknowledge_alert(alert.pk, by=operator, now=LATER)
    told()
    alerts.resolve_cleared(rule.pk, device.pk, actual_value=24.5, now=LATER)
    assert only(AlertUpdated).by == "system"


# --- Commands ------------------------------------------------------------------------------


def test_a_command_is_told_and_how_it_ended(device: Device, operator: User) -> None:
    command = commands.queue_command(
        device.pk, command="restart", parameters={"delay": 5}, by=operator, now=NOW
    )
    event = only(CommandIssued)
    assert (event.command_id, event.device_id) == (command.pk, device.pk)
    assert event.account_id == device.account_id
    assert (event.command, event.parameters) == ("restart", {"delay": 5})
    commands.take_commands(device.pk, now=NOW)
    assert told() == []
    commands.end_command(
        command.pk, device_id=device.pk, status="failed", result={"why": "hot"}, now=LATER
    )
    event = only(CommandEnded)
    assert (event.command_id, event.command) == (command.pk, "restart")
    assert (event.status, event.result) == ("failed", {"why": "hot"})


def test_a_command_that_expired_is_told(device: Device) -> None:
    commands.queue_command(device.pk, command="restart", parameters={}, by=None, now=NOW, seconds=1)
    told()
    commands.expire_commands(now=LATER)
    assert only(CommandEnded).status == "expired"


# --- Rules ---------------------------------------------------------------------------------


def test_a_rule_is_told_to_our_processes_whatever_happens_to_it() -> None:
    rule = a_rule()
    number = rule.pk
    rule.threshold = 31.0
    rule.save()
    rule.delete()
    events = told()
    assert [type(event) for event in events] == [RulesChanged] * 3
    assert {event.rule_id for event in events} == {number}


def test_the_rules_of_a_device_that_is_deleted_are_told(device: Device) -> None:
    number = a_rule(device).pk
    told()
    device.delete()
    assert [event.rule_id for event in told() if isinstance(event, RulesChanged)] == [number]
    assert not AlertRule.objects.exists()


# --- One transaction -----------------------------------------------------------------------


def test_what_cannot_be_told_does_not_happen_to_a_device(
    device: Device, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    alert = an_alert(device)
    command = commands.queue_command(device.pk, command="x", parameters={}, by=None, now=NOW)

    def fails(event: object) -> None:
        raise Unforeseen

    monkeypatch.setattr(journal, "append", fails)
    for do in (
        lambda: a_device("PRESS-002"),
        lambda: devices.mark_alive(device.pk, now=LATER),
        lambda: devices.retire_device(device.pk, now=LATER),
        lambda: an_alert(device),
        lambda: alerts.acknowledge_alert(alert.pk, by=operator, now=LATER),
        lambda: commands.end_command(
            command.pk, device_id=None, status="executed", result={}, now=LATER
        ),
    ):
        with pytest.raises(Unforeseen):
            do()
    for row, status in ((device, "offline"), (alert, "active"), (command, "pending")):
        row.refresh_from_db()
        assert row.status == status
    assert device.is_active
    assert Device.objects.count() == device.alerts.count() == 1
