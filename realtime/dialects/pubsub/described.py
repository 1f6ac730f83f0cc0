"""What AsyncAPI says of this dialect. Source: seed 003."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from realtime.asyncapi.description import BYTES, Description, Endpoint, Json, Message
from realtime.dialects.pubsub.schema import incoming, outgoing, payloads
from realtime.dialects.pubsub.schema.incoming import MessageId

CONNECTION = "550e8400-e29b-41d4-a716-446655440000"
POSITION, SENT_AT = "a1b2c3d4-42", 1710523456789
TOPIC = "chat.general"
SAID = {"message": "Hello everyone!"}
METADATA = {"sent_at": SENT_AT, "message_id": "b0c1", "position": POSITION}

# --- From clients -----------------------------------------------------------------------------


class Envelope(msgspec.Struct, kw_only=True):
    """What every message of a client may have beside `type` and `data`."""

    id: MessageId | UnsetType | None = UNSET
    timestamp: int | float | UnsetType | None = UNSET
    metadata: dict[str, Any] | UnsetType | None = UNSET


def _received(name: str, data: type[Any], *examples: Json, **more: Any) -> Message:
    """Return a client's message; `data` may be left out where nothing in it is required."""
    is_required = any(field.required for field in msgspec.structs.fields(data))
    told = [("data", data)] if is_required else [("data", data | UnsetType, UNSET)]
    shape = msgspec.defstruct(
        name, told, bases=(Envelope,), tag_field="type", tag=name, kw_only=True
    )
    return Message(
        name=name,
        shape=shape,
        summary=more.pop("summary", "") or (data.__doc__ or "").strip(),
        examples=tuple({"type": name, **example} for example in examples),
        **more,
    )


class ExtensionData(incoming.Extension):
    """Whatever the application makes of it."""


class Extension(Envelope, kw_only=True):
    """A type of the application's own: relayed on `data.topic`, or done by its handler."""

    type: Annotated[str, Meta(pattern="^X-")]
    data: Annotated[ExtensionData, Meta(extra_json_schema=outgoing.OPEN)] | UnsetType = UNSET


BINARY_FORM = (
    "One byte type (1 broadcast, 2 direct message, 3 file, 4 stream), four bytes big-endian"
    " length of what follows, two bytes big-endian length of the address, the address in UTF-8"
    " (topic, user, file name, stream name), the content."
)
BINARY: dict[str, Any] = {
    "name": "Binary",
    "schema": {"type": "string", "format": "binary", "description": BINARY_FORM},
    "content_type": BYTES,
}

RECEIVED = (
    _received(
        "Ping", incoming.Ping, {"data": {"timestamp": 1234567890}}, answers=("Pong", "Error")
    ),
    _received(
        "Pong",
        incoming.Ping,
        {"data": {"timestamp": 1234567890}},
        summary="The answer to a Ping of the server's.",
    ),
    _received(
        "Subscribe",
        incoming.Topics,
        {"data": {"topics": ["notifications", TOPIC, "updates.*"]}, "id": "msg_1"},
        {"data": {"topics": ["chat.**"], "recover": {"position": POSITION}, "binary": True}},
        summary="Asks to hear topics and patterns, and what was missed since a position.",
        answers=("Status", "Ack", "Error"),
    ),
    _received(
        "Unsubscribe",
        incoming.Topics,
        {"data": {"topics": [TOPIC]}},
        summary="Asks to hear topics no longer.",
        answers=("Status", "Ack", "Error"),
    ),
    _received(
        "Broadcast",
        incoming.Broadcast,
        {"data": {"topic": TOPIC, "payload": SAID}, "id": "msg_123456"},
        {
            "data": {"topic": TOPIC, "payload": SAID},
            "metadata": {"priority": "high", "ttl": 3600},
        },
        answers=("Ack", "Error"),
    ),
    _received(
        "DirectMessage",
        incoming.DirectMessage,
        {
            "data": {"target_user": "user456", "payload": {"message": "Private message"}},
            "id": "dm_789012",
        },
        answers=("Ack", "Error"),
    ),
    _received(
        "Presence",
        incoming.Presence,
        {"data": {"status": "away", "metadata": {"device": "web"}}},
        answers=("Ack", "Error"),
    ),
    _received(
        "History",
        incoming.History,
        {"data": {"topic": TOPIC, "after": POSITION, "limit": 100}, "id": "h1"},
        answers=("History", "Ack", "Error"),
    ),
    _received(
        "Auth",
        incoming.Auth,
        {"data": {"token": "eyJhbGciOi…"}},
        answers=("AuthStatus", "Ack", "Error"),
    ),
    _received(
        "Batch",
        incoming.Batch,
        {"data": {"messages": [{"type": "Ping"}, {"type": "Ping", "data": {"timestamp": 1}}]}},
        answers=("Status", "Ack", "Pong", "History", "AuthStatus", "Error"),
    ),
    Message(
        name="X",
        title="X-…",
        shape=Extension,
        examples=(
            {
                "type": "X-CustomAction",
                "data": {"action": "special_operation", "parameters": {}},
            },
        ),
        answers=("X.answer", "Ack", "Error"),
    ),
    Message(
        summary="Bytes for a topic, a user, the file area or a stream.",
        answers=("Status", "Error"),
        **BINARY,
    ),
)

# --- From the server --------------------------------------------------------------------------


def _sent(shape: type[Any], *examples: Json, name: str = "", **more: Any) -> Message:
    tag = str(shape.__struct_config__.tag)  # type: ignore[attr-defined]
    told = tuple({"type": tag, "data": example} for example in examples)
    return Message(name=name or tag, title=tag, shape=shape, examples=told, **more)


SENT = (
    _sent(
        outgoing.Status,
        {
            "status": "connected",
            "details": {
                "connection_id": CONNECTION,
                "server_time": SENT_AT,
                "protocol_version": outgoing.PROTOCOL_VERSION,
                "features": list(outgoing.FEATURES),
                "limits": {"messages_per_second": 100, "message_bytes": 65_536},
            },
        },
        {
            "status": "subscribed",
            "details": {
                "topics": ["notifications", TOPIC],
                "active_subscriptions": 2,
                "position": POSITION,
                "recovered": True,
            },
        },
        {
            "status": "binary_received",
            "details": {
                "size": 1024,
                "type": "file_transfer",
                "checksum": "sha256:" + "0" * 64,
            },
        },
    ),
    _sent(
        outgoing.Ack,
        {
            "message_id": "msg_123456",
            "status": "delivered",
            "recipients": 42,
            "position": POSITION,
        },
        {
            "message_id": "dm_789012",
            "status": "delivered",
            "delivered_to": [CONNECTION],
        },
        summary="What became of a message that had an id.",
    ),
    _sent(
        outgoing.Error,
        {
            "code": 429,
            "message": "too many messages",
            "details": {"limit": 100, "retry_after_ms": 10},
        },
        {
            "code": 404,
            "message": "User user456 not found or not connected",
            "details": {"message_id": "dm_789012", "queued": True},
        },
    ),
    _sent(outgoing.Pong, {"timestamp": 1234567890}, summary="The answer to a Ping."),
    _sent(outgoing.Ping, {"timestamp": SENT_AT}),
    _sent(
        outgoing.AuthStatus,
        {"status": "token_expiring", "expires_at": SENT_AT, "refresh_required": True},
        summary="How the token of this connection stands.",
    ),
    _sent(
        outgoing.History,
        {
            "topic": TOPIC,
            "messages": [
                {
                    "type": "Broadcast",
                    "data": {
                        "topic": TOPIC,
                        "from_user": "ana",
                        "payload": SAID,
                        "metadata": METADATA,
                    },
                }
            ],
            "complete": True,
        },
        summary="What was said on a topic.",
    ),
    _sent(
        outgoing.Gap,
        {
            "topic": "telemetry.**",
            "from": SENT_AT,
            "to": SENT_AT + 2000,
            "skipped": 12,
            "reason": "slow_reader",
        },
        summary="So many events were passed over, and why.",
    ),
    _sent(
        outgoing.Broadcast,
        {"topic": TOPIC, "from_user": "ana", "payload": SAID, "metadata": METADATA},
    ),
    _sent(
        payloads.HappeningBroadcast,
        {
            "topic": "surgeries.completed",
            "payload": {
                "event": "NEW_SURGERY",
                "surgeryId": CONNECTION,
                "surgeonId": CONNECTION,
                "surgeon": "ana",
                "endTime": "2024-03-15T17:24:16Z",
                "durationInSeconds": 70,
                "movements": 4200,
            },
            "metadata": METADATA,
        },
        name="Broadcast.happening",
    ),
    _sent(
        outgoing.DirectMessage,
        {"from_user": "ana", "payload": {"message": "Private message"}, "metadata": METADATA},
    ),
    _sent(
        outgoing.Notification,
        {
            "level": "info",
            "title": "Maintenance Notice",
            "message": "System will undergo maintenance in 1 hour",
            "actions": [{"label": "Learn More", "url": "https://status.example.com"}],
            "metadata": METADATA,
        },
    ),
    _sent(
        outgoing.PresenceUpdate,
        {
            "user_id": "ana",
            "status": "online",
            "last_seen": SENT_AT,
            "metadata": {"device": "web"},
            "position": POSITION,
        },
    ),
    Message(
        name="X",
        title="X-…",
        shape=outgoing.Relayed,
        examples=(
            {
                "type": "X-CustomAction",
                "data": {
                    "topic": TOPIC,
                    "from_user": "ana",
                    "payload": {"action": "special_operation"},
                    "metadata": METADATA,
                },
            },
        ),
    ),
    Message(
        name="X.answer",
        title="X-…",
        shape=outgoing.Extension,
        examples=({"type": "X-WhoAmI", "data": {"username": "ana"}, "id": "msg_7"},),
    ),
    Message(
        summary="A binary message, to who subscribed with `binary: true`.",
        **BINARY,
    ),
)

ENDPOINT: dict[str, Any] = {
    "received": RECEIVED,
    "sent": SENT,
    "query": {
        "token": {"type": "string", "description": "The access token."},
        "client_id": {
            "type": "string",
            "maxLength": 128,
            "description": "What repeated message ids are counted by, across connections.",
        },
        "metadata": {
            "type": "string",
            "description": "A JSON object, told to others with this user's presence.",
        },
    },
    "credentials": ("query", "bearer", "subprotocol"),
    "subprotocols": ("access_token.<JWT>", "realtime.v1"),
}

PUBSUB = Description(
    name="pubsub",
    title="Pubsub",
    text="Applications and people publish to topics, message each other, and recover the past.",
    endpoints=(
        Endpoint(
            name="pubsub",
            address="/ws/pubsub",
            summary="Topics, direct messages, presence, history and bytes.",
            **ENDPOINT,
        ),
        Endpoint(
            name="primary",
            address="/ws",
            summary="The same, where the handshake has a credential.",
            **ENDPOINT,
        ),
    ),
)
