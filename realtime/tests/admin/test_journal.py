"""What was told, in the admin: found by topic, read by who may."""

from collections.abc import Callable

import msgspec
import pytest
from django.db import transaction
from django.test import Client

from accounts.models import User
from realtime import journal
from realtime.core.events import Event
from realtime.models import JournalEntry
from realtime.tests.doubles import completed
from realtime.tests.message_events import direct_message, published

pytestmark = pytest.mark.django_db

URL = "/admin/realtime/journalentry/"


def tell(*events: Event) -> list[JournalEntry]:
    with transaction.atomic():
        journal.append_all(events)
    journal.number_committed()
    return list(JournalEntry.objects.order_by("position"))


def found(client: Client, **query: str) -> set[str]:
    response = client.get(URL, query)
    assert response.status_code == 200
    return {entry.event_id for entry in response.context["cl"].result_list}


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("chat.general", {"1"}),
        ("chat.**", {"1", "2", "3"}),
        ("chat.*", {"1", "2"}),
        ("chat.*.a", {"3"}),
        ("chat.*.**", {"1", "2", "3"}),
        ("chatter.**", {"4"}),
        ("nothing.at.all", set()),
        ("e-5", {"e-5"}),
        ("3", {"3"}),
        ("...", set()),
        ("", {"1", "2", "3", "4", "e-5"}),
    ],
)
def test_entries_are_found_by_topic_pattern_id_and_position(
    client: Client, search: str, expected: set[str]
) -> None:
    topics = ("chat.general", "chat.other", "chat.room.a", "chatter")
    tell(*(published(str(number), topic) for number, topic in enumerate(topics, 1)))
    tell(completed("e-5"))
    assert found(client, q=search) == expected


def test_a_user_s_private_topic_is_found_by_name(client: Client) -> None:
    ana = User.objects.create_user("ana")
    tell(msgspec.structs.replace(direct_message("d1"), recipient_id=ana.pk))
    tell(direct_message("d2", to="bea"))
    assert found(client, q="users.ana") == {"d1"}
    assert found(client, q=f"users.{ana.pk}") == {"d1"}
    assert found(client, q="users.**") == {"d1", "d2"}
    assert found(client, q="users.nobody") == set()


def test_entries_are_found_by_kind_and_time(client: Client) -> None:
    tell(published("1"), completed("2"))
    assert found(client, kind="Published") == {"1"}
    day = {"created_at_from_0": "2026-03-05", "created_at_to_0": "2026-03-05"}
    assert found(client, **day) == {"1", "2"}
    assert found(client, **day, created_at_to_1="10:29:59") == set()
    assert found(client, created_at_from_0="2026-03-06") == set()
    assert found(client, created_at_from_0="nonsense") == {"1", "2"}


def test_what_was_said_is_readable(client: Client) -> None:
    [entry] = tell(published(payload={"text": "<b>ñ</b>"}))
    page = client.get(f"{URL}{entry.pk}/change/").content.decode()
    assert "&quot;text&quot;: &quot;&lt;b&gt;ñ&lt;/b&gt;&quot;" in page


def test_a_direct_message_is_read_by_who_has_the_permission(
    client: Client, as_viewer: Callable[..., Client]
) -> None:
    direct, public = tell(direct_message(payload="psst"), published(payload="hello"))
    viewer = as_viewer("view_journalentry")
    assert "psst" not in viewer.get(f"{URL}{direct.pk}/change/").content.decode()
    assert (
        "those who have the permission" in viewer.get(f"{URL}{direct.pk}/change/").content.decode()
    )
    assert "hello" in viewer.get(f"{URL}{public.pk}/change/").content.decode()
    assert "psst" in client.get(f"{URL}{direct.pk}/change/").content.decode()


def test_a_reader_of_private_messages_need_be_no_administrator(
    as_viewer: Callable[..., Client],
) -> None:
    [direct] = tell(direct_message(payload="psst"))
    reader = as_viewer("view_journalentry", "read_private")
    assert "psst" in reader.get(f"{URL}{direct.pk}/change/").content.decode()


def test_how_long_it_stays_is_shown(client: Client) -> None:
    assert "there is nothing yet" in client.get(URL).content.decode()
    tell(published())
    page = client.get(URL).content.decode()
    assert "Kept for 7 days (VITALWIRE_JOURNAL_DAYS); the oldest entry is of 2026-03-05" in page


def test_history_is_not_rewritten(client: Client) -> None:
    [entry] = tell(published())
    assert client.get(f"{URL}add/").status_code == 403
    assert client.post(f"{URL}{entry.pk}/delete/", {"post": "yes"}).status_code == 403
