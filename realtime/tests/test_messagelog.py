"""The message log: one line for every message of those who are watched, and what it never says."""

import asyncio
import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import msgpack
import pytest

from accounts import roles
from accounts.models import User
from realtime import journal, messagelog
from realtime.calls import call
from realtime.core.session import Session
from realtime.messagelog import MessageLog, Watch, kind_of
from realtime.models import JournalEntry, MessageWatch
from realtime.tests.doubles import NOW, member, principal, user_id_of
from realtime.tests.test_broker import until

LATER = NOW + timedelta(minutes=5)


class Clock:
    now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions() -> list[Session]:
    return [member(principal(name), id=f"connection of {name}").session for name in ("ana", "eva")]


@pytest.fixture
async def log(sessions: list[Session], clock: Clock) -> Any:
    log = MessageLog(lambda: sessions, clock=clock)
    yield log
    log.stop()


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [
        json.loads(each.message) for each in caplog.records if each.name == "vitalwire.messages"
    ]


def user_watch(name: str = "ana", until: datetime = LATER) -> Watch:
    return Watch(user_id_of(name), "", until)


# --- Who is watched ------------------------------------------------------------------------


async def test_nobody_is_watched_at_first(log: MessageLog, sessions: list[Session]) -> None:
    assert not any(log.watches(session) for session in sessions)
    assert [session.tap for session in sessions] == [None, None]


async def test_a_user_is_watched_on_every_connection(
    log: MessageLog, sessions: list[Session]
) -> None:
    log.watch([user_watch()])
    assert [session.tap for session in sessions] == [log, None]
    newcomer = member(principal("ana")).session
    log.look_at(newcomer)
    assert newcomer.tap is log


async def test_one_connection_is_watched(log: MessageLog, sessions: list[Session]) -> None:
    log.watch([Watch(None, "connection of eva", LATER)])
    assert [session.tap for session in sessions] == [None, log]


async def test_a_watch_that_is_taken_back_ends_at_once(
    log: MessageLog, sessions: list[Session]
) -> None:
    log.watch([user_watch()])
    log.watch([])
    assert sessions[0].tap is None


async def test_a_watch_ends_by_itself(
    log: MessageLog, sessions: list[Session], clock: Clock
) -> None:
    log.watch([user_watch(until=NOW + timedelta(seconds=0.02)), user_watch("eva")])
    clock.now = NOW + timedelta(seconds=0.02)
    await until(lambda: sessions[0].tap is None)
    assert sessions[1].tap is log


# --- What is written -----------------------------------------------------------------------


async def test_a_line_says_everything_but_the_body(
    log: MessageLog, sessions: list[Session], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "vitalwire.messages"):
        log.received(sessions[0], '{"type":"subscribe","channel":"alerts","secret":"ä"}')
        log.sent(sessions[0], b'{"type":"alert","channel":"alerts","title":"secret"}')
    assert lines(caplog) == [
        {
            "timestamp": NOW.isoformat().replace("+00:00", "Z"),
            "direction": direction,
            "type": kind,
            "size": size,
            "channel": "alerts",
            "connection": "connection of ana",
            "user": "ana",
        }
        for direction, kind, size in (("received", "subscribe", 53), ("sent", "alert", 52))
    ]
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ('{"type":"Subscribe","data":{"topics":["chat.x"]}}', ("Subscribe", "")),
        (b'{"type":"Broadcast","data":{"topic":"chat.x"}}', ("Broadcast", "chat.x")),
        ('{"coordinates":[1,2,3],"event":"FINISH","timestamp":1}', ("FINISH", "")),
        (b'{"status":"SAVED", "surgeryId":"x"}', ("SAVED", "")),
        ('{"type":7,"channel":[1]}', ("?", "?")),
        ('{"type":"' + "x" * 500 + '"}', ("x" * 64, "")),
        ("[]", ("?", "")),
        ("not JSON", ("?", "")),
        (b"\xff\x00", ("?", "")),
        ("[" * 100_000, ("?", "")),
        ("\ud800", ("?", "")),
        (msgpack.packb({"type": "alert", "channel": "alerts"}), ("alert", "alerts")),
        (msgpack.packb([1]), ("?", "")),
        (b"\x01\x00\x00\x00\x02ab", ("?", "")),
    ],
)
def test_type_and_channel_are_read_as_any_dialect_writes_them(
    data: str | bytes, expected: tuple[str, str]
) -> None:
    assert kind_of(data) == expected


async def test_what_a_peer_calls_its_message_breaks_no_line(
    log: MessageLog, sessions: list[Session], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "vitalwire.messages"):
        log.received(sessions[0], json.dumps({"type": "a\r\nb\0"}))
    (record,) = caplog.records
    assert "\n" not in record.message
    assert lines(caplog)[0]["type"] == "a\r\nb\0"


# --- The rows ------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
async def test_a_stored_watch_is_announced_in_the_journal_and_read(
    sessions: list[Session],
) -> None:
    log = MessageLog(lambda: sessions)
    user = await call(User.objects.create_user, "ana", role=roles.OPERATOR)
    sessions[0].principal = principal("ana")
    until_then = datetime.now(UTC) + timedelta(minutes=1)
    await call(messagelog.save_watch, MessageWatch(user=user, until=until_then))
    await call(
        messagelog.save_watch, MessageWatch(connection_id="connection of eva", until=until_then)
    )
    kinds = await call(lambda: [entry.kind for entry in JournalEntry.objects.all()])
    assert kinds == ["MessageWatchChanged"] * 2
    await log.reload()
    assert log.watches(sessions[1])
    assert {watch.user_id for watch in log._watches} == {user.pk, None}
    await call(lambda: messagelog.end_watches(MessageWatch.objects.all()))
    await log.reload()
    assert not log.watches(sessions[1])
    assert await call(JournalEntry.objects.count) == 3
    assert (await call(journal.head)).n == 3


@pytest.mark.django_db
def test_what_has_ended_is_deleted_without_a_word() -> None:
    MessageWatch.objects.create(connection_id="a", until=NOW)
    MessageWatch.objects.create(connection_id="b", until=LATER)
    messagelog.prune(now=NOW + timedelta(seconds=1))
    assert [watch.connection_id for watch in MessageWatch.objects.all()] == ["b"]
    assert JournalEntry.objects.count() == 0


async def test_nothing_waits_for_an_end_after_it_was_stopped(sessions: list[Session]) -> None:
    log = MessageLog(lambda: sessions, clock=Clock())
    log.watch([user_watch()])
    assert log._end is not None
    log.stop()
    assert log._end is None
    await asyncio.sleep(0)
