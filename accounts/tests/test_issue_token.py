"""`manage.py issue_token`: a token, or a clear refusal."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts import services
from accounts.access import principal_for_token
from accounts.models import User


def issue(*arguments: str) -> str:
    out = StringIO()
    call_command("issue_token", *arguments, stdout=out)
    return out.getvalue()


def test_prints_a_good_token_and_nothing_else(surgeon: User) -> None:
    printed = issue("surgeon_master")
    token, newline, rest = printed.partition("\n")
    assert (newline, rest) == ("\n", "")
    principal = principal_for_token(token)
    assert principal.user_id == surgeon.pk
    assert principal.expires_at - principal.issued_at == timedelta(days=1)


def test_lifetime_can_be_chosen(surgeon: User) -> None:
    principal = principal_for_token(issue("surgeon_master", "--seconds", "30").strip())
    assert principal.expires_at - principal.issued_at == timedelta(seconds=30)


def test_unknown_user_is_named(db: None) -> None:
    with pytest.raises(CommandError, match="There is no user 'nobody'"):
        issue("nobody")


def test_inactive_user_gets_none(surgeon: User) -> None:
    services.deactivate_user(surgeon)
    with pytest.raises(CommandError, match="not active"):
        issue("surgeon_master")


@pytest.mark.parametrize("seconds", ["0", "-5", "soon"])
def test_lifetime_must_be_positive(surgeon: User, seconds: str) -> None:
    with pytest.raises(CommandError, match="seconds"):
        issue("surgeon_master", f"--seconds={seconds}")
