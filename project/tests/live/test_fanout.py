"""One event to many sockets: each gets every frame whole, once and in order, however it reads."""

import asyncio
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import websockets

from project.tests import services
from project.tests.live.conftest import KIND
from project.tests.live.raw import CLOSE_FRAME, TEXT, Ended, RawWebSocket, Silence, frame
from project.tests.live.server import BASE_DIR, START_SECONDS, Server
from project.tests.live.surgeons import movement, new_surgeon, saved_id

Connect = Callable[..., RawWebSocket]
Simulate = Callable[..., RawWebSocket]
WATCHERS = 50


@pytest.fixture
def patient_server(django_db_setup: None, start_server: Callable[..., Any]) -> Iterator[Server]:
    """Yield a server that waits for a minute for whoever does not read."""
    with start_server(VITALWIRE_STALLED_SECONDS="60") as running:
        yield running


def watch(connect: Connect, server: Server, **options: Any) -> RawWebSocket:
    """Return a socket that hears of every operation from now on."""
    ws = connect(server.ws_url("/ws/pubsub", token=server.token_for("operator")), **options)
    ws.send_json({"type": "Subscribe", "id": "1", "data": {"topics": ["surgeries.**"]}})
    while ws.read_json()["type"] != "Ack":
        pass
    return ws


def stream(ws: RawWebSocket, count: int) -> None:
    """Send `count` movements, one write for many."""
    text = msgspec.json.encode(movement())
    for start in range(0, count, 100):
        ws.send(frame(TEXT, text) * min(100, count - start))


def heard(watcher: RawWebSocket, surgery_id: uuid.UUID) -> list[dict[str, Any]]:
    """Return what a watcher was told of one operation, until it is complete."""
    found = []
    while True:
        message = watcher.read_json()
        if message["type"] == "Gap":
            found.append(message["data"])
            continue
        payload = message["data"]["payload"]
        if payload["surgeryId"] != str(surgery_id):
            continue
        found.append(payload)
        if payload["event"] == "NEW_SURGERY":
            return found


def test_every_watcher_gets_every_frame_in_order(
    server: Server, connect: Connect, simulate: Simulate
) -> None:
    watchers = [watch(connect, server) for _ in range(WATCHERS)]
    surgeon = simulate(new_surgeon())
    stream(surgeon, 2_000)
    surgeon.send_json(movement("FINISH"))
    surgery_id = saved_id(surgeon.read())
    told = [heard(watcher, surgery_id) for watcher in watchers]
    assert all(each == told[0] for each in told)
    moves = [each for each in told[0] if each["event"] == "SURGERY_MOVED"]
    offsets = [each["offset"] for each in moves]
    assert offsets == sorted(set(offsets))
    assert sum(len(each["movements"]) for each in moves) == 2_001


def test_who_stops_reading_and_reads_again_gets_whole_frames_in_order_and_is_told_of_the_gap(
    patient_server: Server, connect: Connect, simulate: Simulate
) -> None:
    slow = watch(connect, patient_server, receive_buffer=4096)
    surgeon = simulate(new_surgeon(), on=patient_server)
    # More than the buffers of both ends and ours.
    stream(surgeon, 60_000)
    surgeon.send_json(movement("FINISH"))
    surgery_id = saved_id(surgeon.read(within=60))
    told = heard(slow, surgery_id)
    offsets = [each["offset"] for each in told if each.get("event") == "SURGERY_MOVED"]
    assert offsets == sorted(set(offsets))
    try:
        while (message := slow.read_json(within=5))["type"] != "Gap":
            pass
        gap = message["data"]
    except Silence:
        (gap,) = [each for each in told if "skipped" in each]
    assert gap["skipped"] > 0
    assert gap["topic"] == "surgeries.**"
    assert gap["from"] <= gap["to"]


def test_an_answer_of_the_same_turn_comes_before_the_close_frame(
    server: Server, simulate: Simulate
) -> None:
    surgeon = simulate(new_surgeon())
    text = msgspec.json.encode(movement("FINISH"))
    surgeon.send(frame(TEXT, text) + frame(TEXT, b"no frame at all"))
    saved_id(surgeon.read())
    with pytest.raises(Ended) as ended:
        surgeon.read()
    assert (ended.value.ending.by, ended.value.ending.code) == (CLOSE_FRAME, 1003)


# --- TLS -----------------------------------------------------------------------------------


@pytest.fixture
def tls_port(server: Server, tmp_path: Path) -> Iterator[int]:
    """Yield the port of a daphne that speaks TLS itself."""
    if KIND != "daphne":
        pytest.skip("only under daphne do we write to the socket")
    key, certificate, port = tmp_path / "key.pem", tmp_path / "cert.pem", services.free_port()
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    paths = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make, *paths], check=True, capture_output=True)
    endpoint = f"ssl:{port}:privateKey={key}:certKey={certificate}:interface=127.0.0.1"
    command = [sys.executable, "-m", "daphne", "-e", endpoint, "project.asgi:application"]
    process = subprocess.Popen(command, cwd=BASE_DIR, env=dict(server._environment))
    yield port
    process.terminate()
    process.wait()


def test_over_tls_frames_are_encrypted_as_ever(server: Server, tls_port: int) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    url = f"wss://127.0.0.1:{tls_port}/ws/pubsub?token={server.token_for('operator')}"

    async def greeting() -> Any:
        async with websockets.connect(url, ssl=context) as ws:
            return msgspec.json.decode(await ws.recv())

    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            message = asyncio.run(greeting())
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert message["data"]["status"] == "connected"
