"""What happened, as the payload of a `Broadcast`; imports `realtime.core` only.

The keys are those of the REST interfaces' own documents, times are ISO 8601 as theirs are.
"""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from realtime.core import events
from realtime.core.events import Event, Measured
from realtime.dialects.pubsub.schema.outgoing import Data, Metadata, Outgoing

# Aware, and written in UTC.
Moment = Annotated[datetime, Meta(tz=True)]


class Happening(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="event"):
    """The payload of a Broadcast that the server itself makes: what happened, by name."""


# --- Operations -------------------------------------------------------------------------------


class OfSurgery(Happening, rename="camel", kw_only=True):
    surgery_id: UUID
    surgeon_id: UUID
    surgeon: str


class SurgeryStarted(OfSurgery, tag="SURGERY_STARTED", rename="camel", kw_only=True):
    """The first frame of an operation arrived, or an interrupted one goes on."""

    start_time: Moment
    resumed: bool


class SurgeryMoved(Happening, tag="SURGERY_MOVED", rename="camel", kw_only=True):
    """A few frames of a running operation; `offset` counts those before them."""

    surgery_id: UUID
    offset: int
    movements: Annotated[
        Raw,
        Meta(
            description="Frames as the surgeon sent them: coordinates, event, timestamp.",
            extra_json_schema={"type": "array", "items": {"type": "object"}},
        ),
    ]


class SurgeryInterrupted(OfSurgery, tag="SURGERY_INTERRUPTED", rename="camel", kw_only=True):
    """The surgeon was gone for too long."""

    movements: int


class SurgeryCompleted(OfSurgery, tag="NEW_SURGERY", rename="camel", kw_only=True):
    """An operation is complete and stored."""

    end_time: Moment
    duration_in_seconds: int
    movements: int


class SurgeryAnalysed(OfSurgery, tag="SURGERY_ANALYSED", rename="camel", kw_only=True):
    """The score of an operation arrived."""

    score: float
    feedback: str


# --- Devices ----------------------------------------------------------------------------------


class Value(msgspec.Struct, frozen=True, gc=False):
    """One metric's value; min, max and count describe the window of a frequency."""

    value: float
    unit: str
    timestamp: Moment
    min: float | UnsetType = UNSET
    max: float | UnsetType = UNSET
    count: int | UnsetType = UNSET


class TelemetryReceived(Happening, tag="TELEMETRY_RECEIVED", rename="camel", kw_only=True):
    """A device reported values."""

    device_id: int
    telemetry: dict[str, Value]


class DeviceStatusChanged(Happening, tag="DEVICE_STATUS_CHANGED", rename="camel", kw_only=True):
    device_id: int
    device: str
    old_status: str
    new_status: str
    reason: str
    last_seen: Moment | None
    timestamp: Moment


class OfAlert(Happening, rename="camel", kw_only=True):
    """`device_id` is null for an alert about this system."""

    alert_id: int
    device_id: int | None
    severity: str
    alert_type: str
    title: str
    timestamp: Moment


class AlertRaised(OfAlert, tag="ALERT_RAISED", rename="camel", kw_only=True):
    """A new alert; the numbers are null where there are none."""

    message: str
    metric: str
    threshold_value: float | None
    actual_value: float | None


class AlertUpdated(OfAlert, tag="ALERT_UPDATED", rename="camel", kw_only=True):
    """An alert was acknowledged or resolved; `by` is a username, or `system`."""

    status: str
    by: str
    note: str


class CommandIssued(Happening, tag="COMMAND_ISSUED", rename="camel", kw_only=True):
    """Somebody wants a device to do something."""

    device_id: int
    command_id: int
    command: str
    parameters: dict[str, Any]


class CommandEnded(Happening, tag="COMMAND_ENDED", rename="camel", kw_only=True):
    """A command was executed, failed or expired."""

    device_id: int
    command_id: int
    command: str
    status: str
    result: dict[str, Any]


class SystemSampled(Happening, tag="SYSTEM_SAMPLED", rename="camel", kw_only=True):
    """How this deployment fares: metric to number; percentages from 0 to 100."""

    metrics: dict[str, float]
    timestamp: Moment


AnyHappening = (
    SurgeryStarted
    | SurgeryMoved
    | SurgeryInterrupted
    | SurgeryCompleted
    | SurgeryAnalysed
    | TelemetryReceived
    | DeviceStatusChanged
    | AlertRaised
    | AlertUpdated
    | CommandIssued
    | CommandEnded
    | SystemSampled
)


class HappeningDelivery(Data, kw_only=True):
    """As what people say, but that nobody in particular says it."""

    topic: str
    payload: AnyHappening
    metadata: Metadata


class HappeningBroadcast(Outgoing, tag="Broadcast"):
    """Something happened to what the topic names."""

    data: HappeningDelivery


def payload_of(event: Event) -> AnyHappening | None:
    """Return what this dialect says of an event; None for what its clients never hear of."""
    match event:
        case events.SurgeryEvent():
            return _of_surgery(event)
        case events.AlertEvent():
            return _of_alert(event)
        case events.TelemetryReceived():
            return TelemetryReceived(
                device_id=event.device_id,
                telemetry={name: _value(measured) for name, measured in event.metrics.items()},
            )
        case events.DeviceStatusChanged():
            return DeviceStatusChanged(
                device_id=event.device_id,
                device=event.device,
                old_status=event.old_status,
                new_status=event.new_status,
                reason=event.reason,
                last_seen=event.last_seen,
                timestamp=event.at,
            )
        case events.CommandIssued():
            return CommandIssued(
                device_id=event.device_id,
                command_id=event.command_id,
                command=event.command,
                parameters=event.parameters,
            )
        case events.CommandEnded():
            return CommandEnded(
                device_id=event.device_id,
                command_id=event.command_id,
                command=event.command,
                status=event.status,
                result=event.result,
            )
        case events.SystemSampled():
            return SystemSampled(metrics=event.metrics, timestamp=event.at)
    return None


def _of_surgery(event: events.SurgeryEvent) -> AnyHappening | None:
    if isinstance(event, events.SurgeryMoved):
        return SurgeryMoved(
            surgery_id=event.surgery_id, offset=event.offset, movements=event.movements
        )
    whose = {
        "surgery_id": event.surgery_id,
        "surgeon_id": event.surgeon_id,
        "surgeon": event.surgeon,
    }
    match event:
        case events.SurgeryStarted():
            return SurgeryStarted(**whose, start_time=event.started_at, resumed=event.resumed)
        case events.SurgeryInterrupted():
            return SurgeryInterrupted(**whose, movements=event.movements)
        case events.SurgeryCompleted():
            return SurgeryCompleted(
                **whose,
                end_time=event.ended_at,
                duration_in_seconds=event.duration_seconds,
                movements=event.movements,
            )
        case events.SurgeryAnalysed():
            return SurgeryAnalysed(**whose, score=event.score, feedback=event.feedback)
    return None


def _of_alert(event: events.AlertEvent) -> AnyHappening | None:
    about = {
        "alert_id": event.alert_id,
        "device_id": event.device_id,
        "severity": event.severity,
        "alert_type": event.alert_type,
        "title": event.title,
        "timestamp": event.at,
    }
    match event:
        case events.AlertRaised():
            return AlertRaised(
                **about,
                message=event.message,
                metric=event.metric,
                threshold_value=event.threshold_value,
                actual_value=event.actual_value,
            )
        case events.AlertUpdated():
            return AlertUpdated(**about, status=event.status, by=event.by, note=event.note)
    return None


def _value(measured: Measured) -> Value:
    """Return a value; with the figures of its window, where it closes one."""
    if measured.count is None:
        return Value(measured.value, measured.unit, measured.at)
    low = measured.value if measured.low is None else measured.low
    high = measured.value if measured.high is None else measured.high
    return Value(measured.value, measured.unit, measured.at, low, high, measured.count)
