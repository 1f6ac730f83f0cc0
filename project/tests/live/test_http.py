"""Handshakes and plain HTTP gone wrong: a status or an end in time, flat memory, never a 500."""

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from project.tests.live.conftest import KIND, TIMES
from project.tests.live.raw import Ended, RawConnection, RawWebSocket, Silence
from project.tests.live.server import Server
from project.tests.live.surgeons import eventually, held, movement, new_surgeon, saved_id

MIB = 1024 * 1024
BODILESS = b"HEAD /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
HEADER_SECONDS = float(TIMES["VITALWIRE_HEADER_SECONDS"])

daphne_only = pytest.mark.skipif(
    KIND != "daphne", reason="an ASGI application sees nothing of a request before its head"
)

# --- Handshakes -----------------------------------------------------------------------------


def test_an_unknown_websocket_path_is_refused_with_403(
    server: Server, connect: Callable[..., RawWebSocket]
) -> None:
    for path in ("/ws/nowhere", "/", "/ws/simulation/x", "/api/v1/surgeries"):
        ws = connect(server.ws_url(path, token=server.token_for("surgeon_master")))
        assert ws.response.status == 403, path


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Sec-WebSocket-Key": ""}, id="no key"),
        pytest.param({"Sec-WebSocket-Key": "short"}, id="a key of the wrong length"),
        pytest.param({"Sec-WebSocket-Version": "7"}, id="an old version"),
        pytest.param({"Sec-WebSocket-Version": "x"}, id="a version that is no number"),
        pytest.param({"Connection": "close"}, id="no upgrade in Connection"),
    ],
)
def test_a_malformed_handshake_is_the_clients_fault(
    server: Server, connect: Callable[..., RawWebSocket], headers: dict[str, str]
) -> None:
    url = server.ws_url("/ws/simulation", token=server.token_for("surgeon_master"))
    assert 400 <= connect(url, headers=headers).response.status < 500


def test_a_socket_address_asked_for_without_an_upgrade_is_the_clients_fault(
    server: Server,
) -> None:
    token = server.token_for("surgeon_master")
    status, _ = server.request("GET", f"/ws/simulation?token={token}")
    assert 400 <= status < 500


@daphne_only
@pytest.mark.parametrize(
    "opening",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET /ws/simulation HTTP/1.1\r\nHost: x\r\nUpgra", id="half a handshake"),
    ],
)
def test_a_handshake_half_sent_is_cut(server: Server, opening: bytes) -> None:
    with RawConnection(server.url + "/ws/simulation") as half:
        began = time.monotonic()
        half.send(opening)
        half.wait_for_end(within=HEADER_SECONDS + 5)
        assert HEADER_SECONDS - 0.5 < time.monotonic() - began < HEADER_SECONDS + 2


@daphne_only
def test_a_head_sent_byte_by_byte_is_cut(server: Server) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: " + b"x" * 1000
    began = time.monotonic()
    with RawConnection(server.url + "/healthz") as slow:
        for byte in head:
            slow.send(bytes([byte]))
            try:
                slow.wait_for_end(within=0.1)
            except Silence:
                continue
            break
    assert HEADER_SECONDS - 0.5 < time.monotonic() - began < HEADER_SECONDS + 2


@daphne_only
def test_the_second_request_of_a_connection_has_the_same_deadline(server: Server) -> None:
    with RawConnection(server.url + "/healthz") as slow:
        slow.send(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert slow.read_response().status == 200
        began = time.monotonic()
        slow.send(b"GET /healthz HTTP/1.1\r\nHo")
        slow.wait_for_end(within=HEADER_SECONDS + 5)
        assert time.monotonic() - began < HEADER_SECONDS + 2


@daphne_only
@pytest.mark.parametrize(
    "opening",
    [
        pytest.param(b"", id="a first line"),
        pytest.param(b"GET /healthz HTTP/1.1\r\n", id="a header"),
    ],
)
def test_a_second_head_sent_byte_by_byte_is_cut(server: Server, opening: bytes) -> None:
    with RawConnection(server.url + "/healthz") as slow:
        slow.send(BODILESS)
        assert slow.read_response().status == 200
        began = time.monotonic()
        slow.send(opening)
        while True:
            slow.send(b"x")
            with contextlib.suppress(Silence):
                slow.wait_for_end(within=0.1)
                break
            assert time.monotonic() - began < HEADER_SECONDS + 2
        assert time.monotonic() - began > HEADER_SECONDS - 0.5


@daphne_only
def test_a_connection_may_rest_between_two_requests(server: Server) -> None:
    with RawConnection(server.url + "/healthz") as kept:
        # The second comes while the first is answered: that begins no rest either.
        kept.send(BODILESS + BODILESS)
        assert kept.read_response().status == 200
        assert kept.read_response().status == 200
        with pytest.raises(Silence):
            kept.wait_for_end(within=HEADER_SECONDS + 1)
        kept.send(BODILESS)
        assert kept.read_response().status == 200


def test_a_connection_that_was_accepted_outlives_the_deadline_of_heads(
    simulate: Callable[..., RawWebSocket],
) -> None:
    ws = simulate()
    with pytest.raises(Silence):
        ws.read(within=HEADER_SECONDS + 1)
    ws.send_json(movement("FINISH"))
    saved_id(ws.read())


# --- Plain HTTP -----------------------------------------------------------------------------


def test_an_unknown_path_is_404(server: Server) -> None:
    for path in ("/nowhere", "/ws", "/api/v1/nowhere", "/.env", "/.git/config", "/db.sqlite3"):
        assert server.request("GET", path)[0] == 404, path


def test_a_body_of_200_mb_is_refused_at_once_with_flat_memory(server: Server) -> None:
    size = 200 * MIB
    before = server.rss()
    with RawConnection(server.url + "/api/v1/auth/login") as post:
        began = time.monotonic()
        post.send(
            b"POST /api/v1/auth/login HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % size
        )
        post.send_for(b"x" * MIB, seconds=0.5)
        assert post.read_response(within=3).status == 413
        assert time.monotonic() - began < 3
        # Who goes on all the same is not stored either.
        post.send_for(b"x" * 64 * MIB, seconds=0.5)
    assert server.rss() - before < 32 * MIB


def test_a_body_without_a_length_is_refused_at_the_limit(server: Server) -> None:
    chunk = b"%x\r\n" % 65_536 + b"x" * 65_536 + b"\r\n"
    before = server.rss()
    with RawConnection(server.url + "/api/v1/auth/login") as post:
        post.send(
            b"POST /api/v1/auth/login HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        post.send_for(chunk * 160, seconds=0.5)
        assert post.read_response(within=5).status == 413
    assert server.rss() - before < 32 * MIB


@daphne_only
@pytest.mark.parametrize(
    "head",
    [
        pytest.param("X-Long: " + "x" * 100_000, id="a header of 100 KB"),
        pytest.param("\r\n".join(f"X-{n}: 1" for n in range(2000)), id="2,000 headers"),
    ],
)
def test_a_head_too_big_is_refused(server: Server, head: str) -> None:
    with RawConnection(server.url + "/healthz") as client:
        client.send(f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}\r\n\r\n".encode())
        # Twisted drops the connection instead, which is as good.
        with contextlib.suppress(Ended):
            assert 400 <= client.read_response().status < 500


def test_a_host_that_is_not_ours_is_refused(server: Server) -> None:
    assert server.request("GET", "/api/v1/auth/me", headers={"Host": "evil.example"})[0] == 400


@daphne_only
def test_a_request_that_nobody_waits_for_is_logged_without_its_query(
    start_server: Callable[..., Any], simulate: Callable[..., RawWebSocket]
) -> None:
    with start_server(options=["--application-close-timeout", "1"]) as server:
        ws = simulate(new_surgeon(), on=server)
        ws.send_json(movement("FINISH"))
        surgery_id, token = saved_id(ws.read()), server.token_for("ia_justina")
        path = f"/api/v1/surgeries/{surgery_id}/analysis"
        body = b'{"score":85.5,"feedback":"Bien"}'
        head = (
            f"POST {path}?token={token} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        with held(surgery_id):
            with RawConnection(server.url) as gone:
                gone.send(head.encode() + body)
                with pytest.raises(Silence):
                    gone.wait_for_end(within=0.5)
            eventually(lambda: "took too long to shut down" in server.log)
        assert path in server.log
        assert token not in server.log


def test_many_half_open_connections_leave_room_for_an_honest_one(server: Server) -> None:
    waiting = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
    try:
        began = time.monotonic()
        assert server.request("GET", "/healthz")[0] == 200
        # A queue of unaccepted connections that is full costs one whole second at least.
        assert time.monotonic() - began < 1
    finally:
        for each in waiting:
            each.close()
