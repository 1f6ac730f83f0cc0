"""Notifications: who is told, what is kept, what is refused."""

from typing import Any

import pytest

from accounts import roles
from accounts.models import Role, User
from realtime import journal
from realtime.core.errors import Invalid
from realtime.core.events import NOTIFICATIONS, Action, Notified, private_topic
from realtime.models import QueuedMessage
from realtime.notifications import ACTIONS_MAX, audience_of, notify

pytestmark = pytest.mark.django_db

MORE = Action("Learn more", "https://status.example.com")


def kept() -> list[Any]:
    """Return whom something is kept for."""
    return list(QueuedMessage.objects.values_list("user_id", flat=True))


def told() -> list[Notified]:
    journal.number_committed()
    return [entry.event for entry in journal.read_after(0) if isinstance(entry.event, Notified)]


def send(**options: Any) -> Notified:
    return notify("warning", "Maintenance", "In one hour", [MORE], by="root", **options)


def test_everybody_is_told() -> None:
    event = send()
    assert told() == [event]
    assert (event.topic, event.audience, event.actions) == (NOTIFICATIONS, None, (MORE,))
    assert (event.by, audience_of(event)) == ("root", "everybody")
    assert kept() == []


def test_a_role_is_told() -> None:
    event = send(role=Role.objects.get(name=roles.SURGEON))
    assert told() == [event]
    assert (event.topic, event.audience) == (NOTIFICATIONS, roles.SURGEON)
    assert audience_of(event) == "role ROLE_SURGEON"
    assert kept() == []


def test_a_user_is_told_in_private_and_it_is_kept_for_them() -> None:
    ana = User.objects.create_user("ana")
    event = send(user=ana)
    assert told() == [event]
    assert event.topic == private_topic(ana.pk)
    assert audience_of(event) == "user ana"
    assert kept() == [ana.pk]


def test_a_user_and_a_role_are_too_much() -> None:
    role = Role.objects.get(name=roles.SURGEON)
    with pytest.raises(Invalid, match="for a user or for a role"):
        send(user=User.objects.create_user("ana"), role=role)
    assert told() == []


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"level": "fatal"}, "level"),
        ({"title": " "}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"message": ""}, "message"),
        ({"message": "x" * 4_001}, "message"),
        ({"actions": [MORE] * (ACTIONS_MAX + 1)}, "actions"),
        ({"actions": [Action("", "/x")]}, "actions"),
    ],
)
def test_what_is_not_a_notification_is_refused_by_field(given: dict[str, Any], field: str) -> None:
    whole = {"level": "info", "title": "Hello", "message": "there", **given}
    with pytest.raises(Invalid) as refusal:
        notify(**whole, by="root")
    assert refusal.value.field == field
    assert told() == []


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil.example",
        "/\\evil.example",
        "http:",
        "https://",
        "status",
        "",
        "https://a b",
        "http://[",
        "/x\n",
    ],
)
def test_an_action_leads_to_a_web_page_only(url: str) -> None:
    with pytest.raises(Invalid, match="an action's url"):
        notify("info", "Hello", "there", [Action("Go", url)], by="root")


@pytest.mark.parametrize("url", ["/dashboard/", "https://a.example/x?y=1", "http://10.0.0.1:8000"])
def test_links_are_taken(url: str) -> None:
    assert notify("info", "Hello", "there", [Action("Go", url)], by="root").actions[0].url == url
