"""The journal: positions without a gap, in order, after commit, whoever writes and whoever dies."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from devices.tests.test_writer_killed import database_url
from realtime import journal
from realtime.journal import Numbered
from realtime.models import JournalEntry, JournalHead
from realtime.tests.doubles import NOW, completed, started
from realtime.tests.message_events import published

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 6
EVENTS_EACH = 20
KILLED = 3
ANSWERS_MAX = 120


class Unforeseen(Exception):
    """Stands for anything that makes a transaction roll back."""


def happen(*ids: str) -> None:
    """Let events happen, all in one transaction."""
    with transaction.atomic():
        for id_ in ids:
            journal.append(started(id_))


def happen_in_vain(id_: str) -> None:
    """Append in a transaction, or a savepoint, that rolls back."""
    with transaction.atomic():
        journal.append(started(id_))
        raise Unforeseen


def numbered() -> list[tuple[int, str]]:
    """Return position and id of everything that has a position, in order."""
    rows = JournalEntry.objects.exclude(position=None).order_by("position")
    return list(rows.values_list("position", "event_id"))


@pytest.fixture
def heard() -> Iterator[list[Numbered]]:
    """Collect what this process numbers."""
    entries: list[Numbered] = []
    stop = journal.on_numbered(entries.extend)
    yield entries
    stop()


# --- Appending -----------------------------------------------------------------------------


def test_appending_belongs_into_a_transaction() -> None:
    with pytest.raises(RuntimeError, match="transaction of the change"):
        journal.append(started())
    assert not JournalEntry.objects.exists()


def test_positions_begin_with_one_and_have_no_gap() -> None:
    happen("a")
    happen("b", "c")
    assert numbered() == [(1, "a"), (2, "b"), (3, "c")]
    assert journal.head().n == 3


def test_an_event_is_kept_as_it_was() -> None:
    with transaction.atomic():
        journal.append(completed("x"))
    (entry,) = journal.read_after(0)
    assert entry.event == completed("x")
    assert entry.topic == "surgeries.completed"
    row = JournalEntry.objects.get()
    assert (row.kind, row.created_at) == ("SurgeryCompleted", NOW)


def test_nothing_is_announced_after_a_rollback(heard: list[Numbered]) -> None:
    with pytest.raises(Unforeseen):
        happen_in_vain("never")
    happen("next")
    assert numbered() == [(1, "next")]
    assert [entry.event.id for entry in heard] == ["next"]


def test_a_savepoint_that_rolls_back_takes_its_event_with_it() -> None:
    with transaction.atomic():
        journal.append(started("kept"))
        with pytest.raises(Unforeseen):
            happen_in_vain("lost")
        journal.append(started("kept too"))
    assert numbered() == [(1, "kept"), (2, "kept too")]


def test_nothing_has_a_position_before_the_outermost_commit(heard: list[Numbered]) -> None:
    with transaction.atomic():
        happen("a")
        assert numbered() == []
        assert heard == []
        assert journal.read_after(0) == []
    assert numbered() == [(1, "a")]


def test_the_same_event_cannot_be_appended_twice() -> None:
    happen("a")
    with pytest.raises(Exception, match=r"(?i)unique"):
        happen("a")
    happen("b")
    assert numbered() == [(1, "a"), (2, "b")]


# --- What expires --------------------------------------------------------------------------

SECOND = timedelta(seconds=1)


def publish(*events: Any) -> None:
    with transaction.atomic():
        for event in events:
            journal.append(event)


def test_what_has_expired_is_forgotten_and_leaves_no_gap() -> None:
    publish(
        published("first"),
        published("short", expires_at=NOW),
        published("long", expires_at=NOW + SECOND),
    )
    assert journal.forget_expired(now=NOW) == 1
    assert journal.forget_expired(now=NOW) == 0
    entries = journal.read_after(0)
    assert [(entry.n, entry.event.id, entry.event.kind) for entry in entries] == [
        (1, "first", "Published"),
        (2, "short", "Forgotten"),
        (3, "long", "Published"),
    ]
    assert entries[1].topic == "control.forgotten"
    row = JournalEntry.objects.get(position=2)
    assert (row.kind, row.expires_at) == ("Forgotten", None)
    assert b"hello" not in bytes(row.payload)


def test_what_has_no_position_yet_is_not_forgotten() -> None:
    with transaction.atomic():
        journal.append(published("short", expires_at=NOW))
        assert journal.forget_expired(now=NOW) == 0
    assert journal.forget_expired(now=NOW) == 1


# --- Reading a topic -----------------------------------------------------------------------


def of_topic(**bounds: Any) -> list[str]:
    entries = journal.read_topic("chat.general", now=NOW, **{"limit": 10, **bounds})
    return [entry.event.id for entry in entries]


def test_a_topic_is_read_between_two_positions() -> None:
    publish(*(published(str(n), "chat.general" if n % 2 else "chat.x") for n in range(1, 10)))
    assert of_topic() == ["9", "7", "5", "3", "1"]
    assert of_topic(limit=2) == ["9", "7"]
    assert of_topic(before=7, limit=2) == ["5", "3"]
    assert of_topic(after=3) == ["5", "7", "9"]
    assert of_topic(after=2, limit=2) == ["3", "5"]
    assert of_topic(after=3, before=9) == ["5", "7"]
    assert of_topic(after=9) == []


def test_of_a_topic_what_has_expired_is_not_read() -> None:
    publish(published("short", expires_at=NOW), published("long", expires_at=NOW + SECOND))
    assert of_topic() == ["long"]


def test_what_is_large_is_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "FIRST_STEP", 2)
    monkeypatch.setattr(journal, "READ_BYTES", 5_000)
    publish(*(published(str(n), payload="x" * 1_000) for n in range(20)))
    assert [entry.n for entry in journal.read_after(3)] == [4, 5, 6, 7, 8, 9]
    assert [entry.n for entry in journal.read_after(3, 5)] == [4, 5, 6, 7, 8]


def test_the_oldest_is_the_head_where_nothing_is_kept() -> None:
    assert journal.oldest() == 0
    publish(published("a"), published("b"))
    JournalEntry.objects.filter(position=1).delete()
    assert journal.oldest() == 1
    JournalEntry.objects.all().delete()
    assert journal.oldest() == 2


# --- Numbering -----------------------------------------------------------------------------


def test_listeners_hear_every_batch_in_order_until_they_stop() -> None:
    batches: list[list[int]] = []
    stop = journal.on_numbered(lambda batch: batches.append([entry.n for entry in batch]))
    happen("a", "b")
    happen("c")
    stop()
    happen("d")
    assert batches == [[1, 2], [3]]


def test_who_comes_while_another_numbers_leaves_its_rows_to_that_one() -> None:
    turned_away: list[list[Numbered]] = []

    def commit_more(batch: list[Numbered]) -> None:
        if not turned_away:
            happen("b")
            turned_away.append(journal.number_committed())

    stop = journal.on_numbered(commit_more)
    happen("a")
    stop()
    assert turned_away == [[]]
    assert [n for n, _ in numbered()] == [1, 2]


def test_a_listener_that_fails_does_not_fail_the_change(heard: list[Numbered]) -> None:
    def fails(batch: list[Numbered]) -> None:
        raise RuntimeError("the event loop is closed")

    stop = journal.on_numbered(fails)
    happen("a")
    stop()
    happen("b")
    assert numbered() == [(1, "a"), (2, "b")]
    assert [entry.n for entry in heard] == [1, 2]


def test_many_events_are_numbered_in_pieces(
    heard: list[Numbered], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "NUMBERED_AT_ONCE", 3)
    ids = [f"e{number:02}" for number in range(10)]
    happen(*ids)
    assert numbered() == list(enumerate(ids, start=1))
    assert [entry.event.id for entry in heard] == ids


def test_numbering_with_nothing_to_number_changes_nothing(heard: list[Numbered]) -> None:
    assert journal.number_committed() == []
    assert heard == []
    assert journal.head().n == 0


def test_a_failed_numbering_loses_nothing_and_leaves_no_gap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(pairs: list[tuple[int, int]]) -> None:
        raise OperationalError("database is locked")

    with monkeypatch.context() as broken:
        broken.setattr(journal, "_write_positions", fails)
        happen("a")
    assert numbered() == []
    assert journal.peek() == (journal.head(), True)
    happen("b")
    assert numbered() == [(1, "a"), (2, "b")]
    assert journal.peek() == (journal.head(), False)


def in_threads(work: Callable[[int], None]) -> None:
    """Run it in several threads at the same moment, and fail if one of them did."""
    gate = threading.Barrier(THREADS)
    problems: list[Exception] = []

    def run(number: int) -> None:
        gate.wait()
        try:
            work(number)
        except Exception as problem:
            problems.append(problem)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems


def test_many_threads_writing_at_once_leave_no_gap_and_keep_their_order(
    heard: list[Numbered],
) -> None:
    def write(thread: int) -> None:
        chance = random.Random(thread)
        for number in range(EVENTS_EACH):
            if chance.random() < 0.2:
                with pytest.raises(Unforeseen):
                    happen_in_vain(f"{thread}-{number}-never")
            happen(f"{thread}-{number}")

    in_threads(write)
    journal.number_committed()
    rows = numbered()
    assert [position for position, _ in rows] == list(range(1, THREADS * EVENTS_EACH + 1))
    for thread in range(THREADS):
        own = [id_ for _, id_ in rows if id_.startswith(f"{thread}-")]
        assert own == [f"{thread}-{number}" for number in range(EVENTS_EACH)]
    assert [(entry.n, entry.event.id) for entry in heard] == rows


def test_whoever_commits_later_comes_later_whoever_wrote_first() -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    has_written, may_commit = threading.Event(), threading.Event()

    def write_slowly() -> None:
        with transaction.atomic():
            journal.append(started("wrote first"))
            has_written.set()
            may_commit.wait(10)
        connection.close()

    thread = threading.Thread(target=write_slowly)
    thread.start()
    has_written.wait(10)
    happen("committed first")
    assert numbered() == [(1, "committed first")]
    may_commit.set()
    thread.join()
    assert numbered() == [(1, "committed first"), (2, "wrote first")]


# --- Reading -------------------------------------------------------------------------------


def test_reading_goes_on_after_a_position() -> None:
    happen("a", "b", "c", "d")
    assert [entry.event.id for entry in journal.read_after(1, 2)] == ["b", "c"]
    assert journal.read_after(4) == []


def test_one_topic_can_be_read_alone() -> None:
    with transaction.atomic():
        for event in (started("a"), completed("b"), started("c"), completed("d")):
            journal.append(event)
    entries = journal.read_after(0, topic="surgeries.completed")
    assert [(entry.n, entry.event.id) for entry in entries] == [(2, "b"), (4, "d")]


def test_what_happened_since_a_moment_is_found() -> None:
    happen("a", "b")
    JournalEntry.objects.filter(event_id="a").update(created_at=NOW - timedelta(days=2))
    assert journal.first_since(NOW - timedelta(days=3)) == 0
    assert journal.first_since(NOW - timedelta(days=1)) == 1
    assert journal.first_since(NOW + timedelta(seconds=1)) == 2


# --- Retention and the head ----------------------------------------------------------------


def test_what_is_old_is_deleted_and_numbering_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "PRUNED_AT_ONCE", 2)
    happen("a", "b", "c", "d", "e")
    JournalEntry.objects.filter(position__lte=3).update(created_at=NOW - timedelta(days=8))
    assert journal.prune(NOW - timedelta(days=7)) == 3
    happen("f")
    assert numbered() == [(4, "d"), (5, "e"), (6, "f")]


def test_what_has_no_position_yet_is_never_deleted() -> None:
    happen("a")
    JournalEntry.objects.update(position=None, created_at=NOW - timedelta(days=8))
    assert journal.prune(NOW) == 0
    assert JournalEntry.objects.count() == 1


def test_the_head_is_made_once_and_keeps_its_epoch() -> None:
    happen("a")
    before = journal.head()
    journal.make_head()
    assert journal.head() == before
    assert JournalHead.objects.count() == 1


def test_a_head_that_was_flushed_away_is_made_anew_with_another_epoch() -> None:
    before = journal.head()
    JournalHead.objects.all().delete()
    journal.make_head()
    assert journal.head().n == 0
    assert journal.head().epoch != before.epoch


# --- Processes that are killed -------------------------------------------------------------


def appender(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "realtime.tests.appender", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "DATABASE_URL": database_url()},
    )


def killed_after(process: subprocess.Popen[str], answers: int) -> list[str]:
    """Read so many answers, kill; return all that were given."""
    assert process.stdout is not None
    committed = []
    with process:
        for line in process.stdout:
            committed.append(line.strip())
            if len(committed) == answers:
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    return committed


def assert_gapless(rows: list[tuple[int, Any]]) -> None:
    assert [position for position, _ in rows] == list(range(1, len(rows) + 1))


def test_writers_killed_at_random_lose_nothing_that_was_committed_and_leave_no_gap() -> None:
    chance = random.Random(20260305)
    processes = [appender(f"writer{number}") for number in range(KILLED)]
    committed = [
        id_
        for process in processes
        for id_ in killed_after(process, chance.randrange(1, ANSWERS_MAX))
    ]
    journal.number_committed()
    rows = numbered()
    assert_gapless(rows)
    ids = [id_ for _, id_ in rows]
    assert set(committed) <= set(ids)
    assert len(ids) == len(set(ids)) == JournalEntry.objects.count()
    assert journal.head().n == len(rows)


@pytest.mark.parametrize("moment", ["before_numbering", "in_numbering"])
def test_what_a_dead_process_left_is_numbered_by_the_next_sweep(moment: str) -> None:
    happen("before")
    assert killed_after(appender("victim", moment), 0) == []
    assert journal.peek() == (journal.head(), True)
    left = JournalEntry.objects.filter(position=None).count()
    assert left >= 1
    journal.number_committed()
    rows = numbered()
    assert_gapless(rows)
    assert len(rows) == 1 + left
    assert journal.peek() == (journal.head(), False)


# --- Numbered from the start -----------------------------------------------------------------


def write(*ids: str) -> list[Numbered]:
    return journal.write_numbered(lambda turn: turn.insert([started(id_) for id_ in ids]))


def test_what_is_written_with_its_position_follows_the_head(heard: list[Numbered]) -> None:
    happen("a")
    entries = write("b", "c")
    happen("d")
    assert numbered() == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    assert journal.head().n == 4
    assert [entry.event.id for entry in heard] == ["a", "b", "c", "d"]
    assert entries == heard[1:3]
    assert [entry.event for entry in journal.read_after(1, 2)] == [started("b"), started("c")]


def test_a_turn_that_fails_leaves_nothing(heard: list[Numbered]) -> None:
    def fail(turn: journal.Turn) -> list[Numbered]:
        turn.insert([started("never")])
        raise Unforeseen

    with pytest.raises(Unforeseen):
        journal.write_numbered(fail)
    write("next")
    assert numbered() == [(1, "next")]
    assert len(heard) == 1


def test_a_turn_that_writes_nothing_tells_nothing(heard: list[Numbered]) -> None:
    assert write() == []
    assert heard == []
    assert journal.head().n == 0


def test_who_is_turned_away_meanwhile_is_numbered_by_the_writer(heard: list[Numbered]) -> None:
    def happen_beside(batch: list[Numbered]) -> None:
        if batch[0].event.id != "first":
            return
        beside = threading.Thread(target=lambda: (happen("beside"), connection.close()))
        beside.start()
        beside.join()

    stop = journal.on_numbered(happen_beside)
    write("first")
    stop()
    assert numbered() == [(1, "first"), (2, "beside")]
