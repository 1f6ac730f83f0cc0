"""Events travel as tagged JSON and come back the same; an unknown kind is refused by name."""

import msgspec
import pytest

from realtime.core.events import (
    AccessChanged,
    AnyEvent,
    ConnectionEnded,
    Event,
    Forgotten,
    MessageWatchChanged,
    RecordingClaimed,
    StreamChunkSent,
    SurgeryMoved,
    SystemSampled,
    TelemetryReceived,
    decode,
    encode,
)
from realtime.core.topics import check_topic
from realtime.tests.device_events import (
    alert_raised,
    alert_updated,
    command_ended,
    command_issued,
    devices_changed,
    measured,
    rules_changed,
    sampled,
    status_changed,
    telemetry,
)
from realtime.tests.doubles import (
    NOW,
    analysed,
    completed,
    interrupted,
    moved,
    started,
    surgery_id_of,
    user_id_of,
)
from realtime.tests.message_events import (
    direct_message,
    notified,
    presence_changed,
    published,
    stream_chunk,
)

EXAMPLES: dict[str, Event] = {
    event.kind: event
    for event in (
        started(),
        moved(),
        interrupted(),
        completed(),
        analysed(),
        telemetry(),
        status_changed(),
        alert_raised(),
        alert_updated(),
        command_issued(),
        command_ended(),
        sampled(),
        devices_changed(),
        rules_changed(),
        published(),
        direct_message(),
        stream_chunk(),
        notified(),
        presence_changed(),
        ConnectionEnded(id="e", at=NOW, connection_id="c1", by="admin"),
        Forgotten(id="f", at=NOW),
        RecordingClaimed(id="c", at=NOW, surgery_id=surgery_id_of("one"), recording=2),
        AccessChanged(id="a", at=NOW, user_id=user_id_of("ana")),
        MessageWatchChanged(id="m", at=NOW),
    )
}
each = pytest.mark.parametrize("event", EXAMPLES.values(), ids=EXAMPLES)


def test_every_kind_has_an_example_here() -> None:
    assert {kind.__name__ for kind in AnyEvent.__args__} == EXAMPLES.keys()


@each
def test_an_event_comes_back_as_it_was(event: Event) -> None:
    assert decode(encode(event)) == event


@each
def test_every_topic_is_one(event: Event) -> None:
    assert check_topic(event.topic) == event.topic


LIVE = (SurgeryMoved, TelemetryReceived, SystemSampled, StreamChunkSent)


@each
def test_only_movements_measurements_and_streams_are_live(event: Event) -> None:
    assert event.durable == (not isinstance(event, LIVE))


@pytest.mark.parametrize(
    ("event", "topic"),
    [
        (telemetry(device=7), "telemetry.7"),
        (status_changed(device=7), "devices.7"),
        (alert_raised(device=7), "alerts.7"),
        (alert_updated(device=7), "alerts.7"),
        (alert_raised(device=None), "alerts.system"),
        (command_issued(device=7), "commands.7"),
        (command_ended(device=7), "commands.7"),
        (sampled(), "system"),
        (devices_changed(), "control.devices"),
        (rules_changed(), "control.rules"),
    ],
)
def test_what_concerns_a_device_is_on_a_topic_of_its_own(event: Event, topic: str) -> None:
    assert event.topic == topic


def test_movements_of_one_operation_replace_each_other_for_a_slow_reader() -> None:
    assert moved("e1").conflation_key == moved("e2").conflation_key
    assert moved(surgery="one").conflation_key != moved(surgery="two").conflation_key


def test_everything_about_an_operation_is_its_surgeon_s() -> None:
    for event in (started(), moved(), interrupted(), completed(), analysed()):
        assert event.owner == user_id_of("ana")


def test_reports_of_the_same_metrics_replace_each_other_for_a_slow_reader() -> None:
    first, second = (
        telemetry("e1", humidity=1, temperature=2),
        telemetry("e2", temperature=3, humidity=4),
    )
    assert first.conflation_key == second.conflation_key
    assert first.conflation_key != telemetry(temperature=2).conflation_key
    assert first.conflation_key != telemetry(device=2, humidity=1, temperature=2).conflation_key
    assert sampled("e1").conflation_key == sampled("e2").conflation_key


def test_everything_about_a_device_is_its_account_s() -> None:
    for event in (
        telemetry(),
        status_changed(),
        alert_raised(),
        alert_updated(),
        command_issued(),
        command_ended(),
    ):
        assert event.owner == user_id_of("probe")


def test_what_is_about_this_system_is_nobody_s() -> None:
    for event in (sampled(), alert_raised(device=None), alert_updated(device=None)):
        assert event.owner is None


def test_a_value_says_nothing_of_a_window_it_does_not_close() -> None:
    assert b"low" not in encode(telemetry())
    assert measured() == measured(at=NOW)


def test_control_events_are_nobody_s() -> None:
    assert EXAMPLES["AccessChanged"].owner is None
    assert EXAMPLES["RecordingClaimed"].owner is None
    assert EXAMPLES["DevicesChanged"].owner is None
    assert EXAMPLES["RulesChanged"].owner is None


def test_what_a_user_is_told_in_private_is_on_their_own_topic() -> None:
    assert direct_message(to="ana").topic == f"users.{user_id_of('ana')}"
    assert notified(to="ana").topic == f"users.{user_id_of('ana')}"
    assert notified().topic == "notifications"


def test_presence_has_one_segment_for_any_name() -> None:
    assert presence_changed(username="ana.b c*").topic == "presence.ana%2Eb%20c%2A"
    assert presence_changed(username="ana@x-y_z+1").topic == "presence.ana@x-y_z+1"


def test_no_piece_of_a_stream_stands_for_another() -> None:
    assert stream_chunk("e1").conflation_key != stream_chunk("e2").conflation_key


UNKNOWN = [
    b"",
    b"[]",
    b"null",
    b'{"kind":"DoorOpened","id":"e"}',
    b'{"kind":"SurgeryStarted"}',
    b"\xff",
    b"[" * 10_000,
]


@pytest.mark.parametrize("payload", UNKNOWN)
def test_what_this_build_does_not_know_is_refused(payload: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, RecursionError)):
        decode(payload)


def test_a_field_from_a_newer_build_does_no_harm() -> None:
    payload = encode(started()).replace(b'{"kind"', b'{"mood":"calm","kind"')
    assert decode(payload) == started()
