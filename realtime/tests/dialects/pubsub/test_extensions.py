"""Types of the application's own that the server answers."""

import asyncio
import json
import logging
from typing import Any

import msgspec
import pytest

from realtime.core.errors import Forbidden, NotFound, Unavailable
from realtime.dialects.pubsub import extensions
from realtime.dialects.pubsub.extensions import Caller, answers, on_extension
from realtime.dialects.pubsub.schema import Incoming
from realtime.hub import Hub
from realtime.tests.dialects.pubsub.talk import talk_to
from realtime.tests.doubles import member, principal


class Consumer:
    """What an extension needs of one."""

    def __init__(self) -> None:
        self.member = member(principal("olga"), id="c-1")
        self.answers: list[dict[str, Any]] = []

    def answer(self, payload: bytes) -> None:
        self.answers.append(json.loads(payload))


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


@pytest.fixture(autouse=True)
def _nobody_stays_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extensions, "_answerers", dict(extensions._answerers))


async def ask(consumer: Any, type_: str, data: Any = None, id: str | None = None) -> None:
    raw = msgspec.Raw(msgspec.json.encode(data or {}))
    await on_extension(consumer, Incoming(type_, raw, id))


async def test_who_am_i_tells_as_whom_one_is_connected(consumer: Consumer) -> None:
    await ask(consumer, "X-WhoAmI", id="m1")
    answer, ack = consumer.answers
    assert (answer["type"], answer["id"]) == ("X-WhoAmI", "m1")
    assert answer["data"]["username"] == "olga"
    assert answer["data"]["role"] == "ROLE_OPERATOR"
    assert answer["data"]["connection_id"] == "c-1"
    assert "chat.**" in answer["data"]["may_subscribe"]
    assert not [key for key in answer["data"] if "token" in key]
    assert ack == {"type": "Ack", "data": {"message_id": "m1", "status": "answered"}}


async def test_without_an_id_there_is_no_ack(consumer: Consumer) -> None:
    await ask(consumer, "X-WhoAmI")
    assert [answer["type"] for answer in consumer.answers] == ["X-WhoAmI"]
    assert "id" not in consumer.answers[0]


async def test_what_nobody_answers_is_not_found(consumer: Consumer) -> None:
    with pytest.raises(NotFound, match="X-Nothing"):
        await ask(consumer, "X-Nothing")


async def test_a_handler_gets_the_data_and_who_asks(consumer: Consumer) -> None:
    @answers("X-Echo")
    async def echo(caller: Caller, data: msgspec.Raw) -> dict[str, Any]:
        return {"by": caller.principal.username, "data": data}

    await ask(consumer, "X-Echo", {"a": [1, None]})
    assert consumer.answers[0]["data"] == {"by": "olga", "data": {"a": [1, None]}}


async def test_a_handler_may_say_nothing_but_the_ack(consumer: Consumer) -> None:
    @answers("X-Quiet")
    async def quiet(caller: Caller, data: msgspec.Raw) -> None:
        return None

    await ask(consumer, "X-Quiet", id="m1")
    assert [answer["type"] for answer in consumer.answers] == ["Ack"]


async def test_a_handler_s_refusal_is_the_sender_s(consumer: Consumer) -> None:
    @answers("X-Forbidden")
    async def forbid(caller: Caller, data: msgspec.Raw) -> None:
        raise Forbidden("not for you")

    with pytest.raises(Forbidden, match="not for you"):
        await ask(consumer, "X-Forbidden")


async def test_a_handler_s_fault_is_error_500_and_in_the_log(
    consumer: Consumer, caplog: pytest.LogCaptureFixture
) -> None:
    @answers("X-Broken")
    async def divide(caller: Caller, data: msgspec.Raw) -> dict[str, Any]:
        return {"never": 1 / 0}

    with caplog.at_level(logging.ERROR):
        await ask(consumer, "X-Broken", id="m1")
    assert consumer.answers == [
        {
            "type": "Error",
            "data": {
                "code": 500,
                "message": "internal error",
                "details": {"message_id": "m1"},
            },
        }
    ]
    assert "X-Broken" in caplog.text


async def test_what_cannot_be_written_as_json_is_a_fault_of_the_handler(
    consumer: Consumer,
) -> None:
    @answers("X-Object")
    async def give(caller: Caller, data: msgspec.Raw) -> dict[str, Any]:
        return {"thing": object()}

    await ask(consumer, "X-Object")
    assert [answer["data"]["code"] for answer in consumer.answers] == [500]


async def test_a_handler_that_takes_too_long_is_given_up(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extensions, "ANSWER_SECONDS", 0.0)

    @answers("X-Slow")
    async def wait(caller: Caller, data: msgspec.Raw) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Unavailable, match="took too long"):
        await ask(consumer, "X-Slow")


def test_a_type_is_answered_by_one_handler_and_begins_with_x() -> None:
    async def handler(caller: Caller, data: msgspec.Raw) -> None: ...

    with pytest.raises(ValueError, match="answered already"):
        answers("X-WhoAmI")(handler)
    with pytest.raises(ValueError, match="does not begin with X-"):
        answers("Broadcast")(handler)


def test_a_handler_is_a_coroutine() -> None:
    def handler(caller: Caller, data: msgspec.Raw) -> None: ...

    with pytest.raises(TypeError, match="must be a coroutine"):
        answers("X-Sync")(handler)  # type: ignore[arg-type]


async def test_a_fault_ends_neither_the_connection_nor_its_next_message() -> None:
    @answers("X-Broken")
    async def divide(caller: Caller, data: msgspec.Raw) -> dict[str, Any]:
        return {"never": 1 / 0}

    talk = await talk_to(Hub(epoch="e"))
    for kind, code in (("X-Broken", 500), ("X-Nothing", 404)):
        talk.send(kind, {}, id="m1")
        data = await talk.hear_data("Error")
        assert (data["code"], data["details"]) == (code, {"message_id": "m1"})
    await talk.subscribe("chat.*")
    talk.send("X-WhoAmI")
    assert (await talk.hear_data("X-WhoAmI"))["subscriptions"] == ["chat.*"]
    assert await talk.is_silent()
    await talk.wire.end()
