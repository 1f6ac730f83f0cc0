"""What happened, as typed structs: one class per kind of event.

A durable event goes through the journal and has a position; a live one may be conflated
and has none. The wire words of each dialect are in its `schema.py`, not here.
"""

import msgspec

from realtime.core.events.base import CONTROL, Event
from realtime.core.events.control import (
    AccessChanged,
    ConnectionEnded,
    DevicesChanged,
    Forgotten,
    MessageWatchChanged,
    RecordingClaimed,
    RulesChanged,
)
from realtime.core.events.devices import (
    SYSTEM,
    AlertEvent,
    AlertRaised,
    AlertUpdated,
    CommandEnded,
    CommandIssued,
    DeviceEvent,
    DeviceStatusChanged,
    Measured,
    SystemSampled,
    TelemetryReceived,
)
from realtime.core.events.messages import (
    NOTIFICATIONS,
    USERS,
    Action,
    DirectMessageSent,
    Message,
    Notified,
    PresenceChanged,
    Published,
    StreamChunkSent,
    expiry_of,
    presence_topic,
    private_topic,
    rank_of,
)
from realtime.core.events.surgeries import (
    SurgeryAnalysed,
    SurgeryCompleted,
    SurgeryEvent,
    SurgeryInterrupted,
    SurgeryMoved,
    SurgeryStarted,
)

__all__ = [
    "CONTROL",
    "NOTIFICATIONS",
    "SYSTEM",
    "USERS",
    "AccessChanged",
    "Action",
    "AlertEvent",
    "AlertRaised",
    "AlertUpdated",
    "AnyEvent",
    "CommandEnded",
    "CommandIssued",
    "ConnectionEnded",
    "DeviceEvent",
    "DeviceStatusChanged",
    "DevicesChanged",
    "DirectMessageSent",
    "Event",
    "Forgotten",
    "Measured",
    "Message",
    "MessageWatchChanged",
    "Notified",
    "PresenceChanged",
    "Published",
    "RecordingClaimed",
    "RulesChanged",
    "StreamChunkSent",
    "SurgeryAnalysed",
    "SurgeryCompleted",
    "SurgeryEvent",
    "SurgeryInterrupted",
    "SurgeryMoved",
    "SurgeryStarted",
    "SystemSampled",
    "TelemetryReceived",
    "decode",
    "encode",
    "expiry_of",
    "presence_topic",
    "private_topic",
    "rank_of",
]

AnyEvent = (
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
    | Published
    | DirectMessageSent
    | StreamChunkSent
    | Notified
    | PresenceChanged
    | RecordingClaimed
    | AccessChanged
    | DevicesChanged
    | RulesChanged
    | MessageWatchChanged
    | ConnectionEnded
    | Forgotten
)

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def encode(event: Event) -> bytes:
    """Return the event as the journal and the broker carry it: tagged JSON."""
    return _encoder.encode(event)


def decode(payload: bytes) -> AnyEvent:
    """Return the event. Raises msgspec.ValidationError for a kind this build does not know."""
    return _decoder.decode(payload)
