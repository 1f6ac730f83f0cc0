"""Events travel as tagged JSON and come back the same; an unknown kind is refused by name."""

import msgspec
import pytest

from realtime.core.events import (
    AccessChanged,
    AnyEvent,
    Event,
    RecordingClaimed,
    SurgeryMoved,
    decode,
    encode,
)
from realtime.core.topics import check_topic
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

EXAMPLES: dict[str, Event] = {
    event.kind: event
    for event in (
        started(),
        moved(),
        interrupted(),
        completed(),
        analysed(),
        RecordingClaimed(id="c", at=NOW, surgery_id=surgery_id_of("one"), recording=2),
        AccessChanged(id="a", at=NOW, user_id=user_id_of("ana")),
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


@each
def test_only_movements_are_live(event: Event) -> None:
    assert event.durable == (not isinstance(event, SurgeryMoved))


def test_movements_of_one_operation_replace_each_other_for_a_slow_reader() -> None:
    assert moved("e1").conflation_key == moved("e2").conflation_key
    assert moved(surgery="one").conflation_key != moved(surgery="two").conflation_key


def test_everything_about_an_operation_is_its_surgeon_s() -> None:
    for event in (started(), moved(), interrupted(), completed(), analysed()):
        assert event.owner == user_id_of("ana")


def test_control_events_are_nobody_s() -> None:
    assert EXAMPLES["AccessChanged"].owner is None
    assert EXAMPLES["RecordingClaimed"].owner is None


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
