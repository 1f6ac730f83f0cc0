"""The pubsub dialect's messages. Source: seed 003; imports `realtime.core` only.

All times of this dialect are milliseconds since 1970.
"""

from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec

from realtime.core.errors import Invalid
from realtime.core.events import Event
from realtime.core.session import Gap
from realtime.core.topics import REST
from realtime.dialects.pubsub.schema.payloads import payload_of

PROTOCOL_VERSION = "1.0"
FEATURES = ("patterns",)
TOPICS_AT_ONCE = 128

T = TypeVar("T")
MessageId = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class Incoming(msgspec.Struct, frozen=True):
    """The envelope; `data` is read once the type is known."""

    type: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    data: msgspec.Raw = msgspec.Raw(b"{}")
    id: MessageId | None = None


class Ping(msgspec.Struct, frozen=True):
    """Asks for a Pong that repeats `timestamp`."""

    timestamp: int | float | None = None


class Topics(msgspec.Struct, frozen=True):
    """What to hear, or to hear no longer: exact topics and patterns."""

    topics: Annotated[list[str], msgspec.Meta(min_length=1, max_length=TOPICS_AT_ONCE)]


_decode = msgspec.json.Decoder(Incoming).decode
_encode = msgspec.json.Encoder().encode


def parse(text: str) -> Incoming:
    """Return the envelope. Raises Invalid with a text that names the field."""
    return _read(_decode, text, "$")


def parse_data(raw: msgspec.Raw, shape: type[T]) -> T:
    """Return the payload in the shape its type asks for. Raises Invalid."""
    return _read(msgspec.json.Decoder(shape).decode, raw, "$.data")


def _read(decode: Any, source: Any, root: str) -> Any:
    try:
        return decode(source)
    except msgspec.ValidationError as error:
        raise Invalid(str(error), field=_field_of(str(error), root)) from None
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        raise Invalid("the message is not JSON") from None


def _field_of(problem: str, root: str) -> str:
    """Read the path out of "Expected `int`, got `str` - at `$.timestamp`" and its like."""
    what, _, place = problem.partition(" - at `$")
    _, _, missing = what.partition("missing required field `")
    path = root + place.rstrip("`") + (f".{missing.rstrip('`')}" if missing else "")
    return path.removeprefix("$").removeprefix(".")


def status(name: str, details: dict[str, Any]) -> bytes:
    return _message("Status", {"status": name, "details": details})


def connected(connection_id: str, now: datetime) -> bytes:
    details = {
        "connection_id": connection_id,
        "server_time": milliseconds(now),
        "protocol_version": PROTOCOL_VERSION,
        "features": FEATURES,
    }
    return status("connected", details)


def pong(timestamp: int | float | None, now: datetime) -> bytes:
    return _message("Pong", {"timestamp": milliseconds(now) if timestamp is None else timestamp})


def ack(message_id: str, name: str) -> bytes:
    return _message("Ack", {"message_id": message_id, "status": name})


def error(code: int, message: str, details: dict[str, Any] | None = None) -> bytes:
    return _message("Error", {"code": code, "message": message, "details": details or {}})


def auth_status(name: str, expires_at: datetime) -> bytes:
    return _message(
        "AuthStatus",
        {"status": name, "expires_at": milliseconds(expires_at), "refresh_required": True},
    )


def milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _message(kind: str, data: dict[str, Any]) -> bytes:
    return _encode({"type": kind, "data": data})


class PubsubDialect:
    """Every domain event is a `Broadcast` on its topic."""

    name = "pubsub"

    def render(self, event: Event, position: str | None) -> bytes | None:
        payload = payload_of(event)
        if payload is None:
            return None
        metadata: dict[str, Any] = {"sent_at": milliseconds(event.at), "message_id": event.id}
        if position is not None:
            metadata["position"] = position
        return _message(
            "Broadcast", {"topic": event.topic, "payload": payload, "metadata": metadata}
        )

    def render_gap(self, gap: Gap) -> bytes | None:
        """Tell how many were skipped, and where it is known a pattern for their topics and when."""
        details: dict[str, Any] = {"skipped": gap.skipped}
        if gap.root:
            details["topic"] = f"{gap.root}.{REST}"
        if gap.first_at is not None and gap.last_at is not None:
            details["from"] = milliseconds(gap.first_at)
            details["to"] = milliseconds(gap.last_at)
        return _message("Gap", details)
