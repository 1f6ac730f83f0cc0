"""Who hears what: the private topic's name, limits, refusals, and everything since a position."""

from collections.abc import AsyncIterator

import pytest
from django.db import OperationalError

from realtime import backlog
from realtime.dialects.pubsub.backing import Backing
from realtime.dialects.pubsub.schema import PubsubDialect
from realtime.dialects.pubsub.subscriptions import NEVER_GIVEN, NOT_KEPT, OTHER_EPOCH
from realtime.hub import Hub
from realtime.tests.dialects.pubsub.talk import Talk, talk_to
from realtime.tests.doubles import moved, principal, user_id_of
from realtime.tests.hubs import History
from realtime.tests.message_events import direct_message, published

HEARS = ("chat.**", "updates.**", "surgeries.**")


@pytest.fixture
async def talk(hub: Hub, history: History) -> AsyncIterator[Talk]:
    talk = await talk_to(hub, principal("olga", subscribe=HEARS))
    yield talk
    await talk.wire.end()


# --- The private topic ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["users.olga", f"users.{user_id_of('olga')}"])
async def test_the_private_topic_has_two_names(talk: Talk, hub: Hub, name: str) -> None:
    assert (await talk.subscribe(name))["topics"] == [name]
    hub.deliver(direct_message("to her", "olga"), 1)
    assert await talk.told(1) == ["to her"]


async def test_a_username_that_is_no_segment_is_a_name_all_the_same(hub: Hub) -> None:
    talk = await talk_to(hub, principal("dr. olga k", subscribe=HEARS))
    assert (await talk.subscribe("users.dr. olga k"))["active_subscriptions"] == 1
    await talk.wire.end()


async def test_both_names_together_are_one_subscription(talk: Talk) -> None:
    names = ["users.olga", f"users.{user_id_of('olga')}"]
    assert (await talk.subscribe(*names))["active_subscriptions"] == 1


@pytest.mark.parametrize("name", ["users.bea", f"users.{user_id_of('bea')}"])
async def test_another_s_private_topic_is_refused_by_name(talk: Talk, name: str) -> None:
    talk.send("Subscribe", {"topics": [name, "chat.*"]}, id="m1")
    refusal = await talk.hear_data("Error")
    assert (refusal["code"], refusal["details"]) == (403, {"topic": name, "message_id": "m1"})
    assert (await talk.hear_data("Status"))["details"]["topics"] == ["chat.*"]


async def test_what_the_session_hears_unasked_is_not_counted_and_not_ended(
    talk: Talk, hub: Hub
) -> None:
    (member,) = hub
    hub.subscribe(member, f"users.{user_id_of('olga')}")
    assert (await talk.subscribe("chat.a", "users.olga"))["active_subscriptions"] == 2
    talk.send("Unsubscribe", {"topics": ["users.olga"]})
    details = (await talk.hear_data("Status"))["details"]
    assert details == {"topics": ["users.olga"], "active_subscriptions": 1}
    hub.deliver(direct_message("still", "olga"), 1)
    assert await talk.told(1) == ["still"]


# --- What is wrong -------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["", "..", ".a", "a.", "a.*b", "**", "a" * 10_000, "a.**.b"])
async def test_the_pattern_that_is_wrong_is_named(talk: Talk, hub: Hub, pattern: str) -> None:
    talk.send("Subscribe", {"topics": ["chat.*", pattern]})
    refusal = await talk.hear_data("Error")
    assert (refusal["code"], refusal["details"]["field"]) == (400, "data.topics[1]")
    assert not next(iter(hub)).asked


@pytest.mark.parametrize(
    ("recover", "field"),
    [
        ("e-1", "data.recover"),
        ({}, "data.recover.position"),
        ({"position": 1}, "data.recover.position"),
        ({"position": ""}, "data.recover.position"),
        ({"position": "x" * 65}, "data.recover.position"),
        ({"position": "nonsense"}, "data.recover.position"),
        ({"position": "e-1.5"}, "data.recover.position"),
    ],
)
async def test_a_position_that_is_none_is_refused_whole(
    talk: Talk, hub: Hub, recover: object, field: str
) -> None:
    talk.send("Subscribe", {"topics": ["chat.*"], "recover": recover})
    refusal = await talk.hear_data("Error")
    assert (refusal["code"], refusal["details"]["field"]) == (400, field)
    assert not next(iter(hub)).asked


# --- Recovering ----------------------------------------------------------------------------


async def test_what_is_recovered_comes_after_status_and_ack_and_before_what_happens(
    talk: Talk, history: History
) -> None:
    for number in range(1, 5):
        history.happen(published(f"m{number}", f"chat.{number}"))
    history.happen(published("elsewhere", "updates.x"))
    recover = {"position": "e-2"}
    talk.send("Subscribe", {"topics": ["chat.*"], "recover": recover}, id="s")
    assert (await talk.hear_data("Status"))["details"] == {
        "topics": ["chat.*"],
        "active_subscriptions": 1,
        "position": "e-2",
        "recovered": True,
    }
    assert await talk.hear_data("Ack") == {"message_id": "s", "status": "subscribed"}
    assert await talk.told(2) == ["m3", "m4"]
    history.happen(published("next", "chat.1"))
    assert await talk.told(1) == ["next"]
    assert await talk.is_silent()


async def test_patterns_and_the_private_topic_are_recovered_in_one_order(
    hub: Hub, history: History
) -> None:
    history.happen(published("a", "chat.room.one"))
    history.happen(direct_message("for another", "bea"))
    history.happen(direct_message("b", "olga"))
    history.happen(published("c", "updates.x"))
    talk = await talk_to(hub, principal("olga", subscribe=HEARS))
    details = await talk.subscribe(
        "chat.**", "chat.room.*", "updates.*", "users.olga", recover={"position": "e-0"}
    )
    assert details["recovered"] is True
    assert await talk.told(3) == ["a", "b", "c"]
    assert await talk.is_silent()
    await talk.wire.end()


async def test_what_had_waited_for_the_user_is_not_recovered_again(
    hub: Hub, history: History
) -> None:
    history.happen(direct_message("had", "olga"))
    history.happen(direct_message("lost on the way", "olga"))
    talk = await talk_to(hub, principal("olga", subscribe=HEARS))
    (member,) = hub
    member.mail = frozenset({1})
    assert (await talk.subscribe("users.olga", recover={"position": "e-0"}))["recovered"]
    assert await talk.told(1) == ["lost on the way"]
    assert await talk.is_silent()
    await talk.wire.end()


async def test_what_was_heard_live_on_this_connection_is_not_recovered(
    talk: Talk, history: History
) -> None:
    history.happen(published("before", "chat.a"))
    await talk.subscribe("chat.**")
    history.happen(published("live", "chat.a"))
    assert await talk.told(1) == ["live"]
    details = await talk.subscribe("chat.a", "chat.**", recover={"position": "e-0"})
    assert details["position"] == "e-0"
    assert await talk.told(1) == ["before"]
    assert await talk.is_silent()


async def test_live_values_wait_for_the_end_of_what_is_recovered(
    talk: Talk, hub: Hub, history: History
) -> None:
    history.happen(published("missed", "chat.a"))
    await talk.subscribe("surgeries.*")
    (member,) = hub
    hub.subscribe(member, "chat.*", held=True)
    hub.deliver(moved("live"))
    assert (await talk.subscribe("chat.*", recover={"position": "e-0"}))["recovered"]
    assert await talk.told(2) == ["missed", "live"]


async def test_a_position_that_the_journal_does_not_reach_back_to_is_told_with_what_is_left(
    talk: Talk, history: History
) -> None:
    for number in range(1, 6):
        history.happen(published(f"m{number}", "chat.a"))
    del history.entries[:3]
    details = await talk.subscribe("chat.*", recover={"position": "e-1"})
    assert details["recovered"] is False
    assert (details["recoverable_from"], details["position"]) == ("e-3", "e-3")
    assert details["reason"] == NOT_KEPT
    assert await talk.told(2) == ["m4", "m5"]
    # Who asks for that nevertheless has had it.
    assert (await talk.subscribe("chat.*", recover={"position": "e-3"}))["recovered"]
    assert await talk.is_silent()


async def test_a_position_of_another_epoch_is_told_with_where_to_begin(
    talk: Talk, history: History
) -> None:
    for number in range(1, 4):
        history.happen(published(f"m{number}", "chat.a"))
    del history.entries[:1]
    details = await talk.subscribe("chat.*", recover={"position": "f-2"})
    assert (details["recovered"], details["recoverable_from"]) == (False, "e-1")
    assert (details["position"], details["reason"]) == ("e-3", OTHER_EPOCH)
    assert await talk.is_silent()
    assert (await talk.subscribe("chat.*", recover={"position": "e-1"}))["recovered"]
    assert await talk.told(2) == ["m2", "m3"]


async def test_a_position_that_nobody_was_given_is_told_so(
    talk: Talk, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "AHEAD_SECONDS", 0)
    history.happen(published("m1", "chat.a"))
    details = await talk.subscribe("chat.*", recover={"position": "e-900"})
    assert (details["recovered"], details["reason"]) == (False, NEVER_GIVEN)
    history.happen(published("m2", "chat.a"))
    assert await talk.told(1) == ["m2"]


async def test_a_journal_that_cannot_be_read_is_503_and_nothing_new_is_subscribed(
    talk: Talk, hub: Hub, history: History
) -> None:
    await talk.subscribe("updates.*")
    history.happen(published("missed", "chat.a"))
    read = history.read

    async def fail(n: int, limit: int) -> None:
        raise OperationalError("the database is away")

    hub.history = fail
    topics = ["chat.*", "updates.*"]
    talk.send("Subscribe", {"topics": topics, "recover": {"position": "e-0"}})
    assert (await talk.hear_data("Error"))["code"] == 503
    hub.history = read
    history.happen(published("m", "updates.a"))
    hub.look_after(now=0.0, stalled_after=60)
    assert await talk.told(1) == ["m"]
    assert (await talk.subscribe("chat.*", recover={"position": "e-0"}))["recovered"]
    assert await talk.told(1) == ["missed"]


async def test_whoever_is_behind_is_told_the_position_it_has_got_to(
    talk: Talk, hub: Hub, history: History
) -> None:
    await talk.subscribe("chat.*")
    (member,) = hub
    history.happen(published("m1", "chat.a"))
    assert await talk.told(1) == ["m1"]
    member.behind_at = 0
    assert (await talk.subscribe("updates.*"))["position"] == "e-0"


# --- Binary --------------------------------------------------------------------------------


class Binary(PubsubDialect):
    name = "pubsub.binary"


async def test_who_asks_for_binary_messages_hears_in_those_words_from_now_on(
    hub: Hub, history: History
) -> None:
    binary = Binary()
    backing = Backing(binary_dialect=binary)
    talk = await talk_to(hub, principal("olga", subscribe=HEARS), backing=backing)
    await talk.subscribe("chat.*")
    await talk.subscribe("updates.*", binary=True)
    (member,) = hub
    assert {cohort.dialect for cohort in member.cohorts.values()} == {binary}
    history.happen(published("m", "chat.a"))
    assert await talk.told(1) == ["m"]
    await talk.wire.end()
