"""What clients of this dialect send; imports `realtime.core` only. Source: seed 003."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from realtime.core.errors import Invalid

HISTORY_MAX = 500
BATCH_MAX = 50
# Whoever counts from 1970 counts milliseconds if it is more than this; as seconds, that is the
# year 5138.
SECONDS_BELOW = 1e11

T = TypeVar("T")
MessageId = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class Incoming(msgspec.Struct, frozen=True):
    """The envelope; `data` is read once the type is known.

    `metadata` travels with what is published; the keys we know are checked by `metadata_of`.
    """

    type: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    data: msgspec.Raw = msgspec.Raw(b"{}")
    id: MessageId | None = None
    timestamp: int | float | None = None
    metadata: dict[str, Any] | None = None


class Ping(msgspec.Struct, frozen=True):
    """Asks for a Pong that repeats `timestamp`."""

    timestamp: int | float | None = None


class Recover(msgspec.Struct, frozen=True):
    """From where to be told what was missed: the position of the last event that was had."""

    position: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Topics(msgspec.Struct, frozen=True):
    """What to hear, or to hear no longer: exact topics and patterns."""

    topics: Annotated[list[str], msgspec.Meta(min_length=1)]
    recover: Recover | None = None
    # Binary messages as binary frames, from now on, on this connection.
    binary: bool = False


class Broadcast(msgspec.Struct, frozen=True):
    """Something to say on a topic."""

    topic: str
    payload: msgspec.Raw


class DirectMessage(msgspec.Struct, frozen=True):
    """Something to say to one user, given by name or id."""

    target_user: Annotated[str, msgspec.Meta(min_length=1, max_length=150)]
    payload: msgspec.Raw


class Presence(msgspec.Struct, frozen=True):
    """How present the user is on this connection, with whatever else the client tells of it."""

    status: Literal["online", "away", "offline"] = "online"
    metadata: dict[str, Any] | None = None


class Auth(msgspec.Struct, frozen=True):
    """A new token for this connection."""

    token: Annotated[str, msgspec.Meta(min_length=1, max_length=8192)]


class Batch(msgspec.Struct, frozen=True):
    """Messages that are answered one by one, in order."""

    messages: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=BATCH_MAX)]


class History(msgspec.Struct, frozen=True):
    """Asks for what was said on a topic between two positions, or times.

    With `after` the earliest `limit` of them, without it the latest.
    """

    topic: str
    before: str | int | float | None = None
    after: str | int | float | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=HISTORY_MAX)] = 50


class Extension(msgspec.Struct, frozen=True):
    """What we read of a type of the application's own: on a topic it is relayed."""

    topic: str | None = None


def moment_of(timestamp: int | float, field: str = "timestamp") -> datetime:
    """Return a client's time, in milliseconds or in seconds since 1970. Raises Invalid."""
    try:
        seconds = timestamp if abs(timestamp) < SECONDS_BELOW else timestamp / 1000
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        raise Invalid(f"{field}: no time between the years 1 and 9999", field=field) from None


_decode = msgspec.json.Decoder(Incoming).decode


def parse(text: str | msgspec.Raw) -> Incoming:
    """Return the envelope. Raises Invalid with a text that names the field."""
    return _read(_decode, text, "$")


class _Named(msgspec.Struct, frozen=True):
    """All that we want to know of a message that is refused unread."""

    id: MessageId | None = None


_decode_name = msgspec.json.Decoder(_Named).decode


def id_of(text: str | bytes | msgspec.Raw) -> str | None:
    """Return what the client calls a message that is not to be read, None if it does not say."""
    try:
        return _decode_name(text).id
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None


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
