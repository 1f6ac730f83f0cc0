"""What waits for users, in the admin: who may read it, and that it can be deleted."""

from collections.abc import Callable

import msgspec
import pytest
from django.db import transaction
from django.test import Client

from accounts import roles
from accounts.models import User
from realtime import journal, mailbox
from realtime.models import JournalEntry, QueuedMessage
from realtime.notifications import notify
from realtime.tests.message_events import direct_message

pytestmark = pytest.mark.django_db

URL = "/admin/realtime/queuedmessage/"


@pytest.fixture
def ana() -> User:
    return User.objects.create_user("ana")


@pytest.fixture
def queued(ana: User) -> QueuedMessage:
    event = msgspec.structs.replace(
        direct_message(payload="psst", sender="bea"), recipient_id=ana.pk
    )
    with transaction.atomic():
        journal.append(event)
        assert mailbox.keep(event, ana.pk)
    return QueuedMessage.objects.get()


def test_it_shows_for_whom_from_whom_and_how_long(client: Client, queued: QueuedMessage) -> None:
    notify("info", "Hello", "there", user=queued.user, by="root")
    page = client.get(URL).content.decode()
    for text in ("ana", "bea", "direct message", "notification", "root", "March 12, 2026"):
        assert text in page
    assert "psst" not in page
    assert "Kept for 7 days (VITALWIRE_QUEUED_DAYS), at most 1,000 for each user" in page


def test_what_it_says_is_read_by_who_has_the_permission(
    client: Client, queued: QueuedMessage, as_viewer: Callable[..., Client]
) -> None:
    url = f"{URL}{queued.pk}/change/"
    assert "psst" in client.get(url).content.decode()
    page = as_viewer("view_queuedmessage").get(url).content.decode()
    assert "psst" not in page
    assert "bea" in page


def test_what_the_history_lost_is_told(client: Client, queued: QueuedMessage) -> None:
    JournalEntry.objects.all().delete()
    assert client.get(URL).status_code == 200
    assert "any more" in client.get(f"{URL}{queued.pk}/change/").content.decode()


@pytest.mark.parametrize("how", ["alone", "with others"])
def test_it_is_deleted_and_the_history_stays(
    client: Client, queued: QueuedMessage, how: str
) -> None:
    if how == "alone":
        client.post(f"{URL}{queued.pk}/delete/", {"post": "yes"})
    else:
        chosen = {"action": "delete_selected", "_selected_action": [str(queued.pk)], "post": "yes"}
        client.post(URL, chosen)
    assert QueuedMessage.objects.count() == 0
    assert JournalEntry.objects.filter(kind="DirectMessageSent").count() == 1


def test_it_is_neither_added_nor_changed(client: Client, queued: QueuedMessage) -> None:
    assert client.get(f"{URL}add/").status_code == 403
    client.post(f"{URL}{queued.pk}/change/", {"event_id": "other"})
    assert QueuedMessage.objects.get().event_id == queued.event_id


def test_operators_may_not_delete_it(queued: QueuedMessage) -> None:
    operator = User.objects.create_user("olga", role=roles.OPERATOR)
    assert operator.has_perm("realtime.view_queuedmessage")
    assert not operator.has_perm("realtime.delete_queuedmessage")
