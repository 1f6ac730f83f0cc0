"""The telemetry dialect's words: every example of the document, and what is refused by field."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from realtime.core.errors import Failure, Invalid, NotFound, Unavailable
from realtime.core.events import Event, Measured
from realtime.core.session import Gap
from realtime.dialects.telemetry import schema
from realtime.dialects.telemetry.schema import (
    Auth,
    AuthResponse,
    Batch,
    Code,
    CommandResponse,
    ErrorReport,
    Heartbeat,
    Outgoing,
    Ping,
    Rejection,
    Status,
    Subscribe,
    Telemetry,
    TelemetryDialect,
    Unsubscribe,
    error,
    measured,
    parse,
    rejection_for,
)
from realtime.tests.device_events import (
    alert_raised,
    alert_updated,
    command_ended,
    command_issued,
    sampled,
    status_changed,
    telemetry,
)
from realtime.tests.dialects.telemetry import examples
from realtime.tests.doubles import NOW

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def said(message: Outgoing) -> Any:
    return json.loads(TelemetryDialect().frame(message).payload)


def read(text: str) -> None:
    """Read a message with all the texts in it."""
    message = parse(text)
    if isinstance(message, Telemetry):
        measured(message, NOW)


def rejection_of(text: str) -> Rejection:
    """Return how a message is refused, whether it is its form or a text in it."""
    with pytest.raises(Failure) as refused:
        read(text)
    return rejection_for(refused.value)


def a_report(**changes: Any) -> str:
    """Return a report of one temperature, with fields of its value changed, or left out by ..."""
    value = {"value": 23.5, "unit": "°C", "timestamp": "2024-01-01T12:00:00Z", **changes}
    value = {name: field for name, field in value.items() if field is not ...}
    return json.dumps({"type": "telemetry", "device_id": 1, "telemetry": {"temperature": value}})


# --- What clients say ----------------------------------------------------------------------


def test_the_document_s_messages_are_understood() -> None:
    assert parse(examples.AUTH) == Auth(token="jwt-token-string")
    assert parse(examples.PING) == Ping(timestamp="2024-01-01T12:00:00Z")
    assert parse(examples.UNSUBSCRIBE) == Unsubscribe(channel="telemetry", device_id=1)
    subscribe = parse(examples.SUBSCRIBE)
    assert isinstance(subscribe, Subscribe)
    assert (subscribe.channel, subscribe.device_id) == ("telemetry", 1)
    assert subscribe.wish("metrics") == ["temperature", "humidity"]


@pytest.mark.parametrize(
    ("text", "wishes"),
    [
        (
            examples.SUBSCRIBE_TELEMETRY,
            {"device_id": 1, "metrics": ["temperature", "humidity"], "frequency": "real-time"},
        ),
        (examples.SUBSCRIBE_ALERTS, {"device_id": 1, "severity": ["critical", "warning"]}),
        (
            examples.SUBSCRIBE_DEVICES,
            {"device_id": [1, 2, 3], "status_types": ["online", "offline", "warning"]},
        ),
        (
            examples.SUBSCRIBE_SYSTEM,
            {
                "metrics": ["cpu_usage", "memory_usage", "active_connections"],
                "frequency": "30s",
            },
        ),
        (examples.SUBSCRIBE_FLAT, {"device_id": None, "severity": ["critical", "warning"]}),
    ],
)
def test_filters_are_read_at_the_top_and_under_filters(text: str, wishes: dict[str, Any]) -> None:
    message = parse(text)
    assert isinstance(message, Subscribe)
    assert {name: message.wish(name) for name in wishes} == wishes


def test_the_top_wins_over_filters() -> None:
    message = parse(
        '{"type":"subscribe","channel":"alerts","device_id":1,"filters":{"device_id":2}}'
    )
    assert isinstance(message, Subscribe)
    assert message.wish("device_id") == 1


def test_what_a_device_says_is_understood() -> None:
    assert parse(examples.HEARTBEAT) == Heartbeat()
    assert parse(examples.STATUS) == Status(status="maintenance", reason="cleaning")
    assert parse(examples.COMMAND_RESPONSE) == CommandResponse(command_id=7, status="executed")
    assert parse(examples.ERROR_REPORT) == ErrorReport(error="no such type", message={"type": "x"})
    assert isinstance(parse(examples.BATCH), Batch)


def test_a_report_is_measured_in_utc() -> None:
    message = parse(examples.TELEMETRY)
    assert isinstance(message, Telemetry)
    assert (message.device_id, message.id) == (1, "a1")
    assert measured(message, NOW) == {"temperature": Measured(23.5, "°C", NOON)}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2024-01-01T12:00:00Z", NOON),
        ("2024-01-01T12:00:00.250Z", NOON + timedelta(milliseconds=250)),
        ("2024-01-01T14:00:00+02:00", NOON),
        ("2024-01-01T12:00:00", NOON),
        (1704110400000, NOON),
        (1704110400, NOON),
        (None, NOW),
        (..., NOW),
    ],
)
def test_a_time_may_be_written_in_several_ways(written: Any, meant: datetime) -> None:
    message = parse(a_report(timestamp=written))
    assert isinstance(message, Telemetry)
    assert measured(message, NOW)["temperature"].at == meant


def test_a_unit_may_be_left_out() -> None:
    message = parse(a_report(unit=...))
    assert isinstance(message, Telemetry)
    assert measured(message, NOW)["temperature"].unit == ""


@pytest.mark.parametrize("number", [1e308, -1e308, 0, -0.0, 5e-324, 23, 2**63])
def test_a_value_may_be_any_finite_number(number: float) -> None:
    message = parse(a_report(value=number))
    assert isinstance(message, Telemetry)
    assert measured(message, NOW)["temperature"].value == number


# --- What is refused -----------------------------------------------------------------------

DEPTH = 10_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        examples.PING[:-1],
        "\ufeff" + examples.PING,
        '{"type":"ping","timestamp":"\ud800"}',
        '{"type":"ping","timestamp":"\\ud800"}',
        '{"type":"ping","timestamp":"a\nb"}',
        '{"type":"error_report","error":"x","message":' + "[" * DEPTH,
        '{"type":"error_report","error":"x","message":' + "[" * DEPTH + "]" * DEPTH + "}",
    ],
)
def test_what_is_no_json_is_refused(text: str) -> None:
    assert rejection_of(text).code == Code.NOT_JSON


@pytest.mark.parametrize("text", ["[]", "null", "5", '"ping"', "true"])
def test_what_is_no_object_is_refused(text: str) -> None:
    assert rejection_of(text).code == Code.NO_MESSAGE


# message, code, field
WRONG = [
    ("{}", "missing_field", "type"),
    ('{"type":5}', "invalid_field", "type"),
    ('{"type":null}', "invalid_field", "type"),
    ('{"type":"subscribe_device","device_id":1}', "unknown_type", "type"),
    ('{"type":""}', "unknown_type", "type"),
    ('{"type":"auth"}', "missing_field", "token"),
    ('{"type":"auth","token":5}', "invalid_field", "token"),
    ('{"type":"auth","token":null}', "invalid_field", "token"),
    (f'{{"type":"auth","token":"{"x" * 4097}"}}', "invalid_field", "token"),
    ('{"type":"subscribe"}', "missing_field", "channel"),
    ('{"type":"subscribe","channel":"chat"}', "unknown_channel", "channel"),
    ('{"type":"subscribe","channel":5}', "invalid_field", "channel"),
    ('{"type":"unsubscribe"}', "missing_field", "channel"),
    ('{"type":"unsubscribe","channel":"x"}', "unknown_channel", "channel"),
    ('{"type":"subscribe","channel":"alerts","filters":5}', "invalid_field", "filters"),
    ('{"type":"ping","timestamp":true}', "invalid_field", "timestamp"),
    ('{"type":"ping","timestamp":[]}', "invalid_field", "timestamp"),
    ('{"type":"ping","timestamp":NaN}', "invalid_field", "timestamp"),
    ('{"type":"ping","timestamp":1e400}', "invalid_field", "timestamp"),
    ('{"type":"ping","timestamp":"\\u0000"}', "invalid_field", "timestamp"),
    (f'{{"type":"ping","timestamp":"{"1" * 65}"}}', "invalid_field", "timestamp"),
    ('{"type":"batch"}', "missing_field", "messages"),
    ('{"type":"batch","messages":[]}', "invalid_field", "messages"),
    ('{"type":"batch","messages":{}}', "invalid_field", "messages"),
    ('{"type":"heartbeat","device_id":"1"}', "invalid_field", "device_id"),
    ('{"type":"status"}', "missing_field", "status"),
    ('{"type":"status","status":"asleep"}', "invalid_field", "status"),
    ('{"type":"status","status":5}', "invalid_field", "status"),
    ('{"type":"status","status":"online","reason":5}', "invalid_field", "reason"),
    (
        f'{{"type":"status","status":"online","reason":"{"x" * 201}"}}',
        "invalid_field",
        "reason",
    ),
    ('{"type":"status","status":"online","reason":"a\\nb"}', "invalid_field", "reason"),
    ('{"type":"command_response","status":"executed"}', "missing_field", "command_id"),
    ('{"type":"command_response","command_id":7}', "missing_field", "status"),
    (
        '{"type":"command_response","command_id":-7,"status":"executed"}',
        "invalid_field",
        "command_id",
    ),
    (
        '{"type":"command_response","command_id":7,"status":"sent"}',
        "invalid_field",
        "status",
    ),
    (
        '{"type":"command_response","command_id":7,"status":"failed","result":5}',
        "invalid_field",
        "result",
    ),
    (
        '{"type":"command_response","command_id":7,"status":"failed","result":{"a":["\\u0000"]}}',
        "invalid_field",
        "result.a[0]",
    ),
    (
        '{"type":"command_response","command_id":7,"status":"failed","result":{"\\u0000":1}}',
        "invalid_field",
        "result",
    ),
    (
        '{"type":"command_response","command_id":7,"status":"failed","result":{"a":'
        + "[" * 40
        + "]" * 40
        + "}}",
        "invalid_field",
        "result",
    ),
    ('{"type":"error_report"}', "missing_field", "error"),
    ('{"type":"error_report","error":5}', "invalid_field", "error"),
    ('{"type":"error_report","error":""}', "invalid_field", "error"),
    (f'{{"type":"error_report","error":"{"x" * 501}"}}', "invalid_field", "error"),
    ('{"type":"error_report","error":"a\\u0000"}', "invalid_field", "error"),
    ('{"type":"telemetry","telemetry":{"t":{"value":1}}}', "missing_field", "device_id"),
    ('{"type":"telemetry","device_id":1}', "missing_field", "telemetry"),
    ('{"type":"telemetry","device_id":1,"telemetry":{}}', "invalid_field", "telemetry"),
    ('{"type":"telemetry","device_id":1,"telemetry":[]}', "invalid_field", "telemetry"),
    ('{"type":"telemetry","device_id":1,"telemetry":{"t":5}}', "invalid_field", "telemetry.t"),
    ('{"type":"telemetry","device_id":1,"telemetry":{"":{"value":1}}}', "invalid_field", None),
]


@pytest.mark.parametrize(("text", "code", "field"), WRONG, ids=[text[:60] for text, *_ in WRONG])
def test_a_wrong_message_is_refused_by_field(text: str, code: str, field: str | None) -> None:
    rejection = rejection_of(text)
    assert rejection.code == code
    if field is not None:
        assert rejection.more["field"] == field


@pytest.mark.parametrize("name", ["device_id", "metrics", "severity", "alert_type", "status_types"])
@pytest.mark.parametrize("value", ["{}", "true", "[]", "[null]", "-1", "1.5", "[[1]]", '""'])
@pytest.mark.parametrize("nested", [False, True])
def test_a_wrong_filter_is_refused_by_field(name: str, value: str, *, nested: bool) -> None:
    field = f'"{name}":{value}'
    inside = f'"filters":{{{field}}}' if nested else field
    rejection = rejection_of(f'{{"type":"subscribe","channel":"alerts",{inside}}}')
    assert rejection.code == Code.INVALID_FIELD
    wanted = f"filters.{name}" if nested else name
    assert rejection.more["field"].partition("[")[0] == wanted


@pytest.mark.parametrize("value", ['"1"', "0", "-5", "1e3", str(2**63), "null"])
def test_a_device_is_a_positive_number(value: str) -> None:
    text = f'{{"type":"telemetry","device_id":{value},"telemetry":{{"t":{{"value":1}}}}}}'
    assert rejection_of(text).more["field"] == "device_id"


@pytest.mark.parametrize(
    "value",
    ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1" + "0" * 400, '"1"', "true", "null"],
)
def test_what_is_no_finite_number_is_refused_by_the_metric_s_name(value: str) -> None:
    good = '"humidity":{"value":1}'
    text = f'{{"type":"telemetry","device_id":1,"telemetry":{{{good},"t":{{"value":{value}}}}}}}'
    rejection = rejection_of(text)
    assert rejection.code == Code.INVALID_FIELD
    assert rejection.more["field"] == "telemetry.t.value"


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"value": ...}, "missing_field", "value"),
        ({"unit": 5}, "invalid_field", "unit"),
        ({"unit": "x" * 21}, "invalid_field", "unit"),
        ({"unit": "a\u0000"}, "invalid_field", "unit"),
        ({"unit": "a\u0085"}, "invalid_field", "unit"),
        ({"timestamp": "yesterday"}, "invalid_field", "timestamp"),
        ({"timestamp": True}, "invalid_field", "timestamp"),
        ({"timestamp": 1e300}, "invalid_field", "timestamp"),
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, "invalid_field", "timestamp"),
        ({"timestamp": "9999-12-31T23:59:59-14:00"}, "invalid_field", "timestamp"),
    ],
)
def test_a_wrong_value_is_refused_by_the_metric_s_name(
    changes: dict[str, Any], code: str, field: str
) -> None:
    rejection = rejection_of(a_report(**changes))
    assert (rejection.code, rejection.more["field"]) == (code, f"telemetry.temperature.{field}")


@pytest.mark.parametrize("name", ["x" * 101, "a\u0000b", "a\nb", "\x7f"])
def test_a_wrong_metric_is_refused_by_its_name(name: str) -> None:
    text = json.dumps({"type": "telemetry", "device_id": 1, "telemetry": {name: {"value": 1}}})
    rejection = rejection_of(text)
    assert rejection.code == Code.INVALID_FIELD
    assert rejection.more["field"].startswith("telemetry.")


@pytest.mark.parametrize("id", ["", "x" * 65, "a\u0000", 5])
def test_a_wrong_id_is_refused(id: Any) -> None:
    text = json.dumps(
        {"type": "telemetry", "device_id": 1, "telemetry": {"t": {"value": 1}}, "id": id}
    )
    assert rejection_of(text).more["field"] == "id"


def test_unknown_fields_are_ignored() -> None:
    assert parse('{"type":"heartbeat","mood":"calm"}') == Heartbeat()


def test_a_text_of_an_error_is_of_bounded_length() -> None:
    rejection = rejection_of(json.dumps({"type": "x" * 5000}))
    assert len(str(rejection)) <= 300


@given(st.text() | st.from_regex(r'\{"type":"(ping|subscribe|telemetry)",.*\}'))
def test_no_text_does_more_harm_than_being_refused(text: str) -> None:
    with suppress(Rejection, Invalid):
        read(text)


# --- What the server says ------------------------------------------------------------------


def rendered(event: Event, position: str | None = None) -> Any:
    payload = TelemetryDialect().render(event, position)
    assert payload is not None
    return json.loads(payload)


def test_the_document_s_events_are_written_to_the_letter() -> None:
    report = telemetry(temperature=23.5, humidity=45.2)
    at_noon = {name: replace(each, at=NOON) for name, each in report.metrics.items()}
    assert rendered(replace(report, metrics=at_noon)) == examples.TELEMETRY_UPDATE
    assert rendered(replace(alert_raised(), at=NOON)) == examples.ALERT
    seen = NOON - timedelta(minutes=15)
    status = replace(status_changed(), at=NOON, last_seen=seen)
    assert rendered(status) == examples.DEVICE_STATUS_UPDATE
    sample = sampled(cpu_usage=45.2, memory_usage=67.8, disk_usage=23.1, active_connections=15.0)
    assert rendered(replace(sample, at=NOON)) == examples.SYSTEM_STATUS_UPDATE


def test_whole_numbers_of_the_system_are_written_as_such() -> None:
    payload = TelemetryDialect().render(sampled(active_connections=15.0), None)
    assert b'"active_connections":15}' in (payload or b"")


def test_what_is_durable_has_its_position() -> None:
    for event in (alert_raised(), alert_updated(), status_changed()):
        assert rendered(event, "e-7")["position"] == "e-7"
        assert "position" not in rendered(event)


def test_an_alert_s_further_life_is_an_update() -> None:
    assert rendered(alert_updated(), "e-7") == {
        "type": "alert_update",
        "channel": "alerts",
        "alert_id": 123,
        "device_id": 1,
        "status": "acknowledged",
        "by": "operator",
        "timestamp": "2026-03-05T10:30:00Z",
        "position": "e-7",
    }


def test_an_alert_about_no_device_and_no_number_says_null() -> None:
    event = replace(alert_raised(device=None), threshold_value=None, actual_value=None)
    message = rendered(event)
    assert message["device_id"] is None
    assert message["metadata"] == {"threshold_value": None, "actual_value": None}


def test_a_value_of_a_beat_has_the_figures_of_its_window() -> None:
    window = Measured(23.5, "°C", NOON, low=20.0, high=24.0, count=7)
    event = replace(telemetry(temperature=1.0), metrics={"temperature": window})
    assert rendered(event)["telemetry"]["temperature"] == {
        "value": 23.5,
        "unit": "°C",
        "timestamp": "2024-01-01T12:00:00Z",
        "min": 20.0,
        "max": 24.0,
        "count": 7,
    }


def test_commands_are_told_to_nobody_by_the_hub() -> None:
    assert TelemetryDialect().render(command_issued(), "e-1") is None
    assert TelemetryDialect().render(command_ended(), "e-1") is None


def test_a_gap_says_of_which_channel_and_times() -> None:
    gap = TelemetryDialect().render_gap(Gap("telemetry", 12, NOON, NOON + timedelta(seconds=2)))
    assert json.loads(gap or b"") == {
        "type": "gap",
        "channel": "telemetry",
        "from": "2024-01-01T12:00:00Z",
        "to": "2024-01-01T12:00:02Z",
        "skipped": 12,
    }


def test_a_gap_in_the_journal_is_a_number() -> None:
    assert json.loads(TelemetryDialect().render_gap(Gap("", 3)) or b"") == {
        "type": "gap",
        "channel": None,
        "from": None,
        "to": None,
        "skipped": 3,
    }


def test_success_has_nothing_but_its_word() -> None:
    assert said(AuthResponse(success=True)) == {"type": "auth_response", "success": True}


def test_a_failure_says_which_budget_and_when_to_try_again() -> None:
    failure = AuthResponse(
        success=False,
        error="rate_limited",
        message="too many",
        limit=10,
        used=10,
        retry_after_ms=500,
    )
    assert said(failure) == {
        "type": "auth_response",
        "success": False,
        "error": "rate_limited",
        "message": "too many",
        "limit": 10,
        "used": 10,
        "retry_after_ms": 500,
    }


def test_answers_have_the_shapes_that_are_documented() -> None:
    assert said(schema.TelemetryAck(id="a1", device_id=1, accepted=1)) == {
        "type": "telemetry_ack",
        "id": "a1",
        "device_id": 1,
        "accepted": 1,
    }
    assert said(schema.Command(command_id=7, command="restart", parameters={})) == {
        "type": "command",
        "command_id": 7,
        "command": "restart",
        "parameters": {},
    }
    assert said(schema.Pong(timestamp="x", server_time=NOON)) == {
        "type": "pong",
        "timestamp": "x",
        "server_time": "2024-01-01T12:00:00Z",
    }


def test_failures_have_a_code() -> None:
    assert said(error(rejection_for(NotFound("no"), field="command_id"))) == {
        "type": "error",
        "code": "not_found",
        "message": "no",
        "field": "command_id",
    }
    assert said(error(rejection_for(Unavailable("later"))))["retry_after_ms"] == 1000
    named = rejection_for(Invalid("bad", field="temperature"), field="other")
    assert named.more["field"] == "temperature"
