"""Commands: queued, taken once, executed, failed or expired."""

from datetime import timedelta
from typing import Any

import pytest

from accounts.models import User
from devices.models import Command, Device
from devices.services.commands import (
    PENDING_MAX,
    end_command,
    expire_commands,
    queue_command,
    take_commands,
)
from devices.tests.builders import LATER, MUCH_LATER, NOW, Announced, a_device, names
from realtime.core.errors import Conflict, Invalid, NotFound

NOWHERE = 4_711

NOT_JSON = [
    {"x": float("nan")},
    {"x": float("inf")},
    {"x": object()},
    {"x": "\0"},
    {"x": "\ud800"},
    {"x": "y" * 9_000},
    ["x"],
    "x",
    None,
]


def queued(device: Device, command: str = "restart", **more: Any) -> Command:
    given = {"parameters": {}, "by": None, "now": NOW}
    return queue_command(device.pk, command=command, **(given | more))


def ended(command: Command, status: str = "executed", **more: Any) -> Command:
    given = {"device_id": command.device_id, "result": {}, "now": LATER}
    return end_command(command.pk, status=status, **(given | more))


def test_queueing_stores_a_command_that_waits_and_announces_it(
    device: Device, operator: User, announced: Announced
) -> None:
    announced.clear()
    command = queued(device, "calibrate", parameters={"offset": 1.5}, by=operator)
    command = Command.objects.get(pk=command.pk)
    assert (command.device, command.command, command.status) == (device, "calibrate", "pending")
    assert (command.parameters, command.created_by) == ({"offset": 1.5}, operator)
    assert (command.created_at, command.expires_at) == (NOW, NOW + timedelta(hours=1))
    assert announced == [("command_issued", {"command": command})]


def test_a_command_may_have_a_time_of_its_own(device: Device) -> None:
    assert queued(device, seconds=60).expires_at == NOW + timedelta(seconds=60)


def test_a_command_for_nobody_is_not_found(db: None) -> None:
    with pytest.raises(NotFound, match="Device not found"):
        queue_command(NOWHERE, command="x", parameters={}, by=None, now=NOW)


@pytest.mark.parametrize("value", NOT_JSON, ids=lambda value: repr(value)[:20])
def test_parameters_and_results_have_to_be_json_of_some_size(device: Device, value: Any) -> None:
    with pytest.raises(Invalid) as refusal:
        queued(device, parameters=value)
    assert refusal.value.field == "parameters"
    command = queued(device)
    with pytest.raises(Invalid) as refusal:
        ended(command, result=value)
    assert refusal.value.field == "result"


def test_not_more_than_so_many_wait_for_one_device(device: Device) -> None:
    for _ in range(PENDING_MAX):
        queued(device)
    with pytest.raises(Conflict, match="wait for this device"):
        queued(device)
    queued(a_device("PRESS-002"))
    take_commands(device.pk, now=NOW)
    queued(device)


# --- taken ----------------------------------------------------------------------------


def test_what_waits_is_taken_once_in_order(device: Device, announced: Announced) -> None:
    queued(a_device("PRESS-002"))
    wanted = [queued(device, name) for name in ("first", "second", "third")]
    announced.clear()
    taken = take_commands(device.pk, now=LATER)
    assert taken == wanted
    for command in Command.objects.filter(device=device):
        assert (command.status, command.sent_at) == ("sent", LATER)
    assert take_commands(device.pk, now=LATER) == []
    # That it was sent is nobody's news; how it went will be.
    assert not announced


def test_what_has_expired_is_not_taken(device: Device) -> None:
    queued(device, seconds=60)
    alive = queued(device, seconds=3_600)
    assert take_commands(device.pk, now=NOW + timedelta(seconds=60)) == [alive]


# --- ended ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["executed", "failed"])
def test_an_ending_is_kept_with_its_result_and_announced(
    device: Device, announced: Announced, status: str
) -> None:
    command = queued(device)
    take_commands(device.pk, now=NOW)
    announced.clear()
    ended(command, status, result={"took": 3})
    command.refresh_from_db()
    assert (command.status, command.result, command.ended_at) == (status, {"took": 3}, LATER)
    assert announced == [("command_ended", {"command": command})]


def test_told_the_same_again_nothing_changes(device: Device, announced: Announced) -> None:
    command = queued(device)
    ended(command, result={"took": 3})
    announced.clear()
    again = ended(command, result={"took": 4}, now=MUCH_LATER)
    assert (again.result, again.ended_at) == ({"took": 3}, LATER)
    assert not announced


def test_told_otherwise_is_a_conflict(device: Device) -> None:
    command = queued(device)
    ended(command, "failed")
    with pytest.raises(Conflict, match="failed already"):
        ended(command, "executed")


def test_another_devices_command_is_not_found(device: Device) -> None:
    command = queued(device)
    other = a_device("PRESS-002")
    for number, device_id in ((command.pk, other.pk), (NOWHERE, device.pk), (NOWHERE, None)):
        with pytest.raises(NotFound, match="Command not found"):
            end_command(number, device_id=device_id, status="executed", result={}, now=NOW)
    command.refresh_from_db()
    assert command.status == "pending"


def test_a_person_may_end_the_command_of_any_device(device: Device) -> None:
    assert ended(queued(device), device_id=None).status == "executed"


@pytest.mark.parametrize("status", ["pending", "sent", "expired", "done", ""])
def test_only_executed_and_failed_are_endings_a_device_tells(device: Device, status: str) -> None:
    with pytest.raises(Invalid) as refusal:
        ended(queued(device), status)
    assert refusal.value.field == "status"


def test_what_waited_too_long_has_expired(device: Device, announced: Announced) -> None:
    old, new = queued(device, seconds=60), queued(device, seconds=3_600)
    sent = queued(a_device("PRESS-002"), seconds=60)
    take_commands(sent.device_id, now=NOW)
    announced.clear()
    assert expire_commands(now=LATER) == 1
    assert expire_commands(now=LATER) == 0
    statuses = dict(Command.objects.values_list("pk", "status"))
    assert statuses == {old.pk: "expired", new.pk: "pending", sent.pk: "sent"}
    assert names(announced) == ["command_ended"]
    with pytest.raises(Conflict, match="expired already"):
        ended(old)
