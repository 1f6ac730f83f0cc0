"""What the server sends: the document's examples, and what a struct does not name."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from realtime.core.errors import Invalid
from realtime.core.events import Event
from realtime.dialects.pubsub import schema
from realtime.dialects.pubsub.schema import PubsubDialect, milliseconds
from realtime.tests.doubles import NOW, completed
from realtime.tests.message_events import (
    direct_message,
    notified,
    presence_changed,
    published,
    stream_chunk,
)

MOMENT = datetime.fromtimestamp(1234567.890, UTC)
SENT_AT = milliseconds(NOW)


def rendered(event: Event, position: str | None = "e-7", **more: Any) -> dict[str, Any]:
    payload = PubsubDialect().render(event, position, **more)
    assert payload is not None
    message: dict[str, Any] = json.loads(payload)
    return message


# --- Answers ---------------------------------------------------------------------------------


def test_the_document_s_acks_are_built() -> None:
    assert json.loads(schema.ack("msg_123456", "delivered", recipients=42)) == {
        "type": "Ack",
        "data": {"message_id": "msg_123456", "status": "delivered", "recipients": 42},
    }
    connections = ["conn_abc123", "conn_def456"]
    assert json.loads(schema.ack("dm_789012", "delivered", delivered_to=connections)) == {
        "type": "Ack",
        "data": {
            "message_id": "dm_789012",
            "status": "delivered",
            "delivered_to": ["conn_abc123", "conn_def456"],
        },
    }


def test_the_document_s_answer_to_a_binary_message_is_built() -> None:
    assert json.loads(schema.binary_received("file_transfer", 1024, "sha256:00")) == {
        "type": "Status",
        "data": {
            "status": "binary_received",
            "details": {"size": 1024, "type": "file_transfer", "checksum": "sha256:00"},
        },
    }


def test_a_subscription_tells_what_of_the_past_comes() -> None:
    details = {
        "topics": ["chat.*"],
        "active_subscriptions": 1,
        "position": "e-9",
        "recovered": False,
        "recoverable_from": "e-5",
    }
    message = json.loads(schema.status("subscribed", details))
    assert message["data"] == {"status": "subscribed", "details": details}


def test_what_no_struct_names_cannot_be_sent() -> None:
    with pytest.raises(TypeError):
        schema.status("subscribed", {"topics": [], "active_subscriptions": 0, "mood": "calm"})
    with pytest.raises(KeyError):
        schema.status("confused", {})
    with pytest.raises(TypeError):
        schema.ack("m", "delivered", receivers=3)


def test_the_welcome_tells_the_limits() -> None:
    limits = schema.Limits(messages_per_second=100, message_bytes=65_536)
    details = json.loads(schema.connected("c", MOMENT, limits))["data"]["details"]
    assert details["limits"] == {"messages_per_second": 100, "message_bytes": 65_536}


@pytest.mark.parametrize("name", ["token_expiring", "expired", "revoked"])
def test_whoever_is_told_of_their_token_needs_a_new_one(name: str) -> None:
    assert json.loads(schema.auth_status(name, MOMENT))["data"]["refresh_required"] is True


def test_whoever_has_just_brought_a_new_token_needs_none() -> None:
    assert json.loads(schema.auth_status("refreshed", MOMENT))["data"] == {
        "status": "refreshed",
        "expires_at": 1234567890,
        "refresh_required": False,
    }


def test_the_past_is_told_in_the_words_of_its_day() -> None:
    said = [PubsubDialect().render(published(id=id), position) for id, position in PAST]
    message = json.loads(schema.history("chat.general", said, complete=True))
    assert message["type"] == "History"
    assert message["data"]["topic"] == "chat.general"
    assert message["data"]["complete"] is True
    assert message["data"]["messages"] == [json.loads(one) for one in said]


PAST = [("one", "e-1"), ("two", "e-2")]

# --- Deliveries ------------------------------------------------------------------------------


def test_a_broadcast_is_delivered_in_the_document_s_shape() -> None:
    payload = {"message": "Hello everyone!", "sender": "user123", "metadata": {"mood": "happy"}}
    assert rendered(published("broadcast_123456", payload=payload)) == {
        "type": "Broadcast",
        "data": {
            "topic": "chat.general",
            "from_user": "ana",
            "payload": payload,
            "metadata": {
                "sent_at": SENT_AT,
                "message_id": "broadcast_123456",
                "position": "e-7",
            },
        },
    }


def test_a_payload_is_delivered_byte_for_byte() -> None:
    event = replace(published(), payload=msgspec.Raw(b'{"a" : 1e2,"a":null}'))
    assert b'"payload":{"a" : 1e2,"a":null},' in (PubsubDialect().render(event, "e-7") or b"")


def test_a_direct_message_is_delivered_in_the_document_s_shape() -> None:
    assert rendered(direct_message("dm_123456")) == {
        "type": "DirectMessage",
        "data": {
            "from_user": "ana",
            "payload": "psst",
            "metadata": {"sent_at": SENT_AT, "message_id": "dm_123456", "position": "e-7"},
        },
    }


def test_a_notification_has_the_document_s_shape() -> None:
    assert rendered(notified("n")) == {
        "type": "Notification",
        "data": {
            "level": "warning",
            "title": "Maintenance",
            "message": "In one hour",
            "actions": [{"label": "Learn more", "url": "https://status.example.com"}],
            "metadata": {"sent_at": SENT_AT, "message_id": "n", "position": "e-7"},
        },
    }


def test_presence_has_the_document_s_shape_and_its_position() -> None:
    assert rendered(presence_changed()) == {
        "type": "Presence",
        "data": {
            "user_id": "ana",
            "status": "online",
            "last_seen": SENT_AT,
            "metadata": {"device": "web"},
            "position": "e-7",
        },
    }


def test_a_type_of_the_application_s_own_is_kept() -> None:
    message = rendered(published(name="X-CustomAction"))
    assert message["type"] == "X-CustomAction"
    assert message["data"]["payload"] == "hello"


def test_what_the_sender_gave_travels_with_the_message() -> None:
    given = {"priority": "high", "ttl": 3600, "encryption": "aes256", "trace": [1]}
    metadata = rendered(published("p", metadata=given))["data"]["metadata"]
    assert metadata == {**given, "sent_at": SENT_AT, "message_id": "p", "position": "e-7"}


def test_a_sender_does_not_write_the_server_s_word() -> None:
    forged = {"sent_at": 1, "message_id": "another", "position": "e-99"}
    metadata = rendered(published("p", metadata=forged))["data"]["metadata"]
    assert metadata == {"sent_at": SENT_AT, "message_id": "p", "position": "e-7"}


def test_what_overtakes_tells_from_where_to_recover() -> None:
    metadata = rendered(published(), recover_from="e-3")["data"]["metadata"]
    assert metadata["recover_from"] == "e-3"
    assert "recover_from" not in rendered(completed())["data"]["metadata"]


def test_bytes_are_told_in_base64_to_those_who_take_no_bytes() -> None:
    assert rendered(published(payload="AHg=", is_binary=True))["data"]["payload"] == {
        "base64": "AHg="
    }
    assert rendered(stream_chunk(), None)["data"]["payload"] == {"base64": "AHg="}


# --- Times that clients give -----------------------------------------------------------------


@pytest.mark.parametrize("given", [1710523456, 1710523456.0, 1710523456000])
def test_a_client_s_time_counts_seconds_or_milliseconds(given: float) -> None:
    assert schema.moment_of(given) == datetime(2024, 3, 15, 17, 24, 16, tzinfo=UTC)


@pytest.mark.parametrize("given", [float("inf"), float("nan"), 1e300, -1e15])
def test_a_client_s_time_lies_within_the_calendar(given: float) -> None:
    with pytest.raises(Invalid) as refusal:
        schema.moment_of(given, "data.timestamp")
    assert refusal.value.field == "data.timestamp"
