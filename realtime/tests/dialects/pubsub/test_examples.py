"""Every JSON example of document 003: what clients send is read, what the server sends is written.

The server may say more than the document; what the document shows is there, to the letter.
"""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from realtime.core.events import Action, DirectMessageSent, Notified, PresenceChanged, Published
from realtime.dialects.pubsub import schema
from realtime.dialects.pubsub.schema import Ping, PubsubDialect, Topics, parse, parse_data
from realtime.dialects.pubsub.schema.incoming import Broadcast, DirectMessage, Extension
from realtime.tests.dialects.pubsub import examples
from realtime.tests.doubles import user_id_of

# The document's one moment: of this dialect's times, which are milliseconds.
MOMENT = datetime.fromtimestamp(1234567.890, UTC)


def missing(example: Any, written: Any) -> list[str]:
    """Return the paths at which `written` does not say what the example says."""
    if not isinstance(example, dict):
        return [] if example == written else [f"{written!r} is not {example!r}"]
    if not isinstance(written, dict):
        return [f"{written!r} is no object"]
    return [
        f"{key}: {problem}"
        for key, value in example.items()
        for problem in missing(value, written.get(key))
    ]


def raw(payload: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(payload))


def said(sender: str, payload: Any, **more: Any) -> dict[str, Any]:
    """Return the fields of a message that somebody sent at the document's moment."""
    by = {"sender": sender, "sender_id": user_id_of(sender)}
    return {"at": MOMENT, **by, "payload": raw(payload), **more}


# --- From the client ---------------------------------------------------------------------------

SHAPES: dict[str, type] = {
    "Ping": Ping,
    "Subscribe": Topics,
    "Unsubscribe": Topics,
    "Broadcast": Broadcast,
    "DirectMessage": DirectMessage,
    "X-CustomAction": Extension,
}


@pytest.mark.parametrize("example", examples.FROM_CLIENT, ids=lambda each: each["type"])
def test_what_the_document_s_client_sends_is_read(example: dict[str, Any]) -> None:
    envelope = parse(json.dumps(example))
    assert envelope.type == example["type"]
    assert envelope.id == example.get("id")
    assert envelope.metadata == example.get("metadata")
    assert msgspec.json.decode(envelope.data) == example["data"]
    read = parse_data(envelope.data, SHAPES[envelope.type])
    for name, value in example["data"].items():
        if hasattr(read, name):
            given = getattr(read, name)
            assert value == (
                msgspec.json.decode(given) if isinstance(given, msgspec.Raw) else given
            )


# --- From the server ---------------------------------------------------------------------------


def details_of(example: dict[str, Any]) -> dict[str, Any]:
    details: dict[str, Any] = example["data"]["details"]
    return details


def acknowledged(example: dict[str, Any]) -> bytes:
    data = dict(example["data"])
    return schema.ack(data.pop("message_id"), data.pop("status"), **data)


def refused(example: dict[str, Any]) -> bytes:
    data = example["data"]
    return schema.error(data["code"], data["message"], data["details"])


def rendered(event: Any) -> bytes:
    frame = PubsubDialect().render(event, "epoch-7")
    assert frame is not None
    return bytes(frame)


WRITTEN = [
    (examples.PONG, lambda: schema.pong(1234567890, MOMENT)),
    (
        examples.SUBSCRIBED,
        lambda: schema.status("subscribed", details_of(examples.SUBSCRIBED)),
    ),
    (
        examples.UNSUBSCRIBED,
        lambda: schema.status("unsubscribed", details_of(examples.UNSUBSCRIBED)),
    ),
    (examples.BROADCAST_ACK, lambda: acknowledged(examples.BROADCAST_ACK)),
    (examples.DIRECT_ACK, lambda: acknowledged(examples.DIRECT_ACK)),
    (examples.OFFLINE, lambda: refused(examples.OFFLINE)),
    (examples.ERROR, lambda: refused(examples.ERROR)),
    (
        examples.BROADCAST_DELIVERY,
        lambda: rendered(
            Published(
                id="broadcast_123456",
                to="chat.general",
                name="Broadcast",
                **said("user123", examples.PAYLOAD),
            )
        ),
    ),
    (
        examples.DIRECT_DELIVERY,
        lambda: rendered(
            DirectMessageSent(
                id="dm_123456",
                recipient_id=user_id_of("user456"),
                name="DirectMessage",
                **said("user123", examples.PRIVATE),
            )
        ),
    ),
    (
        examples.NOTIFICATION,
        lambda: rendered(
            Notified(
                id="n",
                at=MOMENT,
                level="info",
                title="Maintenance Notice",
                message="System will undergo maintenance in 1 hour",
                actions=(Action(label="Learn More", url="https://status.example.com"),),
            )
        ),
    ),
    (
        examples.PRESENCE,
        lambda: rendered(
            PresenceChanged(
                id="p",
                at=MOMENT,
                username="user789",
                user_id=user_id_of("user789"),
                status="online",
                last_seen=MOMENT,
                metadata={"device": "web", "location": "New York"},
            )
        ),
    ),
    (
        examples.TOKEN_EXPIRING,
        lambda: schema.auth_status("token_expiring", MOMENT),
    ),
    (
        examples.BINARY_RECEIVED,
        lambda: schema.status("binary_received", details_of(examples.BINARY_RECEIVED)),
    ),
]


@pytest.mark.parametrize(
    ("example", "write"),
    WRITTEN,
    ids=[f"{each['type']}-{n}" for n, (each, _) in enumerate(WRITTEN)],
)
def test_what_the_server_sends_says_what_the_document_shows(
    example: dict[str, Any], write: Any
) -> None:
    assert missing(example, json.loads(write())) == []


def test_the_welcome_says_what_the_document_shows_and_names_more_features() -> None:
    details = details_of(examples.WELCOME)
    features = details["features"]
    welcome = json.loads(schema.connected(details["connection_id"], MOMENT))
    shown = {**details, "features": welcome["data"]["details"]["features"]}
    assert (
        missing({"type": "Status", "data": {"status": "connected", "details": shown}}, welcome)
        == []
    )
    assert set(features) <= set(shown["features"])


def test_every_example_of_the_server_s_is_written_by_one_of_these() -> None:
    written = [example for example, _ in WRITTEN]
    assert [each for each in examples.FROM_SERVER if each not in written] == [examples.WELCOME]
