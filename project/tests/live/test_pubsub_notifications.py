"""Notifications sent from the admin, against a live server: who hears them, who does not."""

from typing import Any

import pytest
from django.conf import settings

from accounts.models import User
from project.tests.live.admin import Admin
from project.tests.live.people import Connect, enter, until
from project.tests.live.raw import RawWebSocket
from project.tests.live.server import Server
from project.tests.live.surgeons import eventually, new_surgeon
from realtime.models import QueuedMessage

FORM = "/admin/realtime/notification/add/"


@pytest.fixture
def everywhere(server: Server, request: pytest.FixtureRequest) -> list[Server]:
    """Return every process of the deployment."""
    return list(request.getfixturevalue("servers")) if settings.REDIS_URL else [server]


@pytest.fixture
def admin(server: Server) -> Admin:
    return Admin(server)


def send(admin: Admin, title: str, **fields: str) -> None:
    given = {"level": "warning", "title": title, "message": "In one hour", **fields}
    admin.change(FORM, **given)


def titles(ws: RawWebSocket, *, seconds: float = 0.5) -> list[str]:
    return [
        each["data"]["title"]
        for each in ws.messages(seconds=seconds)
        if each["type"] == "Notification"
    ]


def test_everybody_who_subscribed_hears_it_in_every_process(
    everywhere: list[Server], admin: Admin, connect: Connect
) -> None:
    listeners = [
        enter(connect, each, new_surgeon(role), "notifications")
        for each in everywhere
        for role in ("ROLE_SURGEON", "ROLE_MEMBER")
    ]
    silent = enter(connect, everywhere[0], new_surgeon("ROLE_MEMBER"))
    send(admin, "Maintenance", actions="Learn more https://status.example.com")
    for listener in listeners:
        told = until(listener, "Notification")
        metadata: dict[str, Any] = told.pop("metadata")
        assert told == {
            "level": "warning",
            "title": "Maintenance",
            "message": "In one hour",
            "actions": [{"label": "Learn more", "url": "https://status.example.com"}],
        }
        assert metadata["position"]
        assert titles(listener) == []
    assert titles(silent) == []


def test_a_role_hears_what_is_for_it_alone(
    everywhere: list[Server], admin: Admin, connect: Connect
) -> None:
    listeners = {
        role: [enter(connect, each, new_surgeon(role), "notifications") for each in everywhere]
        for role in ("ROLE_SURGEON", "ROLE_MEMBER")
    }
    send(admin, "Theatre 3 is closed", role="ROLE_SURGEON")
    for surgeon in listeners["ROLE_SURGEON"]:
        assert until(surgeon, "Notification")["title"] == "Theatre 3 is closed"
    for member in listeners["ROLE_MEMBER"]:
        assert titles(member) == []


def test_what_one_user_is_told_waits_for_them(server: Server, admin: Admin) -> None:
    ana = new_surgeon("ROLE_MEMBER")
    send(admin, "Your badge is ready", user=ana)
    waiting = QueuedMessage.objects.filter(user=User.objects.get(username=ana))
    eventually(lambda: waiting.count() == 1)
    page = admin.get("/admin/realtime/queuedmessage/")
    assert ana in page
    admin.act("/admin/realtime/queuedmessage/", "delete_selected", [waiting.get().pk], post="yes")
    assert not waiting.exists()
