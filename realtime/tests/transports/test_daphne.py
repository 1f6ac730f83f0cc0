"""What is written to directly, and what is left to the server."""

import socket

from twisted.internet import tcp

from realtime.transports.daphne import _socket_of


def test_a_plain_connection_has_a_socket() -> None:
    with socket.socket() as plain:
        assert _socket_of(tcp.Connection(plain, None)) is plain


def test_a_peer_that_left_before_it_was_let_in_has_none() -> None:
    with socket.socket() as plain:
        connection = tcp.Connection(plain, None)
    del connection.socket
    assert _socket_of(connection) is None


def test_what_is_no_tcp_has_none() -> None:
    assert _socket_of(object()) is None
