"""The publisher: taken once, in order, together, and never answered before it is stored."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, transaction
from pytest_django import Settings

from accounts.models import User
from realtime import journal, publisher
from realtime.calls import call
from realtime.core.errors import NotFound, Unavailable
from realtime.core.events import encode
from realtime.journal import Numbered
from realtime.models import JournalEntry, QueuedMessage
from realtime.publisher import KEPT, Publisher, Receipt
from realtime.tests.doubles import NOW, started, user_id_of
from realtime.tests.message_events import direct_message, published

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def taking() -> AsyncIterator[Publisher]:
    """Return a publisher that runs."""
    publisher = Publisher()
    publisher.start()
    yield publisher
    await asyncio.to_thread(publisher.stop)


@pytest.fixture
def numbered() -> Iterator[list[Numbered]]:
    """Collect what this process tells of the journal."""
    entries: list[Numbered] = []
    stop = journal.on_numbered(entries.extend)
    yield entries
    stop()


async def stored() -> list[tuple[int, str]]:
    rows = JournalEntry.objects.order_by("position").values_list("position", "event_id")
    return await call(lambda: list(rows))


def n_of(receipt: Receipt) -> int:
    return int(receipt.position.rpartition("-")[2])


# --- Taking in -----------------------------------------------------------------------------


async def test_what_is_published_is_in_the_journal_with_its_position(taking: Publisher) -> None:
    receipt = await taking.publish(published("a", payload={"x": 1}))
    head = await call(journal.head)
    assert receipt == Receipt("a", str(head))
    (entry,) = await call(journal.read_after, 0)
    assert (entry.event, entry.payload) == (
        published("a", payload={"x": 1}),
        encode(published("a", payload={"x": 1})),
    )


async def test_everything_comes_in_the_order_of_the_calls(taking: Publisher) -> None:
    events = [published(f"e{number}") for number in range(1200)]
    receipts = await asyncio.gather(*[taking.publish(event) for event in events])
    assert [n_of(receipt) for receipt in receipts] == [*range(1, 1201)]
    assert await stored() == [(n, f"e{n - 1}") for n in range(1, 1201)]


async def test_the_listeners_hear_it_before_the_receipt_with_the_event_at_hand(
    taking: Publisher, numbered: list[Numbered]
) -> None:
    event = published("a")
    await taking.publish(event)
    assert [entry.event for entry in numbered] == [event]
    assert numbered[0].event is event, "nobody decodes what was just encoded"
    assert numbered[0].bare.known is None


async def test_it_shares_positions_with_what_is_numbered_after_its_commit(
    taking: Publisher,
) -> None:
    def happen(number: int) -> None:
        with transaction.atomic():
            journal.append(started(f"s{number}"))

    for number in range(30):
        receipt = taking.publish(published(f"p{number}"))
        await call(happen, number)
        await receipt
    rows = await stored()
    assert [n for n, _ in rows] == [*range(1, 61)]
    for prefix in "sp":
        names = [name for _, name in rows if name.startswith(prefix)]
        assert names == [f"{prefix}{number}" for number in range(30)]


async def test_when_it_expires_is_kept_beside_it(taking: Publisher) -> None:
    await taking.publish(published("a", expires_at=NOW))
    assert (await call(JournalEntry.objects.get)).expires_at == NOW


# --- The same again ------------------------------------------------------------------------


async def test_the_same_key_is_the_same_message(taking: Publisher) -> None:
    first = await taking.publish(published("a"), key="k")
    again = await taking.publish(published("b"), key="k")
    assert again == Receipt("a", first.position, is_repeat=True)
    assert await stored() == [(1, "a")]


async def test_the_same_key_in_one_batch_is_taken_once(taking: Publisher) -> None:
    receipts = await asyncio.gather(
        *[taking.publish(published(f"e{number}"), key="k") for number in range(20)]
    )
    assert {receipt.event_id for receipt in receipts} == {"e0"}
    assert [receipt.is_repeat for receipt in receipts] == [False] + [True] * 19


async def test_two_processes_take_the_same_key_once(taking: Publisher) -> None:
    other = Publisher()
    other.start()
    both = [
        each.publish(published(f"{name}{number}"), key=f"k{number}")
        for number in range(50)
        for name, each in (("a", taking), ("b", other))
    ]
    receipts = await asyncio.gather(*both)
    await asyncio.to_thread(other.stop)
    assert sum(not receipt.is_repeat for receipt in receipts) == 50
    assert len(await stored()) == 50


async def test_a_repeated_one_is_told_the_first_answer(taking: Publisher) -> None:
    await taking.publish(published("a"), key="k")
    taking.keep_answer("k", {"recipients": 3})
    # It is written with the next messages.
    await taking.publish(published("b"))
    receipt = await taking.publish(published("c"), key="k")
    assert receipt.answer == {"recipients": 3}


async def test_an_answer_is_kept_though_nothing_comes_after_it(taking: Publisher) -> None:
    await taking.publish(published("a"), key="k")
    taking.keep_answer("k", {"recipients": 3})
    await asyncio.to_thread(taking.stop)
    assert await call(publisher.answer_of, "k") in ({"recipients": 3}, None)


async def test_what_was_said_more_than_a_day_ago_is_forgotten(taking: Publisher) -> None:
    await taking.publish(published("a"), key="k")
    assert await call(lambda: publisher.prune(now=NOW + KEPT)) == 0
    assert await call(lambda: publisher.prune(now=NOW + KEPT + timedelta(seconds=1))) == 1
    assert not (await taking.publish(published("b"), key="k")).is_repeat


# --- The mailbox ---------------------------------------------------------------------------


def bea() -> User:
    return User.objects.create_user("bea", id=user_id_of("bea"), role="ROLE_MEMBER")


async def test_what_is_for_one_user_waits_for_them(taking: Publisher) -> None:
    user = await call(bea)
    receipt = await taking.publish(direct_message("d"), recipient=user.pk)
    assert receipt.is_kept
    assert await call(QueuedMessage.objects.filter(user=user, event_id="d").exists)


async def test_it_is_taken_though_there_is_no_room_to_wait(
    taking: Publisher, settings: Settings
) -> None:
    settings.QUEUED_PER_USER = 2
    user = await call(bea)
    events = [direct_message(f"d{number}") for number in range(3)]
    receipts = [await taking.publish(event, recipient=user.pk) for event in events]
    assert [receipt.is_kept for receipt in receipts] == [True, True, False]
    assert len(await stored()) == 3


async def test_a_user_who_is_gone_fails_nobody_else(taking: Publisher) -> None:
    others = [taking.publish(published(f"p{number}")) for number in range(5)]
    gone = taking.publish(direct_message("d"), recipient=user_id_of("bea"))
    others += [taking.publish(published(f"q{number}")) for number in range(5)]
    with pytest.raises(NotFound):
        await gone
    assert len(await asyncio.gather(*others)) == 10
    assert [name for _, name in await stored() if name == "d"] == []


# --- Faults --------------------------------------------------------------------------------


async def test_a_database_that_was_away_is_tried_again(
    taking: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "FIRST_PAUSE_SECONDS", 0.001)
    real, failures = journal.write_numbered, iter(range(2))

    def fail_twice(write: Any) -> Any:
        if next(failures, None) is not None:
            raise OperationalError("the database is away")
        return real(write)

    monkeypatch.setattr(journal, "write_numbered", fail_twice)
    assert n_of(await taking.publish(published("a"))) == 1


async def test_a_database_that_stays_away_is_told(
    taking: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(write: Any) -> Any:
        raise OperationalError("the database is away")

    monkeypatch.setattr(publisher, "RETRY_SECONDS", 0.01)
    with monkeypatch.context() as patched:
        patched.setattr(journal, "write_numbered", fail)
        with pytest.raises(Unavailable, match="try again"):
            await taking.publish(published("a"))
    assert n_of(await taking.publish(published("b"))) == 1


async def test_a_commit_that_failed_but_succeeded_is_not_done_twice(
    taking: Publisher, monkeypatch: pytest.MonkeyPatch, numbered: list[Numbered]
) -> None:
    monkeypatch.setattr(publisher, "FIRST_PAUSE_SECONDS", 0.001)
    real = journal.write_numbered

    def commit_and_fail(write: Any) -> Any:
        with monkeypatch.context() as silent:
            silent.setattr(journal, "tell", lambda batch: None)
            real(write)
        raise OperationalError("the connection broke at COMMIT")

    monkeypatch.setattr(journal, "write_numbered", commit_and_fail)
    assert n_of(await taking.publish(published("a"))) == 1
    assert await stored() == [(1, "a")]
    assert [entry.n for entry in numbered] == [1]


async def test_too_much_that_waits_is_refused(
    taking: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "HIGH_BYTES", 3000)
    waiting = [taking.publish(published(f"e{number}")) for number in range(2)]
    with pytest.raises(Unavailable, match="try again"):
        taking.publish(published("too much", payload="x" * 3000))
    await asyncio.gather(*waiting)
    assert taking.depth == 0
    await taking.publish(published("fits"))


async def test_who_comes_after_the_end_is_refused_and_who_came_before_is_not() -> None:
    publisher = Publisher()
    publisher.start()
    receipts = [publisher.publish(published(f"e{number}")) for number in range(20)]
    await asyncio.to_thread(publisher.stop)
    assert len(await asyncio.gather(*receipts)) == 20
    with pytest.raises(Unavailable):
        publisher.publish(published("late"))
