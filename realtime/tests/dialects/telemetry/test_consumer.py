"""The telemetry dialect's order of talk, over a socket in memory: pings, batches, limits."""

from datetime import UTC, datetime
from typing import Any

import pytest

from realtime import consumers
from realtime.core.errors import Restarting, Unavailable
from realtime.core.limits import DialectLimits
from realtime.dialects.telemetry import consumer as module
from realtime.dialects.telemetry.acks import WAITING_MAX
from realtime.hub import Hub
from realtime.tests.dialects.telemetry.rooms import Client, Server
from realtime.tests.wire import turns

REPORT: dict[str, Any] = {
    "type": "telemetry",
    "device_id": 1,
    "telemetry": {"temperature": {"value": 23.5, "unit": "°C"}},
}


def report(id: str | None = None, *, device_id: int = 1) -> dict[str, Any]:
    return {**REPORT, "device_id": device_id, "id": id}


# --- Pings and wrong messages --------------------------------------------------------------


async def test_a_ping_is_answered_with_its_own_time_and_the_server_s(server: Server) -> None:
    client = await server.client()
    answer = await client.ask(type="ping", timestamp="2024-01-01T12:00:00Z")
    assert (answer["type"], answer["timestamp"]) == ("pong", "2024-01-01T12:00:00Z")
    assert datetime.fromisoformat(answer["server_time"]) <= datetime.now(UTC)
    assert answer["server_time"].endswith("Z")


async def test_a_ping_without_a_time_gets_the_server_s(server: Server) -> None:
    client = await server.client()
    answer = await client.ask(type="ping")
    assert answer["timestamp"] == answer["server_time"]


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("hello", "invalid_json", None),
        ("[]", "invalid_message", None),
        ('{"type":"subscribe_device","device_id":1}', "unknown_type", "type"),
        ('{"type":"subscribe"}', "missing_field", "channel"),
        ('{"type":"subscribe","channel":"chat"}', "unknown_channel", "channel"),
        ('{"type":"subscribe","channel":"alerts","device_id":"1"}', "invalid_field", "device_id"),
        ('{"type":"ping","timestamp":NaN}', "invalid_field", "timestamp"),
    ],
)
async def test_a_wrong_message_is_answered_by_field_and_the_next_one_read(
    server: Server, text: str, code: str, field: str | None
) -> None:
    client = await server.client()
    client.say(text)
    refusal = await client.hear()
    if server.is_packed and code == "invalid_json":
        code = "invalid_message"  # Its first letter is a number.
    assert (refusal["type"], refusal["code"], refusal.get("field")) == ("error", code, field)
    assert refusal["message"]
    assert (await client.ask(type="ping"))["type"] == "pong"


async def test_a_message_of_the_wrong_form_is_answered_and_the_socket_stays(
    server: Server,
) -> None:
    client = await server.client()
    client.say_wrongly()
    answer = await client.hear()
    code = "text_not_supported" if server.is_packed else "binary_not_supported"
    assert (answer["type"], answer["code"]) == ("error", code)
    assert "MessagePack" in answer["message"] or "vitalwire.msgpack" in answer["message"]
    assert (await client.ask(type="ping"))["type"] == "pong"


# --- Acknowledgements ----------------------------------------------------------------------


async def test_a_report_is_acknowledged_once_it_is_stored(server: Server) -> None:
    server.intake.stores_at_once = False
    client = await server.client("device")
    client.send(**report("a1"))
    assert (await client.ask(type="ping"))["type"] == "pong"
    (stored,) = server.intake.futures
    stored.set_result(None)
    assert await client.hear() == {
        "type": "telemetry_ack",
        "id": "a1",
        "device_id": 1,
        "accepted": 1,
    }


async def test_a_report_that_could_not_be_stored_is_told_by_its_id(server: Server) -> None:
    server.intake.stores_at_once = False
    client = await server.client("device")
    client.send(**report("a1"))
    await turns()
    server.intake.futures[0].set_exception(Unavailable("the database is away"))
    refusal = await client.hear()
    assert (refusal["code"], refusal["id"], refusal["device_id"]) == ("unavailable", "a1", 1)
    assert refusal["retry_after_ms"] > 0


async def test_a_report_that_cannot_be_taken_in_is_told_at_once(server: Server) -> None:
    server.intake.refuses = Unavailable("the server is stopping")
    client = await server.client("device")
    assert (await client.refusal(**report("a1")))["code"] == "unavailable"


async def test_reading_stops_while_too_much_waits_to_be_stored(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 3)
    assert WAITING_MAX > 3
    server.intake.stores_at_once = False
    client = await server.client("device")
    for number in range(5):
        client.send(**report(str(number)))
    await turns(30)
    assert len(server.intake.reports) == 3
    server.intake.futures[0].set_result(None)
    assert (await client.hear())["id"] == "0"
    await turns(30)
    assert len(server.intake.reports) == 4


async def test_reading_stops_while_the_writer_is_behind(server: Server) -> None:
    server.intake.stores_at_once = False
    server.intake.is_behind = True
    client = await server.client("device")
    client.send(**report("a1"))
    client.send(**report("a2"))
    await turns(30)
    assert len(server.intake.reports) == 1
    server.intake.futures[0].set_result(None)
    await turns(30)
    assert len(server.intake.reports) == 2


async def test_who_is_sent_away_gets_what_was_taken_in_acknowledged_first(
    server: Server, hub: Hub
) -> None:
    server.intake.stores_at_once = False
    client = await server.client("device")
    client.send(**report("a1"))
    await turns()
    (member,) = hub
    member.end(Restarting("the server restarts"))
    await turns()
    server.intake.futures[0].set_result(None)
    assert (await client.hear())["id"] == "a1"
    assert await client.wire.ending() == (1012, "the server restarts")


# --- Batches -------------------------------------------------------------------------------


async def test_a_batch_is_answered_item_by_item_in_order(server: Server) -> None:
    client = await server.client("device")
    answer = await client.ask(
        type="batch",
        messages=[
            {"type": "ping", "timestamp": 1},
            report("a1"),
            {"type": "heartbeat"},
            {"type": "unheard"},
            report("a2"),
            report("a3", device_id=2),
            5,
            {"type": "telemetry", "device_id": 1, "telemetry": {"t": {"value": "x"}}},
        ],
    )
    assert answer["type"] == "batch_response"
    results = answer["results"]
    assert [each["type"] for each in results] == [
        "pong",
        "telemetry_ack",
        "accepted",
        "error",
        "telemetry_ack",
        "error",
        "error",
        "error",
    ]
    assert results[2] == {"type": "accepted", "message": "heartbeat"}
    assert [each.get("field") for each in results if each["type"] == "error"] == [
        "messages[3].type",
        "messages[5].device_id",
        "messages[6]",
        "messages[7].telemetry.t.value",
    ]
    assert results[5]["id"] == "a3"
    assert [each.message_id for each in server.intake.reports] == ["a1", "a2"]


async def test_readings_side_by_side_in_a_batch_are_taken_in_together(server: Server) -> None:
    client = await server.client("device")
    await client.ask(type="batch", messages=[report("a1"), report("a2"), report("a3")])
    assert len(server.intake.futures) == 1
    assert [each.message_id for each in server.intake.reports] == ["a1", "a2", "a3"]


async def test_a_batch_is_answered_when_all_of_it_is_stored(server: Server) -> None:
    server.intake.stores_at_once = False
    client = await server.client("device")
    messages = [report("a1"), report("a2"), {"type": "ping"}, report("a3")]
    client.send(type="batch", messages=messages)
    assert (await client.ask(type="ping"))["type"] == "pong"
    first, second = server.intake.futures
    first.set_result({1: Unavailable("the database is away")})
    await turns()
    assert client.has_heard_all
    second.set_result({})
    results = (await client.hear())["results"]
    assert [each["type"] for each in results] == [
        "telemetry_ack",
        "error",
        "pong",
        "telemetry_ack",
    ]
    assert (results[1]["id"], results[1]["code"]) == ("a2", "unavailable")


async def test_a_batch_that_cannot_be_taken_in_says_so_for_each_reading(server: Server) -> None:
    server.intake.refuses = Unavailable("the server is stopping")
    client = await server.client("device")
    answer = await client.ask(type="batch", messages=[report("a1"), report("a2")])
    assert [each["code"] for each in answer["results"]] == ["unavailable"] * 2


async def test_a_batch_in_a_batch_is_refused_and_the_rest_is_done(server: Server) -> None:
    client = await server.client()
    inner = {"type": "batch", "messages": [{"type": "ping"}]}
    answer = await client.ask(type="batch", messages=[inner, {"type": "ping"}])
    assert answer["results"][0]["code"] == "nested_batch"
    assert answer["results"][1]["type"] == "pong"


async def test_a_batch_of_too_many_is_refused_whole(server: Server) -> None:
    limits = DialectLimits(batch_items=50)
    client = await server.client(limits=limits)
    ping = {"type": "ping"}
    refusal = await client.refusal(type="batch", messages=[ping] * 51)
    assert (refusal["code"], refusal["limit"]) == ("batch_too_large", 50)
    assert refusal["field"] == "messages"
    assert len((await client.ask(type="batch", messages=[ping] * 50))["results"]) == 50


async def test_a_subscription_in_a_batch_is_confirmed_there(server: Server, hub: Hub) -> None:
    client = await server.client()
    answer = await client.ask(
        type="batch",
        messages=[
            {"type": "subscribe", "channel": "alerts"},
            {"type": "unsubscribe", "channel": "alerts"},
        ],
    )
    assert [each["type"] for each in answer["results"]] == ["subscribed", "unsubscribed"]


# --- Limits --------------------------------------------------------------------------------

KIB = DialectLimits(message_bytes=1024, batch_items=50)


def ping_of(client: Client, size: int) -> dict[str, Any]:
    """Return a ping that has `size` bytes as this client writes it."""
    message = {"type": "ping", "filling": "x" * 900}
    return {**message, "filling": "x" * (900 + size - client.size_of(message))}


async def test_a_message_above_a_kibibyte_is_refused_and_the_socket_stays(
    server: Server,
) -> None:
    client = await server.client(limits=KIB)
    assert (await client.ask(**ping_of(client, 1024)))["type"] == "pong"
    refusal = await client.refusal(**ping_of(client, 1025))
    assert (refusal["code"], refusal["limit"]) == ("message_too_large", 1024)
    assert (await client.ask(type="ping"))["type"] == "pong"


async def test_a_message_that_only_speaks_of_a_batch_is_too_large_too(server: Server) -> None:
    client = await server.client(limits=KIB)
    refusal = await client.refusal(**ping_of(client, 1025), why="batch")
    assert refusal["code"] == "message_too_large"
    assert (await client.ask(**ping_of(client, 1000)))["type"] == "pong"


async def test_a_batch_may_be_large_but_none_of_its_items(server: Server) -> None:
    client = await server.client(limits=KIB)
    answer = await client.ask(
        type="batch", messages=[ping_of(client, 1024), ping_of(client, 1025), ping_of(client, 1000)]
    )
    kinds = [each.get("code", each["type"]) for each in answer["results"]]
    assert kinds == ["pong", "message_too_large", "pong"]


async def test_a_large_message_before_auth_is_refused_without_a_trace(server: Server) -> None:
    client = await server.stranger(server.consumer(KIB))
    refusal = await client.refusal(type="batch", messages=[ping_of(client, 1000)] * 2)
    assert refusal["code"] == "not_authenticated"
    refusal = await client.refusal(**ping_of(client, 1025))
    assert refusal["code"] == "message_too_large"
    client.send(type="auth", token="operator")
    assert (await client.hear())["success"] is True
    assert (await client.ask(type="ping"))["type"] == "pong"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(consumers, "time", clock)
    return clock


async def test_a_message_above_the_rate_is_dropped_and_told_when_to_try_again(
    server: Server, seconds: Clock
) -> None:
    client = await server.client(limits=DialectLimits(messages_per_second=2))
    seconds.now += 1
    for number in range(3):
        client.send(type="ping", timestamp=number)
    assert [(await client.hear())["type"] for _ in range(2)] == ["pong", "pong"]
    refusal = await client.hear()
    assert (refusal["code"], refusal["limit"]) == ("rate_limited", 2)
    seconds.now += refusal["retry_after_ms"] / 1000
    assert (await client.ask(type="ping", timestamp=9))["timestamp"] == 9


async def test_the_rate_holds_before_auth(server: Server, seconds: Clock) -> None:
    limits = DialectLimits(messages_per_second=2)
    client = await server.stranger(server.consumer(limits))
    for _ in range(3):
        client.send(type="ping")
    codes = [(await client.hear())["code"] for _ in range(3)]
    assert codes == ["not_authenticated", "not_authenticated", "rate_limited"]


async def flood(client: Client, seconds: Clock, *, per_second: int, lasting: int) -> Any:
    """Send so many messages a second; return the close frame, or None when none came."""
    for _ in range(per_second * lasting):
        seconds.now += 1 / per_second
        client.send(type="ping")
        answer = await client.wire.next()
        if answer["type"] == "websocket.close":
            return answer
    return None


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_flood_of_three_times_the_rate_is_closed_with_1008(
    server: Server, seconds: Clock, *, is_known: bool
) -> None:
    limits = DialectLimits(messages_per_second=10)
    if is_known:
        client = await server.client(limits=limits)
    else:
        client = await server.stranger(server.consumer(limits))
    began = seconds.now
    ending = await flood(client, seconds, per_second=40, lasting=10)
    assert ending["code"] == 1008
    assert 5 <= seconds.now - began <= 7


async def test_twice_the_rate_is_no_flood(server: Server, seconds: Clock) -> None:
    client = await server.client(limits=DialectLimits(messages_per_second=10))
    assert await flood(client, seconds, per_second=20, lasting=12) is None


async def test_a_burst_now_and_then_is_no_flood(server: Server, seconds: Clock) -> None:
    client = await server.client(limits=DialectLimits(messages_per_second=10))
    for _ in range(6):
        assert await flood(client, seconds, per_second=60, lasting=2) is None
        seconds.now += 3
