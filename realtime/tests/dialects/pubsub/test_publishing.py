"""What a client says: rights, answers, repeats, order; without a database or another process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import pytest

from realtime.census import Census
from realtime.core.errors import Unavailable
from realtime.core.events import Message, Published, private_topic
from realtime.core.limits import DialectLimits
from realtime.core.session import Principal
from realtime.dialects.pubsub import publishing
from realtime.dialects.pubsub.backing import Backing
from realtime.dialects.pubsub.consumer import PubsubConsumer
from realtime.hub import Hub
from realtime.publisher import Receipt
from realtime.tests.dialects.pubsub.talk import Talk
from realtime.tests.doubles import principal, user_id_of
from realtime.tests.hubs import History
from realtime.tests.wire import Wire, authenticated, turns

HEARS = ("chat.**", "updates.**")
SAYS = ("chat.**", "updates.broadcast")
PEOPLE = ("ana", "bea", "cid")


class Press:
    """Publishes in memory: what a publisher, a tail and a runtime do, when the test lets it."""

    def __init__(self, hub: Hub, history: History) -> None:
        self.hub = hub
        self.history = history
        self.census = Census("a", tell=lambda kind, body: None, peers=lambda: (set(), set()))
        self.events: list[Message] = []
        self.is_away = False
        self.is_full = False
        self.is_held = False
        self.answers: dict[str, dict[str, Any]] = {}
        self._taken: dict[str, Receipt] = {}
        self._held: list[Callable[[], None]] = []

    def publish(
        self, event: Message, *, key: str | None = None, recipient: UUID | None = None
    ) -> "asyncio.Future[Receipt]":
        if self.is_full:
            raise Unavailable("too many messages wait to be stored: try again later")
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._held.append(lambda: self._take(future, event, key, recipient))
        if not self.is_held:
            self.release()
        return future

    def release(self) -> None:
        held, self._held = self._held, []
        for take in held:
            take()

    def keep_answer(self, key: str, answer: dict[str, Any]) -> None:
        self.answers[key] = answer

    def _take(
        self,
        future: "asyncio.Future[Receipt]",
        event: Message,
        key: str | None,
        recipient: UUID | None,
    ) -> None:
        if self.is_away:
            future.set_exception(Unavailable("the database does not answer: try again later"))
            return
        if key is not None and key in self._taken:
            first = self._taken[key]
            future.set_result(Receipt(first.event_id, first.position, True, self.answers.get(key)))
            return
        self.events.append(event)
        told: list[Any] = []
        n = self.hub.position + 1
        self.hub.deliver(event, n, told)
        self.census.on_delivered(event, [each.session.id for each in told], len(told))
        receipt = Receipt(event.id, f"e-{n}", is_kept=recipient is not None)
        if key is not None:
            self._taken[key] = receipt
        future.set_result(receipt)


async def find(target: str) -> UUID | None:
    by_id = {str(user_id_of(name)): name for name in PEOPLE}
    name = by_id.get(target, target)
    return user_id_of(name) if name in PEOPLE else None


@pytest.fixture
def press(hub: Hub, history: History) -> Press:
    return Press(hub, history)


@pytest.fixture
async def people(hub: Hub, press: Press) -> AsyncIterator[Callable[..., Any]]:
    """Return a function that connects somebody."""
    connected: list[Talk] = []

    async def connect(
        name: str = "ana",
        *,
        says: tuple[str, ...] = SAYS,
        limits: DialectLimits | None = None,
        query: str = "",
    ) -> Talk:
        who: Principal = principal(name, role="ROLE_MEMBER", subscribe=HEARS, publish=says)
        talk = Talk(Wire(**authenticated(who), query_string=query.encode()))
        backing = Backing(
            publisher=press,  # type: ignore[arg-type]
            census=press.census,
            find_recipient=find,
        )
        await talk.wire.opened(PubsubConsumer(hub, limits or DialectLimits(), backing=backing))
        assert (await talk.hear())["data"]["status"] == "connected"
        connected.append(talk)
        return talk

    yield connect
    for talk in connected:
        await talk.wire.end()


Connect = Callable[..., Any]


# --- Broadcasts ----------------------------------------------------------------------------


async def test_an_ack_says_who_was_reached_and_where_it_stands(people: Connect) -> None:
    ana, bea = await people(), await people("bea")
    await bea.subscribe("chat.general")
    ana.send("Broadcast", {"topic": "chat.general", "payload": {"x": 1}}, id="msg_1")
    assert await ana.hear() == {
        "type": "Ack",
        "data": {
            "message_id": "msg_1",
            "status": "delivered",
            "recipients": 1,
            "position": "e-1",
        },
    }
    data = await bea.hear_data("Broadcast")
    assert (data["topic"], data["payload"], data["from_user"]) == ("chat.general", {"x": 1}, "ana")


async def test_without_an_id_it_is_said_and_not_acknowledged(people: Connect, press: Press) -> None:
    ana = await people()
    ana.send("Broadcast", {"topic": "chat.general", "payload": 1})
    assert await ana.is_silent()
    assert len(press.events) == 1


@pytest.mark.parametrize("topic", ["updates.other", "alerts.1", "users.x", "nothing"])
async def test_what_may_not_be_published_to_is_named(
    people: Connect, press: Press, topic: str
) -> None:
    ana = await people(says=(*SAYS, "alerts.**", "users.**"))
    ana.send("Broadcast", {"topic": topic, "payload": 1}, id="m")
    error = await ana.hear_data("Error")
    assert (error["code"], error["details"]) == (403, {"topic": topic, "message_id": "m"})
    assert press.events == []


async def test_streams_are_open_to_who_may_hear_chats(people: Connect) -> None:
    ana = await people()
    ana.send("Broadcast", {"topic": "streams.camera", "payload": 1}, id="m")
    assert (await ana.hear_data("Ack"))["status"] == "delivered"


@pytest.mark.parametrize("topic", ["chat.*", "chat.**", "", "chat..x", "..", "c" * 256, 5, None])
async def test_what_is_no_topic_is_wrong(people: Connect, topic: Any) -> None:
    ana = await people()
    ana.send("Broadcast", {"topic": topic, "payload": 1}, id="m")
    error = await ana.hear_data("Error")
    assert (error["code"], error["details"]["message_id"]) == (400, "m")


async def test_a_database_that_is_away_is_503_with_when_to_try_again(
    people: Connect, press: Press
) -> None:
    ana = await people()
    press.is_away = True
    ana.send("Broadcast", {"topic": "chat.general", "payload": 1}, id="m")
    error = await ana.hear_data("Error")
    assert error["code"] == 503
    assert error["details"] == {"retry_after_ms": 1000, "message_id": "m"}
    press.is_away = False
    ana.send("Broadcast", {"topic": "chat.general", "payload": 1}, id="m")
    assert (await ana.hear_data("Ack"))["message_id"] == "m", "it was not taken the first time"


async def test_a_queue_that_is_full_is_503(people: Connect, press: Press) -> None:
    ana = await people()
    press.is_full = True
    ana.send("Broadcast", {"topic": "chat.general", "payload": 1}, id="m")
    assert (await ana.hear_data("Error"))["code"] == 503


async def test_payloads_that_readers_could_not_follow_are_refused(people: Connect) -> None:
    ana = await people()
    nested = "[" * 520 + "]" * 520
    ana.wire.say(
        f'{{"type":"Broadcast","id":"m","data":{{"topic":"chat.general","payload":{nested}}}}}'
    )
    error = await ana.hear_data("Error")
    assert (error["code"], error["details"]["message_id"]) == (400, "m")


# --- The same again ------------------------------------------------------------------------


async def test_the_same_id_again_is_the_first_answer_again(people: Connect, press: Press) -> None:
    ana = await people()
    answers = []
    for payload in (1, 2):
        ana.send("Broadcast", {"topic": "chat.general", "payload": payload}, id="m")
        answers.append(await ana.hear_data("Ack"))
    assert answers[0] == answers[1]
    assert len(press.events) == 1


async def test_the_same_id_while_the_first_is_under_way(people: Connect, press: Press) -> None:
    ana = await people()
    press.is_held = True
    for payload in (1, 2):
        ana.send("Broadcast", {"topic": "chat.general", "payload": payload}, id="m")
    await turns()
    press.release()
    assert await ana.hear() == await ana.hear()
    assert len(press.events) == 1


async def test_a_client_id_is_what_connections_have_in_common(
    people: Connect, press: Press
) -> None:
    answers = []
    for name in ("ana", "ana", "bea"):
        talk = await people(name, query="client_id=tab")
        talk.send("Broadcast", {"topic": "chat.general", "payload": 1}, id="m")
        answers.append(await talk.hear_data("Ack"))
    assert answers[0] == answers[1] != answers[2]
    assert len(press.events) == 2


async def test_an_answer_that_was_lost_is_given_without_the_count(
    people: Connect, press: Press, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing_is_known(*_: Any) -> None:
        return None

    monkeypatch.setattr(publishing, "call", nothing_is_known)
    monkeypatch.setattr(publishing, "ASKED_AGAIN_SECONDS", 0.0)
    first = await people(query="client_id=tab")
    first.send("Broadcast", {"topic": "chat.general", "payload": 1}, id="m")
    ack = await first.hear_data("Ack")
    press.answers.clear()
    again = await people(query="client_id=tab")
    again.send("Broadcast", {"topic": "chat.general", "payload": 1}, id="m")
    assert await again.hear_data("Ack") == {**ack, "recipients": 0, "partial": True}


@pytest.mark.parametrize("query", ["client_id=", "client_id=" + "x" * 129, "client_id=a%00"])
async def test_a_client_id_that_is_none_is_refused(hub: Hub, query: str) -> None:
    talk = Talk(Wire(**authenticated(principal()), query_string=query.encode()))
    await talk.wire.opened(PubsubConsumer(hub, DialectLimits(), backing=Backing()))
    assert (await talk.hear_data("Error"))["code"] == 400
    assert (await talk.wire.ending())[0] == 1008
    await talk.wire.end()


# --- Direct messages -----------------------------------------------------------------------


@pytest.mark.parametrize("target", ["bea", str(user_id_of("bea"))])
async def test_a_direct_message_names_the_connections_it_reached(
    people: Connect, hub: Hub, target: str
) -> None:
    ana, bea = await people(), await people("bea")
    ana.send("DirectMessage", {"target_user": target, "payload": "psst"}, id="dm")
    connection = next(
        each.session.id for each in hub if private_topic(user_id_of("bea")) in each.cohorts
    )
    assert (await ana.hear_data("Ack"))["delivered_to"] == [connection]
    message = await bea.hear_data("DirectMessage")
    assert (message["from_user"], message["payload"]) == ("ana", "psst")


async def test_who_is_away_is_404_and_queued_and_so_it_is_when_repeated(
    people: Connect, press: Press
) -> None:
    ana = await people()
    for _ in range(2):
        ana.send("DirectMessage", {"target_user": "bea", "payload": 1}, id="dm")
        error = await ana.hear_data("Error")
        assert error["code"] == 404
        assert error["message"] == "User bea not found or not connected"
        assert error["details"] == {"queued": True, "message_id": "dm"}
    assert len(press.events) == 1


async def test_an_unknown_user_is_404_and_not_queued(people: Connect, press: Press) -> None:
    ana = await people()
    ana.send("DirectMessage", {"target_user": "zoe", "payload": 1}, id="dm")
    assert (await ana.hear_data("Error"))["details"] == {"queued": False, "message_id": "dm"}
    assert press.events == []


async def test_who_may_say_nothing_writes_to_nobody(people: Connect, press: Press) -> None:
    vera = await people("cid", says=())
    vera.send("DirectMessage", {"target_user": "bea", "payload": 1}, id="dm")
    assert (await vera.hear_data("Error"))["code"] == 403
    assert press.events == []


# --- Types of their own --------------------------------------------------------------------


async def test_a_relayed_type_reaches_the_others_only(people: Connect, press: Press) -> None:
    ana, bea = await people(), await people("bea")
    for each in (ana, bea):
        await each.subscribe("chat.general")
    ana.send("X-Draw", {"topic": "chat.general", "payload": [1, 2]}, id="m")
    assert (await ana.hear_data("Ack"))["recipients"] == 1
    data = await bea.hear_data("X-Draw")
    assert (data["topic"], data["payload"], data["from_user"]) == ("chat.general", [1, 2], "ana")
    assert await ana.is_silent()
    (event,) = press.events
    assert isinstance(event, Published)
    assert event.name == "X-Draw"


async def test_without_a_payload_all_of_it_is_relayed(people: Connect) -> None:
    ana, bea = await people(), await people("bea")
    await bea.subscribe("chat.general")
    data = {"topic": "chat.general", "action": "special", "parameters": {}}
    ana.send("X-Draw", data)
    assert (await bea.hear_data("X-Draw"))["payload"] == data


# --- Batches -------------------------------------------------------------------------------


async def test_a_batch_of_broadcasts_is_handed_over_together(people: Connect, press: Press) -> None:
    ana = await people()
    press.is_held = True
    one = [
        {"type": "Broadcast", "data": {"topic": "chat.general", "payload": n}, "id": f"b{n}"}
        for n in range(50)
    ]
    ana.send("Batch", {"messages": one}, id="all")
    await turns(200)
    press.release()
    names = [(await ana.hear_data("Ack"))["message_id"] for _ in range(51)]
    assert names == [*(f"b{n}" for n in range(50)), "all"]


async def test_what_is_wrong_in_a_batch_is_named_by_its_place(people: Connect) -> None:
    ana = await people()
    messages = [
        {"type": "Broadcast", "data": {"topic": "chat.general"}, "id": "a"},
        {"type": "Batch", "data": {"messages": []}, "id": "b"},
        {"type": 5, "id": "c"},
        5,
        {"type": "Ping", "data": {"timestamp": 1}},
    ]
    ana.send("Batch", {"messages": messages})
    errors = [await ana.hear_data("Error") for _ in range(4)]
    assert [error["details"].get("message_id") for error in errors] == ["a", "b", "c", None]
    assert [error["details"]["field"] for error in errors] == [
        "data.messages[0].data.payload",
        "data.messages[1].type",
        "data.messages[2].type",
        "data.messages[3]",
    ]
    assert (await ana.hear_data("Pong"))["timestamp"] == 1


async def test_each_message_of_a_batch_counts_against_the_rate(people: Connect) -> None:
    ana = await people(limits=DialectLimits(messages_per_second=10))
    ping = {"type": "Ping", "data": {"timestamp": 1}}
    ana.send("Batch", {"messages": [ping] * 10})
    assert [(await ana.hear())["type"] for _ in range(10)] == ["Pong"] * 10
    ana.send("Ping", {"timestamp": 2}, id="m")
    error = await ana.hear_data("Error")
    assert (error["code"], error["details"]["limit"]) == (429, 10)
    assert error["details"]["retry_after_ms"] > 0
    assert error["details"]["message_id"] == "m"


async def test_no_more_than_fifty_fit(people: Connect) -> None:
    ana = await people()
    ana.send("Batch", {"messages": [{"type": "Ping"}] * 51}, id="m")
    error = await ana.hear_data("Error")
    assert error["details"] == {"field": "data.messages", "limit": 50, "message_id": "m"}
