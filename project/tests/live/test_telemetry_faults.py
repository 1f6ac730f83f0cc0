"""What devices and clients of /ws say wrong: answered by name, never stored, never told."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from devices.models import Reading
from project.tests.live.halls import (
    error_to,
    heard,
    is_alive,
    listen,
    new_device,
    sign_in,
    stored_values,
    telemetry,
    until,
)
from project.tests.live.raw import RawWebSocket
from project.tests.live.server import Server

Connect = Callable[..., RawWebSocket]
HUGE = 1e308


@pytest.fixture
def device_ws(server: Server, connect: Connect) -> tuple[int, RawWebSocket]:
    """Return a device's number and its open connection."""
    device, token = new_device()
    return device.pk, sign_in(connect(server.ws_url("/ws")), token)


@pytest.fixture
def operator_ws(server: Server, connect: Connect) -> RawWebSocket:
    return listen(connect, server)


def raw_telemetry(device_id: int, value: str, report_id: str = "r1") -> str:
    """Return a message whose value is written as given, be it a number or not."""
    return (
        f'{{"type":"telemetry","device_id":{device_id},"id":"{report_id}",'
        f'"telemetry":{{"temperature":{{"value":{value}}}}}}}'
    )


# --- Values ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [HUGE, -HUGE, 5e-324, -0.0, 1.7976931348623157e308])
def test_any_finite_number_is_stored_and_told(
    server: Server, connect: Connect, value: float
) -> None:
    device, token = new_device()
    listener = listen(connect, server, {"channel": "telemetry", "device_id": device.pk})
    ws = sign_in(connect(server.ws_url("/ws")), token)
    ws.send_json(telemetry(device.pk, "big", temperature=value))
    assert until(ws, "telemetry_ack")["accepted"] == 1
    assert stored_values(device) == [value]
    told = until(listener, "telemetry_update")["telemetry"]["temperature"]["value"]
    assert told == value
    # And it is had by whoever comes later.
    late = listen(connect, server)
    late.send_json({"type": "subscribe", "channel": "telemetry", "device_id": device.pk})
    assert until(late, "telemetry_update")["telemetry"]["temperature"]["value"] == value


@pytest.mark.parametrize(
    "value",
    ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e999999", "9" * 350, "0x10", "01", ""],
)
def test_what_is_no_finite_number_is_refused_and_nobody_hears_of_it(
    server: Server, connect: Connect, value: str
) -> None:
    device, token = new_device()
    listener = listen(connect, server, {"channel": "telemetry", "device_id": device.pk})
    ws = sign_in(connect(server.ws_url("/ws")), token)
    error = error_to(ws, raw_telemetry(device.pk, value))
    assert error["code"] in ("invalid_json", "invalid_field")
    assert heard(listener, seconds=0.3, type="telemetry_update") == []
    assert stored_values(device) == []


@pytest.mark.parametrize(
    ("timestamp", "is_skewed"),
    [
        ("2099-12-31T23:59:59Z", True),
        ("9999-12-31T23:59:59.999999Z", True),
        ("1970-01-01T00:00:00Z", False),
        ("0001-01-01T00:00:00Z", False),
        # Offsets are brought to UTC.
        ("2020-06-01T02:00:00+02:00", False),
    ],
)
def test_a_clock_that_is_wrong_is_kept_and_one_ahead_is_flagged(
    server: Server, connect: Connect, timestamp: str, is_skewed: bool
) -> None:
    device, token = new_device()
    ws = sign_in(connect(server.ws_url("/ws")), token)
    message = telemetry(device.pk, "wrong", temperature=1.0)
    message["telemetry"]["temperature"]["timestamp"] = timestamp
    ws.send_json(message)
    assert until(ws, "telemetry_ack")["accepted"] == 1
    reading = Reading.objects.get(series__device=device)
    assert reading.is_skewed is is_skewed
    assert abs(reading.received_at.timestamp() - time.time()) < 60
    assert reading.at.isoformat()[:10] == timestamp[:10]
    # What comes next, with a good clock, is the latest again.
    ws.send_json(telemetry(device.pk, "right", temperature=2.0))
    until(ws, "telemetry_ack")
    late = listen(connect, server)
    late.send_json({"type": "subscribe", "channel": "telemetry", "device_id": device.pk})
    assert until(late, "telemetry_update")["telemetry"]["temperature"]["value"] == 2.0


def test_a_time_that_no_calendar_has_is_refused(device_ws: tuple[int, RawWebSocket]) -> None:
    device_id, ws = device_ws
    bad = [
        "0001-01-01T00:00:00+14:00",
        "2026-02-30T00:00:00Z",
        "2026-01-01T25:00:00Z",
        1e300,
        -1e300,
    ]
    for timestamp in bad:
        message = telemetry(device_id, "t", temperature=1.0)
        message["telemetry"]["temperature"]["timestamp"] = timestamp
        error = error_to(ws, message)
        assert error["code"] == "invalid_field", timestamp
        assert error["field"].startswith("telemetry"), timestamp


# --- Fields ---------------------------------------------------------------------------------

GOOD: dict[str, dict[str, Any]] = {
    "telemetry": {"device_id": 0, "telemetry": {"temperature": {"value": 1.0}}},
    "status": {"status": "online"},
    "command_response": {"command_id": 1, "status": "executed"},
    "subscribe": {"channel": "telemetry"},
    "unsubscribe": {"channel": "telemetry"},
    "batch": {"messages": [{"type": "ping"}]},
    "error_report": {"error": "what"},
}
WRONG: dict[str, list[Any]] = {
    "device_id": ["1", 1.5, -1, 0, 2**63, 10**30, True, [], {}, None],
    "telemetry": [[], {}, "x", 1, None, {"t": None}, {"t": 1}, {"t": {}}, {"t": {"value": "1"}},
                  {"t": {"value": True}}, {"t": {"value": [1]}}, {"t": {"value": 1, "unit": 5}},
                  {"t": {"value": 1, "unit": "x" * 21}}, {"": {"value": 1}},
                  {"x" * 101: {"value": 1}}, {"a\x00b": {"value": 1}}, {"a\nb": {"value": 1}}],
    "id": [1, "", "x" * 65, [], {}, "a\x00"],
    "status": [1, "", "sleeping", [], None, "x" * 300],
    "reason": [1, [], "x" * 201, "a\x1b[0m"],
    "command_id": ["1", -1, 0, 1.5, 2**64, None, True],
    "result": [1, "x", [], None, {"a": "\x00"}],
    "channel": [1, "", "nonsense", ["telemetry"], None, "x" * 300],
    "metrics": [1, "temperature", [], [1], [""], ["x" * 101]],
    "severity": [1, "bad", [], ["critical", "bad"]],
    "alert_type": [1, "bad", []],
    "status_types": [1, "asleep", []],
    "frequency": [1, "", "0s", "-1s", "1e3s", "99999999h", "x" * 17, "5 minutes"],
    "since": [1, "", "nonsense", "x" * 65, "a-b-c"],
    "filters": [1, [], "x"],
    "messages": [[], 1, {}, "x", None],
    "error": [1, "", "x" * 501, None],
}  # fmt: skip
OPTIONAL = {
    "telemetry": ["id"],
    "status": ["reason", "device_id"],
    "command_response": ["result", "device_id"],
    "subscribe": ["metrics", "frequency", "filters", "device_id"],
    "unsubscribe": ["device_id"],
}
# Of `subscribe`: where the field means something.
CHANNEL_OF = {"severity": "alerts", "alert_type": "alerts", "status_types": "devices",
              "since": "alerts"}  # fmt: skip


def bad_messages(device_id: int) -> list[tuple[str, dict[str, Any]]]:
    """Return every message with each field missing and wrong, and the field's name."""
    found = []
    for kind, fields in GOOD.items():
        good = {"type": kind, **fields}
        if "device_id" in good:
            good["device_id"] = device_id
        for name in fields:
            found.append((name, {key: value for key, value in good.items() if key != name}))
        for name in [*fields, *OPTIONAL.get(kind, ())]:
            is_optional = name not in fields
            values = [v for v in WRONG[name] if not (is_optional and v is None)]
            found += [(name, {**good, name: value}) for value in values]
    for name, channel in CHANNEL_OF.items():
        found += [
            (name, {"type": "subscribe", "channel": channel, name: value}) for value in WRONG[name]
        ]
    return found


def test_every_field_that_is_missing_or_wrong_is_named_and_the_connection_stays(
    server: Server, connect: Connect
) -> None:
    device, token = new_device()
    ws = sign_in(connect(server.ws_url("/ws")), token)
    unnamed = []
    for name, message in bad_messages(device.pk):
        ws.send_json(message)
        answer = ws.read_json()
        is_named = answer["type"] == "error" and name in answer.get("field", "")
        if not is_named:
            unnamed.append((name, message, answer))
        time.sleep(0.01)  # within the rate
    assert unnamed == []
    assert is_alive(ws)
    assert stored_values(device) == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "invalid_json"),
        ("{", "invalid_json"),
        ("\ufeff{}", "invalid_json"),
        ("null", "invalid_message"),
        ("[]", "invalid_message"),
        ('"ping"', "invalid_message"),
        ("1e400", "invalid_message"),
        ("{}", "missing_field"),
        ('{"type":null}', "invalid_field"),
        ('{"type":["ping"]}', "invalid_field"),
        ('{"type":"websocket.close"}', "unknown_type"),
        ('{"type":"ping","type":"dance"}', "unknown_type"),
        ("[" * 1000, "invalid_message"),
        ('{"type":"error_report","error":"e","message":' + "[" * 400 + "]" * 400 + "}", None),
    ],
)
def test_what_is_no_message_is_told_so(
    operator_ws: RawWebSocket, text: str, code: str | None
) -> None:
    error = error_to(operator_ws, text)
    assert code is None or error["code"] == code, error


# --- Rights and order -----------------------------------------------------------------------


def test_a_device_writes_no_readings_of_another(server: Server, connect: Connect) -> None:
    (mine, token), (other, other_token) = new_device(), new_device()
    listener = listen(connect, server, {"channel": "telemetry", "device_id": other.pk})
    ws = sign_in(connect(server.ws_url("/ws")), token)
    victim = sign_in(connect(server.ws_url("/ws")), other_token)
    single = error_to(ws, telemetry(other.pk, "x", temperature=99.0))
    nobody = error_to(ws, telemetry(2**40, "x", temperature=99.0))
    assert (single["code"], single["field"]) == ("forbidden", "device_id")
    # Whether a device exists is nothing that another one learns.
    assert nobody["code"] == single["code"]
    ws.send_json({
        "type": "batch",
        "messages": [telemetry(mine.pk, "own", temperature=1.0),
                     telemetry(other.pk, "not", temperature=99.0),
                     {"type": "status", "status": "error", "device_id": other.pk},
                     {"type": "heartbeat", "device_id": other.pk}],
    })  # fmt: skip
    answers = until(ws, "batch_response")["results"]
    assert [each["type"] for each in answers] == ["telemetry_ack", "error", "error", "error"]
    assert {each["code"] for each in answers[1:]} == {"forbidden"}
    assert stored_values(mine) == [1.0]
    assert stored_values(other) == []
    assert heard(listener, seconds=0.3, type="telemetry_update") == []
    assert is_alive(victim)


def test_nothing_is_done_for_who_has_not_said_who_they_are(
    server: Server, connect: Connect
) -> None:
    device, token = new_device()
    ws = connect(server.ws_url("/ws"))
    for message in (
        {"type": "subscribe", "channel": "alerts"},
        {"type": "ping"},
        {"type": "batch", "messages": [{"type": "auth", "token": token}]},
        telemetry(device.pk, "early", temperature=1.0),
    ):
        ws.send_json(message)
        answer = ws.read_json()
        assert (answer["type"], answer["code"]) == ("error", "not_authenticated"), message
    assert stored_values(device) == []
    sign_in(ws, token)
    ws.send_json(telemetry(device.pk, "early", temperature=1.0))
    until(ws, "telemetry_ack")


def test_who_unsubscribes_from_nothing_is_told_so(operator_ws: RawWebSocket) -> None:
    for message in (
        {"type": "unsubscribe", "channel": "alerts"},
        {"type": "unsubscribe", "channel": "telemetry", "device_id": 1},
    ):
        assert error_to(operator_ws, message)["code"] == "not_subscribed"


# --- Batches --------------------------------------------------------------------------------


def test_a_batch_holds_no_batch_and_one_bad_item_spoils_none(
    device_ws: tuple[int, RawWebSocket],
) -> None:
    device_id, ws = device_ws
    ws.send_json({
        "type": "batch",
        "messages": [{"type": "ping"}, {"type": "batch", "messages": [{"type": "ping"}]}, 7,
                     telemetry(device_id, "ok", temperature=1.0)],
    })  # fmt: skip
    results = until(ws, "batch_response")["results"]
    assert [each["type"] for each in results] == ["pong", "error", "error", "telemetry_ack"]
    assert (results[1]["code"], results[1]["field"]) == ("nested_batch", "messages[1].type")
    assert results[2]["field"] == "messages[2]"


def test_fifty_items_are_a_batch_and_51_are_refused_whole(server: Server, connect: Connect) -> None:
    device, token = new_device()
    ws = sign_in(connect(server.ws_url("/ws")), token)
    messages = [telemetry(device.pk, f"b{n}", temperature=float(n)) for n in range(51)]
    error = error_to(ws, {"type": "batch", "messages": messages})
    assert (error["code"], error["limit"]) == ("batch_too_large", 50)
    assert stored_values(device) == []
    ws.send_json({"type": "batch", "messages": messages[:50]})
    assert {each["type"] for each in until(ws, "batch_response")["results"]} == {"telemetry_ack"}
    assert stored_values(device) == [float(n) for n in range(50)]
