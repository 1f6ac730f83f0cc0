"""RFC 6455 and HTTP violations: told by a close frame or a status, never by a reset or a 500.

Autobahn and Twisted do otherwise by themselves; only a bare socket can see the difference.
"""

import struct
import time
import zlib
from collections.abc import Callable, Iterator

import pytest

from project.tests.live.raw import (
    BINARY,
    CLOSE,
    CLOSE_FRAME,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    RawConnection,
    RawWebSocket,
)
from project.tests.live.server import Server
from project.tests.live.surgeons import movement, new_surgeon, saved_id, stored

MIB = 1024 * 1024
FRAME_LIMIT = 8 * 1024


@pytest.fixture
def ws(server: Server, connect: Callable[..., RawWebSocket]) -> RawWebSocket:
    """Return the open socket of a surgeon."""
    opened = connect(server.ws_url("/ws/simulation", token=server.token_for("surgeon_master")))
    assert opened.response.status == 101
    return opened


@pytest.fixture(scope="module", autouse=True)
def bystander(server: Server) -> Iterator[None]:
    """Operate through the whole module: what others do wrong must not be felt."""
    url = server.ws_url("/ws/simulation", token=server.token_for(new_surgeon()))
    with RawWebSocket(url) as other:
        other.send_json(movement("START"))
        yield
        other.send_json(movement("FINISH"))
        assert [frame["event"] for frame in stored(saved_id(other.read()))] == ["START", "FINISH"]


def end_of(ws: RawWebSocket) -> int | None:
    """Return the code of the close frame that ends the connection; anything else fails."""
    ending = ws.ending()
    assert ending.by == CLOSE_FRAME, ending
    # A server that keeps the TCP connection open after the closing handshake leaks it.
    ws.send_close(ending.code)
    ws.wait_for_end()
    return ending.code


# --- Violations of the framing: 1002 -------------------------------------------------------


@pytest.mark.parametrize("reserved", [1, 2, 4])
def test_reserved_bits_are_refused(ws: RawWebSocket, reserved: int) -> None:
    ws.send_frame(TEXT, b"{}", reserved=reserved)
    assert end_of(ws) == 1002


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF])
def test_reserved_opcodes_are_refused(ws: RawWebSocket, opcode: int) -> None:
    ws.send_frame(opcode)
    assert end_of(ws) == 1002


def test_an_unmasked_frame_is_refused(ws: RawWebSocket) -> None:
    ws.send_frame(TEXT, b"{}", masked=False)
    assert end_of(ws) == 1002


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_a_control_frame_in_fragments_is_refused(ws: RawWebSocket, opcode: int) -> None:
    ws.send_frame(opcode, b"", final=False)
    assert end_of(ws) == 1002


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_a_control_frame_above_125_bytes_is_refused(ws: RawWebSocket, opcode: int) -> None:
    ws.send_frame(opcode, struct.pack("!H", 1000) + b"x" * 124)
    assert end_of(ws) == 1002


@pytest.mark.parametrize("final", [True, False])
def test_a_continuation_of_nothing_is_refused(ws: RawWebSocket, *, final: bool) -> None:
    ws.send_frame(CONTINUATION, b"{}", final=final)
    assert end_of(ws) == 1002


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_new_message_inside_a_fragmented_one_is_refused(ws: RawWebSocket, opcode: int) -> None:
    ws.send_frame(TEXT, b'{"a":', final=False)
    ws.send_frame(opcode, b"1}")
    assert end_of(ws) == 1002


def test_a_length_with_its_highest_bit_set_is_refused(ws: RawWebSocket) -> None:
    ws.send_frame(TEXT, b"", announced=2**63)
    assert end_of(ws) in {1002, 1009}


def test_a_close_frame_of_one_byte_is_refused(ws: RawWebSocket) -> None:
    ws.send_frame(CLOSE, b"\x03")
    assert end_of(ws) == 1002


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535])
def test_a_close_code_that_must_not_be_sent_is_refused(ws: RawWebSocket, code: int) -> None:
    ws.send_close(code)
    assert end_of(ws) == 1002


# --- What is valid --------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
def test_a_valid_close_is_answered_in_kind(ws: RawWebSocket, code: int) -> None:
    ws.send_close(code, b"done")
    assert ws.ending().code == code
    assert ws.wait_for_end().by == "the end of the stream"


def test_a_close_without_a_code_is_answered(ws: RawWebSocket) -> None:
    ws.send_close(None)
    assert ws.ending().by == CLOSE_FRAME


@pytest.mark.parametrize("payload", [b"", b"are you there", b"\x00\xff" * 62 + b"x"])
def test_a_ping_is_answered_with_its_payload(ws: RawWebSocket, payload: bytes) -> None:
    ws.send_frame(PING, payload)
    pong = ws.read_frame()
    assert (pong.opcode, pong.payload) == (PONG, payload)


def test_an_unasked_pong_is_ignored(ws: RawWebSocket) -> None:
    ws.send_frame(PONG, b"unasked")
    ws.send_json(movement("FINISH"))
    saved_id(ws.read())


def test_a_message_in_fragments_is_read_as_one_with_a_ping_between(ws: RawWebSocket) -> None:
    text = b'{"coordinates":[1,2,3],"event":"FINISH","timestamp":1710523456789,"n":"\xc3\xb1"}'
    ends = [1, 10, 10, text.index(b"\xc3") + 1, len(text)]
    for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        opcode = CONTINUATION if number else TEXT
        ws.send_frame(opcode, text[start:end], final=end == len(text))
        ws.send_frame(PING, b"%d" % number)
        assert ws.read_frame().payload == b"%d" % number
    assert len(stored(saved_id(ws.read()))) == 1


def test_compression_is_declined_or_counted_as_it_unfolds(
    server: Server, connect: Callable[..., RawWebSocket]
) -> None:
    url = server.ws_url("/ws/simulation", token=server.token_for("surgeon_master"))
    ws = connect(url, headers={"Sec-WebSocket-Extensions": "permessage-deflate"})
    assert ws.response.status == 101
    if "sec-websocket-extensions" in ws.response.headers:
        squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        bomb = squeeze.compress(b"x" * 4 * MIB) + squeeze.flush(zlib.Z_SYNC_FLUSH)
        before = server.rss()
        ws.send_frame(TEXT, bomb.removesuffix(b"\x00\x00\xff\xff"), reserved=4)
        assert end_of(ws) == 1009
        assert server.rss() - before < MIB


# --- Invalid UTF-8: 1007 --------------------------------------------------------------------

INVALID_UTF8 = {
    "a lone continuation byte": b"ab\x80cd",
    "an overlong slash": b"\xc0\xaf",
    "a surrogate": b"\xed\xa0\x80",
    "above U+10FFFF": b"\xf4\x90\x80\x80",
    "a byte that never occurs": b"\xff",
    "the beginning of a character": b"ab\xc3",
}


@pytest.mark.parametrize("payload", INVALID_UTF8.values(), ids=INVALID_UTF8)
def test_invalid_utf8_is_refused(ws: RawWebSocket, payload: bytes) -> None:
    ws.send_text(payload)
    assert end_of(ws) == 1007


@pytest.mark.parametrize(
    "fragments",
    [
        pytest.param([b"ab\xc3", b"cd"], id="a character broken by the next fragment"),
        pytest.param([b"ab", b"\x80"], id="invalid in the second fragment"),
        pytest.param([b"ab", b"\xe2\x82"], id="a character that never ends"),
    ],
)
def test_invalid_utf8_split_over_fragments_is_refused(
    ws: RawWebSocket, fragments: list[bytes]
) -> None:
    ws.send_frame(TEXT, fragments[0], final=False)
    ws.send_frame(CONTINUATION, fragments[1])
    assert end_of(ws) == 1007


def test_a_close_reason_of_invalid_utf8_is_refused(ws: RawWebSocket) -> None:
    ws.send_close(1000, b"\xff\xfe")
    assert end_of(ws) == 1007


# --- Too big: 1009 --------------------------------------------------------------------------


def of_size(size: int, event: str = "NONE") -> bytes:
    """Return a frame of the document, padded to `size` bytes."""
    head = b'{"coordinates":[1,2],"event":"%s","timestamp":1,"pad":"' % event.encode()
    return head + b"x" * (size - len(head) - 2) + b'"}'


def test_a_message_at_the_limit_is_taken(ws: RawWebSocket) -> None:
    ws.send_text(of_size(FRAME_LIMIT, "FINISH"))
    saved_id(ws.read())


@pytest.mark.parametrize("size", [FRAME_LIMIT + 1, 65_535, 65_536, MIB])
def test_a_message_above_the_limit_is_refused(ws: RawWebSocket, size: int) -> None:
    ws.send_text(of_size(size))
    assert end_of(ws) == 1009


@pytest.mark.parametrize("announced", [MIB, 2**31, 2**62])
def test_a_message_too_big_is_refused_at_its_header(ws: RawWebSocket, announced: int) -> None:
    ws.send_frame(TEXT, b"", announced=announced)
    assert end_of(ws) == 1009


def test_fragments_count_together(ws: RawWebSocket) -> None:
    ws.send_frame(TEXT, b"x" * 5000, final=False)
    ws.send_frame(CONTINUATION, b"x" * 5000)
    assert end_of(ws) == 1009


def test_fragments_without_end_are_refused(ws: RawWebSocket) -> None:
    ws.send_frame(TEXT, b"x", final=False)
    for _ in range(200):
        if not ws.send_frame(CONTINUATION, b"x" * 1000, final=False):
            break
    assert end_of(ws) == 1009


def test_who_leaves_during_the_handshake_is_no_fault_of_ours(server: Server) -> None:
    """That the server's log stays clean is looked at when it ends."""
    url = server.ws_url("/ws/simulation", token=server.token_for(new_surgeon()))
    with RawWebSocket(url) as ws:
        head = ws.handshake({})
    for step in range(100):
        leaver = RawConnection(url)
        leaver.send(head)
        # Earlier and later: before its token is read, while it is, and when it is let in.
        time.sleep(step * 50e-6)
        leaver.reset()
    assert server.request("GET", "/healthz")[0] == 200
