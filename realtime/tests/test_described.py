"""The watch over what is said: what the document describes passes, what it does not fails."""

import json
from typing import Any

import msgspec
import pytest

from realtime.core.events import Event
from realtime.dialects.pubsub import schema as pubsub
from realtime.dialects.pubsub.schema import PubsubDialect
from realtime.dialects.surgery.schema import SurgeryDialect, saved
from realtime.dialects.telemetry.schema import TelemetryDialect
from realtime.hub import Dialect
from realtime.tests.core.test_events import EXAMPLES
from realtime.tests.described import (
    Undescribed,
    assert_bytes_described,
    assert_described,
    channel_of,
)
from realtime.tests.doubles import NOW, surgery_id_of
from realtime.tests.message_events import published
from realtime.tests.wire import Wire

RENDERED: list[tuple[str, Dialect, Event]] = [
    (channel, dialect, event)
    for channel, dialect in (
        ("ai", SurgeryDialect()),
        ("telemetry", TelemetryDialect()),
        ("pubsub", PubsubDialect()),
    )
    for event in EXAMPLES.values()
]


@pytest.mark.parametrize(
    ("channel", "dialect", "event"),
    RENDERED,
    ids=[f"{channel} {event.kind}" for channel, _, event in RENDERED],
)
def test_every_event_is_told_as_described(channel: str, dialect: Dialect, event: Event) -> None:
    payload = dialect.render(event, "e-1" if event.durable else None)
    if payload is not None and not dialect.is_binary(event):
        assert_described(channel, payload)


def test_what_is_answered_is_described() -> None:
    assert_described("simulation", saved(surgery_id_of("one")))
    assert_described("pubsub", pubsub.connected("c", NOW))
    assert_described("primary", pubsub.error(404, "no", {"message_id": "m", "queued": True}))
    assert_described("pubsub", _said("X-Anything"))


def _said(name: str, **metadata: Any) -> bytes:
    payload = PubsubDialect().render(published(name=name, metadata=metadata), "e-1")
    assert payload is not None
    return payload


UNDESCRIBED = {
    "no kind": {"data": {}},
    "another kind": {"type": "Applause", "data": {}},
    "another field": {"type": "Pong", "data": {"timestamp": 1}, "mood": "calm"},
    "another field deeper": {"type": "Pong", "data": {"timestamp": 1, "mood": "calm"}},
    "a field missing": {"type": "Pong", "data": {}},
    "another type": {"type": "Pong", "data": {"timestamp": "now"}},
    "another word": {
        "type": "AuthStatus",
        "data": {"status": "bored", "expires_at": 1, "refresh_required": True},
    },
    "something else in a history": {
        "type": "History",
        "data": {"topic": "a", "messages": [{"type": "Applause"}], "complete": True},
    },
    "no object": "Pong",
}


@pytest.mark.parametrize("message", UNDESCRIBED.values(), ids=UNDESCRIBED)
def test_what_is_not_described_is_a_fault(message: Any) -> None:
    with pytest.raises(Undescribed):
        assert_described("pubsub", json.dumps(message))


def test_what_one_channel_says_another_does_not() -> None:
    with pytest.raises(Undescribed):
        assert_described("ai", saved(surgery_id_of("one")))


def test_what_a_sender_adds_to_the_metadata_is_the_sender_s_affair() -> None:
    assert_described("pubsub", _said("Broadcast", mood="calm"))


@pytest.mark.parametrize(
    ("path", "channel"),
    [
        ("/ws", "telemetry"),
        ("/ws/alerts", "channel"),
        ("/ws/pubsub", "pubsub"),
        ("/ws/simulation", "simulation"),
        ("/ws/nowhere", None),
    ],
)
def test_a_path_has_a_channel(path: str, channel: str | None) -> None:
    assert channel_of(path) == channel


async def test_a_wire_holds_our_consumers_to_it() -> None:
    wire = Wire()
    wire.channel = "pubsub"
    wire.outbound.put_nowait({"type": "websocket.send", "text": '{"type":"Applause"}'})
    with pytest.raises(Undescribed):
        await wire.hear()


def test_a_binary_message_has_its_form() -> None:
    assert_bytes_described("pubsub", b"\x01\x00\x00\x00\x05\x00\x01axy")
    packed = msgspec.msgpack.encode({"type": "telemetry_ack", "id": None, "device_id": 1})
    with pytest.raises(Undescribed):
        assert_bytes_described("telemetry", packed)
    with pytest.raises(Undescribed):
        assert_bytes_described("ai", b"\x80")


@pytest.mark.parametrize(
    "data",
    [
        b"\x03\x00\x00\x00\x05\x00\x01axy",
        b"\x01\x00\x00\x00\x06\x00\x01axy",
        b"\x01\x00\x00\x00\x05\x00\x09axy",
    ],
    ids=["a file is not delivered", "the length lies", "the address lies"],
)
def test_a_binary_message_without_its_form_is_a_fault(data: bytes) -> None:
    with pytest.raises(Undescribed):
        assert_bytes_described("pubsub", data)
