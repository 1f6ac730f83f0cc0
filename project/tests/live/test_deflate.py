"""permessage-deflate: what is agreed on, one packed form for all, and bombs that do not go off."""

import asyncio
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest
import websockets

from devices.models import Device
from project.tests.live.conftest import KIND
from project.tests.live.halls import is_alive, listen, new_device, sign_in, telemetry, until
from project.tests.live.packing import HEADER, PACKED, TAIL, PackingWebSocket, packed, packed_frame
from project.tests.live.raw import (
    BINARY,
    CLOSE_FRAME,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    RawConnection,
    RawWebSocket,
)
from project.tests.live.server import Server
from project.tests.live.surgeons import movement, new_surgeon, saved_id

Connect = Callable[..., RawWebSocket]
KIB = 1024
MIB = KIB * KIB
SURGERY_LIMIT = 8 * KIB
TELEMETRY_LIMIT = 64 * KIB
PUBSUB_LIMIT = MIB
BOTH = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
# More than a message of document 001 may have, in few enough bytes.
MANY = {f"metric_{number}": 20.0 + number for number in range(10)}


@pytest.fixture
def connect_packing() -> Iterator[Callable[..., PackingWebSocket]]:
    """Return a function that opens a WebSocket of a client that offers compression."""
    with ExitStack() as stack:

        def connect_to(url: str, **options: Any) -> PackingWebSocket:
            return stack.enter_context(PackingWebSocket(url, **options))

        yield connect_to


Packing = Callable[..., PackingWebSocket]


@pytest.fixture
def surgeon(server: Server, connect_packing: Packing) -> PackingWebSocket:
    token = server.token_for(new_surgeon())
    return connect_packing(server.ws_url("/ws/simulation", token=token))


@pytest.fixture
def device(server: Server, connect: Connect) -> tuple[RawWebSocket, Device]:
    """Return the open socket of a device, and the device."""
    made, token = new_device()
    return sign_in(connect(server.ws_url("/ws/device")), token), made


def hear_of(device: Device, connect: Callable[..., Any], server: Server, **options: Any) -> Any:
    """Return the socket of an operator who hears what this device measures."""
    wish = {"channel": "telemetry", "device_id": device.pk}
    return listen(connect, server, wish, **options)


def next_data(ws: RawWebSocket) -> tuple[bytes, bool]:
    """Return the next text message and whether it was packed."""
    while True:
        got = ws.read_frame()
        if got.opcode == TEXT:
            return got.payload, got.reserved == PACKED
        assert got.opcode == PING, got


def end_of(ws: RawWebSocket) -> int | None:
    ending = ws.ending()
    assert ending.by == CLOSE_FRAME, ending
    ws.send_close(ending.code)
    ws.wait_for_end()
    return ending.code


# --- What is agreed on ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offer", "agreed"),
    [
        ("permessage-deflate", BOTH),
        ("permessage-deflate; client_max_window_bits", BOTH),
        ("permessage-deflate; server_max_window_bits=10", f"{BOTH}; server_max_window_bits=10"),
        ("x-unknown, permessage-deflate; nonsense, permessage-deflate", BOTH),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", BOTH),
        ("permessage-deflate, permessage-deflate; server_max_window_bits=10", BOTH),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits=99", None),
        ("permessage-deflate; client_no_context_takeover=1", None),
        ("permessage-bzip2", None),
    ],
)
def test_the_first_offer_that_can_be_kept_is_answered(
    server: Server, connect_packing: Packing, offer: str, agreed: str | None
) -> None:
    ws = connect_packing(server.ws_url("/ws"), offer=offer)
    assert (ws.response.status, ws.agreed) == (101, agreed)


@pytest.mark.parametrize("header", [";", "permessage-deflate;", 'permessage-deflate; a="b', "a b"])
def test_a_header_that_is_none_fails_the_handshake(server: Server, header: str) -> None:
    ws = RawWebSocket(server.ws_url("/ws"), headers={HEADER: header})
    with ws:
        assert ws.response.status == 400


def test_several_headers_are_one(server: Server) -> None:
    with RawWebSocket(server.ws_url("/ws"), waits=False) as model:
        head = model.handshake({HEADER: "x-unknown"})
    more = b"\r\n" + f"{HEADER}: permessage-deflate".encode() + b"\r\n\r\n"
    with RawConnection(server.ws_url("/ws")) as ws:
        ws.send(head.removesuffix(b"\r\n\r\n") + more)
        response = ws.read_response()
    assert (response.status, response.headers[HEADER.lower()]) == (101, BOTH)


def test_it_can_be_switched_off_for_a_dialect(
    start_server: Callable[..., Any], django_db_setup: None, connect_packing: Packing
) -> None:
    with start_server(VITALWIRE_TELEMETRY_DEFLATE_BYTES="0") as server:
        ws = connect_packing(server.ws_url("/ws"))
        assert ws.agreed is None
        ws.send_packed(b'{"type":"ping"}')
        assert end_of(ws) == 1002
        token = server.token_for("operator")
        assert connect_packing(server.ws_url("/ws/pubsub", token=token)).agreed == BOTH


@pytest.mark.skipif(KIND != "uvicorn", reason="an option of uvicorn")
def test_what_uvicorn_was_told_to_decline_is_declined(
    start_server: Callable[..., Any], django_db_setup: None, connect_packing: Packing
) -> None:
    with start_server(["--ws-per-message-deflate", "false"]) as server:
        assert connect_packing(server.ws_url("/ws")).agreed is None


# --- What we send --------------------------------------------------------------------------


def test_all_hear_the_same_packed_or_not_as_each_has_agreed(
    server: Server,
    connect: Connect,
    connect_packing: Packing,
    device: tuple[RawWebSocket, Device],
) -> None:
    ws, made = device
    plain = hear_of(made, connect, server)
    wide = [hear_of(made, connect_packing, server) for _ in range(3)]
    narrow = hear_of(
        made, connect_packing, server, offer="permessage-deflate; server_max_window_bits=9", bits=9
    )
    ws.send_json(telemetry(made.pk, temperature=20.5))
    for each in (plain, *wide, narrow):
        _, was_packed = next_data(each)
        assert not was_packed, "a short message is not worth it"
    ws.send_json(telemetry(made.pk, **MANY))
    expected, was_packed = next_data(plain)
    assert not was_packed
    assert len(msgspec.json.decode(expected)["telemetry"]) == len(MANY)
    for each in (*wide, narrow):
        assert next_data(each) == (expected, True)


def test_the_websockets_library_hears_everything_in_order(
    server: Server, device: tuple[RawWebSocket, Device]
) -> None:
    ws, made = device
    count = 200
    url = server.ws_url("/ws/telemetry")
    headers = {"Authorization": f"Bearer {server.token_for('operator')}"}
    wish = f'{{"type":"subscribe","channel":"telemetry","device_id":{made.pk}}}'

    async def report() -> None:
        for number in range(count):
            ws.send_json(telemetry(made.pk, **{**MANY, "metric_0": float(number)}))
            # A device may send a hundred a second.
            await asyncio.sleep(0.015)

    async def hear() -> list[float]:
        async with websockets.connect(url, additional_headers=headers) as client:
            assert client.response is not None
            assert client.response.headers[HEADER] == BOTH
            await client.send(wish)
            found: list[float] = []
            while len(found) < count:
                message = msgspec.json.decode(await client.recv())
                if message["type"] == "subscribed" and message["device_id"] == made.pk:
                    await report()
                elif message["type"] == "telemetry_update" and message["device_id"] == made.pk:
                    found.append(message["telemetry"]["metric_0"]["value"])
            return found

    heard = asyncio.run(asyncio.wait_for(hear(), 60))
    assert heard == [float(number) for number in range(count)]


def test_pubsub_and_surgery_speak_it_too(
    server: Server, connect_packing: Packing, surgeon: PackingWebSocket
) -> None:
    assert surgeon.agreed == BOTH
    listener = connect_packing(server.ws_url("/ws/pubsub", token=server.token_for("operator")))
    text = b'{"type":"Subscribe","id":"1","data":{"topics":["surgeries.**"]}}'
    listener.send_packed(text)
    while listener.read_json()["type"] != "Ack":
        pass
    for _ in range(30):
        surgeon.send_packed(msgspec.json.encode(movement()))
    surgeon.send_packed(msgspec.json.encode(movement("FINISH")))
    surgery_id = str(saved_id(surgeon.read()))
    was_packed = []
    while True:
        got = listener.read_frame()
        payload = msgspec.json.decode(got.payload)["data"]["payload"]
        if payload.get("surgeryId") == surgery_id:
            was_packed.append((payload["event"], got.reserved == PACKED))
            if payload["event"] == "NEW_SURGERY":
                break
    assert ("SURGERY_MOVED", True) in was_packed


def test_a_close_frame_is_never_packed(server: Server, connect_packing: Packing) -> None:
    ws = connect_packing(server.ws_url("/ws/pubsub", token="nonsense"))
    ending = ws.ending()
    assert (ending.by, ending.code) == (CLOSE_FRAME, 1008)
    assert ending.reason


# --- What the peer sends -------------------------------------------------------------------


def test_packed_and_plain_messages_are_taken_in_any_order(
    server: Server, connect_packing: Packing
) -> None:
    ws = listen(connect_packing, server)
    for number in range(5):
        text = b'{"type":"ping","timestamp":%d}' % number
        if number % 2:
            ws.send_packed(text)
        else:
            ws.send_text(text)
    assert [until(ws, "pong")["timestamp"] for _ in range(5)] == list(range(5))


def test_a_packed_message_comes_in_fragments_with_a_ping_between(
    server: Server, connect_packing: Packing
) -> None:
    ws = listen(connect_packing, server)
    data = packed(b'{"type":"ping","timestamp":"' + b"abcdefgh" * 7 + b'"}')
    parts = [data[:5], data[5:6], b"", data[6:]]
    for number, part in enumerate(parts):
        ws.send_frame(
            CONTINUATION if number else TEXT,
            part,
            final=number == len(parts) - 1,
            reserved=0 if number else PACKED,
        )
        ws.send_frame(PING, b"%d" % number)
        while (got := ws.read_frame()).opcode != PONG:
            assert got.opcode == TEXT
        assert got.payload == b"%d" % number
    ws.send_text('{"type":"ping","timestamp":"after"}')
    assert until(ws, "pong")["timestamp"] in ("abcdefgh" * 7, "after")


def test_a_last_block_and_an_empty_message_are_valid(
    server: Server, connect_packing: Packing
) -> None:
    ws = listen(connect_packing, server)
    packer = zlib.compressobj(wbits=-15)
    last = packer.compress(b'{"type":"ping","timestamp":1}') + packer.flush() + b"\x00"
    ws.send_frame(TEXT, last, reserved=PACKED)
    assert until(ws, "pong")["timestamp"] == 1
    ws.send_packed(b"")
    assert until(ws, "error")["code"] == "invalid_json"


def test_what_is_packed_binary_is_binary(server: Server, connect_packing: Packing) -> None:
    ws = listen(connect_packing, server)
    ws.send_packed(b'{"type":"ping"}', opcode=BINARY)
    assert until(ws, "error")["code"] == "binary_not_supported"


@pytest.mark.parametrize(
    ("opcode", "reserved", "first"),
    [
        pytest.param(CONTINUATION, PACKED, True, id="the bit on a continuation"),
        pytest.param(PING, PACKED, False, id="the bit on a control frame"),
        pytest.param(TEXT, 2, False, id="another bit"),
        pytest.param(TEXT, PACKED | 1, False, id="another bit beside it"),
    ],
)
def test_violations_end_with_1002(
    surgeon: PackingWebSocket, opcode: int, reserved: int, first: bool
) -> None:
    if first:
        surgeon.send_frame(TEXT, packed(b"{}"), final=False, reserved=PACKED)
    surgeon.send_frame(opcode, b"", reserved=reserved)
    assert end_of(surgeon) == 1002


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xff\xff\xff", id="no block"),
        pytest.param(packed(b'{"type":"ping"}')[:-2], id="broken off"),
        pytest.param(packed(b"{}") + b"\x01" + packed(b"{}"), id="with garbage"),
    ],
)
def test_what_cannot_be_unpacked_ends_the_connection(
    surgeon: PackingWebSocket, data: bytes
) -> None:
    surgeon.send_frame(TEXT, data, reserved=PACKED)
    # autobahn calls it bad data, the websockets library a violation.
    assert end_of(surgeon) == (1007 if KIND == "daphne" else 1002)


def test_what_unpacks_to_invalid_utf8_ends_with_1007(surgeon: PackingWebSocket) -> None:
    surgeon.send_packed(b"ab\x80cd")
    assert end_of(surgeon) == 1007


# --- Limits hold for what it unpacks to ------------------------------------------------------


def padded(size: int) -> bytes:
    """Return a FINISH of so many bytes."""
    head = b'{"coordinates":[1,2],"event":"FINISH","timestamp":1,"pad":"'
    return head + b"x" * (size - len(head) - 2) + b'"}'


def test_a_message_at_the_limit_is_taken(surgeon: PackingWebSocket) -> None:
    surgeon.send_packed(padded(SURGERY_LIMIT))
    saved_id(surgeon.read())


@pytest.mark.parametrize("size", [SURGERY_LIMIT + 1, SURGERY_LIMIT + 258, 2 * SURGERY_LIMIT])
def test_one_byte_more_is_too_big(surgeon: PackingWebSocket, size: int) -> None:
    surgeon.send_packed(padded(size))
    assert end_of(surgeon) == 1009


def test_the_dialect_s_own_limit_is_told_as_for_plain_ones(
    server: Server, connect_packing: Packing
) -> None:
    ws = listen(connect_packing, server)
    ws.send_packed(b'{"type":"ping","timestamp":"' + b"x" * KIB + b'"}')
    assert until(ws, "error")["code"] == "message_too_large"
    assert is_alive(ws)
    pubsub = connect_packing(server.ws_url("/ws/pubsub", token=server.token_for("operator")))
    pubsub.send_packed(b'{"type":"Ping","data":{},"id":"' + b"x" * 64 * KIB + b'"}')
    assert until(pubsub, "Error")["data"]["code"] == 413


@pytest.mark.parametrize("size", [TELEMETRY_LIMIT + 1, 4 * MIB, 64 * MIB])
def test_a_bomb_ends_with_1009_and_costs_no_memory(
    server: Server, connect_packing: Packing, size: int
) -> None:
    ws = connect_packing(server.ws_url("/ws"))
    bomb = packed_frame(b"[" * size)
    assert len(bomb) < 70 * KIB
    before = server.rss()
    ws.send(bomb)
    assert end_of(ws) == 1009
    assert server.rss() - before < 4 * MIB


def test_a_bomb_in_a_bomb_is_one_message(server: Server, connect_packing: Packing) -> None:
    ws = listen(connect_packing, server)
    ws.send_packed(packed(b"x" * MIB), opcode=BINARY)
    assert until(ws, "error")["code"] in ("message_too_large", "binary_not_supported")
    assert is_alive(ws)


def test_fragments_are_counted_together_as_they_unpack(
    server: Server, connect_packing: Packing
) -> None:
    ws = connect_packing(server.ws_url("/ws"))
    packer = zlib.compressobj(wbits=-15)
    before = server.rss()
    for number in range(100):
        part = packer.compress(b"[" * 16 * KIB) + packer.flush(zlib.Z_SYNC_FLUSH)
        opcode, reserved = (CONTINUATION, 0) if number else (TEXT, PACKED)
        if not ws.send_frame(opcode, part, final=False, reserved=reserved):
            break
    assert end_of(ws) == 1009
    assert server.rss() - before < 4 * MIB


@pytest.mark.parametrize("size", [PUBSUB_LIMIT - 1, 200 * KIB])
def test_many_little_bombs_in_one_write_are_unpacked_one_after_the_other(
    server: Server, connect_packing: Packing, size: int
) -> None:
    """Each is within the limit: together they would be a quarter of a gigabyte."""
    ws = connect_packing(server.ws_url("/ws/pubsub", token=server.token_for("operator")))
    count = 80
    bomb = packed_frame(b"[" * size)
    before = server.rss()
    ws.send(bomb * count + packed_frame(b'{"type":"Ping","data":{"timestamp":7}}'))
    codes = [until(ws, "Error")["data"]["code"] for _ in range(count)]
    assert set(codes) == {413}
    assert until(ws, "Pong")
    assert server.rss() - before < 24 * MIB


def test_who_closes_behind_its_bombs_is_answered(server: Server, connect_packing: Packing) -> None:
    ws = connect_packing(server.ws_url("/ws/pubsub", token=server.token_for("operator")))
    ws.send(packed_frame(b"[" * (PUBSUB_LIMIT - 1)) * 20)
    ws.send_close(1000)
    ending = ws.ending()
    assert (ending.by, ending.code) == (CLOSE_FRAME, 1000)


def test_nothing_is_kept_from_one_message_for_the_next(
    server: Server, connect_packing: Packing
) -> None:
    """A peer that keeps its window in spite of what was agreed on is corrupt, not understood."""
    ws = listen(connect_packing, server)
    packer = zlib.compressobj(wbits=-15)
    texts = []
    for _ in range(2):
        data = packer.compress(b'{"type":"ping","timestamp":"the same words"}')
        texts.append((data + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL))
    ws.send_frame(TEXT, texts[0], reserved=PACKED)
    assert until(ws, "pong")
    ws.send_frame(TEXT, texts[1], reserved=PACKED)
    assert end_of(ws) in (1002, 1007)
