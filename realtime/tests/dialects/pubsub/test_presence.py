"""Presence in the pubsub dialect: what a client says, and who is shown to a subscriber."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from realtime.core.events import PresenceChanged, presence_topic
from realtime.core.presence import METADATA_BYTES
from realtime.dialects.pubsub import presence as module
from realtime.dialects.pubsub.backing import Backing
from realtime.dialects.pubsub.consumer import PubsubConsumer
from realtime.hub import Hub
from realtime.presence import Presence
from realtime.presence.rows import Change
from realtime.tests.dialects.pubsub.test_consumer import NO_LIMITS, Client
from realtime.tests.doubles import NOW, principal, user_id_of
from realtime.tests.wire import Wire, authenticated

HEARS = ("presence.*", "chat.**")


@pytest.fixture
def hub() -> Hub:
    return Hub(epoch="e")


@pytest.fixture
def presence(hub: Hub) -> Presence:
    presence = Presence("here")
    hub.on_join = lambda member: presence.on_join(member.session)
    hub.on_leave = lambda member: presence.on_leave(member.session)
    return presence


@pytest.fixture
def _nobody_was_ever_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "find_offline", lambda topics: [])
    return


def changed(username: str, status: Any = "online", *, at: datetime = NOW) -> PresenceChanged:
    return PresenceChanged(
        id=f"{username} {status}",
        at=at,
        username=username,
        user_id=user_id_of(username),
        status=status,
        last_seen=at,
        metadata={},
    )


async def opened(hub: Hub, presence: Presence, *, query: str = "", **who: Any) -> Client:
    scope = authenticated(principal(subscribe=HEARS, **who))
    client = Client(Wire(**scope, query_string=query.encode()))
    consumer = PubsubConsumer(hub, NO_LIMITS, backing=Backing(presence=presence))
    await client.wire.opened(consumer)
    assert (await client.hear())["data"]["status"] == "connected"
    return client


def said(presence: Presence) -> Change:
    [change] = presence.take()
    presence.undo([change])
    return change


async def test_who_connects_is_present(hub: Hub, presence: Presence) -> None:
    client = await opened(hub, presence)
    change = said(presence)
    assert (change.username, change.voice.status, change.voice.metadata) == ("olga", "online", {})
    await client.wire.end()


async def test_metadata_of_the_query_is_told(hub: Hub, presence: Presence) -> None:
    query = urlencode({"token": "…", "metadata": '{"device": "web"}'})
    client = await opened(hub, presence, query=query)
    assert said(presence).voice.metadata == {"device": "web"}
    await client.wire.end()


@pytest.mark.parametrize("given", ["web", "[1]", json.dumps({"a": "x" * METADATA_BYTES})])
async def test_bad_metadata_of_the_query_is_told_and_ends_nothing(
    hub: Hub, presence: Presence, given: str
) -> None:
    client = await opened(hub, presence, query=urlencode({"metadata": given}))
    refusal = await client.refusal()
    assert (refusal["code"], refusal["details"]["field"]) == (400, "metadata")
    assert said(presence).voice.metadata == {}
    client.send("Ping", {"timestamp": 1})
    assert (await client.hear())["type"] == "Pong"
    await client.wire.end()


async def test_what_a_client_says_of_its_user_is_taken_and_acknowledged(
    hub: Hub, presence: Presence
) -> None:
    client = await opened(hub, presence)
    client.send("Presence", {"status": "away", "metadata": {"mood": "tea"}}, id="p1")
    assert (await client.hear())["data"] == {"message_id": "p1", "status": "updated"}
    voice = said(presence).voice
    assert (voice.status, voice.metadata) == ("away", {"mood": "tea"})
    client.send("Presence", {"status": "online"})
    client.send("Ping", {"timestamp": 1})
    assert (await client.hear())["type"] == "Pong"
    voice = said(presence).voice
    assert (voice.status, voice.metadata) == ("online", {"mood": "tea"})
    await client.wire.end()


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"status": "asleep"}, "data.status"),
        ({"status": 1}, "data.status"),
        ({"metadata": "web"}, "data.metadata"),
        ({"metadata": {"a": "x" * METADATA_BYTES}}, "data.metadata"),
    ],
)
async def test_a_bad_presence_is_refused_by_field(
    hub: Hub, presence: Presence, data: dict[str, Any], field: str
) -> None:
    client = await opened(hub, presence)
    client.send("Presence", data)
    refusal = await client.refusal()
    assert (refusal["code"], refusal["details"]["field"]) == (400, field)
    assert said(presence).voice.metadata == {}
    await client.wire.end()


# --- Who is shown --------------------------------------------------------------------------


async def test_a_subscriber_is_shown_who_is_present_after_the_answer(
    hub: Hub, presence: Presence
) -> None:
    presence.roster.fill([changed("ana"), changed("bea", "away")])
    client = await opened(hub, presence)
    await client.subscribe("presence.*", "chat.general")
    shown = [await client.hear() for _ in range(2)]
    assert [each["type"] for each in shown] == ["Presence", "Presence"]
    assert [(each["data"]["user_id"], each["data"]["status"]) for each in shown] == [
        ("ana", "online"),
        ("bea", "away"),
    ]
    hub.deliver(changed("ana", "offline"), 1)
    assert (await client.hear())["data"]["status"] == "offline"
    await client.wire.end()


async def test_who_is_named_is_shown_alone(hub: Hub, presence: Presence) -> None:
    presence.roster.fill([changed("ana"), changed("j. doe")])
    client = await opened(hub, presence)
    await client.subscribe(presence_topic("j. doe"))
    assert (await client.hear())["data"]["user_id"] == "j. doe"
    assert client.has_heard_all
    await client.wire.end()


async def test_who_is_named_and_away_is_shown_with_when_they_left(
    hub: Hub, presence: Presence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_offline", lambda topics: [changed("ana", "offline")])
    client = await opened(hub, presence)
    await client.subscribe("presence.ana")
    told = (await client.hear())["data"]
    assert (told["user_id"], told["status"]) == ("ana", "offline")
    assert told["last_seen"] == int(NOW.timestamp() * 1000)
    await client.wire.end()


async def test_what_was_read_before_somebody_came_is_not_shown_after_it(
    hub: Hub, presence: Presence, monkeypatch: pytest.MonkeyPatch
) -> None:
    def came_meanwhile(topics: list[str]) -> list[PresenceChanged]:
        presence.roster.on_event(changed("ana"))
        return [changed("ana", "offline")]

    monkeypatch.setattr(module, "find_offline", came_meanwhile)
    client = await opened(hub, presence)
    await client.subscribe("presence.ana")
    client.send("Ping", {"timestamp": 1})
    assert (await client.hear())["type"] == "Pong"
    await client.wire.end()


@pytest.mark.usefixtures("_nobody_was_ever_here")
async def test_of_a_user_nobody_knows_nothing_is_shown(hub: Hub, presence: Presence) -> None:
    client = await opened(hub, presence)
    await client.subscribe("presence.nobody")
    client.send("Ping", {"timestamp": 1})
    assert (await client.hear())["type"] == "Pong"
    await client.wire.end()


async def test_too_many_to_show_are_told_as_a_number(
    hub: Hub, presence: Presence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHOWN_MAX", 2)
    presence.roster.fill([changed(f"user{number}") for number in range(5)])
    client = await opened(hub, presence)
    await client.subscribe("presence.*")
    assert [(await client.hear())["data"]["user_id"] for _ in range(2)] == ["user3", "user4"]
    gap = await client.hear()
    assert gap["type"] == "Gap"
    assert gap["data"] == {"topic": "presence.*", "skipped": 3, "reason": "too_many_to_show"}
    await client.wire.end()


async def test_who_asks_for_everybody_again_and_again_has_to_wait(
    hub: Hub, presence: Presence, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    presence.roster.fill([changed("ana")])
    client = await opened(hub, presence)
    for _ in range(2):
        await client.subscribe("presence.*")
        assert (await client.hear())["type"] == "Presence"
    assert [0 < wait <= module.SHOWN_APART_SECONDS for wait in waits if wait] == [True]
    await client.wire.end()


async def test_who_may_hear_of_one_user_is_shown_that_one(hub: Hub, presence: Presence) -> None:
    presence.roster.fill([changed("ana"), changed("bea")])
    scope = authenticated(principal(subscribe=("presence.bea",)))
    client = Client(Wire(**scope))
    await client.wire.opened(PubsubConsumer(hub, NO_LIMITS, backing=Backing(presence=presence)))
    await client.hear()
    await client.subscribe("presence.*")
    assert (await client.hear())["data"]["user_id"] == "bea"
    assert client.has_heard_all
    await client.wire.end()
