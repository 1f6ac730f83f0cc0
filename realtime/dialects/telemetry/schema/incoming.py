"""What clients and devices send: one decoder for all of it, one pass over each message."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from realtime.core.errors import Invalid
from realtime.core.events import Measured
from realtime.core.problems import Problem, problem_of
from realtime.core.texts import check_free, check_text
from realtime.dialects.telemetry.schema.codes import Code, Rejection

METRIC_MAX = 100
UNIT_MAX = 20
KNOWN_MAX = 10_000
# Whoever counts from 1970 counts milliseconds if it is more than this; as seconds, that is the
# year 5138.
SECONDS_BELOW = 1e11

Key = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Keys = Key | Annotated[list[Key], Meta(min_length=1)]
Metrics = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=METRIC_MAX)]], Meta(min_length=1)
]
Severity = Literal["critical", "warning", "info"]
AlertType = Literal["threshold", "anomaly", "device", "system", "manual"]
DeviceStatus = Literal["online", "offline", "warning", "error", "maintenance"]
Channel = Literal["telemetry", "alerts", "devices", "system"]


class Incoming(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="type"):
    """A message of a client. Unknown fields are ignored."""


class Auth(Incoming, tag="auth"):
    token: Annotated[str, Meta(max_length=4096)]


class Filters(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What may stand at the top of a subscription or under its `filters`."""

    device_id: Keys | None = None
    metrics: Metrics | None = None
    severity: Severity | Annotated[list[Severity], Meta(min_length=1)] | None = None
    alert_type: AlertType | Annotated[list[AlertType], Meta(min_length=1)] | None = None
    status_types: DeviceStatus | Annotated[list[DeviceStatus], Meta(min_length=1)] | None = None
    frequency: Annotated[str, Meta(max_length=16)] | None = None
    since: Annotated[str, Meta(max_length=64)] | None = None


class Subscribe(Filters, tag_field="type", tag="subscribe"):
    channel: Channel
    filters: Filters | None = None

    def wish(self, name: str) -> Any:
        """Return a filter from the top of the message, or else from its `filters`."""
        value = getattr(self, name)
        if value is None and self.filters is not None:
            value = getattr(self.filters, name)
        return value


class Unsubscribe(Subscribe, tag="unsubscribe"):
    """Of all the filters only `device_id` counts."""


class Ping(Incoming, tag="ping"):
    timestamp: Annotated[str, Meta(max_length=64)] | int | float | None = None


class Batch(Incoming, tag="batch"):
    messages: Annotated[list[msgspec.Raw], Meta(min_length=1)]


class Value(msgspec.Struct, frozen=True, gc=False):
    """One metric's value; its unit and time may be left out."""

    value: float
    unit: Annotated[str, Meta(max_length=UNIT_MAX)] = ""
    timestamp: datetime | float | None = None


class Telemetry(Incoming, tag="telemetry"):
    device_id: Key
    telemetry: Annotated[dict[str, Value], Meta(min_length=1)]
    id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None


class Heartbeat(Incoming, tag="heartbeat"):
    """`device_id` is for those who report for a device that is not themselves; so below."""

    device_id: Key | None = None


class Status(Incoming, tag="status"):
    status: DeviceStatus
    reason: Annotated[str, Meta(max_length=200)] = ""
    device_id: Key | None = None


class CommandResponse(Incoming, tag="command_response"):
    command_id: Key
    status: Literal["executed", "failed"]
    result: dict[str, Any] = {}
    device_id: Key | None = None


class ErrorReport(Incoming, tag="error_report"):
    """What a client could not process, and why."""

    error: Annotated[str, Meta(min_length=1, max_length=500)]
    message: Any = None


class Parts(msgspec.Struct):
    """A report whose values are not looked at yet."""

    telemetry: dict[str, msgspec.Raw]


AnyIncoming = (
    Telemetry
    | Batch
    | Heartbeat
    | Ping
    | Auth
    | Subscribe
    | Unsubscribe
    | Status
    | CommandResponse
    | ErrorReport
)
Source = str | msgspec.Raw

_decode = msgspec.json.Decoder(AnyIncoming).decode
_decode_value = msgspec.json.Decoder(Value).decode
_decode_parts = msgspec.json.Decoder(Parts).decode


def parse(source: Source) -> AnyIncoming:
    """Return the message. Raises Rejection or Invalid with a text that names the field.

    The texts inside a `Telemetry` are looked at by `measured`.
    """
    try:
        message = _decode(source)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise _unreadable(error, source) from None
    if type(message) is not Telemetry and type(message) is not Batch:
        check_texts(message)
    return message


def measured(message: Telemetry, received_at: datetime) -> dict[str, Measured]:
    """Return what was measured, at times in UTC. Raises Invalid for a name, a unit or a time.

    A value without a time gets `received_at`.
    """
    if message.id is not None:
        check_text(message.id, "id")
    found = {}
    for name, value in message.telemetry.items():
        if name not in _known:
            _get_to_know(name, f"telemetry.{name[:METRIC_MAX]}")
        if value.unit and value.unit not in _known:
            _get_to_know(value.unit, f"telemetry.{name}.unit")
        at = value.timestamp
        if at is None:
            at = received_at
        elif type(at) is not datetime or at.tzinfo is not UTC:
            at = _in_utc(at, f"telemetry.{name}.timestamp")
        found[name] = Measured(value.value, value.unit, at)
    return found


# Names of metrics and units that were looked at: devices send the same few again and again.
_known: set[str] = set()


def _get_to_know(name: str, field: str) -> None:
    if not name or len(name) > METRIC_MAX:
        raise Invalid(f"{field}: a name has 1 to {METRIC_MAX} characters", field=field)
    check_text(name, field)
    if len(_known) >= KNOWN_MAX:
        _known.clear()
    _known.add(name)


def _in_utc(moment: datetime | float, field: str) -> datetime:
    """Return the time in UTC, which is what a time without a zone is taken for.

    A number counts milliseconds since 1970, or seconds if it is below `SECONDS_BELOW`.
    """
    try:
        if not isinstance(moment, datetime):
            seconds = moment if abs(moment) < SECONDS_BELOW else moment / 1000
            return datetime.fromtimestamp(seconds, UTC)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (OverflowError, ValueError, OSError):
        raise Invalid(f"{field}: no time between the years 1 and 9999", field=field) from None


def check_texts(message: AnyIncoming | Filters, place: str = "") -> None:
    """Raises Invalid for a text that may not be: NUL, control characters, no floor."""
    for name in message.__struct_fields__:
        value = getattr(message, name)
        if isinstance(value, Filters):
            check_texts(value, f"{name}.")
        elif name in ("error", "message", "result"):
            check_free(value, name)
        elif isinstance(value, list):
            for n, item in enumerate(value):
                if isinstance(item, str):
                    check_text(item, f"{place}{name}[{n}]")
        elif isinstance(value, str) and name != "token":
            check_text(value, place + name)


def _unreadable(error: Exception, source: Source) -> Rejection:
    return rejection_of(problem_of(error, source, lambda: _bad_metric(source)))


def rejection_of(problem: Problem) -> Rejection:
    """Return a problem of any message in this dialect's words."""
    field, text = problem.field, problem.text
    if not problem.is_json:
        return Rejection(Code.NOT_JSON, text)
    if problem.missing:
        return Rejection(Code.MISSING_FIELD, f"{field} {text}", field=field)
    if field == "type" and text.startswith("invalid value"):
        return Rejection(Code.UNKNOWN_TYPE, f"unknown type: {text}", field=field)
    if field == "channel" and text.startswith("invalid enum"):
        return Rejection(Code.UNKNOWN_CHANNEL, f"unknown channel: {text}", field=field)
    if not field:
        return Rejection(Code.NO_MESSAGE, f"a message is an object: {text}")
    return Rejection(Code.INVALID_FIELD, f"{field}: {text}", field=field)


def _bad_metric(source: Source) -> str:
    return first_wrong(_decode_parts(source), _decode_value)


def first_wrong(parts: Parts, decode: Callable[[msgspec.Raw], Value]) -> str:
    """Return the name of the first metric whose value cannot be read."""
    for name, raw in parts.telemetry.items():
        try:
            decode(raw)
        except msgspec.ValidationError:
            return name[:METRIC_MAX]
    return "*"
