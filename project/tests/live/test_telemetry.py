"""The telemetry dialect on a live server: who is let in, what is answered, how it ends."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from accounts.models import Role, User
from devices.models import Device, Reading
from devices.services import alerts, commands, devices
from project.tests.live.halls import new_device, new_person, now, report, signed_in
from project.tests.live.raw import BINARY, Ended, Ending, RawWebSocket, Silence
from project.tests.live.server import Server
from project.tests.live.surgeons import assert_refused, eventually

Connect = Callable[..., RawWebSocket]
CHANNELS = ["telemetry", "alerts", "devices", "system"]
ENDPOINTS = ["/ws", "/ws/device", *(f"/ws/{channel}" for channel in CHANNELS)]
SUCCESS = {"type": "auth_response", "success": True}
LOBBY = 20


@pytest.fixture(scope="module")
def strict_server(django_db_setup: None, start_server: Callable[..., Any]) -> Iterator[Server]:
    """Yield a server with little patience and little room."""
    with start_server(
        VITALWIRE_AUTH_TIMEOUT_SECONDS="1", VITALWIRE_TELEMETRY_CONNECTIONS_TOTAL=str(LOBBY)
    ) as running:
        yield running


def failure_of(ws: RawWebSocket, error: str) -> dict[str, Any]:
    """Return the failed auth_response; 1008 has to follow."""
    answer: dict[str, Any] = ws.read_json()
    assert (answer["type"], answer["success"], answer["error"]) == ("auth_response", False, error)
    assert answer["message"]
    assert_refused(ws.ending(), 1008)
    return answer


def ending_of_pings(ws: RawWebSocket, *, at_once: int, pause: float) -> Ending:
    """Send pings and read the answers until the server ends it."""
    deadline = time.monotonic() + 12
    try:
        while time.monotonic() < deadline:
            for _ in range(at_once):
                ws.send_json({"type": "ping"})
            for _ in range(at_once):
                ws.read()
            time.sleep(pause)
    except Ended as ended:
        return ended.ending
    raise AssertionError("the server did not end it")


def heard(ws: RawWebSocket, kind: str, *, within: float = 10.0) -> Any:
    """Return the next message of a type; others are passed over."""
    deadline = time.monotonic() + within
    while True:
        message = ws.read_json(within=deadline - time.monotonic())
        if message["type"] == kind:
            return message


# --- Auth first ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ENDPOINTS)
def test_auth_response_is_the_first_frame(server: Server, connect: Connect, path: str) -> None:
    ws = connect(server.ws_url(path))
    with pytest.raises(Silence):
        ws.read(within=0.2)
    ws.send_json({"type": "auth", "token": server.token_for(new_person())})
    assert ws.read_json() == SUCCESS


@pytest.mark.parametrize("channel", CHANNELS)
def test_an_endpoint_of_one_channel_is_subscribed_once_authenticated(
    server: Server, connect: Connect, channel: str
) -> None:
    ws = signed_in(connect, server, server.token_for(new_person()), f"/ws/{channel}")
    assert heard(ws, "subscribed")["channel"] == channel
    other = "alerts" if channel != "alerts" else "devices"
    ws.send_json({"type": "subscribe", "channel": other})
    assert heard(ws, "error")["code"] == "wrong_endpoint"


@pytest.mark.parametrize("path", ENDPOINTS[1:])
@pytest.mark.parametrize("carrier", ["query", "header", "subprotocol"])
def test_a_token_of_the_handshake_is_answered_at_once(
    server: Server, connect: Connect, path: str, carrier: str
) -> None:
    token = server.token_for(new_person())
    headers = {
        "query": {},
        "header": {"Authorization": f"Bearer {token}"},
        "subprotocol": {"Sec-WebSocket-Protocol": f"access_token.{token}"},
    }[carrier]
    query = {"token": token} if carrier == "query" else {}
    ws = connect(server.ws_url(path, **query), headers=headers)
    assert ws.read_json() == SUCCESS


@pytest.mark.parametrize("path", ENDPOINTS[1:])
@pytest.mark.parametrize("token", ["", "garbage"])
def test_a_bad_token_of_the_handshake_is_answered_at_once(
    server: Server, connect: Connect, path: str, token: str
) -> None:
    failure_of(connect(server.ws_url(path, token=token)), "invalid_token")


@pytest.mark.parametrize(
    ("error", "claims"),
    [
        ("invalid_token", {"iss": "Somebody"}),
        ("token_expired", {"exp": int(time.time()) - 60}),
    ],
)
def test_a_bad_token_fails_and_closes_with_1008(
    server: Server, connect: Connect, error: str, claims: dict[str, Any]
) -> None:
    ws = connect(server.ws_url("/ws"))
    ws.send_json({"type": "auth", "token": server.token_for("operator", **claims)})
    failure_of(ws, error)


@pytest.mark.parametrize("role", ["ROLE_SURGEON", "ROLE_AI", "ROLE_MEMBER"])
def test_a_role_without_devices_is_forbidden(server: Server, connect: Connect, role: str) -> None:
    ws = connect(server.ws_url("/ws"))
    ws.send_json({"type": "auth", "token": server.token_for(new_person(role))})
    failure_of(ws, "forbidden")


def test_before_auth_everything_else_is_refused_and_the_socket_stays(
    server: Server, connect: Connect
) -> None:
    ws = connect(server.ws_url("/ws"))
    ws.send_json({"type": "subscribe", "channel": "telemetry"})
    assert ws.read_json()["code"] == "not_authenticated"
    ws.send_text("no json")
    assert ws.read_json()["code"] == "not_authenticated"
    ws.send_frame(BINARY, b"\x00")
    assert ws.read_json()["code"] == "binary_not_supported"
    ws.send_json({"type": "auth", "token": server.token_for(new_person())})
    assert ws.read_json() == SUCCESS


def test_who_says_nothing_is_closed_with_1008(strict_server: Server, connect: Connect) -> None:
    ws = connect(strict_server.ws_url("/ws"))
    began = time.monotonic()
    assert_refused(ws.ending(), 1008)
    assert 0.5 < time.monotonic() - began < 3


def test_who_says_anything_but_auth_is_closed_with_1008_all_the_same(
    strict_server: Server, connect: Connect
) -> None:
    ws = connect(strict_server.ws_url("/ws"))
    assert_refused(ending_of_pings(ws, at_once=1, pause=0.05), 1008)


def test_so_many_may_wait_to_say_who_they_are(strict_server: Server, connect: Connect) -> None:
    waiting = [connect(strict_server.ws_url("/ws")) for _ in range(LOBBY)]
    answer = failure_of(connect(strict_server.ws_url("/ws")), "too_many_connections")
    assert (answer["limit"], answer["used"]) == (LOBBY, LOBBY)
    assert answer["retry_after_ms"] > 0
    for ws in waiting:
        assert_refused(ws.ending(), 1008)
    signed_in(connect, strict_server, strict_server.token_for(new_person()))


def test_the_connections_of_a_minute_are_limited_and_told(server: Server, connect: Connect) -> None:
    token = server.token_for(new_person())
    for _ in range(10):
        signed_in(connect, server, token)
    ws = connect(server.ws_url("/ws"))
    ws.send_json({"type": "auth", "token": token})
    answer = failure_of(ws, "rate_limited")
    assert (answer["limit"], answer["used"]) == (10, 10)
    assert 0 < answer["retry_after_ms"] <= 60_001


# --- /ws is pubsub's too -------------------------------------------------------------------


def test_a_token_in_the_handshake_of_ws_means_pubsub(server: Server, connect: Connect) -> None:
    ws = connect(server.ws_url("/ws", token=server.token_for(new_person())))
    assert ws.read_json()["data"]["status"] == "connected"


@pytest.mark.parametrize("token", ["", "garbage"])
def test_a_bad_token_in_the_handshake_of_ws_is_pubsub_s_error(
    server: Server, connect: Connect, token: str
) -> None:
    ws = connect(server.ws_url("/ws", token=token))
    assert ws.read_json()["data"]["code"] == 401
    assert_refused(ws.ending(), 1008)


def test_a_first_frame_in_pubsub_s_shape_is_pubsub_s_error(
    server: Server, connect: Connect
) -> None:
    ws = connect(server.ws_url("/ws"))
    ws.send_json({"type": "Subscribe", "data": {"topics": ["alerts.*"]}})
    answer = ws.read_json()
    assert (answer["type"], answer["data"]["code"]) == ("Error", 401)
    assert_refused(ws.ending(), 1008)


def test_ws_device_is_never_pubsub_s(server: Server, connect: Connect) -> None:
    ws = connect(server.ws_url("/ws/device"))
    ws.send_json({"type": "Subscribe", "data": {"topics": ["alerts.*"]}})
    assert ws.read_json()["code"] == "not_authenticated"


# --- Auth again ----------------------------------------------------------------------------


def test_auth_again_outlives_the_first_token(server: Server, connect: Connect) -> None:
    person = new_person()
    ws = signed_in(connect, server, server.token_for(person, exp=int(time.time()) + 3))
    ws.send_json({"type": "subscribe", "channel": "alerts"})
    assert ws.read_json()["type"] == "subscribed"
    ws.send_json({"type": "auth", "token": server.token_for(person)})
    assert ws.read_json() == SUCCESS
    time.sleep(3.2)
    alert = alerts.raise_alert(title="Still", severity="info", alert_type="manual", now=now())
    assert alert is not None
    while heard(ws, "alert")["alert_id"] != alert.pk:
        pass


def test_a_token_that_expires_ends_the_connection(server: Server, connect: Connect) -> None:
    token = server.token_for(new_person(), exp=int(time.time()) + 2)
    ws = signed_in(connect, server, token)
    assert ws.read_json()["code"] == "token_expired"
    assert_refused(ws.ending(), 1008)


@pytest.mark.parametrize(("username", "error"), [("", "invalid_token"), ("admin", "forbidden")])
def test_auth_again_with_another_s_token_ends_with_1008(
    server: Server, connect: Connect, username: str, error: str
) -> None:
    ws = signed_in(connect, server, server.token_for(new_person()))
    token = server.token_for(username) if username else "garbage"
    ws.send_json({"type": "auth", "token": token})
    failure_of(ws, error)


def test_a_new_role_ends_what_it_may_not_hear(server: Server, connect: Connect) -> None:
    person = new_person()
    ws = signed_in(connect, server, server.token_for(person))
    ws.send_json({"type": "subscribe", "channel": "alerts"})
    assert ws.read_json()["type"] == "subscribed"
    user = User.objects.get(username=person)
    user.role = Role.objects.get(name="ROLE_DEVICE")
    user.save()
    ended = heard(ws, "unsubscribed")
    assert (ended["channel"], ended["reason"]) == ("alerts", "your role changed")


# --- A device and who watches it -----------------------------------------------------------


def test_a_reading_is_shown_stored_and_acknowledged(server: Server, connect: Connect) -> None:
    device, token = new_device()
    watcher = signed_in(connect, server, server.token_for(new_person()))
    watcher.send_json({"type": "subscribe", "channel": "telemetry", "device_id": device.pk})
    assert heard(watcher, "subscribed")["device_id"] == device.pk
    ws = signed_in(connect, server, token)
    ws.send_json(report(device.pk, "a1", temperature=23.5))
    ack = heard(ws, "telemetry_ack")
    assert (ack["id"], ack["device_id"], ack["accepted"]) == ("a1", device.pk, 1)
    assert Reading.objects.filter(series__device=device).count() == 1
    assert heard(watcher, "telemetry_update")["telemetry"]["temperature"]["value"] == 23.5
    # Sent again it is stored once, shown once, and acknowledged again.
    ws.send_json(report(device.pk, "a1", temperature=23.5))
    assert heard(ws, "telemetry_ack")["id"] == "a1"
    assert Reading.objects.filter(series__device=device).count() == 1


def test_the_first_sign_of_life_is_told(server: Server, connect: Connect) -> None:
    device, token = new_device()
    watcher = signed_in(connect, server, server.token_for(new_person()))
    watcher.send_json({"type": "subscribe", "channel": "devices", "device_id": device.pk})
    assert heard(watcher, "subscribed")
    ws = signed_in(connect, server, token)
    assert heard(watcher, "device_status_update")["new_status"] == "online"
    ws.send_json({"type": "status", "status": "maintenance", "reason": "cleaning"})
    update = heard(watcher, "device_status_update")
    assert (update["old_status"], update["new_status"]) == ("online", "maintenance")
    assert update["reason"] == "cleaning"
    assert Device.objects.get(pk=device.pk).status == "maintenance"


def test_a_command_reaches_its_device_once_and_its_answer_is_kept(
    server: Server, connect: Connect
) -> None:
    device, token = new_device()
    waiting = commands.queue_command(
        device.pk, command="restart", parameters={"delay": 5}, by=None, now=now()
    )
    sockets = [signed_in(connect, server, token) for _ in range(2)]
    live = commands.queue_command(device.pk, command="blink", parameters={}, by=None, now=now())
    told = [message for ws in sockets for message in ws.messages(seconds=1)]
    assert sorted(each["command_id"] for each in told) == [waiting.pk, live.pk]
    assert {each["command"]: each["parameters"] for each in told} == {
        "restart": {"delay": 5},
        "blink": {},
    }
    sockets[0].send_json(
        {
            "type": "command_response",
            "command_id": waiting.pk,
            "status": "executed",
            "result": {"took": 3},
        }
    )

    def is_executed() -> bool:
        waiting.refresh_from_db()
        return waiting.status == "executed"

    eventually(is_executed)
    assert waiting.result == {"took": 3}


def test_a_device_taken_out_of_service_is_sent_away(server: Server, connect: Connect) -> None:
    device, token = new_device()
    ws = signed_in(connect, server, token)
    devices.retire_device(device.pk, now=now())
    assert_refused(ws.ending(), 1008)


def test_alerts_missed_are_replayed_in_order(server: Server, connect: Connect) -> None:
    device, _ = new_device()
    token = server.token_for(new_person())
    ws = signed_in(connect, server, token, "/ws/alerts")
    since = heard(ws, "subscribed")["position"]
    ws.close()
    raised = [
        alerts.raise_alert(
            title=f"Alert {number}",
            severity="warning",
            alert_type="manual",
            device_id=device.pk,
            now=now(),
        )
        for number in range(5)
    ]
    again = signed_in(connect, server, token)
    again.send_json(
        {"type": "subscribe", "channel": "alerts", "device_id": device.pk, "since": since}
    )
    assert heard(again, "subscribed")["complete"] is True
    told = [heard(again, "alert")["alert_id"] for _ in raised]
    assert told == [alert.pk for alert in raised if alert is not None]


def test_the_system_is_told_as_often_as_asked(server: Server, connect: Connect) -> None:
    ws = signed_in(connect, server, server.token_for(new_person()))
    ws.send_json(
        {"type": "subscribe", "channel": "system", "metrics": ["cpu_usage"], "frequency": "1s"}
    )
    assert ws.read_json()["filters"] == {"metrics": ["cpu_usage"], "frequency": "1s"}
    updates = [heard(ws, "system_status_update") for _ in range(3)]
    assert all(list(each["metrics"]) == ["cpu_usage"] for each in updates)


# --- Limits --------------------------------------------------------------------------------


def test_sizes_are_limited(server: Server, connect: Connect) -> None:
    ws = signed_in(connect, server, server.token_for(new_person()))
    ws.send_json({"type": "ping", "filling": "x" * 1024})
    refusal = ws.read_json()
    assert (refusal["code"], refusal["limit"]) == ("message_too_large", 1024)
    ping = {"type": "ping", "filling": "x" * 900}
    ws.send_json({"type": "batch", "messages": [ping] * 50})
    assert {each["type"] for each in ws.read_json()["results"]} == {"pong"}
    ws.send_json({"type": "batch", "messages": [{"type": "ping"}] * 51})
    assert ws.read_json()["code"] == "batch_too_large"
    ws.send_text(b"x" * (64 * 1024 + 1))
    assert ws.ending().code == 1009


def test_too_large_is_too_large_before_auth(server: Server, connect: Connect) -> None:
    ws = connect(server.ws_url("/ws"))
    ws.send_text(b"x" * (64 * 1024 + 1))
    assert ws.ending().code == 1009


def test_messages_above_the_rate_are_dropped_and_told(server: Server, connect: Connect) -> None:
    ws = signed_in(connect, server, server.token_for(new_person()))
    for number in range(150):
        ws.send_json({"type": "ping", "timestamp": number})
    kinds = [ws.read_json() for _ in range(150)]
    refused = [each for each in kinds if each["type"] == "error"]
    assert 20 <= len(refused) <= 51
    assert {(each["code"], each["limit"]) for each in refused} == {("rate_limited", 100)}
    assert all(0 < each["retry_after_ms"] <= 1000 for each in refused)


@pytest.mark.parametrize("is_known", [True, False])
def test_a_flood_is_closed_with_1008(server: Server, connect: Connect, *, is_known: bool) -> None:
    if is_known:
        ws = signed_in(connect, server, server.token_for(new_person()))
    else:
        ws = connect(server.ws_url("/ws"))
    began = time.monotonic()
    assert_refused(ending_of_pings(ws, at_once=10, pause=0.015), 1008)
    assert time.monotonic() - began > 4.5


def test_a_rejected_flood_leaves_the_others_alone(server: Server, connect: Connect) -> None:
    calm = signed_in(connect, server, server.token_for(new_person()))
    loud = signed_in(connect, server, server.token_for(new_person()))
    for _ in range(1000):
        loud.send_json({"type": "ping"})
    calm.send_json({"type": "ping", "timestamp": 1})
    assert calm.read_json()["timestamp"] == 1
