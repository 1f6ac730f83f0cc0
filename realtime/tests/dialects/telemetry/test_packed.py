"""The same messages in MessagePack, written and read by a library that is not ours."""

import json
import math
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.core.errors import Failure
from realtime.core.session import Gap
from realtime.dialects.telemetry.schema import (
    AuthResponse,
    Batch,
    BatchResponse,
    Code,
    Command,
    PackedTelemetryDialect,
    Ping,
    Pong,
    Rejection,
    Telemetry,
    TelemetryAck,
    TelemetryDialect,
    measured,
    rejection_for,
)
from realtime.tests.device_events import (
    alert_raised,
    alert_updated,
    sampled,
    status_changed,
    telemetry,
)
from realtime.tests.dialects.telemetry import examples
from realtime.tests.dialects.telemetry.test_schema import NOON, WRONG
from realtime.tests.doubles import NOW

JSON, PACKED = TelemetryDialect(), PackedTelemetryDialect()

SAID = [
    examples.AUTH,
    examples.PING,
    examples.SUBSCRIBE,
    examples.UNSUBSCRIBE,
    examples.SUBSCRIBE_TELEMETRY,
    examples.SUBSCRIBE_ALERTS,
    examples.SUBSCRIBE_DEVICES,
    examples.SUBSCRIBE_SYSTEM,
    examples.SUBSCRIBE_FLAT,
    examples.TELEMETRY,
    examples.HEARTBEAT,
    examples.STATUS,
    examples.COMMAND_RESPONSE,
    examples.ERROR_REPORT,
]


def packed(value: Any) -> bytes:
    data: bytes = msgpack.packb(value)
    return data


def read(dialect: TelemetryDialect, source: Any) -> None:
    """Read a message with all the texts in it."""
    message = dialect.parse(source)
    if isinstance(message, Telemetry):
        measured(message, NOW)


def rejection_of(dialect: TelemetryDialect, source: Any) -> Rejection:
    """Return how a message is refused, whether it is its form or a text in it."""
    with pytest.raises(Failure) as refused:
        read(dialect, source)
    return rejection_for(refused.value)


# --- What clients say ----------------------------------------------------------------------


@pytest.mark.parametrize("text", SAID, ids=lambda text: text[:40])
def test_what_the_document_says_means_the_same(text: str) -> None:
    assert PACKED.parse(packed(json.loads(text))) == JSON.parse(text)


def test_the_items_of_a_batch_are_read_one_by_one() -> None:
    batch = PACKED.parse(packed(json.loads(examples.BATCH)))
    assert isinstance(batch, Batch)
    assert [PACKED.parse(raw) for raw in batch.messages] == [Ping(), Ping()]


@pytest.mark.parametrize(("text", "code", "field"), WRONG, ids=[text[:60] for text, *_ in WRONG])
def test_a_wrong_message_is_refused_as_in_json(text: str, code: str, field: str | None) -> None:
    ours = rejection_of(PACKED, packed(json.loads(text)))
    theirs = rejection_of(JSON, text)
    assert (ours.code, ours.more) == (theirs.code, theirs.more)
    assert ours.code == code


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        packed({"type": "ping"})[:-1],
        packed({"type": "ping"}) + b"\x00",
        b"\x81\xa4type\xa2\xff\xfe",
        b"\x82\xa4type\xacerror_report\xa7message" + b"\x91" * 100_000,
        b"\x82\xa4type\xa5batch\xa8messages\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
    ],
)
def test_what_is_no_messagepack_is_refused(data: bytes) -> None:
    assert rejection_of(PACKED, data).code == Code.NOT_MSGPACK


@pytest.mark.parametrize("value", [[], None, 5, "ping", True, b"x", 1.5])
def test_what_is_no_object_is_refused(value: Any) -> None:
    assert rejection_of(PACKED, packed(value)).code == Code.NO_MESSAGE


def a_report(**changes: Any) -> bytes:
    value = {"value": 23.5, "unit": "°C", **changes}
    return packed({"type": "telemetry", "device_id": 1, "telemetry": {"t": value}})


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_refused_as_in_json(number: float) -> None:
    text = json.dumps({"type": "telemetry", "device_id": 1, "telemetry": {"t": {"value": number}}})
    ours, theirs = rejection_of(PACKED, a_report(value=number)), rejection_of(JSON, text)
    assert (str(ours), ours.code, ours.more) == (str(theirs), theirs.code, theirs.more)
    assert rejection_of(PACKED, a_report(timestamp=number)).more["field"] == "telemetry.t.timestamp"
    ping = packed({"type": "ping", "timestamp": number})
    assert rejection_of(PACKED, ping).more["field"] == "timestamp"


@pytest.mark.parametrize(
    "written",
    ["2024-01-01T12:00:00Z", NOON.timestamp() * 1000, int(NOON.timestamp()), NOON],
)
def test_a_time_may_be_a_timestamp_of_messagepack_too(written: Any) -> None:
    value = {"value": 1, "timestamp": written}
    message = {"type": "telemetry", "device_id": 1, "telemetry": {"t": value}}
    report = PACKED.parse(msgpack.packb(message, datetime=True))
    assert isinstance(report, Telemetry)
    assert measured(report, NOW)["t"].at == NOON


@pytest.mark.parametrize(
    ("result", "field"),
    [
        ({"a": b"bytes"}, "result.a"),
        ({"a": {1: 2}}, "result.a"),
        ({"a": [1, {b"k": 2}]}, "result.a[1]"),
        ({"a": msgpack.ExtType(5, b"x")}, "result.a"),
        ({"a": [math.nan]}, "result.a[0]"),
        ({"a": datetime(2024, 1, 1, tzinfo=UTC)}, "result.a"),
        ({1: 2}, "result"),
    ],
)
def test_what_json_could_not_say_is_refused(result: Any, field: str) -> None:
    message = {"type": "command_response", "command_id": 7, "status": "executed", "result": result}
    rejection = rejection_of(PACKED, msgpack.packb(message, datetime=True))
    assert (rejection.code, rejection.more["field"]) == (Code.INVALID_FIELD, field)


@pytest.mark.parametrize("message", [{1: 2}, {b"type": "ping"}, {"type": "ping", 5: 1}])
def test_a_key_that_is_no_text_is_refused(message: Any) -> None:
    assert rejection_of(PACKED, packed(message)).code in (Code.NO_MESSAGE, Code.MISSING_FIELD)


def test_a_metric_whose_name_is_no_text_is_refused() -> None:
    message = {"type": "telemetry", "device_id": 1, "telemetry": {1: {"value": 1}}}
    assert rejection_of(PACKED, packed(message)).more["field"] == "telemetry"


@given(
    st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers(-(2**63), 2**64 - 1) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(0, 9), inner),
    ).map(lambda value: packed({"type": "command_response", "result": value, "x": value}))
)
def test_no_message_does_more_harm_than_being_refused(data: bytes) -> None:
    with suppress(Failure):
        read(PACKED, data)


# --- What the server says ------------------------------------------------------------------

ANSWERS = [
    AuthResponse(success=True),
    Pong(timestamp=NOON, server_time=NOON),
    TelemetryAck(id="a1", device_id=1, accepted=2),
    Command(command_id=7, command="restart", parameters={"delay": 3}),
    BatchResponse(results=[Pong(timestamp="x", server_time=NOON), None]),
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: type(answer).__name__)
def test_an_answer_says_what_it_says_in_json(answer: Any) -> None:
    frame = PACKED.frame(answer)
    assert frame.is_binary
    assert msgpack.unpackb(frame.payload) == json.loads(JSON.frame(answer).payload)


@pytest.mark.parametrize(
    "event", [telemetry(), alert_raised(), alert_updated(), status_changed(), sampled()]
)
def test_an_event_says_what_it_says_in_json(event: Any) -> None:
    ours, theirs = PACKED.render(event, "e-1"), JSON.render(event, "e-1")
    assert ours is not None
    assert theirs is not None
    assert msgpack.unpackb(ours) == json.loads(theirs)
    assert PACKED.is_binary(event)
    assert not JSON.is_binary(event)


def test_a_gap_says_what_it_says_in_json() -> None:
    gap = Gap("telemetry", 12, NOON, NOON)
    assert msgpack.unpackb(PACKED.render_gap(gap)) == json.loads(JSON.render_gap(gap) or b"")
    assert PACKED.is_binary(gap)
