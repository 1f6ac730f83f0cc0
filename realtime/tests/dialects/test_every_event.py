"""Every event in every dialect: rendered, or told to be none of its clients' business."""

import json

import msgpack
import pytest

from realtime.core.events import AnyEvent, Event
from realtime.dialects.pubsub.schema import PubsubBinaryDialect, PubsubDialect
from realtime.dialects.surgery.schema import SurgeryDialect
from realtime.dialects.telemetry.schema import PackedTelemetryDialect, TelemetryDialect
from realtime.hub import Dialect
from realtime.tests.core.test_events import EXAMPLES

# What the clients of a dialect never hear of. An event that is neither here nor rendered was
# forgotten.
CONTROL = {
    "AccessChanged",
    "RecordingClaimed",
    "DevicesChanged",
    "RulesChanged",
    "MessageWatchChanged",
    "ConnectionEnded",
    "Forgotten",
}
# What people and applications tell each other.
OF_PEOPLE = {
    "Published",
    "DirectMessageSent",
    "StreamChunkSent",
    "Notified",
    "PresenceChanged",
}
OF_DEVICES = {
    "TelemetryReceived",
    "DeviceStatusChanged",
    "AlertRaised",
    "AlertUpdated",
    "CommandIssued",
    "CommandEnded",
    "SystemSampled",
}
OF_SURGERIES = {
    "SurgeryStarted",
    "SurgeryMoved",
    "SurgeryInterrupted",
    "SurgeryCompleted",
    "SurgeryAnalysed",
}
SILENT = {
    "surgery": {
        *CONTROL,
        *OF_DEVICES,
        *OF_PEOPLE,
        "SurgeryStarted",
        "SurgeryMoved",
        "SurgeryInterrupted",
        "SurgeryAnalysed",
    },
    "pubsub": CONTROL,
    "pubsub.binary": CONTROL,
    # A command goes to its device alone, once, and not through the hub.
    "telemetry": {
        *CONTROL,
        *OF_SURGERIES,
        *OF_PEOPLE,
        "CommandIssued",
        "CommandEnded",
    },
}
SILENT["telemetry.msgpack"] = SILENT["telemetry"]
DIALECTS: list[Dialect] = [
    SurgeryDialect(),
    PubsubDialect(),
    PubsubBinaryDialect(),
    TelemetryDialect(),
    PackedTelemetryDialect(),
]
each_dialect = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)


def is_rendered(dialect: Dialect, event: Event) -> bool:
    payload = dialect.render(event, "e-1" if event.durable else None)
    if payload is None:
        return False
    if dialect.name == PackedTelemetryDialect.name:
        msgpack.unpackb(payload)
    elif not dialect.is_binary(event):
        json.loads(payload)
    return True


def test_every_kind_of_event_is_tried() -> None:
    forgotten = {kind.__name__ for kind in AnyEvent.__args__} - EXAMPLES.keys()
    assert not forgotten, f"these events have no example in test_events.py: {forgotten}"


def test_every_dialect_is_tried() -> None:
    assert {dialect.name for dialect in DIALECTS} == SILENT.keys()


@each_dialect
def test_no_event_was_forgotten(dialect: Dialect) -> None:
    unsaid = {kind for kind, event in EXAMPLES.items() if not is_rendered(dialect, event)}
    forgotten = unsaid - SILENT[dialect.name]
    assert not forgotten, f"{dialect.name} neither renders nor names as silent: {forgotten}"


@each_dialect
def test_no_event_is_said_that_should_not_be(dialect: Dialect) -> None:
    said = {kind for kind, event in EXAMPLES.items() if is_rendered(dialect, event)}
    assert not said & SILENT[dialect.name]


@each_dialect
def test_what_is_named_as_silent_exists(dialect: Dialect) -> None:
    assert SILENT[dialect.name] <= EXAMPLES.keys()
