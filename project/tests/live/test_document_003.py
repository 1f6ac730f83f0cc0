"""The JSON that the pubsub document prints, sent to a server as it stands there.

What the server answers has the form that the document prints beside it: the same keys and the
same kinds of values, and more where we say more.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from accounts.models import Role, User
from project.tests.live import documents
from project.tests.live.raw import RawWebSocket
from project.tests.live.server import Server
from realtime.tests.dialects.pubsub import examples

Connect = Callable[..., RawWebSocket]
Json = dict[str, Any]


def printed() -> list[Json]:
    """Return every JSON object of the document, with its dots for `data` filled in."""
    blocks = re.findall(r"```json\n(.*?)```", documents.read(documents.PUBSUB), re.DOTALL)
    filled = json.dumps(examples.BROADCAST["data"])
    return [json.loads(block.replace("{ ... }", filled)) for block in blocks]


def form_of(value: Any) -> Any:
    """Return the keys and the kinds of values: of a list, those of its first element."""
    match value:
        case dict():
            return {key: form_of(each) for key, each in value.items()}
        case list():
            return [form_of(each) for each in value[:1]]
    return type(value)


def differences(example: Any, answer: Any, path: str = "$") -> list[str]:
    """Return where an answer's form is not that of the example."""
    if isinstance(example, dict) and isinstance(answer, dict):
        return [
            problem
            for key in example
            for problem in (
                differences(example[key], answer[key], f"{path}.{key}")
                if key in answer
                else [f"{path}.{key} is missing"]
            )
        ]
    if isinstance(example, list) and isinstance(answer, list):
        return differences(example[0], answer[0], f"{path}[0]") if example and answer else []
    return [] if example == answer else [f"{path} is {answer}, not {example}"]


def assert_formed(example: Json, answer: Json) -> None:
    assert differences(form_of(example), form_of(answer)) == []


def user_named(username: str) -> str:
    """Let a user of the document be there; return the name."""
    member = Role.objects.get(name="ROLE_MEMBER")
    User.objects.get_or_create(username=username, defaults={"role": member})
    return username


@pytest.fixture
def enter(server: Server, connect: Connect) -> Callable[[str], RawWebSocket]:
    """Return a function that connects a user of the document, welcomed as it says."""

    def enter_as(username: str) -> RawWebSocket:
        ws = connect(server.ws_url("/ws", token=server.token_for(user_named(username))))
        assert_formed(examples.WELCOME, ws.read_json())
        return ws

    return enter_as


def ask(ws: RawWebSocket, example: Json) -> Json:
    """Send an example and return what comes first."""
    ws.send_json(example)
    answer: Json = ws.read_json()
    return answer


def test_no_example_of_the_document_is_without_a_test() -> None:
    assert [each for each in printed() if each not in examples.EXAMPLES] == []
    assert [each for each in examples.EXAMPLES if each not in printed()] == []


def test_the_heartbeat(enter: Callable[[str], RawWebSocket]) -> None:
    assert ask(enter("user123"), examples.PING) == examples.PONG


def test_subscribing_and_unsubscribing(enter: Callable[[str], RawWebSocket]) -> None:
    ws = enter("user123")
    for request, example in [
        (examples.SUBSCRIBE, examples.SUBSCRIBED),
        (examples.UNSUBSCRIBE, examples.UNSUBSCRIBED),
    ]:
        answer = ask(ws, request)
        assert_formed(example, answer)
        given, expected = answer["data"]["details"], example["data"]["details"]
        assert expected.items() <= given.items()


def test_a_broadcast_its_delivery_and_its_ack(enter: Callable[[str], RawWebSocket]) -> None:
    hearer, speaker = enter("user456"), enter("user123")
    ask(hearer, examples.SUBSCRIBE)
    ack = ask(speaker, examples.BROADCAST)
    assert_formed(examples.BROADCAST_ACK, ack)
    assert ack["data"]["message_id"] == "msg_123456"
    delivery = hearer.read_json()
    assert_formed(examples.BROADCAST_DELIVERY, delivery)
    assert delivery["data"]["payload"] == examples.PAYLOAD


def test_a_direct_message_its_delivery_and_its_ack(enter: Callable[[str], RawWebSocket]) -> None:
    hearer, speaker = enter("user456"), enter("user123")
    ack = ask(speaker, examples.DIRECT_MESSAGE)
    assert_formed(examples.DIRECT_ACK, ack)
    delivery = hearer.read_json()
    assert_formed(examples.DIRECT_DELIVERY, delivery)
    assert delivery["data"]["from_user"] == "user123"
    assert delivery["data"]["payload"] == examples.PRIVATE


def test_a_direct_message_to_somebody_who_is_not_there(
    enter: Callable[[str], RawWebSocket],
) -> None:
    absent = user_named("user777")
    data = {**examples.DIRECT_MESSAGE["data"], "target_user": absent}
    answer = ask(enter("user123"), {**examples.DIRECT_MESSAGE, "data": data})
    assert_formed(examples.OFFLINE, answer)
    assert answer["data"]["details"] == examples.OFFLINE["data"]["details"]
    text = examples.OFFLINE["data"]["message"].replace("user456", absent)
    assert answer["data"]["message"] == text


def test_a_type_of_ones_own_that_nobody_handles(enter: Callable[[str], RawWebSocket]) -> None:
    answer = ask(enter("user123"), examples.CUSTOM)
    assert (answer["type"], answer["data"]["code"]) == ("Error", 404)


def test_metadata_travels_with_the_message(enter: Callable[[str], RawWebSocket]) -> None:
    hearer, speaker = enter("user456"), enter("user123")
    ask(hearer, examples.SUBSCRIBE)
    # What is said to be compressed has to be: the document's payload is not.
    metadata = {**examples.METADATA}
    del metadata["compression"]
    ack = ask(speaker, {**examples.WITH_METADATA, "metadata": metadata, "id": "m"})
    assert ack["type"] == "Ack", ack
    delivery = hearer.read_json()["data"]
    assert metadata.items() <= delivery["metadata"].items()


def test_an_error(enter: Callable[[str], RawWebSocket]) -> None:
    answer = ask(enter("user123"), {"type": "Subscribe", "data": {}})
    example = {**examples.ERROR, "data": {**examples.ERROR["data"], "details": {"field": "x"}}}
    assert_formed(example, answer)
