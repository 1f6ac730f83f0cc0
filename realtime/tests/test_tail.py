"""The tail: every durable event once and in order, whatever becomes of the hints."""

import asyncio
import logging
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, transaction
from hypothesis import given
from hypothesis import strategies as st

from realtime import journal
from realtime import tail as module
from realtime.calls import call
from realtime.core.events import Event, encode
from realtime.core.position import Position
from realtime.journal import Numbered
from realtime.models import JournalEntry
from realtime.tail import Tail
from realtime.tests.doubles import started
from realtime.tests.wire import turns


def entry(n: int) -> Numbered:
    event = started(f"e{n}")
    return Numbered(n, event.topic, encode(event))


class Table:
    """The journal as the tail reads it, without a database."""

    def __init__(self, length: int = 0) -> None:
        self.epoch = "e"
        self.entries = [entry(n) for n in range(1, length + 1)]
        self.unnumbered = 0
        self.reads = 0
        self.is_away = False
        self.before_answering: Callable[[str], None] = lambda name: None

    def grow(self, count: int = 1) -> list[Numbered]:
        new = [entry(len(self.entries) + number) for number in range(1, count + 1)]
        self.entries += new
        return new

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        if self.is_away:
            raise OperationalError("the database is away")
        answer = getattr(self, function.__name__)(*args)
        self.before_answering(function.__name__)
        await asyncio.sleep(0)
        return answer

    def head(self) -> Position:
        return Position(self.epoch, len(self.entries))

    def peek(self) -> tuple[Position, bool]:
        return self.head(), bool(self.unnumbered)

    def read_after(self, n: int, limit: int) -> list[Numbered]:
        self.reads += 1
        return self.entries[n : n + limit]

    def number_committed(self) -> list[Numbered]:
        new, self.unnumbered = self.grow(self.unnumbered), 0
        return new


class Ear:
    """What the hub would have been told."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def __call__(self, event: Event, n: int) -> None:
        assert event.id == f"e{n}"
        self.heard.append(n)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Table:
    table = Table()
    monkeypatch.setattr(module, "call", table.call)
    return table


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
async def tail(table: Table, ear: Ear) -> Tail:
    tail = Tail(ear)
    await tail.start()
    return tail


def up_to(n: int) -> list[int]:
    return list(range(1, n + 1))


# --- Hints ---------------------------------------------------------------------------------


async def test_hints_that_follow_are_delivered_without_a_read(
    table: Table, tail: Tail, ear: Ear
) -> None:
    tail.hint(table.grow(2))
    tail.hint(table.grow(1))
    assert ear.heard == up_to(3)
    assert table.reads == 0


async def test_hints_that_were_lost_are_made_up_by_the_poll(
    table: Table, tail: Tail, ear: Ear
) -> None:
    table.grow(5)
    await tail.follow()
    assert ear.heard == up_to(5)


async def test_a_doubled_hint_is_delivered_once(table: Table, tail: Tail, ear: Ear) -> None:
    hint = table.grow(3)
    tail.hint(hint)
    tail.hint(hint)
    tail.hint(hint[1:] + table.grow(1))
    await tail.follow()
    assert ear.heard == up_to(4)


async def test_a_hint_that_came_too_early_waits_for_those_before_it(
    table: Table, tail: Tail, ear: Ear
) -> None:
    first, second, third = table.grow(3)
    tail.hint([third])
    assert ear.heard == []
    tail.hint([first, second])
    assert ear.heard == [1, 2]
    await tail.follow()
    assert ear.heard == up_to(3)


async def test_a_hint_with_a_hole_is_not_believed(table: Table, tail: Tail, ear: Ear) -> None:
    first, _, third = table.grow(3)
    tail.hint([first, third])
    await tail.follow()
    assert ear.heard == up_to(3)


async def test_a_hint_that_comes_while_the_table_is_read_is_delivered_once(
    table: Table, tail: Tail, ear: Ear
) -> None:
    entries = table.grow(4)

    def hint_meanwhile(name: str) -> None:
        if name == "read_after":
            tail.hint(entries)

    table.before_answering = hint_meanwhile
    await tail.follow()
    assert ear.heard == up_to(4)


async def test_empty_hints_do_no_harm(tail: Tail, ear: Ear) -> None:
    tail.hint([])
    assert ear.heard == []


steps = st.lists(
    st.one_of(
        st.tuples(st.just("happen"), st.integers(1, 4)),
        st.tuples(st.just("hint"), st.integers(0, 1_000)),
        st.tuples(st.just("follow"), st.just(0)),
    ),
    max_size=40,
)


@given(steps, st.integers())
def test_each_event_comes_once_and_in_order_whatever_hints_do(
    steps: list[tuple[str, int]], seed: int
) -> None:
    """Commits are hinted at late, twice, in another order or never."""

    async def live() -> None:
        table, ear, chance, said = Table(), Ear(), random.Random(seed), []
        tail = Tail(ear)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "call", table.call)
            await tail.start()
            for verb, number in steps:
                if verb == "happen":
                    said.append(table.grow(number))
                elif verb == "hint" and said:
                    tail.hint(said[number % len(said)])
                else:
                    await tail.follow()
                assert ear.heard == up_to(len(ear.heard))
            chance.shuffle(said)
            for hint in said:
                tail.hint(hint)
            await tail.follow()
        assert ear.heard == up_to(len(table.entries))

    asyncio.run(live())


# --- Where it stands -----------------------------------------------------------------------


async def test_what_happened_before_the_start_is_history(table: Table, ear: Ear) -> None:
    table.grow(7)
    stood = []
    tail = Tail(ear, on_stand=lambda epoch, n: stood.append((epoch, n)))
    await tail.start()
    await tail.follow()
    assert ear.heard == []
    assert stood == [("e", 7)]
    tail.hint(table.grow())
    assert ear.heard == [8]


async def test_after_a_restore_it_stands_at_the_new_end_and_says_so(table: Table, ear: Ear) -> None:
    table.grow(9)
    stood = []
    tail = Tail(ear, on_stand=lambda epoch, n: stood.append((epoch, n)))
    await tail.start()
    table.epoch, table.entries = "f", table.entries[:4]
    await tail.follow()
    table.grow()
    await tail.follow()
    assert stood == [("e", 9), ("f", 4)]
    assert ear.heard == [5]
    assert await tail.read_after(0, 10) == table.entries[:5]


async def test_a_long_way_is_read_in_pieces(
    table: Table, tail: Tail, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READ_AT_ONCE", 10)
    table.grow(25)
    await tail.follow()
    assert ear.heard == up_to(25)
    assert table.reads == 3


async def test_an_event_unknown_to_this_build_is_passed_over_and_told(
    table: Table, tail: Tail, ear: Ear, caplog: pytest.LogCaptureFixture
) -> None:
    table.grow()
    table.entries.append(Numbered(2, "surgeries.x", b'{"kind":"SurgeryDreamt","id":"e2"}'))
    table.entries.append(Numbered(3, "surgeries.x", b"\x00 a poisoned row"))
    table.grow()
    with caplog.at_level(logging.WARNING, "vitalwire.tail"):
        await tail.follow()
    assert ear.heard == [1, 4]
    assert "position 2" in caplog.text
    assert "position 3" in caplog.text


async def test_rows_that_stay_unnumbered_are_numbered_here(
    table: Table, tail: Tail, ear: Ear
) -> None:
    table.unnumbered = 2
    await tail.follow()
    assert table.unnumbered == 2, "their own process may be about to number them"
    await tail.follow()
    assert table.unnumbered == 0
    await tail.follow()
    assert ear.heard == [1, 2]


# --- Its memory ----------------------------------------------------------------------------


async def test_recent_events_are_read_from_memory(table: Table, tail: Tail) -> None:
    tail.hint(table.grow(10))
    for n, limit in ((0, 100), (3, 4), (9, 5), (10, 5), (12, 5)):
        assert await tail.read_after(n, limit) == table.entries[n : n + limit]
    assert table.reads == 0


async def test_older_ones_are_read_from_the_table_but_none_before_its_time(
    table: Table, ear: Ear
) -> None:
    table.grow(5)
    tail = Tail(ear)
    await tail.start()
    tail.hint(table.grow(2))
    table.grow(3)
    assert await tail.read_after(2, 100) == table.entries[2:7]
    assert table.reads == 1


async def test_memory_is_bounded_by_count_and_by_size(
    table: Table, tail: Tail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MEMORY_EVENTS", 5)
    tail.hint(table.grow(20))
    assert [kept.n for kept in tail._recent] == [16, 17, 18, 19, 20]
    monkeypatch.setattr(module, "MEMORY_BYTES", 2 * len(table.entries[-1].payload))
    tail.hint(table.grow(1))
    assert [kept.n for kept in tail._recent] == [20, 21]
    assert tail._recent_bytes == sum(len(kept.payload) for kept in tail._recent)
    assert await tail.read_after(0, 3) == table.entries[:3]


# --- Running -------------------------------------------------------------------------------


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """No poll comes by itself: whatever is delivered was woken for."""
    for name in ("POLL_SECONDS", "POLL_WHEN_DEAF_SECONDS", "POLL_WHEN_DOWN_SECONDS"):
        monkeypatch.setattr(module, name, 3600)


@pytest.fixture
def running(tail: Tail) -> Iterator[asyncio.Task[None]]:
    task = asyncio.ensure_future(tail.run())
    yield task
    task.cancel()


@pytest.mark.usefixtures("patience", "running")
async def test_a_nudge_makes_it_look(table: Table, tail: Tail, ear: Ear) -> None:
    await turns()
    table.grow(2)
    await turns()
    assert ear.heard == []
    tail.nudge()
    await turns()
    assert ear.heard == up_to(2)


@pytest.mark.usefixtures("patience", "running")
async def test_a_nudge_that_comes_while_it_looks_is_not_forgotten(
    table: Table, tail: Tail, ear: Ear
) -> None:
    def nudge_once(name: str) -> None:
        table.before_answering = lambda name: None
        table.grow()
        tail.nudge()

    await turns()
    table.before_answering = nudge_once
    tail.nudge()
    await turns(20)
    assert ear.heard == [1]


async def test_a_database_that_is_away_is_waited_for(
    table: Table,
    tail: Tail,
    ear: Ear,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "POLL_WHEN_DOWN_SECONDS", 0)
    table.is_away = True
    table.grow(3)
    task = asyncio.ensure_future(tail.run())
    await turns()
    assert "OperationalError" in caplog.text
    table.is_away = False
    await turns(20)
    assert ear.heard == up_to(3)
    task.cancel()


@pytest.mark.parametrize(("is_deaf", "pause"), [(False, 0.2), (True, 0.05)])
async def test_it_polls_faster_while_nobody_can_call_it(
    table: Table, ear: Ear, monkeypatch: pytest.MonkeyPatch, is_deaf: bool, pause: float
) -> None:
    pauses = []
    timeout = asyncio.timeout

    def noted(seconds: float) -> asyncio.Timeout:
        pauses.append(seconds)
        return timeout(3600)

    tail = Tail(ear, is_deaf=lambda: is_deaf)
    monkeypatch.setattr(module.asyncio, "timeout", noted)
    task = asyncio.ensure_future(tail.run())
    await turns()
    assert pauses == [pause]
    task.cancel()


# --- With the database ---------------------------------------------------------------------


def happen(*ids: str) -> None:
    with transaction.atomic():
        for id_ in ids:
            journal.append(started(id_))


@pytest.mark.django_db(transaction=True)
async def test_two_processes_hear_the_same_once_each() -> None:
    ears = [Ear(), Ear()]
    tails = [Tail(ear) for ear in ears]
    for tail in tails:
        await tail.start()
    for number in (1, 3, 5):
        await call(happen, f"e{number}", f"e{number + 1}")
        await tails[0].follow()
    await tails[1].follow()
    assert [ear.heard for ear in ears] == [up_to(6), up_to(6)]


@pytest.mark.django_db(transaction=True)
async def test_what_a_dead_process_left_is_numbered_and_heard() -> None:
    ear = Ear()
    tail = Tail(ear)
    await tail.start()
    await call(_leave_unnumbered, "e1")
    for _ in range(3):
        await tail.follow()
    assert ear.heard == [1]


def _leave_unnumbered(id_: str) -> None:
    event = started(id_)
    JournalEntry.objects.create(
        event_id=event.id,
        topic=event.topic,
        kind=event.kind,
        payload=encode(event),
        created_at=event.at,
    )
