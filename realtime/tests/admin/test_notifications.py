"""Notifications in the admin: the form, and what was sent."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from accounts import roles
from accounts.models import User
from realtime.core.events import Notified, decode
from realtime.models import JournalEntry

pytestmark = pytest.mark.django_db

URL = "/admin/realtime/notification/"


def send(client: Client, **changes: str) -> str:
    """Fill in the form; return the page that comes of it."""
    given = {"level": "warning", "title": "Maintenance", "message": "In one hour", **changes}
    return client.post(f"{URL}add/", given, follow=True).content.decode()


def sent() -> list[Notified]:
    events: list[Any] = [decode(bytes(entry.payload)) for entry in JournalEntry.objects.all()]
    return [event for event in events if isinstance(event, Notified)]


def test_the_form_asks_for_all_of_it(client: Client) -> None:
    page = client.get(f"{URL}add/").content.decode()
    for name in ("level", "title", "message", "actions", "role", "user"):
        assert f'name="{name}"' in page
    assert "ROLE_SURGEON" in page


def test_everybody_is_notified_and_it_is_in_the_history(
    client: Client, administrator: User
) -> None:
    actions = "Learn more https://status.example.com\n\nOpen /dashboard/\n"
    page = send(client, actions=actions)
    [event] = sent()
    assert (event.level, event.title, event.message) == ("warning", "Maintenance", "In one hour")
    assert [(each.label, each.url) for each in event.actions] == [
        ("Learn more", "https://status.example.com"),
        ("Open", "/dashboard/"),
    ]
    assert (event.recipient_id, event.role, event.by) == (None, None, administrator.username)
    log = LogEntry.objects.get()
    assert log.get_change_message() == "Sent a notification (warning) to everybody."
    assert "everybody" in page
    entry = JournalEntry.objects.get()
    shown = client.get(f"{URL}{entry.pk}/change/").content.decode()
    assert "In one hour" in shown
    assert "Learn more: https://status.example.com" in shown


def test_a_role_is_notified(client: Client) -> None:
    send(client, role=roles.SURGEON)
    assert [event.role for event in sent()] == [roles.SURGEON]


def test_a_user_is_notified_by_name(client: Client) -> None:
    ana = User.objects.create_user("ana")
    page = send(client, user="ana")
    assert [event.recipient_id for event in sent()] == [ana.pk]
    assert "user ana" in page


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"user": "nobody"}, "no active user"),
        ({"user": "root of all", "role": roles.SURGEON}, "not both"),
        ({"level": "fatal"}, "valid choice"),
        ({"title": ""}, "required"),
        ({"message": "x" * 4_001}, "at most 4000"),
        ({"actions": "Go javascript:alert(1)"}, "http(s)://"),
        ({"actions": "https://label.is.missing"}, "actions: 1 to 60"),
    ],
)
def test_what_cannot_be_sent_is_told_beside_its_field(
    client: Client, changes: dict[str, str], text: str
) -> None:
    assert text in send(client, **changes)
    assert sent() == []


def test_who_may_look_may_not_send(as_viewer: Callable[..., Client]) -> None:
    viewer = as_viewer("view_notification")
    assert viewer.get(URL).status_code == 200
    assert viewer.post(f"{URL}add/", {"title": "x"}).status_code == 403
    assert sent() == []


def test_what_one_user_was_told_is_private(
    client: Client, as_viewer: Callable[..., Client]
) -> None:
    User.objects.create_user("ana")
    send(client, user="ana", title="Salary", actions="Go /salary/")
    viewer = as_viewer("view_notification")
    entry = JournalEntry.objects.get()
    for url in (URL, f"{URL}{entry.pk}/change/"):
        page = viewer.get(url).content.decode()
        assert "(private)" in page
        assert "user ana" in page
        for secret in ("Salary", "In one hour", "/salary/"):
            assert secret not in page
    assert "Salary" in client.get(URL).content.decode()


def test_nothing_is_changed_or_deleted(client: Client) -> None:
    send(client)
    entry = JournalEntry.objects.get()
    client.post(f"{URL}{entry.pk}/change/", {"title": "Other"})
    assert client.post(f"{URL}{entry.pk}/delete/", {"post": "yes"}).status_code == 403
    assert [event.title for event in sent()] == ["Maintenance"]


def test_operators_may_send(client: Client) -> None:
    operator = User.objects.create_user("olga", role=roles.OPERATOR)
    assert operator.has_perms(["realtime.add_notification", "realtime.end_connection"])
    assert not operator.has_perm("realtime.read_private")
