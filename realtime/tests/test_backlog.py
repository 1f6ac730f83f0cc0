"""Members that are behind: durable events wait in the journal and come in order, each once."""

import asyncio
from datetime import timedelta

import pytest

from realtime import backlog
from realtime.core.filters import Filter
from realtime.core.position import Position
from realtime.hub import Hub
from realtime.journal import Numbered
from realtime.tests.doubles import NOW, PlainDialect, completed, moved, started, surgeon
from realtime.tests.hubs import History, Speechless, joined, raised, texts, transport_of
from realtime.tests.message_events import published
from realtime.tests.wire import turns

# --- Peers that do not read ----------------------------------------------------------------


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
    for number in range(1, 2451):
        history.happen(started(f"s{number}"))
    transport_of(slow).drain()
    await history.settled()
    assert texts(slow) == [f"s{n} e-{n}" for n in range(1, 2451)]
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


async def test_who_is_shut_out_while_it_is_caught_up_is_told_nothing_more(
    hub: Hub, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "WRITTEN_AT_ONCE", 2)
    slow = joined(hub, "surgeries.*")
    transport = transport_of(slow)
    transport.is_blocked = True
    for number in range(1, 9):
        history.happen(started(f"s{number}"))
    transport.drain()
    while len(texts(slow)) < 2:
        await turns(1)
    hub.shut_out(slow)
    await history.settled()
    assert texts(slow) == ["s1 e-1", "s2 e-2"]


async def test_a_restore_in_the_middle_of_a_page_begins_anew(
    hub: Hub, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "WRITTEN_AT_ONCE", 2)
    slow = joined(hub, "surgeries.*")
    transport = transport_of(slow)
    transport.is_blocked = True
    for number in range(1, 9):
        history.happen(started(f"s{number}"))
    transport.drain()
    while len(texts(slow)) < 2:
        await turns(1)
    history.entries.clear()
    hub.stand_at("f", 500)
    history.happen(started("after"))
    await history.settled()
    assert texts(slow) == ["s1 e-1", "s2 e-2", "after f-501"]


async def test_whoever_waited_for_a_catching_up_that_failed_hears_of_it(
    hub: Hub, history: History
) -> None:
    one = joined(hub)
    for pattern in ("surgeries.*", "alerts.*"):
        hub.subscribe(one, pattern, held=True)
    history.happen(started("a"))
    history.is_away = True
    tries = (hub.replay_from(one, [pattern], None) for pattern in ("surgeries.*", "alerts.*"))
    await asyncio.gather(*tries, hub.replay_from(one, [], None), return_exceptions=True)
    waits = (hub.replay_from(one, [], None) for _ in range(2))
    problems = await asyncio.gather(*waits, return_exceptions=True)
    assert [type(problem) for problem in problems] == [ConnectionError, ConnectionError]


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


# --- Replays -------------------------------------------------------------------------------


async def test_a_replay_tells_what_came_after_a_position_and_then_goes_on(
    hub: Hub, history: History
) -> None:
    for id in "abc":
        history.happen(raised(id))
    one = joined(hub)
    hub.subscribe(one, "alerts.*", held=True)
    history.happen(raised("meanwhile"))
    assert await hub.replay(one, "alerts.*", Position("e", 1))
    history.happen(raised("after"))
    assert texts(one) == ["b e-2", "c e-3", "meanwhile e-4", "after e-5"]


async def test_a_replay_tells_what_the_subscription_hears_and_nothing_else(
    hub: Hub, history: History
) -> None:
    history.happen(raised("info", severity="info"))
    history.happen(raised("critical", severity="critical"))
    history.happen(completed("an operation"))
    one = joined(hub, "surgeries.**")
    hub.subscribe(one, "alerts.*", Filter(severities=frozenset({"critical"})), held=True)
    assert await hub.replay(one, "alerts.*", Position("e", 0))
    assert texts(one) == ["critical e-2"]


async def test_what_the_member_had_already_is_not_repeated_by_a_replay(
    hub: Hub, history: History
) -> None:
    one = joined(hub, "surgeries.**")
    history.happen(raised("missed"))
    history.happen(completed("heard"))
    hub.subscribe(one, "alerts.*", held=True)
    history.happen(completed("waits"))
    assert await hub.replay(one, "alerts.*", Position("e", 0))
    assert texts(one) == ["heard e-2", "missed e-1", "waits e-3"]


async def test_several_replays_come_in_one_order_when_the_last_is_asked_for(
    hub: Hub, history: History
) -> None:
    for number in range(6):
        history.happen(raised(f"of {number % 2}", device=number % 2))
    one = joined(hub)
    hub.subscribe(one, "alerts.0", held=True)
    hub.subscribe(one, "alerts.1", held=True)
    assert await hub.replay(one, "alerts.0", Position("e", 2))
    assert texts(one) == []
    assert await hub.replay(one, "alerts.1", Position("e", 3))
    assert texts(one) == ["of 0 e-3", "of 1 e-4", "of 0 e-5", "of 1 e-6"]


async def test_a_replay_of_one_after_the_other_repeats_nothing(hub: Hub, history: History) -> None:
    history.happen(raised("first", device=1))
    history.happen(raised("second", device=2))
    one = joined(hub)
    hub.subscribe(one, "alerts.1", held=True)
    assert await hub.replay(one, "alerts.1", Position("e", 0))
    history.happen(raised("third", device=1))
    hub.subscribe(one, "alerts.2", held=True)
    assert await hub.replay(one, "alerts.2", Position("e", 0))
    history.happen(raised("fourth", device=2))
    assert texts(one) == ["first e-1", "third e-3", "second e-2", "fourth e-4"]


async def test_a_replay_stops_where_the_peer_stops_reading_and_goes_on_from_there(
    hub: Hub, history: History
) -> None:
    for number in range(1, 6):
        history.happen(raised(f"a{number}"))
    one = joined(hub)
    hub.subscribe(one, "alerts.*", held=True)
    transport = transport_of(one)

    def block_after_two() -> None:
        transport.is_blocked = len(transport.written) == 2

    transport.on_write = block_after_two
    assert await hub.replay(one, "alerts.*", Position("e", 0))
    history.happen(raised("a6"))
    assert texts(one) == ["a1 e-1", "a2 e-2"]
    transport.drain()
    await history.settled()
    assert texts(one) == [f"a{n} e-{n}" for n in range(1, 7)]


async def test_another_replay_while_the_first_waits_for_the_peer_repeats_nothing(
    hub: Hub, history: History
) -> None:
    for number in range(1, 5):
        history.happen(raised(f"a{number}", device=number % 2))
    one = joined(hub)
    hub.subscribe(one, "alerts.1", held=True)
    transport = transport_of(one)
    transport.on_write = lambda: setattr(transport, "is_blocked", True)
    assert await hub.replay(one, "alerts.1", Position("e", 0))
    assert texts(one) == ["a1 e-1"]
    hub.subscribe(one, "alerts.0", held=True)
    assert await hub.replay(one, "alerts.0", Position("e", 0))
    transport.on_write = None
    transport.drain()
    await history.settled()
    assert texts(one) == ["a1 e-1", "a2 e-2", "a3 e-3", "a4 e-4"]


async def test_a_replay_from_before_the_journal_begins_is_not_whole(
    hub: Hub, history: History
) -> None:
    for number in range(1, 5):
        history.happen(raised(f"a{number}"))
    del history.entries[:2]
    one = joined(hub)
    hub.subscribe(one, "alerts.*", held=True)
    assert not await hub.replay(one, "alerts.*", Position("e", 1))
    assert texts(one) == ["a3 e-3", "a4 e-4"]


async def test_of_a_journal_that_is_empty_now_nothing_is_replayed(
    hub: Hub, history: History
) -> None:
    history.happen(raised("gone"))
    history.entries.clear()
    one = joined(hub)
    hub.subscribe(one, "alerts.*", held=True)
    assert not await hub.replay(one, "alerts.*", Position("e", 0))
    history.happen(raised("next"))
    assert texts(one) == ["next e-2"]


async def test_a_position_of_another_epoch_is_not_replayed_but_what_waits_is_told(
    hub: Hub, history: History
) -> None:
    history.happen(raised("before"))
    one = joined(hub)
    hub.subscribe(one, "alerts.*", held=True)
    history.happen(raised("meanwhile"))
    assert not await hub.replay(one, "alerts.*", Position("before the restore", 0))
    assert texts(one) == ["meanwhile e-2"]


async def test_a_position_that_another_process_was_ahead_with_is_waited_for(
    hub: Hub, history: History
) -> None:
    history.happen(raised("had"))
    one = joined(hub)
    hub.subscribe(one, "alerts.*", held=True)
    replay = asyncio.ensure_future(hub.replay(one, "alerts.*", Position("e", 2)))
    await turns()
    history.happen(raised("had too"))
    history.happen(raised("later"))
    assert await replay
    assert texts(one) == ["later e-3"]


async def test_a_position_that_nobody_was_given_is_not_replayed(
    hub: Hub, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "AHEAD_SECONDS", 0)
    one = joined(hub)
    hub.subscribe(one, "alerts.*", held=True)
    assert not await hub.replay(one, "alerts.*", Position("e", 900))
    history.happen(raised("next"))
    assert texts(one) == ["next e-1"]


async def test_a_journal_that_cannot_be_read_leaves_the_subscription_held(
    hub: Hub, history: History
) -> None:
    history.happen(raised("a"))
    one = joined(hub)
    hub.subscribe(one, "alerts.*", held=True)
    history.is_away = True
    with pytest.raises(ConnectionError):
        await hub.replay(one, "alerts.*", Position("e", 0))
    history.is_away = False
    assert await hub.replay(one, "alerts.*", Position("e", 0))
    assert texts(one) == ["a e-1"]


async def test_what_is_held_no_more_holds_nothing_up(hub: Hub, history: History) -> None:
    one = joined(hub, "alerts.1")
    hub.subscribe(one, "alerts.2", held=True)
    history.happen(raised("a", device=1))
    hub.unsubscribe(one, "alerts.2")
    hub.look_after(now=1.0, stalled_after=60)
    await history.settled()
    assert texts(one) == ["a e-1"]


async def test_what_another_subscription_told_already_is_not_told_again_by_a_replay(
    hub: Hub, history: History
) -> None:
    history.happen(raised("missed"))
    one = joined(hub, "alerts.*")
    history.happen(raised("heard"))
    hub.subscribe(one, "alerts.1", held=True)
    history.happen(raised("waits"))
    assert await hub.replay(one, "alerts.1", Position("e", 0))
    assert texts(one) == ["heard e-2", "missed e-1", "waits e-3"]


async def test_a_subscription_that_is_heard_already_is_told_what_came_before_it_began(
    hub: Hub, history: History
) -> None:
    history.happen(raised("missed"))
    one = joined(hub, "alerts.*")
    history.happen(raised("heard"))
    for _ in range(2):
        hub.subscribe(one, "alerts.*", held=True)
        assert await hub.replay(one, "alerts.*", Position("e", 0))
    assert texts(one) == ["heard e-2", "missed e-1"]


async def test_what_one_replay_told_before_it_was_interrupted_is_not_told_by_the_next(
    hub: Hub, history: History
) -> None:
    for number in range(1, 5):
        history.happen(raised(f"a{number}"))
    one = joined(hub)
    hub.subscribe(one, "alerts.*", held=True)
    transport = transport_of(one)
    transport.on_write = lambda: setattr(transport, "is_blocked", len(transport.written) == 2)
    assert await hub.replay(one, "alerts.*", Position("e", 0))
    hub.subscribe(one, "alerts.1", held=True)
    assert await hub.replay(one, "alerts.1", Position("e", 0))
    transport.drain()
    await history.settled()
    assert texts(one) == [f"a{n} e-{n}" for n in range(1, 5)]


async def test_who_subscribes_while_behind_is_told_nothing_from_before(
    hub: Hub, history: History
) -> None:
    one = joined(hub, "alerts.1")
    transport_of(one).is_blocked = True
    history.happen(raised("of one", device=1))
    history.happen(raised("of two", device=2))
    hub.subscribe(one, "alerts.2")
    transport_of(one).drain()
    await history.settled()
    assert texts(one) == ["of one e-1"]


async def test_a_replay_that_is_asked_for_while_another_is_written_is_not_forgotten(
    hub: Hub, history: History
) -> None:
    for number in range(1, 401):
        history.happen(raised(f"a{number}", device=number % 2))
    one = joined(hub)
    hub.subscribe(one, "alerts.0", held=True)
    first = asyncio.ensure_future(hub.replay(one, "alerts.0", Position("e", 0)))
    await turns(4)
    hub.subscribe(one, "alerts.1", held=True)
    assert await hub.replay(one, "alerts.1", Position("e", 0))
    assert await first
    assert sorted(told_places(texts(one))) == list(range(1, 401))
    assert one.behind_at is None


async def test_many_who_catch_up_at_once_are_rendered_for_once(hub: Hub, history: History) -> None:
    for number in range(300):
        history.happen(raised(f"a{number}"))
    dialect = PlainDialect()
    members = [joined(hub, dialect=dialect) for _ in range(10)]
    for one in members:
        hub.subscribe(one, "alerts.*", held=True)
    await asyncio.gather(*(hub.replay(one, "alerts.*", Position("e", 0)) for one in members))
    assert dialect.renders == 300
    assert {len(texts(one)) for one in members} == {300}


def told_places(told: list[str]) -> list[int]:
    return [int(text.split("e-")[1].split(" ")[0]) for text in told]


# --- Priorities ----------------------------------------------------------------------------


class Overtaking(PlainDialect):
    """A dialect that can say that a message came before earlier ones."""

    overtakes = True


async def test_high_comes_before_normal_before_low_while_the_reader_is_behind(
    hub: Hub, history: History
) -> None:
    slow = joined(hub, "chat.**", dialect=Overtaking())
    transport_of(slow).is_blocked = True
    for place, priority in enumerate(["low", "normal", "high", "normal", "low"]):
        history.happen(published(priority, f"chat.{place}", priority=priority))
    transport_of(slow).drain()
    await history.settled()
    assert texts(slow) == [
        "high e-3 (e-0)",
        "normal e-2 (e-0)",
        "normal e-4 (e-0)",
        "low e-1",
        "low e-5",
    ]
    assert not slow.ahead
    history.happen(published("next", "chat.x", priority="low"))
    assert texts(slow)[-1] == "next e-6"


async def test_within_a_topic_nothing_overtakes_and_what_stands_before_a_high_one_goes_along(
    hub: Hub, history: History
) -> None:
    slow = joined(hub, "chat.**", dialect=Overtaking())
    transport_of(slow).is_blocked = True
    history.happen(published("other", "chat.b", priority="normal"))
    history.happen(published("first", "chat.a", priority="low"))
    history.happen(published("second", "chat.a", priority="high"))
    history.happen(published("third", "chat.a", priority="low"))
    transport_of(slow).drain()
    await history.settled()
    assert texts(slow) == [
        "first e-2 (e-0)",
        "second e-3 (e-0)",
        "other e-1",
        "third e-4",
    ]


async def test_a_dialect_that_cannot_say_so_keeps_the_order(hub: Hub, history: History) -> None:
    slow = joined(hub, "chat.**")
    transport_of(slow).is_blocked = True
    history.happen(published("low", "chat.a", priority="low"))
    history.happen(published("high", "chat.b", priority="high"))
    transport_of(slow).drain()
    await history.settled()
    assert texts(slow) == ["low e-1", "high e-2"]


@pytest.mark.parametrize("reads", [1, 2, 3, 7])
async def test_a_peer_that_blocks_in_a_page_gets_everything_once_and_its_topics_in_order(
    hub: Hub, history: History, reads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "PAGE_EVENTS", 10)
    monkeypatch.setattr(backlog, "WRITTEN_AT_ONCE", 4)
    slow = joined(hub, "chat.**", dialect=Overtaking())
    transport = transport_of(slow)
    transport.is_blocked = True
    priorities = ["low", "high", "normal", "low", "low", "high", "normal"]
    for number in range(1, 61):
        priority = priorities[number % 7]
        history.happen(published(f"m{number}", f"chat.{number % 5}", priority=priority))

    def block_now_and_then() -> None:
        transport.is_blocked = len(transport.written) % reads == 0

    transport.on_write = block_now_and_then
    late = 0
    while slow.behind_at is not None:
        told = len(texts(slow))
        transport.drain()
        await history.settled()
        if late < 20:
            late += 1
            history.happen(published(f"late{late}", "chat.late", priority="high"))
        assert len(texts(slow)) > told or slow.behind_at is None
    places = told_places(texts(slow))
    assert sorted(places) == list(range(1, 60 + late + 1))
    for topic in range(5):
        of_topic = [n for n in places if n <= 60 and n % 5 == topic]
        assert of_topic == sorted(of_topic)
    assert_safe(texts(slow))


def assert_safe(told: list[str]) -> None:
    """Assert that whoever is cut after any message loses nothing by recovering from its word."""
    had: set[int] = set()
    for text in told:
        n = int(text.split("e-")[1].split(" ")[0])
        had.add(n)
        recover = int(text.split("(e-")[1][:-1]) if "(" in text else n
        assert had >= set(range(1, recover + 1)), text


async def test_a_reader_that_overtook_and_asks_for_a_replay_gets_nothing_twice(
    hub: Hub, history: History
) -> None:
    history.happen(published("before", "chat.a"))
    slow = joined(hub, "chat.**", dialect=Overtaking())
    transport = transport_of(slow)
    transport.is_blocked = True
    history.happen(published("low", "chat.a", priority="low"))
    history.happen(published("high", "chat.b", priority="high"))
    transport.on_write = lambda: setattr(transport, "is_blocked", len(transport.written) == 1)
    transport.drain()
    await history.settled()
    assert texts(slow) == ["high e-3 (e-1)"]
    hub.subscribe(slow, "chat.*", held=True)
    assert await hub.replay(slow, "chat.*", Position("e", 0))
    transport.drain()
    await history.settled()
    assert texts(slow) == ["high e-3 (e-1)", "before e-1", "low e-2"]


async def test_what_was_written_ahead_is_remembered_beyond_a_shorter_page(
    hub: Hub, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = joined(hub, "chat.**", dialect=Overtaking())
    transport = transport_of(slow)
    transport.is_blocked = True
    for number in range(1, 8):
        history.happen(published(f"m{number}", f"chat.{number}"))
    history.happen(published("high", "chat.high", priority="high"))
    transport.on_write = lambda: setattr(transport, "is_blocked", len(transport.written) == 1)
    transport.drain()
    await history.settled()
    assert texts(slow) == ["high e-8 (e-0)"]
    monkeypatch.setattr(backlog, "PAGE_EVENTS", 3)
    transport.drain()
    await history.settled()
    assert texts(slow)[1:] == [f"m{number} e-{number}" for number in range(1, 8)]


# --- What expires --------------------------------------------------------------------------


async def test_what_expired_meanwhile_is_not_told_late(hub: Hub, history: History) -> None:
    hub.now = lambda: NOW
    slow = joined(hub, "chat.**")
    transport_of(slow).is_blocked = True
    history.happen(published("short", expires_at=NOW + timedelta(seconds=5)))
    history.happen(published("long", expires_at=NOW + timedelta(seconds=50)))
    hub.now = lambda: NOW + timedelta(seconds=5)
    transport_of(slow).drain()
    await history.settled()
    assert texts(slow) == ["long e-2"]


async def test_what_comes_too_late_from_another_process_is_not_told(
    hub: Hub, history: History
) -> None:
    hub.now = lambda: NOW
    one = joined(hub, "chat.**")
    history.happen(published("late", expires_at=NOW))
    history.happen(published("in time", expires_at=NOW + timedelta(milliseconds=1)))
    assert texts(one) == ["in time e-2"]
