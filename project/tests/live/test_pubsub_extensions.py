"""Types of the application's own, and metadata, against a real server."""

import base64
import gzip
import random
from collections.abc import Callable
from typing import Any

import pytest

from project.tests.live.raw import RawWebSocket
from project.tests.live.server import Server
from project.tests.live.talkers import Talker

Connect = Callable[..., RawWebSocket]


@pytest.fixture
def talker(connect: Connect, server: Server) -> Talker:
    return Talker.connect(connect, server)


def packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content)).decode()


# --- Types of one's own ------------------------------------------------------------------------


def test_the_server_answers_what_a_handler_is_registered_for(talker: Talker) -> None:
    talker.send("X-WhoAmI", {}, id="who")
    answer = talker.await_message(lambda message: message["type"] == "X-WhoAmI")
    assert answer["id"] == "who"
    assert answer["data"]["username"] == talker.username
    assert answer["data"]["connection_id"] == talker.connection_id
    assert talker.answer_to("who") == ("Ack", {"message_id": "who", "status": "answered"})


@pytest.mark.parametrize("kind", ["X-Unheard-Of", "X-whoami"])
def test_what_nobody_answers_is_not_found(talker: Talker, kind: str) -> None:
    answer, data = talker.ask(kind, {"action": "special_operation", "parameters": {}})
    assert (answer, data["code"]) == ("Error", 404)


# --- Metadata ----------------------------------------------------------------------------------


def test_the_document_s_metadata_travels_with_a_message(
    talker: Talker, connect: Connect, server: Server
) -> None:
    other = Talker.connect(connect, server)
    other.subscribe("chat.metadata")
    given = {"priority": "high", "ttl": 3600, "encryption": "aes256", "compression": "gzip"}
    talker.say("chat.metadata", {"message": "hello"}, metadata={**given, "trace": "t-1"})
    told = other.await_type("Broadcast")
    assert told["payload"] == {"message": "hello"}
    assert {**told["metadata"], **given, "trace": "t-1"} == told["metadata"]


def test_a_gzip_is_delivered_as_it_was_sent(
    talker: Talker, connect: Connect, server: Server
) -> None:
    other = Talker.connect(connect, server)
    other.subscribe("chat.gzip")
    payload = packed(b"many words of little meaning, " * 20)
    talker.say("chat.gzip", payload, metadata={"compression": "gzip"})
    assert other.hear() == payload


@pytest.mark.parametrize(
    ("payload", "metadata", "field"),
    [
        (packed(bytes(1_000_000)), {"compression": "gzip"}, "data.payload"),
        (packed(bytes(50_000_000))[:-4], {"compression": "gzip"}, "data.payload"),
        (packed(random.Random(1).randbytes(1000))[:-8], {"compression": "gzip"}, "data.payload"),
        ("not base64 at all", {"compression": "gzip"}, "data.payload"),
        ("x", {"compression": "zip"}, "metadata.compression"),
        ("x", {"priority": "urgent"}, "metadata.priority"),
        ("x", {"ttl": 0}, "metadata.ttl"),
        ("x", {"ttl": "soon"}, "metadata.ttl"),
        ("x", {"recover_from": "e-1"}, "metadata.recover_from"),
        ("x", {"big": "x" * 5000}, "metadata"),
    ],
)
def test_metadata_that_is_wrong_is_told_and_nothing_sent(
    talker: Talker, payload: str, metadata: dict[str, Any], field: str
) -> None:
    given = {"topic": "chat.bad", "payload": payload}
    kind, data = talker.ask("Broadcast", given, metadata=metadata)
    assert (kind, data["code"], data["details"]["field"]) == ("Error", 400, field)
    kind, data = talker.write_to("operator", payload, metadata=metadata)
    assert (kind, data["code"], data["details"]["field"]) == ("Error", 400, field)
