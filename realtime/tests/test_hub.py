"""The hub: who hears what, once, in which words; and what becomes of those who do not read."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from realtime.core.codes import CloseCode
from realtime.core.errors import Forbidden, Restarting
from realtime.core.events import Event, SurgeryStarted, encode
from realtime.core.filters import Filter
from realtime.hub import CONFLATED_MAX, Hub, Member
from realtime.journal import Numbered
from realtime.tests.doubles import (
    FakeTransport,
    PlainDialect,
    completed,
    member,
    moved,
    principal,
    started,
    surgeon,
)


class History:
    """A journal in memory, wired to a hub: what the tail and the runtime do for it."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.entries: list[Numbered] = []
        self.reads = 0
        self.is_away = False
        self.tasks: list[asyncio.Task[None]] = []
        hub.history = self.read
        hub.spawn = self.spawn

    async def read(self, n: int, limit: int) -> list[Numbered]:
        self.reads += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise ConnectionError("the database is away")
        return [entry for entry in self.entries if entry.n > n][:limit]

    def spawn(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self.tasks.append(task)
        return task

    def happen(self, event: Event) -> None:
        """Number a durable event and deliver it, as the tail does."""
        n = self.hub.position + 1
        self.entries.append(Numbered(n, event.topic, encode(event)))
        self.hub.deliver(event, n)

    async def settled(self) -> None:
        """Wait for all catching up that was begun."""
        while self.tasks:
            await asyncio.gather(*self.tasks, return_exceptions=True)
            self.tasks = [task for task in self.tasks if not task.done()]


@pytest.fixture
def hub() -> Hub:
    return Hub(epoch="e")


@pytest.fixture
def history(hub: Hub) -> History:
    return History(hub)


def joined(hub: Hub, *patterns: str, **options: Any) -> Member:
    one = member(**options)
    hub.join(one)
    for pattern in patterns:
        hub.subscribe(one, pattern)
    return one


class Speechless(PlainDialect):
    """Has a fault where its words should be."""

    def render(self, event: Event, position: str | None) -> bytes | None:
        raise TypeError("a fault in this dialect")


def texts(one: Member) -> list[str]:
    transport = one.transport
    assert isinstance(transport, FakeTransport)
    return transport.texts


def transport_of(one: Member) -> FakeTransport:
    assert isinstance(one.transport, FakeTransport)
    return one.transport


# --- Cohorts -------------------------------------------------------------------------------


def test_an_event_is_rendered_once_for_everyone_and_framed_once(hub: Hub) -> None:
    dialect = PlainDialect()
    members = [joined(hub, "surgeries.*", dialect=dialect) for _ in range(50)]
    hub.deliver(started(), 1)
    assert dialect.renders == 1
    assert len({id(transport_of(one).written[0]) for one in members}) == 1
    assert hub.delivered == 50


def test_a_dialect_without_words_for_an_event_keeps_it_from_nobody_else(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    silent = joined(hub, "surgeries.*", dialect=Speechless("speechless"))
    other = joined(hub, "surgeries.*", dialect=PlainDialect())
    hub.deliver(started(), 1)
    assert texts(silent) == []
    assert len(texts(other)) == 1
    assert "speechless has no words for SurgeryStarted" in caplog.text


def test_different_patterns_and_rights_share_one_rendering(hub: Hub) -> None:
    dialect = PlainDialect()
    joined(hub, "surgeries.*", dialect=dialect)
    joined(hub, "surgeries.**", dialect=dialect)
    joined(hub, "surgeries.*", dialect=dialect, who=surgeon("ana"))
    hub.deliver(started(surgeon="ana"), 1)
    assert dialect.renders == 1
    assert hub.delivered == 3


def test_each_dialect_hears_it_in_its_own_words(hub: Hub) -> None:
    loud, deaf = PlainDialect("loud"), PlainDialect("deaf", deaf_to=["SurgeryStarted"])
    hears = joined(hub, "surgeries.*", dialect=loud)
    hears_not = joined(hub, "surgeries.*", dialect=deaf)
    hub.deliver(started("x"), 7)
    assert texts(hears) == ["x e-7"]
    assert texts(hears_not) == []


def test_what_nobody_hears_is_not_rendered(hub: Hub) -> None:
    dialect = PlainDialect()
    joined(hub, "chat.*", dialect=dialect)
    hub.deliver(started(), 1)
    assert dialect.renders == 0


def test_overlapping_subscriptions_deliver_once(hub: Hub) -> None:
    event = completed("x")
    one = joined(hub, "surgeries.completed", "surgeries.*", "surgeries.**")
    hub.deliver(event, 1)
    assert texts(one) == ["x e-1"]


def test_an_event_refused_by_one_filter_is_heard_through_another_subscription(hub: Hub) -> None:
    one = joined(hub, "surgeries.**")
    hub.subscribe(one, "surgeries.*", Filter(kinds=frozenset({SurgeryStarted.__name__})))
    hub.deliver(completed("x"), 1)
    assert texts(one) == ["x e-1"]


def test_two_surgeons_are_two_cohorts_and_hear_their_own_things_only(hub: Hub) -> None:
    ana, bea = (joined(hub, "surgeries.*", who=surgeon(name)) for name in ("ana", "bea"))
    hub.deliver(started("of ana", surgeon="ana"), 1)
    assert (texts(ana), texts(bea)) == (["of ana e-1"], [])
    assert ana.cohorts["surgeries.*"] is not bea.cohorts["surgeries.*"]


def test_two_operators_are_one_cohort(hub: Hub) -> None:
    dialect = PlainDialect()
    one, other = (
        joined(hub, "surgeries.*", dialect=dialect, who=principal(name)) for name in ("o", "p")
    )
    assert one.cohorts["surgeries.*"] is other.cohorts["surgeries.*"]


def test_two_surgeons_share_a_cohort_where_nothing_own_can_matter(hub: Hub) -> None:
    dialect = PlainDialect()
    ana, bea = (joined(hub, "chat.*", dialect=dialect, who=surgeon(n)) for n in ("ana", "bea"))
    assert ana.cohorts["chat.*"] is bea.cohorts["chat.*"]


# --- Subscribing ---------------------------------------------------------------------------


def test_subscribing_to_what_may_not_be_heard_is_refused(hub: Hub) -> None:
    one = joined(hub, who=surgeon())
    with pytest.raises(Forbidden, match=r"alerts\.\*"):
        hub.subscribe(one, "alerts.*")
    assert not one.cohorts


def test_repeating_a_subscription_replaces_its_filter(hub: Hub) -> None:
    one = joined(hub, "surgeries.*")
    hub.subscribe(one, "surgeries.*", Filter(kinds=frozenset({SurgeryStarted.__name__})))
    hub.deliver(completed(), 1)
    hub.deliver(started("x"), 2)
    assert texts(one) == ["x e-2"]


def test_after_unsubscribing_nothing_is_heard_and_nothing_is_left(hub: Hub) -> None:
    one = joined(hub, "surgeries.*")
    assert hub.unsubscribe(one, "surgeries.*")
    assert not hub.unsubscribe(one, "surgeries.*")
    hub.deliver(started(), 1)
    assert texts(one) == []
    assert not hub._cohorts


def test_who_left_leaves_nothing_behind(hub: Hub) -> None:
    one = joined(hub, "surgeries.*", "chat.*")
    assert list(hub) == [one]
    hub.leave(one)
    hub.leave(one)
    hub.deliver(started(), 1)
    assert texts(one) == []
    assert (hub.members, hub._cohorts) == ({}, {})
    assert one.transport.on_drained is None


def test_sessions_are_counted_by_endpoint_and_dialect(hub: Hub) -> None:
    dialect = PlainDialect("pubsub")
    for endpoint in ("pubsub", "pubsub", "ai"):
        joined(hub, endpoint=endpoint, dialect=dialect)
    assert hub.counts() == {"pubsub": 2, "ai": 1}
    assert hub.count_of("pubsub") == 3
    assert len(list(hub)) == 3


async def test_whoever_waits_for_the_last_one_hears_when_it_left(hub: Hub) -> None:
    one, other = joined(hub), joined(hub)
    waiting = asyncio.ensure_future(hub.wait_until_empty())
    hub.leave(one)
    await asyncio.sleep(0)
    assert not waiting.done()
    hub.leave(other)
    await waiting
    await hub.wait_until_empty()


async def test_a_dismissal_ends_who_is_here_and_who_is_on_the_way_in(hub: Hub) -> None:
    here, guest = joined(hub), object()
    hub.arrive(guest)
    restarting = Restarting("the server restarts")
    dismissal = asyncio.ensure_future(hub.dismiss(restarting))
    await asyncio.sleep(0)
    assert here.transport.ending is restarting  # type: ignore[attr-defined]
    hub.leave(here)
    await asyncio.sleep(0)
    assert not dismissal.done()
    late = joined(hub)
    hub.depart(guest)
    assert late.transport.ending is restarting  # type: ignore[attr-defined]
    hub.leave(late)
    await dismissal


async def test_a_dismissal_does_not_wait_for_a_guest_that_was_refused(hub: Hub) -> None:
    guest = object()
    hub.arrive(guest)
    dismissal = asyncio.ensure_future(hub.dismiss(Restarting("the server restarts")))
    await asyncio.sleep(0)
    hub.depart(guest)
    await dismissal
    hub.depart(guest)


def test_a_narrower_role_ends_what_it_may_not_hear_and_keeps_the_rest(hub: Hub) -> None:
    one = joined(hub, "surgeries.*", "chat.*")
    one.session.principal = principal(subscribe=("chat.**",))
    assert hub.reauthorise(one) == ["surgeries.*"]
    hub.deliver(started(), 1)
    assert texts(one) == []
    assert list(one.cohorts) == ["chat.*"]


def test_a_role_that_shrank_to_own_things_keeps_the_subscription_for_those(hub: Hub) -> None:
    one = joined(hub, "surgeries.*", who=principal("ana"))
    one.session.principal = surgeon("ana")
    assert hub.reauthorise(one) == []
    hub.deliver(started("hers", surgeon="ana"), 1)
    hub.deliver(started("another's", surgeon="bea"), 2)
    assert texts(one) == ["hers e-1"]


# --- Peers that do not read: live events ---------------------------------------------------


def test_live_events_of_a_blocked_peer_are_conflated_and_the_gap_is_told(hub: Hub) -> None:
    slow, quick = joined(hub, "surgeries.*"), joined(hub, "surgeries.*")
    transport_of(slow).is_blocked = True
    for number in range(5):
        hub.deliver(moved(f"m{number}"))
    assert texts(slow) == []
    assert len(texts(quick)) == 5
    transport_of(slow).drain()
    assert texts(slow) == ["m4 live", "gap 4"]


def test_the_latest_of_each_thing_is_kept(hub: Hub) -> None:
    slow = joined(hub, "surgeries.*")
    transport_of(slow).is_blocked = True
    for number in range(3):
        hub.deliver(moved(f"a{number}", surgery="a"))
        hub.deliver(moved(f"b{number}", surgery="b"))
    transport_of(slow).drain()
    assert texts(slow) == ["a2 live", "b2 live", "gap 4"]


def test_a_blocked_peer_costs_a_bounded_number_of_frames(hub: Hub) -> None:
    slow = joined(hub, "surgeries.*")
    transport_of(slow).is_blocked = True
    for number in range(CONFLATED_MAX + 10):
        hub.deliver(moved("m", surgery=str(number)))
    assert len(slow.conflated or {}) == CONFLATED_MAX
    transport_of(slow).drain()
    assert texts(slow)[-1] == "gap 10"
    assert len(texts(slow)) == CONFLATED_MAX + 1


def test_a_peer_that_missed_nothing_is_told_of_no_gap(hub: Hub) -> None:
    slow = joined(hub, "surgeries.*")
    transport_of(slow).is_blocked = True
    hub.deliver(moved("m"))
    transport_of(slow).drain()
    transport_of(slow).drain()
    hub.deliver(moved("n"))
    assert texts(slow) == ["m live", "n live"]


# --- Peers that do not read: durable events ------------------------------------------------


async def test_durable_events_wait_and_come_in_order_from_history(
    hub: Hub, history: History
) -> None:
    slow, quick = joined(hub, "surgeries.*"), joined(hub, "surgeries.*")
    history.happen(started("first"))
    transport_of(slow).is_blocked = True
    for number in range(3):
        history.happen(completed(f"c{number}"))
    assert texts(slow) == ["first e-1"]
    transport_of(slow).drain()
    await history.settled()
    assert texts(slow) == ["first e-1", "c0 e-2", "c1 e-3", "c2 e-4"]
    assert texts(quick) == texts(slow)


async def test_a_fault_in_its_dialect_keeps_nobody_behind_for_ever(
    hub: Hub, history: History
) -> None:
    late = joined(hub, dialect=Speechless("speechless"))
    hub.subscribe(late, "surgeries.*", held=True)
    history.happen(started("a"))
    hub.catch_up(late)
    await history.settled()
    assert late.behind_at is None


async def test_what_happens_during_the_catching_up_comes_once_and_in_order(
    hub: Hub, history: History
) -> None:
    slow = joined(hub, "surgeries.*")
    transport_of(slow).is_blocked = True
    history.happen(started("a"))
    transport_of(slow).drain()
    history.happen(started("b"))
    hub.deliver(moved("live"))
    await history.settled()
    history.happen(started("c"))
    assert texts(slow) == ["a e-1", "b e-2", "live live", "c e-3"]
    assert slow.behind_at is None


async def test_a_peer_that_stops_reading_again_goes_on_where_it_stopped(
    hub: Hub, history: History
) -> None:
    slow = joined(hub, "surgeries.*")
    transport = transport_of(slow)
    transport.is_blocked = True
    for number in range(1, 7):
        history.happen(started(f"s{number}"))

    def block_after_two() -> None:
        transport.is_blocked = len(transport.written) % 2 == 0

    transport.on_write = block_after_two
    for reads in (2, 4, 6):
        transport.drain()
        await history.settled()
        assert texts(slow) == [f"s{n} e-{n}" for n in range(1, reads + 1)]


async def test_catching_up_hears_only_what_was_subscribed_and_allowed(
    hub: Hub, history: History
) -> None:
    slow = joined(hub, "surgeries.*", who=surgeon("ana"))
    transport_of(slow).is_blocked = True
    history.happen(started("hers", surgeon="ana"))
    history.happen(started("another's", surgeon="bea"))
    history.happen(completed("hers too", surgeon="ana"))
    transport_of(slow).drain()
    await history.settled()
    assert texts(slow) == ["hers e-1", "hers too e-3"]


async def test_draining_twice_catches_up_once(hub: Hub, history: History) -> None:
    slow = joined(hub, "surgeries.*")
    transport_of(slow).is_blocked = True
    history.happen(started("a"))
    transport_of(slow).drain()
    transport_of(slow).drain()
    await history.settled()
    assert texts(slow) == ["a e-1"]
    assert history.reads == 1


async def test_who_left_while_catching_up_is_written_no_more(hub: Hub, history: History) -> None:
    slow = joined(hub, "surgeries.*")
    transport_of(slow).is_blocked = True
    history.happen(started("a"))
    transport_of(slow).drain()
    hub.leave(slow)
    await history.settled()
    assert texts(slow) == []


async def test_a_long_way_is_caught_up_in_pieces(hub: Hub, history: History) -> None:
    slow = joined(hub, "surgeries.*")
    transport_of(slow).is_blocked = True
    for number in range(1, 451):
        history.happen(started(f"s{number}"))
    transport_of(slow).drain()
    await history.settled()
    assert texts(slow) == [f"s{n} e-{n}" for n in range(1, 451)]
    assert history.reads == 3


async def test_what_retention_took_is_told(hub: Hub, history: History) -> None:
    slow = joined(hub, "surgeries.*")
    transport_of(slow).is_blocked = True
    for number in range(1, 6):
        history.happen(started(f"s{number}"))
    del history.entries[:3]
    transport_of(slow).drain()
    await history.settled()
    assert texts(slow) == ["s4 e-4", "s5 e-5", "gap 3"]


async def test_history_that_is_gone_altogether_is_told(hub: Hub, history: History) -> None:
    slow = joined(hub, "surgeries.*")
    transport_of(slow).is_blocked = True
    for number in range(5):
        history.happen(started(f"s{number}"))
    history.entries.clear()
    transport_of(slow).drain()
    await history.settled()
    assert texts(slow) == ["gap 5"]
    history.happen(started("next"))
    assert texts(slow) == ["gap 5", "next e-6"]


async def test_an_event_unknown_to_this_build_is_passed_over(hub: Hub, history: History) -> None:
    slow = joined(hub, "surgeries.*")
    transport_of(slow).is_blocked = True
    history.happen(started("a"))
    history.entries.append(Numbered(2, "surgeries.x", b'{"kind":"SurgeryDreamt","id":"e"}'))
    hub.position = 2
    history.happen(started("c"))
    transport_of(slow).drain()
    await history.settled()
    assert texts(slow) == ["a e-1", "c e-3"]


async def test_catching_up_is_tried_again_when_history_could_not_be_read(
    hub: Hub, history: History
) -> None:
    slow = joined(hub, "surgeries.*")
    transport_of(slow).is_blocked = True
    history.happen(started("a"))
    history.is_away = True
    transport_of(slow).drain()
    await history.settled()
    history.is_away = False
    hub.look_after(now=1.0, stalled_after=60)
    await history.settled()
    assert texts(slow) == ["a e-1"]


async def test_after_a_restore_a_lagging_peer_goes_on_from_there(
    hub: Hub, history: History
) -> None:
    slow = joined(hub, "surgeries.*")
    transport_of(slow).is_blocked = True
    hub.position = 900
    history.happen(started("before the restore"))
    history.entries.clear()
    hub.stand_at("f", 500)
    history.happen(started("after"))
    transport_of(slow).drain()
    await history.settled()
    assert texts(slow) == ["after f-501"]


# --- Held subscriptions --------------------------------------------------------------------


async def test_a_held_subscription_waits_for_its_word_and_misses_nothing(
    hub: Hub, history: History
) -> None:
    history.happen(completed("before"))
    one = joined(hub)
    hub.subscribe(one, "surgeries.completed", held=True)
    history.happen(completed("meanwhile"))
    assert texts(one) == []
    hub.catch_up(one)
    await history.settled()
    history.happen(completed("after"))
    assert texts(one) == ["meanwhile e-2", "after e-3"]


async def test_a_held_peer_that_drains_is_still_held(hub: Hub, history: History) -> None:
    one = joined(hub)
    hub.subscribe(one, "surgeries.completed", held=True)
    history.happen(completed("meanwhile"))
    transport_of(one).drain()
    hub.look_after(now=1.0, stalled_after=60)
    await history.settled()
    assert texts(one) == []
    hub.catch_up(one)
    await history.settled()
    assert texts(one) == ["meanwhile e-1"]


# --- Stalled -------------------------------------------------------------------------------


def test_who_has_read_nothing_for_too_long_is_closed_with_try_later(hub: Hub) -> None:
    stalled, quick = joined(hub), joined(hub)
    transport_of(stalled).is_blocked = True
    assert hub.look_after(now=0.0, stalled_after=60) == 0
    assert hub.look_after(now=59.9, stalled_after=60) == 0
    assert hub.look_after(now=60.0, stalled_after=60) == 1
    closed = transport_of(stalled).closed
    assert closed is not None
    assert closed[0] == CloseCode.TRY_AGAIN_LATER
    assert transport_of(quick).closed is None


def test_who_does_not_even_read_the_close_frame_is_cut(hub: Hub) -> None:
    stalled = joined(hub)
    transport_of(stalled).is_blocked = True
    hub.look_after(now=0.0, stalled_after=60)
    hub.look_after(now=60.0, stalled_after=60)
    assert not transport_of(stalled).is_aborted
    assert hub.look_after(now=61.0, stalled_after=60) == 0
    assert transport_of(stalled).is_aborted


def test_reading_a_little_starts_the_time_anew(hub: Hub) -> None:
    slow = joined(hub)
    transport_of(slow).is_blocked = True
    hub.look_after(now=0.0, stalled_after=60)
    transport_of(slow).drain()
    transport_of(slow).is_blocked = True
    hub.look_after(now=50.0, stalled_after=60)
    assert hub.look_after(now=100.0, stalled_after=60) == 0
    assert hub.look_after(now=110.0, stalled_after=60) == 1


# --- Answers -------------------------------------------------------------------------------


def test_ending_a_member_waits_for_what_it_sent(hub: Hub) -> None:
    one = joined(hub)
    late = Forbidden("not any more")
    one.end(late)  # type: ignore[arg-type]
    assert transport_of(one).ending is late
    assert transport_of(one).closed is None


def test_what_is_written_is_counted(hub: Hub) -> None:
    one = joined(hub, "surgeries.*")
    hub.deliver(started(), 1)
    hub.deliver(moved())
    assert one.session.messages_out == 2
