"""Operations in the admin: who was refused, what clients report, and whose messages are logged."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts import roles
from accounts.models import User
from realtime.models import ErrorReport, JournalEntry, MessageWatch, RefusedAttempt, UserPresence
from realtime.tests.doubles import NOW

pytestmark = pytest.mark.django_db

ATTEMPTS = "/admin/realtime/refusedattempt/"
REPORTS = "/admin/realtime/errorreport/"
WATCHES = "/admin/realtime/messagewatch/"


def add_watch(client: Client, **changes: str) -> str:
    """Fill in the form; return the page that comes of it."""
    until = timezone.now() + timedelta(hours=1)
    given = {"until_0": f"{until:%Y-%m-%d}", "until_1": f"{until:%H:%M:%S}", **changes}
    return client.post(f"{WATCHES}add/", given, follow=True).content.decode()


def test_attempts_and_reports_are_looked_at_and_not_edited(client: Client) -> None:
    attempt = RefusedAttempt.objects.create(
        at=NOW, reason="forbidden", endpoint="ai", address="192.0.2.1"
    )
    report = ErrorReport.objects.create(at=NOW, username="olga", error="no type", message="{}")
    for url, row in ((ATTEMPTS, attempt), (REPORTS, report)):
        assert client.get(url).status_code == 200
        assert client.get(f"{url}{row.pk}/change/").status_code == 200
        assert client.get(f"{url}add/").status_code == 403
        assert client.post(f"{url}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert b"192.0.2.1" in client.get(ATTEMPTS, {"q": "192.0.2.1"}).content


def test_a_user_is_watched_and_every_process_told(client: Client, administrator: User) -> None:
    add_watch(client, user=str(administrator.pk))
    watch = MessageWatch.objects.get()
    assert watch.user == administrator
    assert [entry.kind for entry in JournalEntry.objects.all()] == ["MessageWatchChanged"]
    assert client.get(WATCHES).status_code == 200


@pytest.mark.parametrize("how", ["alone", "with others"])
def test_a_watch_is_ended_and_every_process_told(client: Client, how: str) -> None:
    add_watch(client, connection_id="abc")
    watch = MessageWatch.objects.get()
    if how == "alone":
        client.post(f"{WATCHES}{watch.pk}/delete/", {"post": "yes"})
    else:
        chosen = {"action": "delete_selected", "_selected_action": [str(watch.pk)], "post": "yes"}
        client.post(WATCHES, chosen)
    assert MessageWatch.objects.count() == 0
    assert JournalEntry.objects.count() == 2


def test_it_is_one_of_the_two_that_is_watched(client: Client, administrator: User) -> None:
    both = {"user": str(administrator.pk), "connection_id": "abc"}
    for given in ({}, both):
        assert "one of the two" in add_watch(client, **given)
    assert MessageWatch.objects.count() == 0


@pytest.mark.parametrize("days", [-1, 30])
def test_a_watch_ends_in_the_near_future(client: Client, days: int) -> None:
    day = timezone.now() + timedelta(days=days)
    page = add_watch(client, connection_id="abc", until_0=f"{day:%Y-%m-%d}")
    assert "Within the next" in page
    assert MessageWatch.objects.count() == 0


def test_a_viewer_cannot_switch_the_message_log() -> None:
    viewer = User.objects.create_user("vera", role=roles.VIEWER)
    client = Client()
    client.force_login(viewer, backend="django.contrib.auth.backends.ModelBackend")
    assert client.get(f"{WATCHES}add/").status_code == 403


def test_who_is_present_is_looked_at(client: Client, administrator: User) -> None:
    UserPresence.objects.create(
        user_id=administrator.pk, username="ana", status="away", last_seen=NOW, changed_at=NOW
    )
    page = client.get("/admin/realtime/userpresence/").content.decode()
    assert "ana" in page
    assert "Away" in page
    assert client.get("/admin/realtime/userpresence/add/").status_code == 403
