"""`manage.py disconnect`."""

import pytest
from django.core.management import CommandError, call_command

from accounts.models import User
from realtime import journal
from realtime.core.events import ConnectionEnded

pytestmark = pytest.mark.django_db


def ended() -> list[ConnectionEnded]:
    journal.number_committed()
    events = (entry.event for entry in journal.read_after(0))
    return [event for event in events if isinstance(event, ConnectionEnded)]


def test_a_connection_is_ended() -> None:
    call_command("disconnect", connection="abc")
    [event] = ended()
    assert (event.connection_id, event.user_id) == ("abc", None)
    assert event.by.startswith("shell: ")


def test_a_user_is_disconnected() -> None:
    ana = User.objects.create_user("ana")
    call_command("disconnect", user="ana")
    assert [event.user_id for event in ended()] == [ana.pk]


def test_a_user_who_does_not_exist_is_told() -> None:
    with pytest.raises(CommandError, match="no user nobody"):
        call_command("disconnect", user="nobody")
    assert ended() == []


@pytest.mark.parametrize("arguments", [[], ["--user", "ana", "--connection", "abc"]])
def test_it_is_one_of_the_two(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("disconnect", *arguments)
