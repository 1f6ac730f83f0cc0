"""Members that are behind: durable events wait in the journal and come in order, each once."""

import pytest

from realtime.core.filters import Filter
from realtime.core.position import Position
from realtime.hub import Hub
from realtime.journal import Numbered
from realtime.tests.doubles import completed, moved, started, surgeon
from realtime.tests.hubs import History, Speechless, joined, raised, texts, transport_of

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


async def test_a_position_that_another_process_was_ahead_with_misses_nothing(
    hub: Hub, history: History
) -> None:
    history.happen(raised("had"))
    one = joined(hub)
    hub.subscribe(one, "alerts.*", held=True)
    assert await hub.replay(one, "alerts.*", Position("e", 2))
    history.happen(raised("later"))
    assert len(texts(one)) == 1


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
