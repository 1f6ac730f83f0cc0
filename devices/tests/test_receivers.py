"""A saved row announces its transition, and only that."""

from collections.abc import Callable
from typing import Any

import pytest

from accounts.models import User
from devices import signals
from devices.models import Alert, AlertRule, Command, Device, Surgery
from devices.tests.builders import (
    LATER,
    NOW,
    Announced,
    a_rule,
    an_alert,
    completed,
    in_progress,
    interrupted,
    names,
)


def test_saving_without_a_transition_announces_nothing(surgeon: User, announced: Announced) -> None:
    surgery = completed(surgeon, 3)
    announced.clear()
    surgery.notes = "checked"
    surgery.save(update_fields=["notes"])
    Surgery.objects.get().save()
    assert not announced


def test_a_transition_is_announced_by_whatever_saves_it(
    surgeon: User, announced: Announced
) -> None:
    surgery = interrupted(surgeon, 3)
    announced.clear()
    surgery.status = Surgery.Status.COMPLETED
    surgery.ended_at = NOW
    surgery.save()
    surgery.save()
    assert announced == [("surgery_completed", {"surgery": surgery})]


def test_a_state_that_is_not_among_the_saved_fields_is_no_transition(
    surgeon: User, announced: Announced
) -> None:
    surgery = interrupted(surgeon, 3)
    announced.clear()
    surgery.status = Surgery.Status.COMPLETED
    surgery.notes = "not yet"
    surgery.save(update_fields=["notes"])
    assert not announced


def test_a_state_saved_elsewhere_is_no_transition_here(surgeon: User, announced: Announced) -> None:
    surgery = interrupted(surgeon, 3)
    Surgery.objects.filter(pk=surgery.pk).update(status=Surgery.Status.COMPLETED)
    announced.clear()
    surgery.refresh_from_db()
    surgery.save()
    assert not announced


def test_fields_that_were_not_loaded_are_neither_asked_for_nor_announced(
    surgeon: User, announced: Announced, django_assert_num_queries: Any
) -> None:
    in_progress(surgeon, 3)
    surgery = Surgery.objects.only("notes").get()
    announced.clear()
    surgery.notes = "still running"
    with django_assert_num_queries(1):
        surgery.save()
    assert not announced


def test_loading_a_fixture_announces_nothing(surgeon: User, announced: Announced) -> None:
    surgery = Surgery(surgeon=surgeon, started_at=NOW)
    surgery.save_base(raw=True)
    assert not announced


@pytest.mark.django_db(transaction=True)
def test_a_receiver_that_fails_undoes_a_save_outside_any_service(surgeon: User) -> None:
    surgery = interrupted(surgeon, 3)

    def fail(**_: Any) -> None:
        raise RuntimeError("the journal is full")

    signals.surgery_completed.connect(fail)
    try:
        surgery.status = Surgery.Status.COMPLETED
        with pytest.raises(RuntimeError):
            surgery.save()
    finally:
        signals.surgery_completed.disconnect(fail)
    assert Surgery.objects.get().status == "interrupted"


# --- Devices --------------------------------------------------------------------------


def edited(row: Any, **fields: Any) -> Any:
    """Load the row anew, as a form does, and save these fields."""
    row = type(row).objects.get(pk=row.pk)
    for name, value in fields.items():
        setattr(row, name, value)
    row.save(update_fields=list(fields))
    return row


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Beta"},
        {"device_type": "actuator"},
        {"is_active": False},
        {"silence_seconds": 30},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_others_keep_of_a_device_is_announced_when_it_changes(
    device: Device, announced: Announced, change: dict[str, Any]
) -> None:
    announced.clear()
    device = edited(device, **change)
    assert announced == [("device_changed", {"device": device})]


def test_an_account_bound_to_a_device_is_announced(
    device: Device, operator: User, announced: Announced
) -> None:
    announced.clear()
    edited(device, account=operator)
    assert names(announced) == ["device_changed"]


def test_what_nobody_keeps_of_a_device_is_announced_to_nobody(
    device: Device, announced: Announced
) -> None:
    announced.clear()
    edited(device, location="Zone B", metadata={"rack": 4}, last_seen=NOW)
    edited(device, name=device.name)
    assert not announced


def test_a_status_is_announced_with_what_it_was_by_whatever_saves_it(
    device: Device, announced: Announced
) -> None:
    announced.clear()
    device = edited(device, status="error", name="Beta")
    assert announced == [
        ("device_status_changed", {"device": device, "old_status": "offline"}),
        ("device_changed", {"device": device}),
    ]
    announced.clear()
    device.save()
    assert not announced


def test_a_status_that_is_not_among_the_saved_fields_is_announced_when_it_is(
    device: Device, announced: Announced
) -> None:
    announced.clear()
    device.status = "error"
    device.save(update_fields=["location"])
    assert not announced
    device.save(update_fields=["status"])
    assert names(announced) == ["device_status_changed"]


def test_a_command_is_announced_when_it_is_queued_and_when_it_has_ended(
    device: Device, announced: Announced
) -> None:
    announced.clear()
    command = Command.objects.create(device=device, command="restart", expires_at=LATER)
    assert announced == [("command_issued", {"command": command})]
    announced.clear()
    edited(command, status="sent")
    edited(command, result={"half": "done"})
    assert not announced
    for status in ("executed", "failed", "expired"):
        edited(command, status=status)
    assert names(announced) == ["command_ended"] * 3


def test_an_alert_is_announced_when_it_is_raised_and_when_its_status_changes(
    device: Device, announced: Announced
) -> None:
    announced.clear()
    alert = Alert.objects.create(
        device=device, title="Too warm", severity="warning", alert_type="manual"
    )
    assert announced == [("alert_raised", {"alert": alert})]
    announced.clear()
    edited(alert, note="nothing new")
    assert not announced
    alert = edited(alert, status="resolved")
    assert announced == [("alert_updated", {"alert": alert})]


def test_a_rule_is_announced_when_it_is_added_edited_and_deleted(
    device: Device, announced: Announced
) -> None:
    announced.clear()
    rule = a_rule(device)
    number = rule.pk
    edited(rule, threshold=31.0)
    rule.delete()
    assert announced == [("rules_changed", {"rule_id": number})] * 3


def test_the_open_alerts_of_a_rule_end_with_it(device: Device, announced: Announced) -> None:
    rule, other = a_rule(device), a_rule(device)
    alert, unrelated = an_alert(device, rule=rule), an_alert(device, rule=other)
    announced.clear()
    AlertRule.objects.filter(pk=rule.pk).delete()
    alert.refresh_from_db()
    unrelated.refresh_from_db()
    assert (alert.status, alert.resolved_by, alert.rule) == ("resolved", None, None)
    assert unrelated.status == "active"
    assert names(announced) == ["alert_updated", "rules_changed"]


def test_loading_a_fixture_of_devices_announces_nothing(
    device: Device, announced: Announced
) -> None:
    announced.clear()
    Device(name="x", external_id="x", device_type="x").save_base(raw=True)
    Command(device=device, command="x", expires_at=LATER).save_base(raw=True)
    Alert(title="x", severity="info", alert_type="manual").save_base(raw=True)
    AlertRule(name="x", metric="x", condition="gt", threshold=1, updated_at=NOW).save_base(raw=True)
    assert not announced


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("signal", "save"),
    [
        ("device_changed", lambda device: edited(device, name="Beta")),
        ("device_status_changed", lambda device: edited(device, status="error")),
        ("command_issued", lambda device: device.commands.create(command="x", expires_at=NOW)),
        (
            "alert_raised",
            lambda device: device.alerts.create(title="x", severity="info", alert_type="manual"),
        ),
        ("rules_changed", a_rule),
    ],
)
def test_a_receiver_that_fails_undoes_a_save_outside_any_service_too(
    device: Device, signal: str, save: Callable[[Device], object]
) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("the journal is full")

    getattr(signals, signal).connect(fail)
    try:
        with pytest.raises(RuntimeError):
            save(Device.objects.get(pk=device.pk))
    finally:
        getattr(signals, signal).disconnect(fail)
    again = Device.objects.get(pk=device.pk)
    assert (again.name, again.status) == (device.name, "offline")
    for model in (Command, Alert, AlertRule):
        assert not model.objects.exists()
