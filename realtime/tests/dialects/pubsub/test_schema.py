"""The pubsub dialect's words: the document's examples of what is spoken so far, and refusals."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from realtime.core.errors import Invalid
from realtime.core.events import Event, Measured
from realtime.core.session import Gap
from realtime.dialects.pubsub import schema
from realtime.dialects.pubsub.schema import (
    Ping,
    PubsubDialect,
    Topics,
    milliseconds,
    parse,
    parse_data,
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

MOMENT = datetime.fromtimestamp(1234567.890, UTC)
SENT_AT = int(NOW.timestamp() * 1000)


def message(kind: str, data: Any, **more: Any) -> str:
    return json.dumps({"type": kind, "data": data, **more})


def refusal_of(text: str, shape: type | None = None) -> Invalid:
    """Return how a message is refused: as an envelope, or for its payload."""
    with pytest.raises(Invalid) as refusal:  # noqa: PT012  which of the two refuses is the point
        envelope = parse(text)
        if shape is not None:
            parse_data(envelope.data, shape)
    return refusal.value


# --- The document's examples: from the client ----------------------------------------------


def test_the_document_s_ping_is_read_and_answered() -> None:
    envelope = parse('{"type": "Ping", "data": {"timestamp": 1234567890}}')
    assert envelope.type == "Ping"
    ping = parse_data(envelope.data, Ping)
    assert json.loads(schema.pong(ping.timestamp, MOMENT)) == {
        "type": "Pong",
        "data": {"timestamp": 1234567890},
    }


def test_the_document_s_subscription_is_read_and_answered() -> None:
    topics = ["notifications", "chat.general", "updates.*"]
    envelope = parse(message("Subscribe", {"topics": topics}))
    assert parse_data(envelope.data, Topics).topics == topics
    details = {"topics": topics, "active_subscriptions": 3}
    assert json.loads(schema.status("subscribed", details)) == {
        "type": "Status",
        "data": {"status": "subscribed", "details": details},
    }


def test_the_document_s_end_of_a_subscription_is_read() -> None:
    envelope = parse(message("Unsubscribe", {"topics": ["chat.general"]}))
    assert parse_data(envelope.data, Topics).topics == ["chat.general"]


def test_the_document_s_own_client_sends_id_and_timestamp_too() -> None:
    text = message("Subscribe", {"topics": ["a"]}, id="msg_1", timestamp=1710523456789)
    assert parse(text).id == "msg_1"
    assert parse(message("Ping", {}, timestamp=1)).id is None


def test_a_ping_without_a_time_gets_ours() -> None:
    for text in ('{"type":"Ping"}', '{"type":"Ping","data":{}}'):
        ping = parse_data(parse(text).data, Ping)
        assert json.loads(schema.pong(ping.timestamp, MOMENT))["data"] == {"timestamp": 1234567890}


def test_a_ping_s_time_is_given_back_as_it_came() -> None:
    ping = parse_data(parse(message("Ping", {"timestamp": 1.5})).data, Ping)
    assert json.loads(schema.pong(ping.timestamp, MOMENT))["data"] == {"timestamp": 1.5}


def test_fields_that_nobody_knows_are_ignored() -> None:
    text = message("Ping", {"mood": "calm"}, metadata={"priority": "high", "ttl": 3600})
    assert parse_data(parse(text).data, Ping) == Ping()


# --- The document's examples: from the server ----------------------------------------------


def test_the_welcome_has_the_document_s_shape() -> None:
    welcome = json.loads(schema.connected("550e8400-e29b-41d4-a716-446655440000", MOMENT))
    assert welcome["type"] == "Status"
    assert welcome["data"]["status"] == "connected"
    assert welcome["data"]["details"] == {
        "connection_id": "550e8400-e29b-41d4-a716-446655440000",
        "server_time": 1234567890,
        "protocol_version": "1.0",
        "features": list(schema.FEATURES),
    }


def test_an_error_has_the_document_s_shape() -> None:
    details = {"field": "additional", "context": "information"}
    assert json.loads(schema.error(400, "Human-readable error message", details)) == {
        "type": "Error",
        "data": {"code": 400, "message": "Human-readable error message", "details": details},
    }
    assert json.loads(schema.error(401, "token expired"))["data"]["details"] == {}


def test_an_ack_has_the_document_s_shape() -> None:
    assert json.loads(schema.ack("msg_123456", "delivered")) == {
        "type": "Ack",
        "data": {"message_id": "msg_123456", "status": "delivered"},
    }


def test_a_word_on_the_token_has_the_document_s_shape() -> None:
    assert json.loads(schema.auth_status("token_expiring", MOMENT)) == {
        "type": "AuthStatus",
        "data": {"status": "token_expiring", "expires_at": 1234567890, "refresh_required": True},
    }


# --- Events --------------------------------------------------------------------------------


def rendered(event: Event, position: str | None = None) -> dict[str, Any]:
    payload = PubsubDialect().render(event, position)
    assert payload is not None
    return json.loads(payload)


def test_a_delivery_has_the_document_s_shape() -> None:
    delivery = rendered(completed("broadcast_123456"))
    assert delivery["type"] == "Broadcast"
    assert set(delivery["data"]) == {"topic", "payload", "metadata"}
    assert delivery["data"]["topic"] == "surgeries.completed"
    assert delivery["data"]["metadata"] == {
        "sent_at": SENT_AT,
        "message_id": "broadcast_123456",
    }


def test_a_durable_event_has_its_position() -> None:
    assert rendered(started(), "e-7")["data"]["metadata"]["position"] == "e-7"
    assert "position" not in rendered(moved())["data"]["metadata"]


WHOM = {
    "surgeryId": str(surgery_id_of("one")),
    "surgeonId": str(user_id_of("ana")),
    "surgeon": "ana",
}
AT = "2026-03-05T10:30:00Z"
PAYLOADS = [
    (started(), {"event": "SURGERY_STARTED", **WHOM, "startTime": AT, "resumed": False}),
    (interrupted(), {"event": "SURGERY_INTERRUPTED", **WHOM, "movements": 70}),
    (
        completed(),
        {
            "event": "NEW_SURGERY",
            **WHOM,
            "endTime": AT,
            "durationInSeconds": 70,
            "movements": 4200,
        },
    ),
    (
        analysed(),
        {"event": "SURGERY_ANALYSED", **WHOM, "score": 85.5, "feedback": "Steady hand."},
    ),
    (
        moved(),
        {
            "event": "SURGERY_MOVED",
            "surgeryId": WHOM["surgeryId"],
            "offset": 64,
            "movements": [{"coordinates": [1.0, 2.0], "event": "NONE", "timestamp": 1710523456789}],
        },
    ),
]


@pytest.mark.parametrize(("event", "payload"), PAYLOADS, ids=[event.kind for event, _ in PAYLOADS])
def test_what_happens_to_an_operation_is_told_in_the_words_of_the_rest_interface(
    event: Event, payload: dict[str, Any]
) -> None:
    assert rendered(event)["data"]["payload"] == payload


ABOUT_ALERT = {
    "alertId": 123,
    "deviceId": 1,
    "severity": "critical",
    "alertType": "threshold",
    "title": "High Temperature Alert",
    "timestamp": AT,
}
ABOUT_COMMAND = {"deviceId": 1, "commandId": 7, "command": "restart"}
DEVICE_PAYLOADS = [
    (
        telemetry(temperature=23.5),
        {
            "event": "TELEMETRY_RECEIVED",
            "deviceId": 1,
            "telemetry": {"temperature": {"value": 23.5, "unit": "°C", "timestamp": AT}},
        },
    ),
    (
        status_changed(),
        {
            "event": "DEVICE_STATUS_CHANGED",
            "deviceId": 1,
            "device": "Sensor Alpha",
            "oldStatus": "online",
            "newStatus": "offline",
            "reason": "Connection lost",
            "lastSeen": AT,
            "timestamp": AT,
        },
    ),
    (
        alert_raised(),
        {
            "event": "ALERT_RAISED",
            **ABOUT_ALERT,
            "message": "Temperature exceeds safe threshold",
            "metric": "temperature",
            "thresholdValue": 30.0,
            "actualValue": 32.5,
        },
    ),
    (
        alert_updated(),
        {
            "event": "ALERT_UPDATED",
            **ABOUT_ALERT,
            "status": "acknowledged",
            "by": "operator",
            "note": "I go there.",
        },
    ),
    (
        command_issued(),
        {"event": "COMMAND_ISSUED", **ABOUT_COMMAND, "parameters": {"delay": 5}},
    ),
    (
        command_ended(),
        {"event": "COMMAND_ENDED", **ABOUT_COMMAND, "status": "executed", "result": {"took": 3}},
    ),
    (
        sampled(cpu_usage=45.2),
        {"event": "SYSTEM_SAMPLED", "metrics": {"cpu_usage": 45.2}, "timestamp": AT},
    ),
]


@pytest.mark.parametrize(
    ("event", "payload"), DEVICE_PAYLOADS, ids=[event.kind for event, _ in DEVICE_PAYLOADS]
)
def test_what_happens_to_a_device_is_told_likewise(event: Event, payload: dict[str, Any]) -> None:
    assert rendered(event)["data"]["payload"] == payload


def test_a_value_of_a_beat_has_the_figures_of_its_window() -> None:
    window = Measured(23.5, "°C", NOW, low=20.0, high=24.0, count=7)
    event = replace(telemetry(temperature=1.0), metrics={"temperature": window})
    assert rendered(event)["data"]["payload"]["telemetry"]["temperature"] == {
        "value": 23.5,
        "unit": "°C",
        "timestamp": AT,
        "min": 20.0,
        "max": 24.0,
        "count": 7,
    }


def test_what_a_slow_reader_missed_is_told() -> None:
    later = NOW + timedelta(seconds=2)
    gap = PubsubDialect().render_gap(Gap("surgeries", 12, NOW, later))
    assert gap is not None
    first = milliseconds(NOW)
    assert json.loads(gap) == {
        "type": "Gap",
        "data": {
            "topic": "surgeries.**",
            "from": first,
            "to": first + 2000,
            "skipped": 12,
            "reason": "slow_reader",
        },
    }


def test_what_the_journal_no_longer_holds_is_a_number_without_times() -> None:
    gap = PubsubDialect().render_gap(Gap("", 12))
    assert gap is not None
    assert json.loads(gap) == {
        "type": "Gap",
        "data": {"skipped": 12, "reason": "no_longer_kept"},
    }


# --- Refusals ------------------------------------------------------------------------------

DEPTH = 10_000
NO_JSON = {
    "nothing": "",
    "a word": "hello",
    "half a message": message("Ping", {})[:-1],
    "NaN": '{"type":"Ping","data":{"timestamp":NaN}}',
    "Infinity": '{"type":"Ping","data":{"timestamp":Infinity}}',
    "a byte order mark": "\ufeff" + message("Ping", {}),
    "a lone surrogate": '{"type":"\ud800"}',
    "an escaped lone surrogate": '{"type":"\\ud800"}',
    "depth without an end": '{"type":"Ping","data":' + "[" * DEPTH,
    "depth": '{"type":"Ping","data":' + "[" * DEPTH + "]" * DEPTH + "}",
}


@pytest.mark.parametrize("text", NO_JSON.values(), ids=NO_JSON)
def test_what_is_no_json_is_refused(text: str) -> None:
    assert "not JSON" in str(refusal_of(text))


ENVELOPES = [
    ("[]", ""),
    ("null", ""),
    ("5", ""),
    ("{}", "type"),
    ('{"data":{}}', "type"),
    ('{"type":5}', "type"),
    ('{"type":null}', "type"),
    ('{"type":["Ping"]}', "type"),
    ('{"type":""}', "type"),
    (f'{{"type":"{"x" * 65}"}}', "type"),
    ('{"type":"Ping","id":5}', "id"),
    ('{"type":"Ping","id":""}', "id"),
    (f'{{"type":"Ping","id":"{"x" * 129}"}}', "id"),
]


@pytest.mark.parametrize(("text", "field"), ENVELOPES)
def test_a_wrong_envelope_is_refused_by_field(text: str, field: str) -> None:
    assert refusal_of(text).field == field


TOPICS = [
    ("null", "data"),
    ("[]", "data"),
    ("{}", "data.topics"),
    ('{"topics":null}', "data.topics"),
    ('{"topics":"chat"}', "data.topics"),
    ('{"topics":{}}', "data.topics"),
    ('{"topics":[]}', "data.topics"),
    ('{"topics":["a",5]}', "data.topics[1]"),
    ('{"topics":[["a"]]}', "data.topics[0]"),
]


@pytest.mark.parametrize(("data", "field"), TOPICS, ids=[data[:30] for data, _ in TOPICS])
def test_wrong_topics_are_refused_by_field(data: str, field: str) -> None:
    assert refusal_of(f'{{"type":"Subscribe","data":{data}}}', Topics).field == field


@pytest.mark.parametrize("timestamp", ['"now"', "true", "[]", "{}", "1e999"])
def test_a_wrong_time_is_refused_by_field(timestamp: str) -> None:
    text = f'{{"type":"Ping","data":{{"timestamp":{timestamp}}}}}'
    assert refusal_of(text, Ping).field == "data.timestamp"


def test_a_lone_surrogate_in_a_topic_is_refused() -> None:
    text = '{"type":"Subscribe","data":{"topics":["\\ud800"]}}'
    assert "not JSON" in str(refusal_of(text, Topics))


@given(st.text())
def test_no_text_does_more_harm_than_being_refused(text: str) -> None:
    try:
        envelope = parse(text)
    except Invalid:
        return
    assert envelope.type


@given(st.binary(max_size=200))
def test_no_payload_does_more_harm_than_being_refused(data: bytes) -> None:
    for shape in (Ping, Topics):
        with suppress(Invalid):
            parse_data(msgspec.Raw(data), shape)
