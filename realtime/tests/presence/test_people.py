"""What the connections of one process say of their users; time is passed in."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import msgspec
import pytest
from django.db import DatabaseError

from accounts import roles
from realtime import journal
from realtime.core.events import PresenceChanged
from realtime.core.presence import SILENCE, Voice
from realtime.core.session import Session
from realtime.models import NodePresence, UserPresence
from realtime.presence import Presence, people, rows
from realtime.presence.people import APART_SECONDS, LINGER_SECONDS, TRUST_AFTER_SECONDS
from realtime.presence.rows import Change
from realtime.tests.doubles import NOW, member, principal, user_id_of
from realtime.tests.hubs import FakeClock


@pytest.fixture
def presence(clock: FakeClock) -> Presence:
    began = clock.now
    return Presence(
        "here", clock=clock.time, now=lambda: NOW + timedelta(seconds=clock.now - began)
    )


_ids = count()


def session(username: str = "ana", **options: Any) -> Session:
    return member(principal(username, **options), id=str(next(_ids))).session


def written(presence: Presence) -> list[tuple[str, Voice]]:
    """Write what is due; return it by user name."""
    changes = presence.take()
    presence.done(changes)
    return [(change.username, change.voice) for change in changes]


def test_who_joins_is_online_at_once(presence: Presence) -> None:
    presence.on_join(session())
    assert written(presence) == [("ana", Voice())]
    assert presence.is_idle


def test_five_thousand_joins_of_one_user_are_one_change(presence: Presence) -> None:
    for _ in range(5_000):
        presence.on_join(session())
    assert written(presence) == [("ana", Voice())]
    presence.on_join(session())
    assert written(presence) == []


def test_a_device_is_nobody(presence: Presence) -> None:
    pump = session("pump", role=roles.DEVICE)
    presence.on_join(pump)
    presence.say(pump, "away", {"a": 1})
    presence.on_leave(pump)
    assert written(presence) == []
    assert presence.is_idle


def test_who_leaves_is_offline_a_few_seconds_later(presence: Presence, clock: FakeClock) -> None:
    ana = session()
    presence.on_join(ana)
    written(presence)
    left_at = NOW + timedelta(seconds=clock.now - 1000)
    presence.on_leave(ana)
    clock.advance(LINGER_SECONDS - 0.1)
    assert written(presence) == []
    assert not presence.is_idle
    clock.advance(0.2)
    assert presence.take() == [Change(user_id_of("ana"), "ana", SILENCE, left_at)]


def test_a_page_that_is_loaded_anew_is_not_told(presence: Presence, clock: FakeClock) -> None:
    before = session()
    presence.on_join(before)
    written(presence)
    presence.on_leave(before)
    clock.advance(LINGER_SECONDS / 2)
    presence.on_join(session())
    clock.advance(LINGER_SECONDS * 2)
    assert written(presence) == []
    assert presence.is_idle


def test_who_leaves_one_of_two_screens_stays(presence: Presence, clock: FakeClock) -> None:
    one, other = session(), session()
    presence.on_join(one)
    presence.on_join(other)
    written(presence)
    presence.on_leave(one)
    clock.advance(LINGER_SECONDS * 2)
    assert written(presence) == []


def test_everybody_who_left_is_forgotten(presence: Presence, clock: FakeClock) -> None:
    for name in ("ana", "bea"):
        one = session(name)
        presence.on_join(one)
        written(presence)
        presence.on_leave(one)
        presence.on_leave(one)
    clock.advance(LINGER_SECONDS * 2)
    assert written(presence) == [("ana", SILENCE), ("bea", SILENCE)]
    assert not presence._people
    assert presence.is_idle


def test_who_came_and_left_before_anything_was_written_is_told_both(
    presence: Presence, clock: FakeClock
) -> None:
    ana = session()
    presence.on_join(ana)
    presence.on_leave(ana)
    assert written(presence) == [("ana", Voice())]
    clock.advance(LINGER_SECONDS + 1)
    assert written(presence) == [("ana", SILENCE)]


def test_what_a_client_says_is_written_but_not_every_time(
    presence: Presence, clock: FakeClock
) -> None:
    ana = session()
    presence.on_join(ana)
    written(presence)
    for number in range(100):
        presence.say(ana, "away", {"number": number})
    assert written(presence) == []
    clock.advance(APART_SECONDS + 0.1)
    [(name, voice)] = written(presence)
    assert (name, voice.status, voice.metadata) == ("ana", "away", {"number": 99})


def test_metadata_stays_while_only_the_status_is_told(presence: Presence, clock: FakeClock) -> None:
    ana = session()
    presence.on_join(ana)
    presence.say(ana, None, {"device": "web"})
    presence.say(ana, "away", None)
    [(_, voice)] = written(presence)
    assert (voice.status, voice.metadata) == ("away", {"device": "web"})


def test_who_says_to_be_offline_is(presence: Presence, clock: FakeClock) -> None:
    ana = session()
    presence.on_join(ana)
    written(presence)
    clock.advance(APART_SECONDS + 0.1)
    presence.say(ana, "offline", None)
    assert written(presence) == [("ana", SILENCE)]
    clock.advance(APART_SECONDS + 0.1)
    presence.say(ana, "online", None)
    assert written(presence) == [("ana", Voice())]


def test_at_most_so_many_are_written_at_once(
    presence: Presence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "USERS_AT_ONCE", 2)
    for name in ("ana", "bea", "cleo"):
        presence.on_join(session(name))
    assert [len(written(presence)) for _ in range(3)] == [2, 1, 0]


def test_what_could_not_be_written_is_written_later(presence: Presence, clock: FakeClock) -> None:
    presence.on_join(session())
    presence.undo(presence.take())
    assert presence.take() == []
    clock.advance(people.RETRY_SECONDS)
    assert written(presence) == [("ana", Voice())]


# --- Against the database ------------------------------------------------------------------


@pytest.fixture
def _database_is_away(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def fail(*_: Any, **__: Any) -> Any:
        raise DatabaseError("away")

    with monkeypatch.context() as patch:
        for name in ("write", "sweep", "held_by"):
            patch.setattr(people, name, fail)
        yield


@pytest.mark.usefixtures("_database_is_away")
async def test_a_database_that_is_away_is_waited_for(presence: Presence, clock: FakeClock) -> None:
    presence.on_join(session())
    await presence.flush()
    assert not presence.is_idle
    clock.advance(people.RETRY_SECONDS)
    assert len(presence.take()) == 1


async def test_nobody_is_swept_until_the_others_heartbeats_can_be_trusted(
    presence: Presence, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[float] = []
    began = clock.now

    def sweep(*_: Any, **__: Any) -> bool:
        """Our own heartbeat is late the second time."""
        swept.append(clock.now - began)
        return len(swept) != 2

    monkeypatch.setattr(people, "sweep", sweep)
    while len(swept) < 3:
        await presence.sweep()
        clock.advance(1)
    trusted = TRUST_AFTER_SECONDS
    assert swept == [trusted, trusted + 1, trusted + 1 + trusted]


@pytest.mark.django_db(transaction=True)
async def test_rows_that_others_took_away_are_written_again(
    presence: Presence, clock: FakeClock
) -> None:
    presence.on_join(session())
    await presence.flush()
    await people.call(NodePresence.objects.all().delete)
    clock.advance(APART_SECONDS + 0.1)
    await presence._keep()
    await presence.flush()
    assert await people.call(NodePresence.objects.count) == 1


@pytest.mark.django_db(transaction=True)
async def test_a_row_of_nobody_is_taken_back(presence: Presence) -> None:
    change = Change(user_id_of("ana"), "ana", Voice(), NOW)
    await people.call(rows.write, "here", [change], now=NOW)
    await presence._keep()
    await presence.flush()
    assert await people.call(NodePresence.objects.count) == 0
    row = await people.call(UserPresence.objects.get)
    assert (row.username, row.status) == ("ana", "offline")
    assert not presence._people


@pytest.mark.django_db(transaction=True)
async def test_a_new_name_is_told_and_the_old_one_is_offline(
    presence: Presence, clock: FakeClock
) -> None:
    ana = session()
    presence.on_join(ana)
    await presence.flush()
    ana.principal = msgspec.structs.replace(ana.principal, username="bea")
    clock.advance(APART_SECONDS + 0.1)
    await presence._keep()
    await presence.flush()
    assert await people.call(told) == [
        ("ana", "online"),
        ("ana", "offline"),
        ("bea", "online"),
    ]


def told() -> list[tuple[str, str]]:
    """Return who was told to be what."""
    events = [entry.event for entry in journal.read_after(0)]
    return [(each.username, each.status) for each in events if isinstance(each, PresenceChanged)]
