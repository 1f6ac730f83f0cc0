"""The mailbox: what waits for a user is told once, in order, and is never lost."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.db import OperationalError, transaction
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from realtime import calls, journal, mailbox
from realtime.calls import call
from realtime.core.events import Event
from realtime.mailbox import READ_AT_ONCE, Mailbox
from realtime.models import JournalEntry, QueuedMessage
from realtime.tests.doubles import NOW, user_id_of
from realtime.tests.message_events import direct_message, notified, published

pytestmark = pytest.mark.django_db(transaction=True)

BEA = user_id_of("bea")


@pytest.fixture(autouse=True)
def _people(transactional_db: None, settings: Settings) -> None:
    # What happens here happened at NOW, whenever the test runs.
    settings.QUEUED_DAYS = 36_500
    for name in ("bea", "cid"):
        User.objects.create_user(name, id=user_id_of(name), role="ROLE_MEMBER")


def happen(*events: Event) -> list[bool]:
    """Let events happen and wait for their users; return which do."""
    with transaction.atomic():
        for event in events:
            journal.append(event)
        users = [mailbox.recipient_of(event) for event in events]
        return [
            mailbox.keep(event, user)
            for event, user in zip(events, users, strict=True)
            if user is not None
        ]


def waiting(user_id: UUID = BEA) -> list[str]:
    letters = mailbox.read(user_id, 0, 10**9, now=NOW)
    return [letter.event.id for letter in letters]


# --- The table -----------------------------------------------------------------------------


def test_what_waits_is_read_in_the_order_of_its_positions() -> None:
    happen(direct_message("a"), notified("b", to="bea"), direct_message("c", "cid"))
    assert waiting() == ["a", "b"]
    assert waiting(user_id_of("cid")) == ["c"]


def test_what_is_for_everybody_is_for_nobody_s_mailbox() -> None:
    assert mailbox.recipient_of(notified()) is None
    assert mailbox.recipient_of(published()) is None


def test_keeping_belongs_into_the_transaction_of_the_event() -> None:
    with pytest.raises(RuntimeError, match="transaction of the event"):
        mailbox.keep(direct_message(), BEA)


def test_a_rollback_keeps_nothing() -> None:
    with transaction.atomic():
        journal.append(direct_message())
        mailbox.keep(direct_message(), BEA)
        transaction.set_rollback(True)
    assert not QueuedMessage.objects.exists()


def test_only_what_has_a_position_so_far_is_read() -> None:
    happen(direct_message("a"), direct_message("b"))
    letters = mailbox.read(BEA, 0, 1, now=NOW)
    assert [(letter.n, letter.event.id) for letter in letters] == [(1, "a")]
    assert mailbox.read(BEA, 1, 1, now=NOW) == []


def test_no_more_wait_than_may(settings: Settings) -> None:
    settings.QUEUED_PER_USER = 2
    kept = happen(*(direct_message(f"d{number}") for number in range(3)))
    assert kept == [True, True, False]
    mailbox.strike([(BEA, "d0")])
    assert happen(direct_message("d3")) == [True]
    settings.QUEUED_PER_USER = 0
    assert happen(direct_message("d4")) == [False]


def test_what_is_struck_out_does_not_wait_any_more() -> None:
    happen(direct_message("a"), direct_message("b"))
    mailbox.strike([(BEA, "a"), (user_id_of("cid"), "b")])
    assert waiting() == ["b"]
    assert mailbox.is_waiting(BEA, "b")
    assert not mailbox.is_waiting(BEA, "a")


def test_what_is_too_old_is_not_told_and_is_deleted(settings: Settings) -> None:
    happen(direct_message("a"))
    settings.QUEUED_DAYS = 7
    late = NOW + timedelta(days=7, seconds=1)
    assert mailbox.read(BEA, 0, 10, now=late) == []
    assert mailbox.prune(now=NOW + timedelta(days=7)) == 0
    assert mailbox.prune(now=late) == 1
    assert not QueuedMessage.objects.exists()


def test_a_user_who_is_deleted_takes_their_mail_along() -> None:
    happen(direct_message("a"))
    User.objects.get(pk=BEA).delete()
    assert not QueuedMessage.objects.exists()


def test_what_the_journal_has_forgotten_is_passed_over() -> None:
    happen(direct_message("a"), direct_message("b"))
    JournalEntry.objects.filter(event_id="a").update(payload=b'{"kind":"Unknown"}')
    assert waiting() == ["b"]


# --- This process's hand in it -------------------------------------------------------------


class Background:
    """Runs what a mailbox spawns."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Future[None]] = []

    def spawn(self, work: Awaitable[None]) -> None:
        self.tasks.append(asyncio.ensure_future(work))

    async def settled(self) -> None:
        await asyncio.gather(*self.tasks)


@pytest.fixture
def background() -> Background:
    return Background()


@pytest.fixture
def box(background: Background) -> Mailbox:
    return Mailbox(background.spawn)


async def all_of(box: Mailbox, upto: int = 10**9) -> list[str]:
    """Tell everything that waits, and return what that was."""
    told, after = [], 0
    while letters := await box.waiting(BEA, after, upto):
        for letter in letters:
            box.on_told(letter.event)
            told.append(letter.event.id)
        after = letters[-1].n
    return told


async def test_many_are_told_page_by_page(box: Mailbox, background: Background) -> None:
    names = [f"d{number}" for number in range(READ_AT_ONCE * 2 + 3)]
    await call(happen, *map(direct_message, names))
    assert await all_of(box) == names
    await background.settled()
    assert await call(waiting) == []


async def test_what_was_told_here_is_not_told_again_though_it_is_not_struck_out_yet(
    box: Mailbox,
) -> None:
    await call(happen, direct_message("a"), direct_message("b"))
    box.on_told(direct_message("a"))
    assert await all_of(box) == ["b"]


async def test_what_was_told_is_struck_out_in_few_statements(
    box: Mailbox, background: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    await call(happen, *(direct_message(f"d{number}") for number in range(20)))
    struck: list[int] = []
    real = mailbox.strike

    def count(rows: list[Any]) -> None:
        struck.append(len(rows))
        real(rows)

    monkeypatch.setattr(mailbox, "strike", count)
    for number in range(20):
        box.on_told(direct_message(f"d{number}"))
        box.on_told(direct_message(f"d{number}"))
    await background.settled()
    assert sum(struck) == 20
    assert len(struck) <= 2
    assert await call(waiting) == []


async def test_a_database_that_is_away_is_waited_for(
    box: Mailbox, background: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    await call(happen, direct_message("a"))
    real, failures = mailbox.strike, iter(range(2))

    def fail_twice(rows: list[Any]) -> None:
        if next(failures, None) is not None:
            raise OperationalError("away")
        real(rows)

    monkeypatch.setattr(mailbox, "strike", fail_twice)
    monkeypatch.setattr(calls, "AWAY_SECONDS", 0.001)
    box.on_told(direct_message("a"))
    await background.settled()
    assert await call(waiting) == []


async def test_what_expired_while_it_waited_is_not_told(box: Mailbox) -> None:
    past = timezone.now() - timedelta(seconds=1)
    await call(happen, msgspec.structs.replace(direct_message("a"), expires_at=past))
    await call(happen, direct_message("b"))
    assert await all_of(box) == ["b"]


async def test_sessions_of_one_user_take_turns(box: Mailbox) -> None:
    await call(happen, *(direct_message(f"d{number}") for number in range(5)))

    async def open_one() -> list[str]:
        async with box.turn_of(BEA):
            return await all_of(box)

    told = await asyncio.gather(open_one(), open_one())
    assert sorted(map(len, told)) == [0, 5]
    assert box.turn_of(BEA) is not box.turn_of(user_id_of("cid"))
