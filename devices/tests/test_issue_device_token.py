"""`manage.py issue_device_token`: a token, or a clear refusal."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.access import principal_for_token
from accounts.services import deactivate_user
from accounts.tokens import BadToken
from devices.models import Device
from devices.services.devices import retire_device
from devices.tests.builders import NOW, a_device


def issue(*arguments: str) -> str:
    out = StringIO()
    call_command("issue_device_token", *arguments, stdout=out)
    return out.getvalue()


def test_prints_a_good_token_and_nothing_else(device: Device) -> None:
    token, newline, rest = issue("TEMP-001").partition("\n")
    assert (newline, rest) == ("\n", "")
    principal = principal_for_token(token)
    device.refresh_from_db()
    assert principal.user_id == device.account_id
    assert principal.expires_at - principal.issued_at == timedelta(days=365)


def test_a_device_may_be_named_by_its_number_unless_that_is_an_id(device: Device) -> None:
    by_number = principal_for_token(issue(str(device.pk)).strip())
    assert by_number.username == f"device-{device.pk}"
    other = a_device(str(device.pk))
    assert principal_for_token(issue(str(device.pk)).strip()).username == f"device-{other.pk}"


def test_others_are_revoked_when_asked(device: Device) -> None:
    first = issue("TEMP-001").strip()
    issue("TEMP-001")
    assert principal_for_token(first)
    issue("TEMP-001", "--revoke-others")
    with pytest.raises(BadToken, match="revoked"):
        principal_for_token(first)


@pytest.mark.parametrize("name", ["NOWHERE", "4711", "9" * 400, ""])
def test_an_unknown_device_is_named(device: Device, name: str) -> None:
    with pytest.raises(CommandError, match="There is no device"):
        issue(name)


def test_a_device_out_of_service_or_without_a_good_account_gets_none(device: Device) -> None:
    issue("TEMP-001")
    device.refresh_from_db()
    deactivate_user(device.account)
    with pytest.raises(CommandError, match="not active"):
        issue("TEMP-001")
    retire_device(device.pk, now=NOW)
    with pytest.raises(CommandError, match="There is no device"):
        issue("TEMP-001")
