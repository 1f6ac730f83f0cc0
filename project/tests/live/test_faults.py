"""Crashes, restarts, floods and clients that do not read: what was acknowledged stays."""

import random
import signal
import socket
import struct
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from devices.models import Surgery, TrajectoryChunk
from project.tests.live.conftest import KIND, TIMES
from project.tests.live.raw import PING, TEXT, Ended, RawWebSocket, frame
from project.tests.live.server import Server
from project.tests.live.surgeons import (
    eventually,
    held,
    movement,
    new_surgeon,
    saved_id,
    status_of,
    stored,
)

Simulate = Callable[..., RawWebSocket]
MIB = 1024 * 1024
STALLED_SECONDS = float(TIMES["VITALWIRE_STALLED_SECONDS"])
ESTABLISHED = 1
# uvicorn drains, and then lets the signal that it was sent end it.
CLEAN_EXITS = {"daphne": {0}, "uvicorn": {0, -signal.SIGTERM, -signal.SIGINT, 130}}

daphne_only = pytest.mark.skipif(
    KIND != "daphne", reason="uvicorn refuses handshakes itself at its end"
)


# --- kill -9 --------------------------------------------------------------------------------


def test_a_killed_server_loses_no_more_than_a_quarter_second_and_the_operation_goes_on(
    fresh_server: Server, simulate: Simulate
) -> None:
    surgeon, surgery = new_surgeon(), str(uuid.uuid4())
    ws = simulate(surgeon, on=fresh_server, surgery=surgery)
    for number in range(1, 101):
        ws.send_json(movement(timestamp=number))
    began = time.monotonic()
    eventually(lambda: len(stored(uuid.UUID(surgery))) == 100)
    assert time.monotonic() - began < 1
    for number in range(101, 121):
        ws.send_json(movement(timestamp=number))
    fresh_server.kill()
    kept = [each["timestamp"] for each in stored(uuid.UUID(surgery))]
    assert kept == [*range(1, len(kept) + 1)]
    assert status_of(surgery) == "in_progress"

    fresh_server.restart()
    again = simulate(surgeon, on=fresh_server, surgery=surgery)
    again.send_json(movement("FINISH", timestamp=500))
    assert str(saved_id(again.read())) == surgery
    assert [each["timestamp"] for each in stored(uuid.UUID(surgery))] == [*kept, 500]
    call_command("verify_surgery", surgery)


def test_what_was_answered_saved_is_stored_whenever_the_server_is_killed(
    fresh_server: Server, simulate: Simulate, connect: Callable[..., RawWebSocket], soak: int
) -> None:
    dice = random.Random(11)
    surgeons = [new_surgeon() for _ in range(4)]
    acknowledged: dict[uuid.UUID, int] = {}
    for _ in range(2 * soak):
        deadline = time.monotonic() + dice.uniform(0.3, 1.0)
        sockets = [simulate(name, on=fresh_server) for name in surgeons]
        number = 0
        while time.monotonic() < deadline:
            number += 1
            for ws in sockets:
                for _ in range(20):
                    ws.send_json(movement())
                ws.send_json(movement("FINISH", timestamp=number))
            for ws in sockets:
                acknowledged[saved_id(ws.read())] = 21
        # In the middle of the next ones.
        for ws in sockets:
            ws.send_json(movement())
            ws.send_json(movement("FINISH", timestamp=number + 1))
        fresh_server.kill()
        for ws in sockets:
            try:
                acknowledged[saved_id(ws.read())] = 2
            except Ended:
                continue
        fresh_server.restart()
    assert acknowledged
    found = {surgery_id: len(stored(surgery_id)) for surgery_id in acknowledged}
    assert found == acknowledged
    assert {status_of(surgery_id) for surgery_id in acknowledged} == {"completed"}

    # And the AI hears of each, those among them that nobody announced before the crash.
    ai = connect(fresh_server.ws_url("/ws/ai", token=fresh_server.token_for("ia_justina")))
    heard = [each.get("surgeryId") for each in ai.messages(seconds=2)]
    assert {heard.count(str(surgery_id)) for surgery_id in acknowledged} == {1}


# --- SIGTERM --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_ends_tells_200_sockets_1012_and_stores_everything(
    fresh_server: Server, simulate: Simulate, number: signal.Signals
) -> None:
    surgeon = new_surgeon()
    sockets = {}
    for _ in range(200):
        surgery = uuid.uuid4()
        sockets[surgery] = simulate(surgeon, on=fresh_server, surgery=str(surgery))
    for ws in sockets.values():
        for count in range(1, 6):
            ws.send_json(movement(timestamp=count))
    # One that has been answered: everything before it has arrived.
    last = simulate(surgeon, on=fresh_server)
    last.send_json(movement("FINISH"))
    saved_id(last.read())

    fresh_server.send_signal(number)
    endings = [ws.ending(within=15) for ws in sockets.values()]
    assert {(ending.by, ending.code) for ending in endings} == {("a close frame", 1012)}
    assert fresh_server.wait() in CLEAN_EXITS[KIND]
    assert {len(stored(surgery)) for surgery in sockets} == {5}


def test_a_restarted_server_takes_up_what_the_last_one_closed(
    fresh_server: Server, simulate: Simulate
) -> None:
    surgeon, surgery = new_surgeon(), str(uuid.uuid4())
    ws = simulate(surgeon, on=fresh_server, surgery=surgery)
    ws.send_json(movement(timestamp=1))
    eventually(lambda: stored(uuid.UUID(surgery)))
    assert fresh_server.terminate() in CLEAN_EXITS[KIND]
    fresh_server.restart()
    began = time.monotonic()
    again = simulate(surgeon, on=fresh_server, surgery=surgery)
    again.send_json(movement("FINISH", timestamp=2))
    assert str(saved_id(again.read())) == surgery
    assert time.monotonic() - began < 3
    assert [each["timestamp"] for each in stored(uuid.UUID(surgery))] == [1, 2]


@daphne_only
def test_a_handshake_that_is_answered_during_the_end_gets_1012_too(
    fresh_server: Server, simulate: Simulate, connect: Callable[..., RawWebSocket]
) -> None:
    surgeon, surgery = new_surgeon(), str(uuid.uuid4())
    ws = simulate(surgeon, on=fresh_server, surgery=surgery)
    ws.send_json(movement(timestamp=1))
    eventually(lambda: stored(uuid.UUID(surgery)))
    ws.close()
    with held(surgery):
        token = fresh_server.token_for(surgeon)
        url = fresh_server.ws_url("/ws/simulation", token=token, surgery=surgery)
        late = connect(url, waits=False)
        # Answered after it: the handshake has been let in, and waits for the database.
        assert fresh_server.request("GET", "/healthz")[0] == 200
        fresh_server.send_signal(signal.SIGTERM)
        eventually(lambda: refuses_connections(fresh_server))
    late.read_answer()
    assert late.ending().code == 1012
    assert fresh_server.wait() == 0
    assert not Surgery.objects.get(pk=surgery).node


def refuses_connections(server: Server) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port)).close()
    except ConnectionRefusedError:
        return True
    return False


# --- A fault of ours ------------------------------------------------------------------------


def test_a_fault_of_ours_is_closed_with_1011_and_told_to_the_log_alone(
    start_server: Callable[..., Any], simulate: Simulate
) -> None:
    surgeon, surgery = new_surgeon(), str(uuid.uuid4())
    with start_server(faults=1) as server:
        ws = simulate(surgeon, on=server, surgery=surgery)
        ws.send_json(movement(timestamp=1))
        eventually(lambda: stored(uuid.UUID(surgery)))
        ws.close()
        eventually(lambda: not Surgery.objects.get(pk=surgery).node)
        # Nobody but a person with access to the database can do that.
        TrajectoryChunk.objects.filter(surgery_id=surgery).update(payload=b"poison")
        ending = simulate(surgeon, on=server, surgery=surgery).ending()
        assert (ending.code, ending.reason) == (1011, "internal error")
        # The others are served as before.
        other = simulate(new_surgeon(), on=server)
        other.send_json(movement("FINISH"))
        saved_id(other.read())
    assert "a fault of ours on simulation" in server.log


# --- Floods ---------------------------------------------------------------------------------


@contextmanager
def database_held() -> Iterator[None]:
    """Keep every other connection from writing trajectories."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("LOCK TABLE devices_trajectorychunk IN EXCLUSIVE MODE")
        # On SQLite a transaction of ours locks the database from its beginning.
        yield


def flood_of(count: int, *, first: int = 1) -> bytes:
    """Return the bytes of `count` frames, numbered by their timestamps."""
    text = '{"coordinates":[10.5,20.3,15.7],"event":"NONE","timestamp":%d}'
    return b"".join(frame(TEXT, (text % (first + n)).encode()) for n in range(count))


def test_a_flood_costs_no_memory_and_loses_nothing(
    server: Server, simulate: Simulate, soak: int
) -> None:
    count = 20_000 * soak
    flood = flood_of(count)
    ws = simulate(new_surgeon())
    before = server.rss()
    peak, slowest = before, 0.0
    for start in range(0, len(flood), 256 * 1024):
        ws.send(flood[start : start + 256 * 1024])
        began = time.monotonic()
        assert server.request("GET", "/healthz")[0] == 200
        slowest = max(slowest, time.monotonic() - began)
        peak = max(peak, server.rss())
    ws.send_json(movement("FINISH", timestamp=count + 1))
    surgery_id = saved_id(ws.read(within=60))
    assert [each["timestamp"] for each in stored(surgery_id)] == [*range(1, count + 2)]
    assert peak - before < 64 * MIB
    assert slowest < 1


def test_a_surgeon_faster_than_the_database_is_slowed_by_tcp(
    server: Server, simulate: Simulate
) -> None:
    surgery = uuid.uuid4()
    ws = simulate(new_surgeon(), surgery=str(surgery))
    other = simulate(new_surgeon())
    ws.send_json(movement(timestamp=1))
    eventually(lambda: stored(surgery))
    count = 200_000
    flood = flood_of(count, first=2)
    before = server.rss()
    with database_held():
        sent = ws.send_for(flood, seconds=1.0)
        assert sent < len(flood) * 3 // 4, "nothing slowed the sender down"
        assert server.rss() - before < 64 * MIB
        # Whoever waits for the database does not keep others from being answered.
        other.send_frame(PING, b"still there")
        assert other.read_frame().payload == b"still there"
    whole = len(flood[:sent]) // len(frame(TEXT, b"x" * 70))
    assert whole > 0
    ws.send(flood[sent : sent + MIB])
    taken = (sent + MIB) * count // len(flood)
    eventually(lambda: len(stored(surgery)) > taken // 2, within=60)
    times = [each["timestamp"] for each in stored(surgery)]
    assert times == [*range(1, len(times) + 1)]


# --- Clients that do not read ---------------------------------------------------------------


def is_established(ws: RawWebSocket) -> bool:
    """Tell whether the peer still holds its end, without reading from the socket."""
    state: int = struct.unpack_from("B", ws.tcp_info())[0]
    return state == ESTABLISHED


PINGS = b"".join(frame(PING, b"x" * 125) for _ in range(8000))


def test_pings_of_a_client_that_never_reads_cost_no_memory(
    server: Server, connect: Callable[..., RawWebSocket]
) -> None:
    url = server.ws_url("/ws/simulation", token=server.token_for(new_surgeon()))
    ws = connect(url, receive_buffer=4096)
    before = server.rss()
    taken = 0
    while taken < 24 * MIB and (sent := ws.send_for(PINGS, seconds=10)):
        taken += sent
        assert server.rss() - before < 8 * MIB
        if sent < len(PINGS):
            break  # It was blocked for as long as anyone may be, and was let go.
    assert taken > 8 * MIB, "whoever only pings is still read"
    assert server.request("GET", "/healthz")[0] == 200


def test_who_reads_again_gets_the_answer_to_the_latest_ping(
    server: Server, connect: Callable[..., RawWebSocket]
) -> None:
    url = server.ws_url("/ws/simulation", token=server.token_for(new_surgeon()))
    ws = connect(url, receive_buffer=4096)
    for _ in range(6):
        ws.send(PINGS)
    ws.send_frame(PING, b"the last one")
    # The server must have met a peer that does not read, not one that only reads later.
    eventually(lambda: not ws.unread_by_peer())
    answers = 1
    while ws.read_frame().payload != b"the last one":
        answers += 1
    assert answers < 6 * 8000


def test_a_watcher_that_never_reads_is_let_go_and_nobody_else_waits(
    server: Server, connect: Callable[..., RawWebSocket], simulate: Simulate
) -> None:
    watcher = connect(
        server.ws_url("/ws/pubsub", token=server.token_for("operator")), receive_buffer=4096
    )
    watcher.send_json({"type": "Subscribe", "id": "1", "data": {"topics": ["surgeries.**"]}})
    while watcher.read_json()["type"] != "Ack":
        pass
    before, peak = server.rss(), 0
    ws = simulate(new_surgeon())
    deadline = time.monotonic() + STALLED_SECONDS + 15
    number = 0
    while is_established(watcher):
        assert time.monotonic() < deadline, "the watcher is still connected"
        ws.send(flood_of(2000, first=number + 1))
        number += 2000
        peak = max(peak, server.rss() - before)
    ws.send_json(movement("FINISH", timestamp=number + 1))
    assert len(stored(saved_id(ws.read(within=30)))) == number + 1
    assert peak < 32 * MIB
