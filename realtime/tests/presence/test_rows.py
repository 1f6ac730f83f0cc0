"""The rows of who is present: what several processes say of a user, and who is told."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from realtime import nodes
from realtime.core.events import PresenceChanged, presence_topic
from realtime.core.presence import SILENCE, Voice
from realtime.models import JournalEntry, NodePresence, UserPresence
from realtime.presence import rows
from realtime.presence.rows import Change
from realtime.tests.doubles import NOW, user_id_of

pytestmark = pytest.mark.django_db

GRACE = timedelta(seconds=3)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def change(username: str = "ana", voice: Voice | None = None, *, at: datetime = NOW) -> Change:
    return Change(user_id_of(username), username, voice or Voice(), at)


def write(node: str, *changes: Change, at: datetime = NOW) -> list[tuple[str, str]]:
    """Write these; return who is told to be what."""
    return told(rows.write(node, list(changes), now=at))


def told(events: list[PresenceChanged]) -> list[tuple[str, str]]:
    return [(event.username, event.status) for event in events]


def journal() -> list[tuple[str, str]]:
    return list(JournalEntry.objects.order_by("id").values_list("kind", "topic"))


@pytest.fixture
def beats() -> Callable[..., None]:
    def beat(*node_ids: str, at: datetime = NOW) -> None:
        for node_id in node_ids:
            nodes.beat(node_id, {}, now=at)

    return beat


def test_the_first_process_that_has_a_user_makes_them_online() -> None:
    assert write("one", change()) == [("ana", "online")]
    assert journal() == [("PresenceChanged", presence_topic("ana"))]
    assert write("two", change()) == []
    assert NodePresence.objects.count() == 2
    assert UserPresence.objects.count() == 1


def test_the_last_process_that_loses_a_user_makes_them_offline() -> None:
    write("one", change())
    write("two", change())
    assert write("one", change(voice=SILENCE), at=after(10)) == []
    assert write("two", change(voice=SILENCE, at=after(7)), at=after(10)) == [("ana", "offline")]
    row = UserPresence.objects.get()
    assert (row.last_seen, row.changed_at) == (after(7), after(10))
    assert NodePresence.objects.count() == 0


def test_the_most_present_process_and_the_latest_metadata_decide() -> None:
    write("one", change(voice=Voice("online", {"device": "web"}, NOW)))
    away = Voice("away", {"device": "phone"}, after(1))
    [event] = rows.write("two", [change(voice=away)], now=after(1))
    assert (event.status, event.metadata) == ("online", {"device": "phone"})
    assert write("one", change(voice=SILENCE)) == [("ana", "away")]


def test_what_changes_nothing_is_not_told() -> None:
    write("one", change())
    assert write("one", change(voice=Voice("online", {}, after(5)))) == []


def test_metadata_may_hold_what_postgresql_s_json_does_not() -> None:
    metadata = {"name": "a\u0000b", "text": "ñ 🎉"}
    [event] = rows.write("one", [change(voice=Voice("online", metadata, NOW))], now=NOW)
    assert event.metadata == metadata
    assert rows.find_present()[0].metadata == metadata


def test_many_users_cost_no_more_statements_than_one() -> None:
    def statements(*names: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            write("one", *map(change, names))
        return len(queries)

    assert statements("ana") == statements(*(f"user {number}" for number in range(100)))
    assert UserPresence.objects.filter(status="online").count() == 101


def test_a_failed_write_leaves_nothing_and_tells_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(rows.journal, "append_all", fail)
    with pytest.raises(RuntimeError):
        write("one", change())
    assert not NodePresence.objects.exists()
    assert not UserPresence.objects.exists()


# --- Dead processes ------------------------------------------------------------------------


def test_users_of_a_dead_process_are_offline_since_its_last_heartbeat(
    beats: Callable[..., None],
) -> None:
    beats("dead", at=after(4))
    write("dead", change())
    beats("alive", at=after(15))
    assert rows.sweep("alive", now=after(15), grace=GRACE)
    assert journal()[1:] == []
    assert rows.sweep("alive", now=after(16.5), grace=GRACE)
    assert UserPresence.objects.get().status == "offline"
    assert UserPresence.objects.get().last_seen == after(4)
    assert NodePresence.objects.count() == 0
    assert len(journal()) == 2


def test_who_is_elsewhere_as_well_stays_present(beats: Callable[..., None]) -> None:
    beats("dead")
    write("dead", change())
    write("alive", change())
    beats("alive", at=after(20))
    assert rows.sweep("alive", now=after(20), grace=GRACE)
    assert UserPresence.objects.get().status == "online"
    assert list(NodePresence.objects.values_list("node_id", flat=True)) == ["alive"]
    assert len(journal()) == 1


def test_users_of_a_process_that_ended_in_order_have_time_to_come_back(
    beats: Callable[..., None],
) -> None:
    beats("ended")
    write("ended", change())
    rows.note_end("ended", now=after(20))
    nodes.bury("ended")
    beats("alive", at=after(22))
    rows.sweep("alive", now=after(22), grace=GRACE)
    assert UserPresence.objects.get().status == "online"
    rows.sweep("alive", now=after(24), grace=GRACE)
    assert UserPresence.objects.get().status == "offline"
    assert UserPresence.objects.get().last_seen == after(20)


def test_whoever_is_late_itself_sweeps_nobody(beats: Callable[..., None]) -> None:
    beats("one", "two")
    write("one", change())
    assert not rows.sweep("two", now=after(20), grace=GRACE)
    assert UserPresence.objects.get().status == "online"


def test_more_are_swept_than_at_once(
    beats: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "SWEPT_AT_ONCE", 2)
    beats("dead")
    write("dead", *(change(f"user {number}") for number in range(5)))
    beats("alive", at=after(20))
    rows.sweep("alive", now=after(20), grace=GRACE)
    assert NodePresence.objects.count() == 0
    assert UserPresence.objects.filter(status="offline").count() == 5


# --- Asking --------------------------------------------------------------------------------


def test_those_present_are_found_in_the_order_they_came() -> None:
    write("one", change("bea"))
    write("one", change("ana"), at=after(1))
    write("one", change("cleo"), change("bea", SILENCE), at=after(2))
    assert told(rows.find_present()) == [("ana", "online"), ("cleo", "online")]


def test_who_is_offline_is_found_by_topic() -> None:
    write("one", change("j. doe"), change("ana"))
    write("one", change("j. doe", SILENCE, at=after(1)), at=after(2))
    topics = [presence_topic(name) for name in ("j. doe", "ana", "nobody")]
    [event] = rows.find_offline(topics)
    assert (event.username, event.last_seen) == ("j. doe", after(1))


def test_who_has_no_account_any_more_is_forgotten_once_offline() -> None:
    ana = User.objects.create_user("ana")
    kept = Change(ana.pk, "ana", Voice(), NOW)
    write("one", kept, change("gone"), change("going"))
    write("one", Change(ana.pk, "ana", SILENCE, NOW), change("gone", SILENCE))
    assert rows.prune() == 1
    assert set(UserPresence.objects.values_list("username", flat=True)) == {"ana", "going"}
