"""Devices: in and out of service, their tokens, their status, and when silence is too long."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from accounts import roles
from accounts.access import principal_for_token
from accounts.models import User
from accounts.services import deactivate_user
from accounts.tokens import BadToken
from devices import signals
from devices.models import Device, StatusChange
from devices.services.commands import queue_command
from devices.services.devices import (
    change_status,
    find_silent,
    issue_device_token,
    mark_alive,
    mark_silent,
    note_seen,
    register_device,
    restore_device,
    retire_device,
    update_device,
)
from devices.tests.builders import (
    LATER,
    MUCH_LATER,
    NOW,
    Announced,
    a_device,
    an_alert,
    names,
)
from realtime.core.errors import Conflict, NotFound

SILENCE = timedelta(seconds=120)
NOWHERE = 4_711


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def offline(device: Device, *, now: datetime = NOW) -> bool:
    return change_status(device.pk, Device.Status.OFFLINE, reason="test", now=now)


def online(device: Device, *, now: datetime = NOW) -> Device:
    """Let the device give its first sign of life."""
    mark_alive(device.pk, now=now)
    device.refresh_from_db()
    return device


def silent(now: datetime) -> list[int]:
    return find_silent(now=now, default_silence=SILENCE)


# --- in service -----------------------------------------------------------------------


def test_registering_stores_a_device_that_is_offline_and_announces_it(
    db: None, announced: Announced
) -> None:
    device = register_device(
        name="Alpha",
        external_id="TEMP-001",
        device_type="sensor",
        now=NOW,
        location="Zone A",
        metadata={"rack": 4},
    )
    device = Device.objects.get(pk=device.pk)
    assert (device.name, device.external_id, device.device_type) == ("Alpha", "TEMP-001", "sensor")
    assert (device.status, device.last_seen, device.is_active) == ("offline", None, True)
    assert (device.created_at, device.updated_at, device.status_since) == (NOW, NOW, NOW)
    assert (device.location, device.metadata) == ("Zone A", {"rack": 4})
    assert announced == [("device_changed", {"device": device})]


def test_an_external_id_is_in_service_once(device: Device, announced: Announced) -> None:
    with pytest.raises(Conflict, match="Device ID already exists"):
        a_device(device.external_id)
    assert Device.objects.count() == 1
    assert not announced


def test_an_external_id_is_free_again_when_its_device_is_out_of_service(device: Device) -> None:
    retire_device(device.pk, now=NOW)
    again = a_device(device.external_id)
    assert again.pk != device.pk


def test_state_is_no_configuration(device: Device) -> None:
    for field in ("status", "last_seen", "is_active", "account"):
        with pytest.raises(TypeError, match=field):
            update_device(device.pk, now=NOW, **{field: None})
    with pytest.raises(TypeError, match="status"):
        a_device("OTHER", status="online")


def test_updating_saves_what_changed_and_announces_it(device: Device, announced: Announced) -> None:
    update_device(device.pk, now=LATER, name=device.name, location="Zone B", silence_seconds=30)
    device.refresh_from_db()
    assert (device.location, device.silence_seconds, device.updated_at) == ("Zone B", 30, LATER)
    assert names(announced) == ["device_changed"]


def test_updating_with_what_is_there_changes_nothing(device: Device, announced: Announced) -> None:
    update_device(device.pk, now=LATER, name=device.name)
    device.refresh_from_db()
    assert device.updated_at == NOW
    assert not announced


def test_an_external_id_cannot_be_taken_by_updating(device: Device) -> None:
    other = a_device("PRESS-002")
    with pytest.raises(Conflict, match="Device ID already exists"):
        update_device(other.pk, now=LATER, external_id=device.external_id)
    assert update_device(other.pk, now=LATER, external_id="PRESS-003").external_id == "PRESS-003"


def test_taken_out_of_service_a_device_is_offline_and_nothing_of_it_is_open(
    device: Device, announced: Announced
) -> None:
    online(device)
    device, token = issue_device_token(device.pk, now=NOW)
    command = queue_command(device.pk, command="restart", parameters={}, by=None, now=NOW)
    alert = an_alert(device)
    announced.clear()

    retire_device(device.pk, now=LATER)

    device.refresh_from_db()
    command.refresh_from_db()
    alert.refresh_from_db()
    assert (device.is_active, device.status) == (False, "offline")
    assert (command.status, command.ended_at) == ("expired", LATER)
    assert (alert.status, alert.resolved_at, alert.resolved_by) == ("resolved", LATER, None)
    with pytest.raises(BadToken, match="inactive"):
        principal_for_token(token)
    assert names(announced) == [
        "device_status_changed",
        "device_changed",
        "command_ended",
        "alert_updated",
    ]


def test_taken_out_of_service_twice_it_is_not_found(device: Device) -> None:
    retire_device(device.pk, now=NOW)
    with pytest.raises(NotFound, match="Device not found"):
        retire_device(device.pk, now=NOW)


def test_out_of_service_nothing_can_be_done_with_a_device(
    device: Device, announced: Announced
) -> None:
    retire_device(device.pk, now=NOW)
    announced.clear()
    for do in (
        lambda: update_device(device.pk, now=LATER, name="x"),
        lambda: issue_device_token(device.pk, now=LATER),
        lambda: change_status(device.pk, "online", reason="", now=LATER),
        lambda: queue_command(device.pk, command="x", parameters={}, by=None, now=LATER),
        lambda: an_alert(device),
    ):
        with pytest.raises(NotFound, match="Device not found"):
            do()
    assert not mark_alive(device.pk, now=LATER)
    assert not mark_silent(device.pk, now=MUCH_LATER, default_silence=SILENCE)
    assert not announced


def test_put_back_into_service_a_device_may_sign_in_again(
    device: Device, announced: Announced
) -> None:
    _, token = issue_device_token(device.pk, now=NOW)
    retire_device(device.pk, now=NOW)
    announced.clear()
    restore_device(device.pk, now=LATER)
    device.refresh_from_db()
    assert (device.is_active, device.status) == (True, "offline")
    assert principal_for_token(token, now=LATER).user_id == device.account_id
    assert names(announced) == ["device_changed"]
    restore_device(device.pk, now=LATER)
    assert names(announced) == ["device_changed"]


def test_put_back_into_service_is_refused_while_its_id_is_taken(device: Device) -> None:
    retire_device(device.pk, now=NOW)
    a_device(device.external_id)
    with pytest.raises(Conflict):
        restore_device(device.pk, now=LATER)
    with pytest.raises(NotFound):
        restore_device(NOWHERE, now=LATER)
    device.refresh_from_db()
    assert not device.is_active


# --- tokens ---------------------------------------------------------------------------


def test_a_token_makes_an_account_that_is_bound_to_the_device(
    device: Device, announced: Announced
) -> None:
    device, token = issue_device_token(device.pk, now=NOW)
    principal = principal_for_token(token, now=NOW)
    account = User.objects.get(username=f"device-{device.pk}")
    assert (principal.user_id, principal.role) == (account.pk, roles.DEVICE)
    assert principal.expires_at - principal.issued_at == timedelta(days=365)
    assert Device.objects.get(account=account) == device
    assert not account.has_usable_password()
    assert names(announced) == ["device_changed"]


def test_a_second_token_leaves_the_first_one_good(device: Device) -> None:
    _, first = issue_device_token(device.pk, now=NOW)
    _, second = issue_device_token(device.pk, now=LATER)
    for token in (first, second):
        assert principal_for_token(token, now=LATER).username == f"device-{device.pk}"
    assert User.objects.count() == 1


def test_a_token_in_place_of_the_others_ends_them(device: Device) -> None:
    _, first = issue_device_token(device.pk, now=NOW)
    _, second = issue_device_token(device.pk, now=LATER, revokes_others=True)
    with pytest.raises(BadToken, match="revoked"):
        principal_for_token(first, now=LATER)
    assert principal_for_token(second, now=LATER)


def test_an_account_somebody_else_has_is_not_taken(device: Device) -> None:
    squatter = User.objects.create_user(f"device-{device.pk}", role=roles.SURGEON)
    device, _ = issue_device_token(device.pk, now=NOW)
    assert device.account != squatter
    assert device.account.role_id == roles.DEVICE


def test_an_account_that_was_deactivated_gets_no_token(device: Device) -> None:
    device, _ = issue_device_token(device.pk, now=NOW)
    deactivate_user(device.account)
    with pytest.raises(Conflict, match="not active"):
        issue_device_token(device.pk, now=NOW)


def test_an_account_of_another_role_gets_no_token(device: Device, administrator: User) -> None:
    device.account = administrator
    device.save(update_fields=["account"])
    with pytest.raises(Conflict, match="ROLE_DEVICE"):
        issue_device_token(device.pk, now=NOW)


# --- status ---------------------------------------------------------------------------


def test_a_transition_is_kept_and_announced_with_what_it_was(
    device: Device, announced: Announced
) -> None:
    assert change_status(device.pk, "maintenance", reason="new filter", now=LATER)
    device.refresh_from_db()
    assert (device.status, device.status_reason) == ("maintenance", "new filter")
    assert device.status_since == LATER
    change = StatusChange.objects.get()
    assert (change.old_status, change.new_status) == ("offline", "maintenance")
    assert (change.device, change.reason, change.at) == (device, "new filter", LATER)
    assert announced == [("device_status_changed", {"device": device, "old_status": "offline"})]


def test_the_same_status_again_is_no_transition(device: Device, announced: Announced) -> None:
    assert not offline(device)
    assert not StatusChange.objects.exists()
    assert not announced


def test_the_status_of_a_device_that_does_not_exist_is_not_found(db: None) -> None:
    with pytest.raises(NotFound, match="Device not found"):
        change_status(NOWHERE, "online", reason="", now=NOW)


def test_a_receiver_that_fails_undoes_the_transition(device: Device) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("the journal is full")

    signals.device_status_changed.connect(fail)
    try:
        with pytest.raises(RuntimeError):
            change_status(device.pk, "online", reason="", now=NOW)
    finally:
        signals.device_status_changed.disconnect(fail)
    device.refresh_from_db()
    assert device.status == "offline"
    assert not StatusChange.objects.exists()


def test_the_first_sign_of_life_brings_a_device_online(
    device: Device, announced: Announced
) -> None:
    assert mark_alive(device.pk, now=LATER)
    device.refresh_from_db()
    assert (device.status, device.status_reason) == ("online", "first sign of life")
    assert device.last_seen == LATER
    assert names(announced) == ["device_status_changed"]
    assert not mark_alive(device.pk, now=LATER)


def test_a_device_that_comes_back_reports_again(device: Device) -> None:
    online(device)
    offline(device)
    assert mark_alive(device.pk, now=LATER)
    assert StatusChange.objects.first().reason == "reports again"


@pytest.mark.parametrize("status", ["online", "warning", "error", "maintenance"])
def test_a_sign_of_life_changes_no_status_but_offline(device: Device, status: str) -> None:
    change_status(device.pk, status, reason="", now=NOW)
    assert not mark_alive(device.pk, now=LATER)
    device.refresh_from_db()
    assert device.status == status


# --- last seen ------------------------------------------------------------------------


def test_when_devices_were_seen_is_kept_in_one_query_and_announced_to_nobody(
    device: Device, announced: Announced
) -> None:
    other = a_device("PRESS-002")
    announced.clear()
    note_seen({other.pk: LATER, device.pk: NOW, NOWHERE: NOW})
    seen = dict(Device.objects.values_list("pk", "last_seen"))
    assert seen == {device.pk: NOW, other.pk: LATER}
    assert not announced


def test_a_device_is_never_seen_earlier_than_it_was(device: Device) -> None:
    note_seen({device.pk: LATER})
    note_seen({device.pk: NOW})
    device.refresh_from_db()
    assert device.last_seen == LATER
    note_seen({})


# --- silence --------------------------------------------------------------------------


def test_a_device_is_silent_once_its_time_is_over(device: Device) -> None:
    online(device)
    assert silent(after(119)) == []
    assert silent(after(120)) == [device.pk]


def test_a_device_may_have_a_time_of_its_own(device: Device) -> None:
    patient = a_device("SLOW", silence_seconds=600)
    hasty = a_device("FAST", silence_seconds=5)
    for each in (device, patient, hasty):
        online(each)
    assert silent(after(4)) == []
    assert silent(after(5)) == [hasty.pk]
    assert silent(after(120)) == [device.pk, hasty.pk]
    assert silent(after(600)) == [device.pk, patient.pk, hasty.pk]


def test_a_device_that_was_seen_meanwhile_is_not_silent(device: Device) -> None:
    online(device)
    note_seen({device.pk: after(100)})
    assert silent(after(219)) == []
    assert silent(after(220)) == [device.pk]


@pytest.mark.parametrize("status", ["offline", "maintenance"])
def test_what_is_silent_on_purpose_is_not_watched(device: Device, status: str) -> None:
    change_status(device.pk, status, reason="", now=NOW)
    assert silent(MUCH_LATER) == []
    assert not mark_silent(device.pk, now=MUCH_LATER, default_silence=SILENCE)


@pytest.mark.parametrize("status", ["online", "warning", "error"])
def test_a_status_that_somebody_set_lasts_a_whole_silence(device: Device, status: str) -> None:
    """Even if the device was never heard of: it would be offline again at once."""
    change_status(device.pk, status, reason="by hand", now=LATER)
    assert silent(LATER + timedelta(seconds=119)) == []
    assert silent(LATER + SILENCE) == [device.pk]


def test_a_silent_device_goes_offline_with_a_reason(device: Device, announced: Announced) -> None:
    online(device)
    announced.clear()
    assert mark_silent(device.pk, now=after(125.7), default_silence=SILENCE)
    device.refresh_from_db()
    assert (device.status, device.status_reason) == ("offline", "no sign of life for 125 s")
    assert device.last_seen == NOW
    assert names(announced) == ["device_status_changed"]
    assert not mark_silent(device.pk, now=after(130), default_silence=SILENCE)


def test_a_device_that_spoke_before_it_was_marked_stays_online(
    device: Device, announced: Announced
) -> None:
    online(device)
    assert silent(after(130)) == [device.pk]
    note_seen({device.pk: after(129)})
    announced.clear()
    assert not mark_silent(device.pk, now=after(130), default_silence=SILENCE)
    assert not announced


@pytest.mark.parametrize(("relapses", "factor"), [(1, 2), (2, 4), (3, 8), (4, 8), (9, 8)])
def test_a_device_that_flaps_is_given_more_time(device: Device, relapses: int, factor: int) -> None:
    for _ in range(relapses):
        online(device)
        offline(device)
    online(device)
    allowed = 60 * factor
    for seconds, is_silent in ((allowed - 1, False), (allowed, True)):
        found = find_silent(now=after(seconds), default_silence=timedelta(seconds=60))
        assert found == ([device.pk] if is_silent else [])
    assert not mark_silent(device.pk, now=after(allowed - 1), default_silence=timedelta(seconds=60))


def test_a_device_that_has_calmed_down_is_given_its_own_time_again(device: Device) -> None:
    online(device)
    offline(device)
    online(device, now=LATER)
    note_seen({device.pk: after(599)})
    assert silent(after(720)) == [device.pk]
