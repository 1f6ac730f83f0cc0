"""The pubsub dialect's order of talk, over a socket in memory."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from realtime import consumers
from realtime.budgets import SharedBudget
from realtime.core.errors import PolicyViolation
from realtime.core.limits import DialectLimits
from realtime.core.session import Principal
from realtime.dialects.pubsub import consumer as module
from realtime.dialects.pubsub.backing import Backing
from realtime.dialects.pubsub.consumer import PubsubConsumer
from realtime.dialects.pubsub.subscriptions import SUBSCRIPTIONS_MAX
from realtime.hub import Hub
from realtime.tests.doubles import completed, moved, principal, started, surgeon
from realtime.tests.wire import Wire, authenticated, turns

NO_LIMITS = DialectLimits()


def backing() -> Backing:
    """Return what stands behind a consumer in these tests."""
    return Backing()


class Client:
    """A client of the dialect: sends and hears JSON."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def send(self, kind: str, data: Any = None, **more: Any) -> None:
        self.wire.say(json.dumps({"type": kind, "data": data or {}, **more}))

    async def hear(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self.wire.hear())
        return message

    async def refusal(self) -> dict[str, Any]:
        message = await self.hear()
        assert message["type"] == "Error", message
        data: dict[str, Any] = message["data"]
        return data

    async def subscribe(self, *topics: str) -> dict[str, Any]:
        """Subscribe, and return the details of the confirmation."""
        self.send("Subscribe", {"topics": topics})
        message = await self.hear()
        assert message["data"]["status"] == "subscribed", message
        details: dict[str, Any] = message["data"]["details"]
        return details

    @property
    def has_heard_all(self) -> bool:
        return self.wire.outbound.empty()


@pytest.fixture
def hub() -> Hub:
    return Hub(epoch="e")


async def greeted(
    hub: Hub, who: Principal | None = None, limits: DialectLimits = NO_LIMITS
) -> Client:
    client = Client(Wire(**authenticated(who or principal())))
    await client.wire.opened(PubsubConsumer(hub, limits, backing=backing()))
    assert (await client.hear())["data"]["status"] == "connected"
    return client


@pytest.fixture
async def client(hub: Hub) -> AsyncIterator[Client]:
    client = await greeted(hub)
    yield client
    await client.wire.end()


# --- Greeting ------------------------------------------------------------------------------


async def test_the_welcome_comes_first_and_names_the_connection(hub: Hub) -> None:
    wire = Wire(**authenticated(principal()))
    await wire.opened(PubsubConsumer(hub, NO_LIMITS, backing=backing()))
    details = json.loads(await wire.hear())["data"]["details"]
    assert details["connection_id"] == next(iter(hub)).session.id
    assert details["protocol_version"] == "1.0"
    await wire.end()


async def test_who_is_refused_reads_error_401_before_the_close_frame(hub: Hub) -> None:
    wire = Wire(principal=None, user=None, refusal=PolicyViolation("token expired"))
    await wire.opened(PubsubConsumer(hub, NO_LIMITS, backing=backing()))
    message = json.loads(await wire.hear())
    assert message["type"] == "Error"
    assert (message["data"]["code"], message["data"]["message"]) == (401, "token expired")
    assert await wire.ending() == (1008, "token expired")
    await wire.end()


async def test_who_is_over_a_budget_reads_error_429_with_limit_use_and_when(hub: Hub) -> None:
    budget = SharedBudget(DialectLimits(connections_per_user=1))
    budget.admit(str(principal().user_id), 0.0)
    wire = Wire(**authenticated(principal()))
    await wire.opened(PubsubConsumer(hub, NO_LIMITS, budget, backing=backing()))
    error = json.loads(await wire.hear())["data"]
    assert error["code"] == 429
    assert error["details"] == {"limit": 1, "used": 1, "retry_after_ms": 5000}
    assert await wire.ending() == (1013, "too many connections: 1 of your 1 are open")
    await wire.end()


async def test_an_expired_token_is_told_before_the_close_frame(hub: Hub) -> None:
    ended = datetime.now(UTC) - timedelta(seconds=1)
    client = await greeted(hub, principal(expires_at=ended))
    message = await client.hear()
    assert message["type"] == "AuthStatus"
    assert message["data"]["status"] == "expired"
    assert await client.wire.ending() == (1008, "token expired")
    await client.wire.end()


# --- Ping ----------------------------------------------------------------------------------


async def test_a_ping_is_answered_with_its_own_time(client: Client) -> None:
    client.send("Ping", {"timestamp": 1234567890})
    assert await client.hear() == {"type": "Pong", "data": {"timestamp": 1234567890}}


async def test_a_pong_is_not_answered(client: Client) -> None:
    client.send("Pong", {"timestamp": 1})
    client.send("Ping", {"timestamp": 2})
    assert (await client.hear())["data"] == {"timestamp": 2}


# --- Subscriptions -------------------------------------------------------------------------


async def test_subscribing_is_confirmed_with_what_is_heard(client: Client) -> None:
    assert await client.subscribe("surgeries.*", "chat.general") == {
        "topics": ["surgeries.*", "chat.general"],
        "active_subscriptions": 2,
        "position": "e-0",
    }


async def test_an_id_gets_an_ack_as_well(client: Client) -> None:
    client.send("Subscribe", {"topics": ["chat.*"]}, id="msg_1")
    assert (await client.hear())["type"] == "Status"
    assert await client.hear() == {
        "type": "Ack",
        "data": {"message_id": "msg_1", "status": "subscribed"},
    }


async def test_unsubscribing_is_confirmed_with_what_ended(client: Client, hub: Hub) -> None:
    await client.subscribe("surgeries.*", "chat.general")
    client.send("Unsubscribe", {"topics": ["surgeries.*", "never.heard"]})
    assert (await client.hear())["data"] == {
        "status": "unsubscribed",
        "details": {"topics": ["surgeries.*"], "active_subscriptions": 1},
    }
    hub.deliver(started(), 1)
    await turns()
    assert client.has_heard_all


async def test_what_happens_is_delivered_once_though_two_patterns_hear_it(
    client: Client, hub: Hub
) -> None:
    await client.subscribe("surgeries.*", "surgeries.completed")
    hub.deliver(completed("x"), 7)
    message = await client.hear()
    assert message["type"] == "Broadcast"
    assert message["data"]["topic"] == "surgeries.completed"
    assert message["data"]["metadata"]["message_id"] == "x"
    assert message["data"]["metadata"]["position"] == "e-7"
    await turns()
    assert client.has_heard_all


async def test_a_surgeon_hears_own_operations_only(hub: Hub) -> None:
    client = await greeted(hub, surgeon("ana"))
    await client.subscribe("surgeries.*")
    hub.deliver(completed("another's", surgeon="bea"), 1)
    hub.deliver(moved("hers", surgeon="ana"))
    assert (await client.hear())["data"]["metadata"]["message_id"] == "hers"
    await client.wire.end()


async def test_what_may_not_be_heard_is_refused_one_by_one(hub: Hub) -> None:
    client = await greeted(hub, surgeon())
    client.send("Subscribe", {"topics": ["alerts.*", "chat.*"]})
    refusal = await client.refusal()
    assert (refusal["code"], refusal["details"]["topic"]) == (403, "alerts.*")
    assert (await client.hear())["data"]["details"]["topics"] == ["chat.*"]
    await client.wire.end()


@pytest.mark.parametrize("pattern", ["", "*", "**", "a..b", "a b", "a.**.b", "a" * 256])
async def test_what_is_no_pattern_is_refused_whole(client: Client, hub: Hub, pattern: str) -> None:
    client.send("Subscribe", {"topics": ["chat.*", pattern]})
    refusal = await client.refusal()
    assert refusal["code"] == 400
    assert refusal["details"]["field"]
    assert not next(iter(hub)).asked


async def test_subscriptions_are_bounded(client: Client) -> None:
    for start in range(0, SUBSCRIPTIONS_MAX, 128):
        await client.subscribe(*(f"chat.room{n}" for n in range(start, start + 128)))
    for wanted in (["chat.one.too.many"], [f"chat.other{n}" for n in range(10_000)]):
        client.send("Subscribe", {"topics": wanted}, id="msg_1")
        refusal = await client.refusal()
        assert refusal["code"] == 400
        assert refusal["details"] == {
            "field": "data.topics",
            "limit": SUBSCRIPTIONS_MAX,
            "used": SUBSCRIPTIONS_MAX,
            "message_id": "msg_1",
        }
    assert (await client.subscribe("chat.room1"))["active_subscriptions"] == SUBSCRIPTIONS_MAX


# --- Wrong messages ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("hello", ""),
        ("[]", ""),
        ('{"type":5}', "type"),
        ('{"type":"websocket.disconnect","data":{}}', "type"),
        ('{"type":"Ack","data":{"message_id":"x"}}', "type"),
        ('{"type":"X-","data":{}}', "type"),
        ('{"type":"Subscribe","data":{}}', "data.topics"),
        ('{"type":"Ping","data":{"timestamp":"now"}}', "data.timestamp"),
    ],
)
async def test_a_wrong_message_is_answered_and_the_next_one_read(
    client: Client, text: str, field: str
) -> None:
    client.wire.say(text)
    refusal = await client.refusal()
    assert (refusal["code"], refusal["details"]["field"]) == (400, field)
    client.send("Ping", {"timestamp": 1})
    assert (await client.hear())["type"] == "Pong"


# --- Limits --------------------------------------------------------------------------------


async def test_a_message_above_the_advised_size_is_answered_and_dropped(hub: Hub) -> None:
    client = await greeted(hub, limits=DialectLimits(message_bytes=64))
    client.send("Ping", {"timestamp": 1, "filling": "✓" * 20})
    refusal = await client.refusal()
    assert (refusal["code"], refusal["details"]) == (413, {"limit": 64})
    client.send("Ping", {"timestamp": 1})
    assert (await client.hear())["type"] == "Pong"
    await client.wire.end()


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(consumers, "time", clock)
    return clock


async def test_a_message_above_the_rate_is_told_the_limit_and_when_to_try_again(
    hub: Hub, clock: Clock
) -> None:
    client = await greeted(hub, limits=DialectLimits(messages_per_second=2))
    for _ in range(3):
        client.send("Ping")
    assert [(await client.hear())["type"] for _ in range(2)] == ["Pong", "Pong"]
    refusal = await client.refusal()
    assert refusal["code"] == 429
    assert refusal["details"]["limit"] == 2
    clock.now += refusal["details"]["retry_after_ms"] / 1000
    client.send("Ping")
    assert (await client.hear())["type"] == "Pong"
    await client.wire.end()


async def test_a_flood_that_does_not_end_is_closed_though_some_of_it_fits(
    hub: Hub, clock: Clock
) -> None:
    client = await greeted(hub, limits=DialectLimits(messages_per_second=10))
    answers = []
    for _ in range(600):
        clock.now += 0.01
        client.send("Ping")
        answer = await client.wire.next()
        if answer["type"] == "websocket.close":
            break
        answers.append(json.loads(answer["text"])["type"])
    assert answer["code"] == 1008
    assert answers.count("Pong") > 10
    assert len(answers) >= module.FLOOD_SECONDS / 0.01
    await client.wire.end()


async def test_a_burst_now_and_then_is_no_flood(hub: Hub, clock: Clock) -> None:
    client = await greeted(hub, limits=DialectLimits(messages_per_second=2))
    for _ in range(20):
        for _ in range(4):
            client.send("Ping")
        assert [(await client.hear())["type"] for _ in range(4)] == ["Pong"] * 2 + ["Error"] * 2
        clock.now += 3
    await client.wire.end()
