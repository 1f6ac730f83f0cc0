"""Nothing is missed and nothing comes twice, whatever happens to the connections."""

import asyncio
import base64
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from realtime.client.errors import (
    ConnectionLost,
    LoginRefused,
    QueueFull,
    Refused,
    Stopped,
    TooLarge,
    Unreadable,
)
from realtime.client.pubsub import BinaryMessage, conversation, decode_frame, encode_frame
from realtime.client.tests.doubles import Time, Tokens
from realtime.client.tests.pubsub.service import Connection, service


class Hours(Time):
    """Time in which nobody waits for the next ping: that would make the clock run away."""

    async def sleep(self, seconds: float) -> None:
        if seconds >= conversation.PING_SECONDS:
            await asyncio.Event().wait()
        await super().sleep(seconds)


class Ready:
    """Counts how often a client's subscriptions came to hold, and lets wait for it."""

    def __init__(self, client: Any) -> None:
        self.told: list[Any] = []
        self._changed = asyncio.Event()
        client.on_ready(self._note)

    def _note(self, told: dict[str, Any]) -> None:
        self.told.append(told["recovered"])
        self._changed.set()

    async def times(self, number: int) -> None:
        while len(self.told) < number:
            self._changed.clear()
            await self._changed.wait()


async def until(holds: Any) -> None:
    while not holds():  # noqa: ASYNC110 (what is waited for has no event)
        await asyncio.sleep(0)


# --- Connecting ------------------------------------------------------------------------------


async def test_its_name_travels_in_the_address_and_the_states_are_told() -> None:
    async with service() as server:
        client = server.client(client_id="me", presence={"device": "web"})
        ready = Ready(client)
        async with client:
            await ready.times(1)
        path = server.connections[0].path
    query = parse_qs(urlsplit(path).query)
    assert query["client_id"] == ["me"]
    assert json.loads(query["metadata"][0]) == {"device": "web"}
    assert "token" not in path
    assert client.states == ["connecting", "live", "stopped"]


async def test_two_refusals_in_a_row_end_it() -> None:
    async with service() as server:

        async def refuse(connection: Connection) -> None:
            await connection.refuse(401)
            await connection.wire.close(1008, "token revoked")

        server.on_open = refuse  # type: ignore[method-assign]
        tokens = Tokens()
        client = server.client(tokens=tokens)
        answer = None
        task = client.start()
        answer = client.publish("a", 1)
        with pytest.raises(Stopped, match="token revoked"):
            await answer
        await asyncio.wait({task})
    assert (tokens.asked, tokens.forgotten) == (2, 2)
    assert client.states[-1] == "stopped"


async def test_a_full_server_is_left_alone_for_as_long_as_it_says() -> None:
    time = Hours()
    async with service() as server:

        async def refuse_once(connection: Connection) -> None:
            if server.connections:
                await connection.greet()
            else:
                await connection.refuse(429, limit=1, used=1, retry_after_ms=5_000)

        server.on_open = refuse_once  # type: ignore[method-assign]
        client = server.client(sleep=time.sleep, clock=time)
        ready = Ready(client)
        async with client:
            await ready.times(1)
    assert 5.0 in time.slept


async def test_a_login_that_is_refused_ends_it() -> None:
    class Locked(Tokens):
        async def token(self) -> str:
            raise LoginRefused("no")

    async with service() as server:
        client = server.client(tokens=Locked())
        client.start()
        with pytest.raises(Stopped):
            await client.publish("a", 1)


async def test_a_server_that_does_not_answer_a_ping_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conversation, "PING_SECONDS", 0.0)
    monkeypatch.setattr(conversation, "PONG_SECONDS", 0.01)
    async with service() as server, server.client():
        connection = await server.until_opened(2)
        await connection.until("Ping")


async def test_a_server_that_never_greets_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "WELCOME_SECONDS", 0.01)
    async with service() as server:

        async def stay_silent(connection: Connection) -> None:
            pass

        server.on_open = stay_silent  # type: ignore[method-assign]
        async with server.client():
            await server.until_opened(2)


async def test_the_servers_ping_is_answered_with_its_own_time() -> None:
    async with service() as server, server.client():
        connection = await server.until_opened()
        await connection.say("Ping", {"timestamp": 5})
        assert (await connection.until("Pong"))[0]["data"] == {"timestamp": 5}


async def test_a_token_that_runs_out_is_renewed_on_the_same_connection() -> None:
    async with service() as server, server.client():
        connection = await server.until_opened()
        await connection.say("AuthStatus", {"status": "token_expiring", "refresh_required": True})
        assert (await connection.until("Auth"))[0]["data"] == {"token": "token-2"}
        assert len(server.connections) == 1


async def test_what_is_no_message_ends_the_connection_and_not_the_client() -> None:
    async with service() as server:
        client = server.client()
        async with client:
            connection = await server.until_opened()
            await connection.wire.send("nonsense")
            await server.until_opened(2)


# --- Subscriptions and recovery -----------------------------------------------------------------


async def test_it_subscribes_again_and_recovers_from_where_it_was() -> None:
    async with service() as server:
        client = server.client()
        ready = Ready(client)
        async with client:
            subscribed = await client.subscribe(["a", "b.*"])
            assert (subscribed.topics, subscribed.refused) == (["a", "b.*"], [])
            first = await server.until_opened()
            await first.tell(1, message_id="m7", position="e-7")
            await until(lambda: client.heard)
            first.cut()
            second = await server.until_opened(2)
            [asked] = await second.until("Subscribe")
            await ready.times(2)
    assert asked["data"] == {"topics": ["a", "b.*"], "recover": {"position": "e-7"}}
    assert ready.told == [None, True]


async def test_mail_before_the_confirmation_moves_nothing() -> None:
    async with service() as server:
        client = server.client()
        async with client:
            await client.subscribe(["a"])
            server.on_message = tell_mail_then_cut  # type: ignore[method-assign]
            (await server.until_opened()).cut()
            await server.until_opened(2)
            server.on_message = confirm_with()  # type: ignore[method-assign]
            third = await server.until_opened(3)
            [asked] = await third.until("Subscribe")
    assert asked["data"]["recover"] == {"position": "e-0"}


async def tell_mail_then_cut(connection: Connection, message: dict[str, Any]) -> None:
    await connection.tell(8, message_id="m8", position="e-8")
    connection.cut()


async def test_what_overtook_is_recovered_from_before_it_and_not_told_twice() -> None:
    async with service() as server:
        client = server.client()
        async with client:
            await client.subscribe(["a"])
            first = await server.until_opened()
            await first.tell(1, message_id="m1", position="e-1")
            await first.tell(9, message_id="m9", position="e-9", recover_from="e-1")
            await until(lambda: len(client.heard) == 2)
            first.cut()
            second = await server.until_opened(2)
            await second.until("Subscribe")
            await second.tell(5, message_id="m5", position="e-5")
            await second.tell(9, message_id="m9", position="e-9")
            await until(lambda: client.position == "e-9")
    assert client.heard == [1, 9, 5]


async def test_what_is_no_longer_stored_is_told_as_a_gap() -> None:
    async with service() as server:
        client = server.client()
        ready = Ready(client)
        async with client:
            await client.subscribe(["a"])
            server.on_message = confirm_with(recovered=False, position="f-1")  # type: ignore[method-assign]
            (await server.until_opened()).cut()
            await ready.times(2)
    assert client.gaps == [{"reason": "not_recovered", "from": "e-0", "to": "f-1"}]
    assert (client.position, ready.told) == ("f-1", [None, False])


def confirm_with(**details: Any) -> Any:
    async def on_message(connection: Connection, message: dict[str, Any]) -> None:
        if message["type"] == "Subscribe":
            await connection.confirm(message, **details)

    return on_message


async def test_a_topic_that_may_not_be_heard_is_refused_alone() -> None:
    async def refuse_b(connection: Connection, message: dict[str, Any]) -> None:
        if message["type"] == "Subscribe":
            if "b" in message["data"]["topics"]:
                await connection.refuse(403, topic="b", message_id=message["id"])
            await connection.confirm(message, position="e-0")

    async with service() as server:
        server.on_message = refuse_b  # type: ignore[method-assign]
        client = server.client()
        async with client:
            subscribed = await client.subscribe(["a", "b"])
            assert client.topics == ["a"]
    assert subscribed.topics == ["a"]
    assert [refusal.code for refusal in subscribed.refused] == [403]


async def test_one_wrong_topic_does_not_take_the_others_with_it() -> None:
    async def refuse_whole(connection: Connection, message: dict[str, Any]) -> None:
        if message["type"] == "Subscribe":
            if "b..c" in message["data"]["topics"]:
                await connection.refuse(400, field="data.topics[1]", message_id=message["id"])
            else:
                await connection.confirm(message, position="e-0")

    async with service() as server:
        server.on_message = refuse_whole  # type: ignore[method-assign]
        client = server.client()
        async with client:
            subscribed = await client.subscribe(["a", "b..c"])
    assert subscribed.topics == ["a"]
    assert [refusal.code for refusal in subscribed.refused] == [400]


async def test_what_a_new_role_ends_is_not_asked_for_again() -> None:
    async with service() as server:
        client = server.client()
        async with client:
            await client.subscribe(["a", "b"])
            connection = await server.until_opened()
            ended = {"topics": ["a"], "reason": "your role changed"}
            await connection.say("Status", {"status": "unsubscribed", "details": ended})
            await until(lambda: client.topics == ["b"])


async def test_a_cut_between_two_pieces_of_a_recovery_loses_neither() -> None:
    async with service() as server:
        client = server.client()
        topics = [f"t{n}" for n in range(129)]
        async with client:
            await client.subscribe(topics)
            server.on_message = confirm_first_then_cut  # type: ignore[method-assign]
            (await server.until_opened()).cut()
            await server.until_opened(2)
            server.on_message = confirm_with()  # type: ignore[method-assign]
            third = await server.until_opened(3)
            asked = await third.until("Subscribe", 2)
    assert [message["data"]["recover"]["position"] for message in asked] == ["e-0", "e-0"]


async def confirm_first_then_cut(connection: Connection, message: dict[str, Any]) -> None:
    if len(connection.of("Subscribe")) == 1:
        await connection.confirm(message)
        await connection.tell(8, message_id="m8", position="e-8")
    else:
        connection.cut()


async def test_its_own_topic_is_recovered_too() -> None:
    claims = base64.urlsafe_b64encode(b'{"userId":"7f","sub":"ana"}').decode().rstrip("=")

    class Real(Tokens):
        async def token(self) -> str:
            return f"head.{claims}.sign"

    async with service() as server, server.client(tokens=Real()):
        connection = await server.until_opened()
        assert (await connection.until("Subscribe"))[0]["data"]["topics"] == ["users.7f"]


# --- Publishing ------------------------------------------------------------------------------


async def test_a_publish_is_answered_with_its_ack() -> None:
    async with service() as server, server.client() as client:
        ack = await client.publish("a", {"n": 1}, metadata={"priority": "high"})
        [message] = (await server.until_opened()).of("Broadcast")
    assert ack["recipients"] == 1
    assert message["data"] == {"topic": "a", "payload": {"n": 1}}
    assert message["metadata"] == {"priority": "high"}


async def test_what_was_not_answered_is_sent_again_with_the_same_id_and_answered_once() -> None:
    async with service() as server, server.client(client_id="me") as client:
        server.acknowledges = False
        answers = [client.publish("a", n) for n in range(3)]
        first = await server.until_opened()
        sent = await first.until("Broadcast", 3)
        await first.ack(sent[0])
        await answers[0]
        server.acknowledges = True
        first.cut()
        await asyncio.gather(*answers)
        second = await server.until_opened(2)
    assert [message["id"] for message in second.of("Broadcast")] == [m["id"] for m in sent[1:]]
    assert "client_id=me" in second.path


async def test_it_is_sent_again_only_when_the_subscriptions_hold_again() -> None:
    async with service() as server, server.client() as client:
        await client.subscribe(["a"])
        server.acknowledges = False
        answer = client.publish("a", 1)
        first = await server.until_opened()
        await first.until("Broadcast")
        server.acknowledges = True
        first.cut()
        await answer
        second = await server.until_opened(2)
    assert [message["type"] for message in second.heard] == ["Subscribe", "Broadcast"]


async def test_an_error_to_a_message_is_raised_where_it_was_sent() -> None:
    async def refuse(connection: Connection, message: dict[str, Any]) -> None:
        await connection.refuse(404, message_id=message["id"], queued=True)

    async with service() as server, server.client() as client:
        server.on_message = refuse  # type: ignore[method-assign]
        with pytest.raises(Refused) as refused:
            await client.send_direct("bo", 1)
    assert (refused.value.code, refused.value.is_queued) == (404, True)


async def test_what_the_server_cannot_take_now_is_sent_again_when_it_says() -> None:
    time = Hours()

    async def refuse_once(connection: Connection, message: dict[str, Any]) -> None:
        if len(connection.of("Broadcast")) == 1:
            await connection.refuse(503, message_id=message["id"], retry_after_ms=2_000)
        else:
            await connection.ack(message)

    async with service() as server, server.client(sleep=time.sleep, clock=time) as client:
        server.on_message = refuse_once  # type: ignore[method-assign]
        await client.publish("a", 1)
        first, again = (await server.until_opened()).of("Broadcast")
    assert again["id"] == first["id"]
    assert any(seconds == pytest.approx(2.0) for seconds in time.slept)


async def test_too_fast_for_the_server_slows_it_down_and_nothing_is_lost() -> None:
    time = Hours()

    async def take_ten(connection: Connection, message: dict[str, Any]) -> None:
        if 10 < len(connection.of("Broadcast")) <= 30:
            await connection.refuse(429, limit=10, retry_after_ms=500)
        else:
            await connection.ack(message)

    async with service() as server:
        client = server.client(sleep=time.sleep, clock=time, messages_per_second=0)
        async with client:
            server.on_message = take_ten  # type: ignore[method-assign]
            await asyncio.gather(*(client.publish("a", n) for n in range(30)))


async def test_sends_are_spaced_under_the_limit() -> None:
    time = Hours()
    async with service() as server:
        client = server.client(sleep=time.sleep, clock=time, messages_per_second=100)
        async with client:
            connection = await server.until_opened()
            for n in range(100):
                client.send("X-Note", {"n": n})
            await connection.until("X-Note", 100)
    # Fifty at once; the others at ninety a second.
    assert sum(time.slept) == pytest.approx(50 / 90, abs=0.1)


async def test_while_away_a_bounded_number_is_kept() -> None:
    async with service() as server:
        client = server.client(queue_max=2)
        client.publish("a", 1)
        assert client.send("X-Note", {}) is True
        assert client.send("X-Note", {}) is False
        with pytest.raises(QueueFull):
            client.publish("a", 3)


async def test_what_is_too_large_is_not_sent() -> None:
    async def refuse(connection: Connection, message: dict[str, Any]) -> None:
        await connection.refuse(413, limit=1_024)

    async with service() as server, server.client() as client:
        with pytest.raises(TooLarge):
            client.publish("a", "x" * 70_000)
        server.on_message = refuse  # type: ignore[method-assign]
        with pytest.raises(TooLarge):
            await client.publish("a", "x" * 2_000)


async def test_who_does_not_wait_any_more_leaves_nothing_behind() -> None:
    async with service() as server, server.client() as client:
        server.acknowledges = False
        answer = client.publish("a", 1)
        connection = await server.until_opened()
        [message] = await connection.until("Broadcast")
        answer.cancel()
        await asyncio.sleep(0)
        assert list(client.sender.outbox) == []
        await connection.ack(message)


async def test_ending_it_rejects_what_was_not_answered() -> None:
    async with service() as server:
        server.acknowledges = False
        async with server.client() as client:
            answer = client.publish("a", 1)
            await (await server.until_opened()).until("Broadcast")
        with pytest.raises(Stopped):
            await answer


async def test_history_is_answered_by_its_own_message() -> None:
    async def tell(connection: Connection, message: dict[str, Any]) -> None:
        data = {"topic": "a", "messages": [1], "complete": True, "message_id": message["id"]}
        await connection.say("History", data)

    async with service() as server, server.client() as client:
        server.on_message = tell  # type: ignore[method-assign]
        answer = await client.history("a", limit=5)
        [message] = (await server.until_opened()).of("History")
    assert answer["messages"] == [1]
    assert message["data"] == {"topic": "a", "limit": 5}


async def test_presence_is_kept_over_a_reconnect() -> None:
    async with service() as server:
        client = server.client(presence={"device": "web"})
        ready = Ready(client)
        async with client:
            await ready.times(1)
            client.set_presence("away")
            first = await server.until_opened()
            await first.until("Presence")
            first.cut()
            [again] = await (await server.until_opened(2)).until("Presence")
    assert again["data"] == {"status": "away", "metadata": {"device": "web"}}


async def test_a_handler_that_fails_breaks_nothing() -> None:
    faults: list[Exception] = []
    async with service() as server:
        client = server.client(on_fault=faults.append)
        client.on("Notification", lambda data: data["no such key"])
        client.on("Notification", lambda data: client.heard.append(data["title"]))
        async with client:
            await (await server.until_opened()).say("Notification", {"title": "x"})
            await until(lambda: client.heard == ["x"])
    assert [type(fault) for fault in faults] == [KeyError]


# --- Binary --------------------------------------------------------------------------------


def test_a_binary_frame_is_what_it_was_made_of() -> None:
    frame = encode_frame("file_transfer", "é.bin", b"\x01\x02\x03")
    assert frame == b"\x03\x00\x00\x00\x0b\x00\x06\xc3\xa9.bin\x01\x02\x03"
    assert decode_frame(frame) == BinaryMessage("file_transfer", "é.bin", b"\x01\x02\x03")


@pytest.mark.parametrize(
    "wrong",
    [b"", b"\1\0\0\0\x09\0\0", b"\5\0\0\0\2\0\0", b"\1\0\0\0\2\0\x09", b"\1\0\0\0\3\0\1\xff"],
)
def test_what_is_no_binary_frame_is_not_read(wrong: bytes) -> None:
    with pytest.raises(Unreadable):
        decode_frame(wrong)


async def test_binary_messages_are_answered_by_their_type_and_heard() -> None:
    async def receive(connection: Connection, message: dict[str, Any]) -> None:
        if message["type"] == "Binary":
            received = decode_frame(message["frame"])
            details = {"size": 1, "type": received.type, "checksum": "sha256:x"}
            await connection.say("Status", {"status": "binary_received", "details": details})
            await connection.wire.send(message["frame"])

    heard: list[BinaryMessage] = []
    async with service() as server, server.client(binary=True) as client:
        client.on("Binary", heard.append)
        server.on_message = receive  # type: ignore[method-assign]
        answers = [client.send_binary(kind, "a", b"x") for kind in ("broadcast", "stream_data")]
        details = await asyncio.gather(*answers)
        await until(lambda: len(heard) == 2)
    assert [each["type"] for each in details] == ["broadcast", "stream_data"]
    assert heard[0] == BinaryMessage("broadcast", "a", b"x")


async def test_an_error_without_a_name_is_the_oldest_binary_messages() -> None:
    async def refuse_first(connection: Connection, message: dict[str, Any]) -> None:
        if len(connection.of("Binary")) == 1:
            await connection.refuse(413, limit=100, used=99)
        else:
            details = {"size": 1, "type": "file_transfer", "checksum": "sha256:x"}
            await connection.say("Status", {"status": "binary_received", "details": details})

    async with service() as server, server.client() as client:
        server.on_message = refuse_first  # type: ignore[method-assign]
        refused, taken = (client.send_binary("file_transfer", "a", b"x") for _ in range(2))
        with pytest.raises(Refused) as refusal:
            await refused
        assert (await taken)["size"] == 1
    assert refusal.value.details["used"] == 99


async def test_a_handler_of_the_servers_is_asked_and_answers_by_the_id() -> None:
    async def answer(connection: Connection, message: dict[str, Any]) -> None:
        await connection.say("X-WhoAmI", {"username": "someone else"}, id="other")
        await connection.say("X-WhoAmI", {"username": "ana"}, id=message["id"])
        await connection.ack(message, status="answered")

    async with service() as server, server.client() as client:
        server.on_message = answer  # type: ignore[method-assign]
        assert await client.ask("X-WhoAmI") == {"username": "ana"}


async def test_a_binary_message_whose_answer_was_lost_is_not_sent_again_but_told() -> None:
    async with service() as server, server.client() as client:
        answer = client.send_binary("broadcast", "a", b"x")
        connection = await server.until_opened()
        await connection.until("Binary")
        connection.cut()
        with pytest.raises(ConnectionLost):
            await answer
