"""Frames on /ws that are too large, torn, binary or no text at all."""

from collections.abc import Callable

import pytest

from project.tests.live.halls import is_alive, listen, sign_in, until
from project.tests.live.raw import (
    BINARY,
    CLOSE_FRAME,
    CONTINUATION,
    PING,
    TEXT,
    RawWebSocket,
)
from project.tests.live.server import Server
from project.tests.live.surgeons import new_surgeon

Connect = Callable[..., RawWebSocket]
KIB = 1024


@pytest.fixture
def operator_ws(server: Server, connect: Connect) -> RawWebSocket:
    return listen(connect, server)


@pytest.mark.parametrize("is_known", [False, True])
def test_a_megabyte_ends_with_1009_before_it_is_read(
    server: Server, connect: Connect, is_known: bool
) -> None:
    ws = listen(connect, server) if is_known else connect(server.ws_url("/ws"))
    before = server.rss()
    ws.send_frame(TEXT, b"", announced=KIB * KIB)
    ending = ws.ending()
    assert (ending.by, ending.code) == (CLOSE_FRAME, 1009)
    assert server.rss() - before < 8 * KIB * KIB


def test_fragments_are_put_together_and_counted_together(operator_ws: RawWebSocket) -> None:
    operator_ws.send_frame(TEXT, b'{"type":', final=False)
    operator_ws.send_frame(PING, b"between")
    operator_ws.send_frame(CONTINUATION, b'"ping"}')
    assert until(operator_ws, "pong")
    operator_ws.send_frame(TEXT, b"[" * 40 * KIB, final=False)
    operator_ws.send_frame(CONTINUATION, b"[" * 40 * KIB)
    assert operator_ws.ending().code == 1009


def test_binary_is_refused_by_name_before_and_after_auth(server: Server, connect: Connect) -> None:
    ws = connect(server.ws_url("/ws"))
    ws.send_frame(BINARY, b"\x00\xff")
    assert ws.read_json()["code"] == "binary_not_supported"
    sign_in(ws, server.token_for(new_surgeon("ROLE_OPERATOR")))
    ws.send_frame(BINARY, b'{"type":"ping"}')
    assert ws.read_json()["code"] == "binary_not_supported"
    assert is_alive(ws)


def test_invalid_utf8_ends_with_1007(operator_ws: RawWebSocket) -> None:
    operator_ws.send_frame(TEXT, b'{"type":"\xff\xfe"}')
    ending = operator_ws.ending()
    assert (ending.by, ending.code) == (CLOSE_FRAME, 1007)
