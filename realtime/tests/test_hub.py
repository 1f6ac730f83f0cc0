"""The hub: who hears what, once, in which words."""

import asyncio

import msgspec
import pytest

from realtime.core.codes import CloseCode
from realtime.core.errors import Forbidden, Restarting
from realtime.core.events import Published, SurgeryStarted
from realtime.core.filters import Filter
from realtime.hub import Hub, Member
from realtime.tests.doubles import (
    PlainDialect,
    completed,
    member,
    moved,
    principal,
    started,
    surgeon,
)
from realtime.tests.hubs import (
    History,
    MeasuringDialect,
    Speechless,
    joined,
    reported,
    texts,
    transport_of,
)
from realtime.tests.message_events import published

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


def test_sessions_are_counted_by_endpoint(hub: Hub) -> None:
    for endpoint in ("pubsub", "pubsub", "ai"):
        joined(hub, endpoint=endpoint)
    assert hub.counts() == {"pubsub": 2, "ai": 1}
    assert len(list(hub)) == 3


def test_it_is_told_who_comes_and_who_goes_once(hub: Hub) -> None:
    told: list[tuple[str, Member]] = []
    hub.on_join = lambda member: told.append(("came", member))
    hub.on_leave = lambda member: told.append(("went", member))
    one = joined(hub)
    hub.leave(one)
    hub.leave(one)
    assert told == [("came", one), ("went", one)]


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


def test_it_is_told_who_is_cut_for_not_reading(hub: Hub) -> None:
    told: list[tuple[Member, str]] = []
    hub.on_stalled = lambda member, end: told.append((member, end.kind))
    stalled, _ = joined(hub), joined(hub)
    transport_of(stalled).is_blocked = True
    for now in (0.0, 60.0, 61.0):
        hub.look_after(now=now, stalled_after=60)
    assert told == [(stalled, "stalled")]


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


# --- Snapshots -----------------------------------------------------------------------------


def test_what_is_shown_is_written_to_one_member_and_to_nobody_else(hub: Hub) -> None:
    one, other = joined(hub, "telemetry.*"), joined(hub, "telemetry.*")
    hub.show(one, [reported("a"), reported("b", device=2)])
    assert texts(one) == ["a live", "b live"]
    assert texts(other) == []


def test_what_is_shown_is_narrowed_by_the_subscriptions_and_waits_for_no_beat(hub: Hub) -> None:
    one = joined(hub, dialect=MeasuringDialect())
    hub.subscribe(one, "telemetry.1", Filter(metrics=frozenset({"humidity"}), every_ms=500))
    hub.show(one, [reported(temperature=20, humidity=45), reported(device=2)])
    assert texts(one) == ["1 humidity=45"]


def test_what_is_shown_to_a_blocked_peer_is_conflated(hub: Hub) -> None:
    slow = joined(hub, "telemetry.*")
    transport_of(slow).is_blocked = True
    hub.show(slow, [reported("a"), reported("b")])
    assert texts(slow) == []
    transport_of(slow).drain()
    assert texts(slow) == ["b live", "gap 1 telemetry"]


def test_a_hub_knows_which_roots_are_heard(hub: Hub) -> None:
    someone = member()
    hub.join(someone)
    hub.subscribe(someone, "alerts.*")
    hub.subscribe(someone, "alerts.**")
    assert hub.is_heard("alerts")
    assert not hub.is_heard("chat")
    hub.unsubscribe(someone, "alerts.*")
    assert hub.is_heard("alerts")
    hub.leave(someone)
    assert not hub.is_heard("alerts")


# --- Who was told ---------------------------------------------------------------------------


def test_who_gets_it_is_told_once_though_it_waits_for_a_slow_reader(hub: Hub) -> None:
    both = joined(hub, "chat.*", "chat.general", who=principal("ana"))
    slow = joined(hub, "chat.*", who=principal("bea"))
    joined(hub, "alerts.*", who=principal("cid"))
    joined(hub, "chat.*", dialect=PlainDialect("deaf", deaf_to=["Published"]))
    transport_of(slow).is_blocked = True
    told: list[Member] = []
    hub.deliver(published("p"), 1, told)
    assert sorted(each.session.id for each in told) == sorted(
        each.session.id for each in (both, slow)
    )


def test_who_relays_something_does_not_hear_it_itself(hub: Hub) -> None:
    sender, other = joined(hub, "chat.*", "chat.general"), joined(hub, "chat.*")
    told: list[Member] = []
    hub.deliver(relayed_by(sender), 1, told)
    assert told == [other]
    assert (len(texts(sender)), len(texts(other))) == (0, 1)


async def test_nor_does_it_when_it_is_caught_up(hub: Hub, history: History) -> None:
    sender, other = joined(hub, "chat.*"), joined(hub, "chat.*")
    late: list[tuple[Member, str]] = []
    hub.on_late = lambda one, event: late.append((one, event.id))
    for each in (sender, other):
        transport_of(each).is_blocked = True
    history.happen(relayed_by(sender))
    history.happen(published("p"))
    for each in (sender, other):
        transport_of(each).drain()
    await history.settled()
    assert [text.split()[0] for text in texts(sender)] == ["p"]
    assert [text.split()[0] for text in texts(other)] == ["relayed", "p"]
    assert sorted(id_ for _, id_ in late) == ["p", "p", "relayed"]


def relayed_by(sender: Member) -> Published:
    return msgspec.structs.replace(published("relayed"), not_to=sender.session.id)
