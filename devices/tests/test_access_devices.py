"""Who gets which device, command, alert and rule, whether a token or a page asks."""

from collections.abc import Callable
from typing import Any

import pytest

from accounts.access import principal_for_token
from accounts.models import User
from accounts.tokens import issue_access
from devices.access import (
    access_alert,
    access_command,
    access_device,
    access_rule,
    alerts_visible_to,
    commands_visible_to,
    device_of,
    devices_visible_to,
    rules_visible_to,
)
from devices.models import Command, Device
from devices.services.commands import queue_command
from devices.services.devices import issue_device_token, retire_device
from devices.tests.builders import NOW, a_device, a_rule, an_alert
from realtime.core.errors import Forbidden, NotFound
from realtime.core.session import Principal

NOWHERE = 4_711

Who = Principal | User


@pytest.fixture
def bound(device: Device) -> User:
    """The account of the device."""
    return issue_device_token(device.pk, now=NOW)[0].account


@pytest.fixture
def stranger(db: None) -> User:
    """The account of another device."""
    return issue_device_token(a_device("PRESS-002").pk, now=NOW)[0].account


def each_way(user: User) -> tuple[Who, Who]:
    return user, principal_for_token(issue_access(user))


def queued(device: Device) -> Command:
    return queue_command(device.pk, command="restart", parameters={}, by=None, now=NOW)


def is_let(access: Callable[..., Any], who: Who, pk: int, **how: bool) -> bool:
    """Tell whether `who` gets the row; the one that does not exist is not found by anybody."""
    with pytest.raises(NotFound):
        access(who, NOWHERE, **how)
    try:
        return access(who, pk, **how).pk == pk
    except Forbidden:
        return False


def test_people_with_the_right_read_every_device_and_some_manage_it(
    device: Device, operator: User, administrator: User, viewer: User, bound: User, stranger: User
) -> None:
    command = queued(device)
    for user, manages in ((operator, True), (administrator, True), (viewer, False)):
        for who in each_way(user):
            assert devices_visible_to(who).count() == 2
            assert list(commands_visible_to(who)) == [command]
            assert is_let(access_device, who, device.pk)
            assert is_let(access_command, who, command.pk)
            for how in ({"to_write": True}, {"to_manage": True}):
                assert is_let(access_device, who, device.pk, **how) is manages
            assert is_let(access_command, who, command.pk, to_write=True) is manages


def test_a_device_has_itself_and_its_commands_and_manages_nothing(
    device: Device, bound: User, stranger: User
) -> None:
    command = queued(device)
    for user, is_own in ((bound, True), (stranger, False)):
        for who in each_way(user):
            assert (device in devices_visible_to(who)) is is_own
            assert devices_visible_to(who).count() == 1
            assert (command in commands_visible_to(who)) is is_own
            for how in ({}, {"to_write": True}):
                assert is_let(access_device, who, device.pk, **how) is is_own
                assert is_let(access_command, who, command.pk, **how) is is_own
            assert not is_let(access_device, who, device.pk, to_manage=True)


def test_nobody_else_has_any_business_with_devices(
    device: Device, surgeon: User, ai: User, member: User
) -> None:
    command, alert, rule = queued(device), an_alert(device), a_rule()
    for user in (surgeon, ai, member):
        for who in each_way(user):
            for visible_to in (
                devices_visible_to,
                commands_visible_to,
                alerts_visible_to,
                rules_visible_to,
            ):
                assert not visible_to(who).exists()
            assert not is_let(access_device, who, device.pk)
            assert not is_let(access_command, who, command.pk)
            assert not is_let(access_alert, who, alert.pk)
            assert not is_let(access_rule, who, rule.pk)


def test_an_account_bound_to_a_device_has_it_only_as_a_device(
    device: Device, surgeon: User
) -> None:
    device.account = surgeon
    device.save(update_fields=["account"])
    assert not devices_visible_to(surgeon).exists()
    assert not is_let(access_device, surgeon, device.pk)


def test_alerts_and_rules_are_read_by_people_and_changed_by_operators(
    device: Device, operator: User, administrator: User, viewer: User, bound: User
) -> None:
    alert, rule = an_alert(device), a_rule()
    table = ((operator, True, True), (administrator, True, True), (viewer, True, False))
    for user, reads, writes in (*table, (bound, False, False)):
        for who in each_way(user):
            assert alerts_visible_to(who).exists() is reads
            assert rules_visible_to(who).exists() is reads
            for access, pk in ((access_alert, alert.pk), (access_rule, rule.pk)):
                assert is_let(access, who, pk) is reads
                assert is_let(access, who, pk, to_write=True) is writes


def test_out_of_service_a_device_is_not_found_and_its_alerts_are(
    device: Device, operator: User, bound: User
) -> None:
    command, alert = queued(device), an_alert(device)
    retire_device(device.pk, now=NOW)
    for who in (operator, bound):
        assert not devices_visible_to(who).exists()
        assert not commands_visible_to(who).exists()
        with pytest.raises(NotFound):
            access_device(who, device.pk)
        with pytest.raises(NotFound):
            access_command(who, command.pk)
    assert access_alert(operator, alert.pk) == alert


def test_an_account_leads_to_its_device(device: Device, bound: User, operator: User) -> None:
    assert device_of(bound.pk) == device
    assert device_of(operator.pk) is None
    retire_device(device.pk, now=NOW)
    assert device_of(bound.pk) is None
