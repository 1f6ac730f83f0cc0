"""What the server sends: one struct for each message, and the functions that build them.

Imports `realtime.core` only. Source: seed 003. All times are milliseconds since 1970. A field
that is UNSET is left out on the wire.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from realtime.core.events.messages import Action, Level, Presence, Priority

PROTOCOL_VERSION = "1.0"
FEATURES = ("broadcast", "direct_message", "presence", "history", "patterns", "recovery", "binary")

Milliseconds = int
Position = Annotated[str, Meta(description="Opaque; the same in every dialect.")]
# JSON as somebody else wrote it, which we pass on byte for byte.
AsItCame = Annotated[Raw, Meta(description="Any JSON.")]
# The keys that a struct names are ours; more may stand beside them.
OPEN = {"additionalProperties": True}
# What stands in a history: the names of the structs below.
DELIVERED = {
    "anyOf": [
        {"$ref": name}
        for name in (
            *("Broadcast", "HappeningBroadcast", "Relayed"),
            *("DirectMessage", "Notification", "PresenceUpdate"),
        )
    ]
}

_encode = msgspec.json.Encoder().encode


class Outgoing(msgspec.Struct, frozen=True, gc=False, tag_field="type"):
    """A message to a client: its `type`, and `data`."""


class Data(msgspec.Struct, frozen=True, gc=False):
    """What stands under `data`, or deeper."""


def milliseconds(moment: datetime) -> Milliseconds:
    return int(moment.timestamp() * 1000)


# --- Status: how the conversation stands ------------------------------------------------------


class Limits(Data, kw_only=True):
    """What a client may send. 0 is no limit."""

    messages_per_second: int
    message_bytes: int


class ConnectedDetails(Data, kw_only=True):
    connection_id: str
    server_time: Milliseconds
    protocol_version: str
    features: tuple[str, ...]
    limits: Limits | UnsetType = UNSET


class SubscribedDetails(Data, kw_only=True):
    """`topics` are those of the message that are heard now.

    `recovered` is there when it was asked for: whether everything since comes. If not,
    `recoverable_from` is the oldest position from which it would, and `reason` says why not. What
    happened after `position` is told, if it was not yet.
    """

    topics: list[str]
    active_subscriptions: int
    position: Position | UnsetType = UNSET
    recovered: bool | UnsetType = UNSET
    recoverable_from: Position | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class UnsubscribedDetails(Data, kw_only=True):
    """`reason` is there where the client did not ask for it."""

    topics: list[str]
    active_subscriptions: int
    reason: str | UnsetType = UNSET


class BinaryReceivedDetails(Data, kw_only=True):
    """`size` is the content's, `checksum` the content's SHA-256 as `sha256:<hex>`."""

    size: int
    type: Literal["broadcast", "direct_message", "file_transfer", "stream_data"]
    checksum: str
    message_id: str | UnsetType = UNSET
    recipients: int | UnsetType = UNSET
    partial: bool | UnsetType = UNSET
    position: Position | UnsetType = UNSET
    delivered_to: list[str] | UnsetType = UNSET
    name: str | UnsetType = UNSET


class StatusData(msgspec.Struct, frozen=True, gc=False, tag_field="status"):
    """One of the kinds below."""


class Connected(StatusData, tag="connected"):
    """The first message of a connection."""

    details: ConnectedDetails


class Subscribed(StatusData, tag="subscribed"):
    details: SubscribedDetails


class Unsubscribed(StatusData, tag="unsubscribed"):
    details: UnsubscribedDetails


class BinaryReceived(StatusData, tag="binary_received"):
    details: BinaryReceivedDetails


class Status(Outgoing, tag="Status"):
    """How the conversation stands now."""

    data: Connected | Subscribed | Unsubscribed | BinaryReceived


_STATUSES: dict[str, tuple[type[Any], type[Any]]] = {
    "connected": (Connected, ConnectedDetails),
    "subscribed": (Subscribed, SubscribedDetails),
    "unsubscribed": (Unsubscribed, UnsubscribedDetails),
    "binary_received": (BinaryReceived, BinaryReceivedDetails),
}


def status(name: str, details: dict[str, Any]) -> bytes:
    """Return a `Status`. Raises TypeError for a detail that its struct does not name."""
    kind, shape = _STATUSES[name]
    return _encode(Status(kind(shape(**details))))


def connected(connection_id: str, now: datetime, limits: Limits | UnsetType = UNSET) -> bytes:
    details = ConnectedDetails(
        connection_id=connection_id,
        server_time=milliseconds(now),
        protocol_version=PROTOCOL_VERSION,
        features=FEATURES,
        limits=limits,
    )
    return _encode(Status(Connected(details)))


def binary_received(kind: str, size: int, checksum: str, **more: Any) -> bytes:
    """Return what a binary message is answered with; `checksum` is `sha256:<hex>`."""
    return status("binary_received", {"size": size, "type": kind, "checksum": checksum, **more})


# --- Answers ----------------------------------------------------------------------------------


class PongData(Data, kw_only=True):
    """The `timestamp` of the Ping, as it came; without one the server's time."""

    timestamp: int | float


class Pong(Outgoing, tag="Pong"):
    data: PongData


def pong(timestamp: int | float | None, now: datetime) -> bytes:
    return _encode(Pong(PongData(timestamp=milliseconds(now) if timestamp is None else timestamp)))


class PingData(Data, kw_only=True):
    timestamp: Milliseconds


class Ping(Outgoing, tag="Ping"):
    """Asks for a Pong that repeats `timestamp`."""

    data: PingData


class AckData(Data, kw_only=True):
    """What became of the message that the client called `message_id`.

    Of a Broadcast: `recipients` sessions were reached, `partial` where a process did not
    answer in time. Of a DirectMessage: the connections it was `delivered_to`.
    """

    message_id: str
    status: str
    recipients: int | UnsetType = UNSET
    partial: bool | UnsetType = UNSET
    delivered_to: list[str] | UnsetType = UNSET
    position: Position | UnsetType = UNSET


class Ack(Outgoing, tag="Ack"):
    data: AckData


def ack(message_id: str, name: str, **more: Any) -> bytes:
    """Return an `Ack`. `more`: recipients, partial, delivered_to, position."""
    return _encode(Ack(AckData(message_id=message_id, status=name, **more)))


class ErrorDetails(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of it; an application's own handlers may say more."""

    field: str | UnsetType = UNSET
    message_id: str | UnsetType = UNSET
    topic: str | UnsetType = UNSET
    limit: int | UnsetType = UNSET
    used: int | UnsetType = UNSET
    retry_after_ms: int | UnsetType = UNSET
    queued: bool | UnsetType = UNSET
    # Of a binary message, which has no id.
    size: int | UnsetType = UNSET
    type: str | UnsetType = UNSET
    checksum: str | UnsetType = UNSET


Code = Literal[400, 401, 403, 404, 413, 429, 500, 503]


class ErrorData(Data, kw_only=True):
    code: Code
    message: str
    details: Annotated[ErrorDetails, Meta(extra_json_schema=OPEN)]


class Error(Outgoing, tag="Error"):
    """One message could not be done as asked. The conversation goes on."""

    data: ErrorData


def error(code: int, message: str, details: dict[str, Any] | None = None) -> bytes:
    told: Any = details or {}
    # The dict stands for the struct: nothing is gained by reading it into one.
    data: Any = {"code": code, "message": message, "details": told}
    return _encode(Error(data))


class AuthStatusData(Data, kw_only=True):
    """How this connection's token stands, and when it ends or ended."""

    status: Literal["token_expiring", "refreshed", "expired", "revoked"]
    expires_at: Milliseconds
    refresh_required: bool
    message_id: str | UnsetType = UNSET


class AuthStatus(Outgoing, tag="AuthStatus"):
    data: AuthStatusData


def auth_status(name: Any, expires_at: datetime, **more: Any) -> bytes:
    """Return an `AuthStatus`. `more`: message_id."""
    return _encode(
        AuthStatus(
            AuthStatusData(
                status=name,
                expires_at=milliseconds(expires_at),
                refresh_required=name != "refreshed",
                **more,
            )
        )
    )


class HistoryData(Data, kw_only=True):
    """What was said on `topic`, oldest first, each as it was delivered.

    `complete` tells whether nothing between the bounds is missing. Where there is more, `next`
    is the position to ask from: as `after` where that was given, else as `before`.
    """

    topic: str
    messages: list[Annotated[Raw, Meta(extra_json_schema=DELIVERED)]]
    complete: bool
    next: Position | UnsetType = UNSET
    message_id: str | UnsetType = UNSET


class History(Outgoing, tag="History"):
    data: HistoryData


def history(topic: str, messages: list[bytes], *, complete: bool, **more: Any) -> bytes:
    """Return a `History` of messages that are rendered already. `more`: next, message_id."""
    raw = [Raw(message) for message in messages]
    return _encode(History(HistoryData(topic=topic, messages=raw, complete=complete, **more)))


class GapData(Data, kw_only=True):
    """So many events were passed over.

    For a slow reader: live ones, heard by the pattern `topic`, the first and the last of these
    times. Without `topic`: durable ones that the journal keeps no longer. Or more users are
    present on `topic` than are shown to who subscribes.
    """

    topic: str | UnsetType = UNSET
    from_: Milliseconds | UnsetType = msgspec.field(name="from", default=UNSET)
    to: Milliseconds | UnsetType = UNSET
    skipped: int
    reason: Literal["slow_reader", "no_longer_kept", "too_many_to_show"]


class Gap(Outgoing, tag="Gap"):
    data: GapData


def not_shown(topic: str, skipped: int) -> bytes:
    """Tell that so many more are present on these topics than were shown."""
    return _encode(Gap(GapData(topic=topic, skipped=skipped, reason="too_many_to_show")))


# --- Deliveries -------------------------------------------------------------------------------


class Metadata(Data, kw_only=True):
    """The server's word on what is delivered. `position` is there where the journal keeps it.

    `recover_from` is there in what overtook others while this reader was behind: the position
    up to which it has had everything.
    """

    sent_at: Milliseconds
    message_id: str
    position: Position | UnsetType = UNSET
    recover_from: Position | UnsetType = UNSET


class Carried(Metadata, kw_only=True):
    """The same, with the `metadata` that the sender gave."""

    priority: Priority | UnsetType = UNSET
    ttl: float | UnsetType = UNSET
    compression: str | UnsetType = UNSET
    encryption: Any = UNSET


OpenMetadata = Annotated[Carried, Meta(extra_json_schema=OPEN)]


class Delivery(Data, kw_only=True):
    """`from_user` is the sender's username, by the server's word."""

    topic: str
    from_user: str
    payload: AsItCame
    metadata: OpenMetadata


class Broadcast(Outgoing, tag="Broadcast"):
    """Somebody said something on a topic that is heard."""

    data: Delivery


class Relayed(msgspec.Struct, frozen=True, gc=False):
    """A message of an application's own type, on a topic that is heard."""

    type: Annotated[str, Meta(pattern="^X-")]
    data: Delivery


class Extension(msgspec.Struct, frozen=True, gc=False):
    """What a handler of an application's own type answers; `id` is the asking message's."""

    type: Annotated[str, Meta(pattern="^X-")]
    data: dict[str, Any]
    id: str | UnsetType = UNSET


def extension(type_: str, data: dict[str, Any], message_id: str | None) -> bytes:
    """Return the answer to a message of an application's own type."""
    return _encode(Extension(type_, data, UNSET if message_id is None else message_id))


class DirectDelivery(Data, kw_only=True):
    from_user: str
    payload: AsItCame
    metadata: OpenMetadata


class DirectMessage(Outgoing, tag="DirectMessage"):
    """Somebody said something to this user."""

    data: DirectDelivery


class InBase64(msgspec.Struct, frozen=True, gc=False):
    """The payload of a binary message, for those who do not take binary frames."""

    base64: Annotated[Raw, Meta(extra_json_schema={"type": "string"})]


class NotificationData(Data, kw_only=True):
    level: Level
    title: str
    message: str
    actions: tuple[Action, ...]
    metadata: Metadata


class Notification(Outgoing, tag="Notification"):
    """The system tells people something."""

    data: NotificationData


class PresenceData(Data, kw_only=True):
    """`user_id` is a username, `metadata` what the client gave."""

    user_id: str
    status: Presence
    last_seen: Milliseconds
    metadata: dict[str, Any]
    position: Position | UnsetType = UNSET


class PresenceUpdate(Outgoing, tag="Presence"):
    """A user came, went away from the keyboard, or left."""

    data: PresenceData
