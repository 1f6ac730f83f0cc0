"""What the server sends: answers, and events in this dialect's words."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from realtime.core.events import (
    AlertRaised,
    AlertUpdated,
    DeviceStatusChanged,
    Event,
    Measured,
    SystemSampled,
    TelemetryReceived,
)
from realtime.core.frames import Frame
from realtime.core.session import Gap
from realtime.dialects.telemetry.schema.codes import Code, Rejection
from realtime.dialects.telemetry.schema.incoming import AnyIncoming, parse
from realtime.dialects.telemetry.schema.packed import encode_packed, parse_packed

# The subprotocol of those who speak MessagePack.
MSGPACK = "vitalwire.msgpack"

# Aware, and written in UTC.
Moment = Annotated[datetime, Meta(tz=True)]

_encode = msgspec.json.Encoder().encode


class Outgoing(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="type"):
    """A message to a client."""


# --- Answers --------------------------------------------------------------------------------


class AuthResponse(Outgoing, tag="auth_response", omit_defaults=True):
    """`error` is invalid_token, token_expired, forbidden, too_many_connections, rate_limited or
    unavailable; the numbers belong to the budgets.
    """

    success: bool
    error: str | None = None
    message: str | None = None
    limit: int | None = None
    used: int | None = None
    retry_after_ms: int | None = None


class Subscribed(Outgoing, tag="subscribed"):
    """What is in force now. `complete` is there when `since` was: whether nothing is missing."""

    channel: str
    device_id: int | list[int] | None
    filters: dict[str, Any]
    position: str
    complete: bool | UnsetType = UNSET


class Unsubscribed(Outgoing, tag="unsubscribed"):
    channel: str
    device_id: int | list[int] | None
    filters: dict[str, Any]
    position: str
    reason: str | UnsetType = UNSET


class Pong(Outgoing, tag="pong"):
    timestamp: Annotated[Any, Meta(extra_json_schema={"type": ["string", "number"]})]
    server_time: Moment


class TelemetryAck(Outgoing, tag="telemetry_ack"):
    id: str | None
    device_id: int
    accepted: int


class Accepted(Outgoing, tag="accepted"):
    """In a batch: the item was done, and alone it would have had no answer."""

    message: str


class Command(Outgoing, tag="command"):
    command_id: int
    command: str
    parameters: dict[str, Any]


class Error(Outgoing, tag="error", omit_defaults=True):
    code: str
    message: str
    limit: int | None = None
    retry_after_ms: int | None = None
    field: str | None = None
    id: str | None = None
    device_id: int | None = None
    command_id: int | None = None


Answer = Accepted | AuthResponse | Error | Pong | Subscribed | TelemetryAck | Unsubscribed


class BatchResponse(Outgoing, tag="batch_response"):
    results: list[Answer]


def error(rejection: Rejection) -> Error:
    return Error(code=rejection.code, message=str(rejection), **rejection.more)


# --- Events ---------------------------------------------------------------------------------


class Shown(msgspec.Struct, frozen=True, gc=False):
    """One metric's value; min, max and count describe the window of a frequency."""

    value: float
    unit: str
    timestamp: Moment
    min: float | UnsetType = UNSET
    max: float | UnsetType = UNSET
    count: int | UnsetType = UNSET


class TelemetryUpdate(Outgoing, kw_only=True, tag="telemetry_update"):
    channel: Literal["telemetry"] = "telemetry"
    device_id: int
    telemetry: dict[str, Shown]


class AlertNumbers(msgspec.Struct, frozen=True, gc=False):
    """Null where there is no number."""

    threshold_value: float | None
    actual_value: float | None


class AlertFrame(Outgoing, kw_only=True, tag="alert"):
    channel: Literal["alerts"] = "alerts"
    alert_id: int
    device_id: int | None
    severity: str
    title: str
    message: str
    timestamp: Moment
    metadata: AlertNumbers
    position: str | UnsetType = UNSET


class AlertUpdate(Outgoing, kw_only=True, tag="alert_update"):
    channel: Literal["alerts"] = "alerts"
    alert_id: int
    device_id: int | None
    status: str
    by: str
    timestamp: Moment
    position: str | UnsetType = UNSET


class LastSeen(msgspec.Struct, frozen=True, gc=False):
    """When the device gave the last sign of life; null if never."""

    last_seen: Moment | None


class DeviceStatusUpdate(Outgoing, kw_only=True, tag="device_status_update"):
    channel: Literal["devices"] = "devices"
    device_id: int
    old_status: str
    new_status: str
    timestamp: Moment
    reason: str
    metadata: LastSeen
    position: str | UnsetType = UNSET


class SystemStatusUpdate(Outgoing, kw_only=True, tag="system_status_update"):
    channel: Literal["system"] = "system"
    metrics: dict[str, int | float]
    timestamp: Moment


class GapFrame(Outgoing, kw_only=True, tag="gap"):
    """So many events of a channel, of these times, were passed over for a slow reader.

    The journal forgot the rest: there is no channel then, and no time.
    """

    channel: str | None
    from_: Moment | None = msgspec.field(name="from")
    to: Moment | None
    skipped: int


class TelemetryDialect:
    """Devices, their values and alerts, and this system. Commands go to their device alone."""

    name = "telemetry"
    overtakes = False
    # Whether messages are binary ones, both ways.
    is_packed = False
    wrong_form = error(
        Rejection(
            Code.BINARY,
            "this connection speaks JSON in text messages: "
            f"offer the subprotocol {MSGPACK} for binary ones",
        )
    )

    def parse(self, source: Any) -> AnyIncoming:
        """Return a client's message. Raises Rejection or Invalid."""
        return parse(source)

    def frame(self, message: Outgoing) -> Frame:
        """Return an answer ready to be sent."""
        return Frame(self.encode(message), binary=self.is_packed)

    def encode(self, message: Outgoing) -> bytes:
        return _encode(message)

    def render(
        self, event: Event, position: str | None, *, recover_from: str | None = None
    ) -> bytes | None:
        frame = _frame_of(event, UNSET if position is None else position)
        return None if frame is None else self.encode(frame)

    def is_binary(self, event: Event | Gap) -> bool:
        return self.is_packed

    def render_gap(self, gap: Gap) -> bytes | None:
        first, last = gap.first_at, gap.last_at
        return self.encode(
            GapFrame(
                channel=gap.root or None,
                from_=first and _utc(first),
                to=last and _utc(last),
                skipped=gap.skipped,
            )
        )


class PackedTelemetryDialect(TelemetryDialect):
    """The same in MessagePack."""

    name = "telemetry.msgpack"
    is_packed = True
    wrong_form = error(
        Rejection(Code.TEXT, "this connection speaks MessagePack in binary messages")
    )

    def parse(self, source: Any) -> AnyIncoming:
        return parse_packed(source)

    def encode(self, message: Outgoing) -> bytes:
        return encode_packed(message)


def _frame_of(event: Event, position: str | UnsetType) -> Outgoing | None:
    match event:
        case TelemetryReceived():
            shown = {name: _shown(measured) for name, measured in event.metrics.items()}
            return TelemetryUpdate(device_id=event.device_id, telemetry=shown)
        case SystemSampled():
            numbers = {name: _plain(number) for name, number in event.metrics.items()}
            return SystemStatusUpdate(metrics=numbers, timestamp=_utc(event.at))
        case AlertRaised():
            return AlertFrame(
                alert_id=event.alert_id,
                device_id=event.device_id,
                severity=event.severity,
                title=event.title,
                message=event.message,
                timestamp=_utc(event.at),
                metadata=AlertNumbers(event.threshold_value, event.actual_value),
                position=position,
            )
        case AlertUpdated():
            return AlertUpdate(
                alert_id=event.alert_id,
                device_id=event.device_id,
                status=event.status,
                by=event.by,
                timestamp=_utc(event.at),
                position=position,
            )
        case DeviceStatusChanged():
            seen = event.last_seen
            return DeviceStatusUpdate(
                device_id=event.device_id,
                old_status=event.old_status,
                new_status=event.new_status,
                timestamp=_utc(event.at),
                reason=event.reason,
                metadata=LastSeen(None if seen is None else _utc(seen)),
                position=position,
            )
    return None


def _shown(measured: Measured) -> Shown:
    if measured.count is None:
        return Shown(measured.value, measured.unit, _utc(measured.at))
    low = measured.value if measured.low is None else measured.low
    high = measured.value if measured.high is None else measured.high
    return Shown(measured.value, measured.unit, _utc(measured.at), low, high, measured.count)


def _plain(number: float) -> int | float:
    """Write 15 connections as 15, not as 15.0."""
    return int(number) if float(number).is_integer() else number


def _utc(moment: datetime) -> datetime:
    """Return the time in UTC, which msgspec writes with `Z`."""
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
