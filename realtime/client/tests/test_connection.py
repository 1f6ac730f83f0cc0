"""A link comes back after every cut, waits longer each time, and stops when told."""

import logging

import pytest
from websockets.asyncio.server import serve

from realtime.client.connection import Backoff, Link, socket_url, when_final
from realtime.client.errors import (
    FrameRefused,
    HandshakeRefused,
    NotAllowed,
    Unreachable,
    Unreadable,
)
from realtime.client.tests.doubles import PROMPT, Time, Tokens, closing, cutting, serving


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
def clock() -> Time:
    return Time()


async def _greet(connection):
    await connection.send('{"status":"connected"}')
    await connection.wait_closed()


async def _receive(socket):
    return await socket.receive(dict)


def _link(url, tokens, clock, **options):
    options.setdefault("backoff", PROMPT)
    return Link(socket_url(url, "/ws/ai"), tokens, sleep=clock.sleep, clock=clock, **options)


@pytest.mark.parametrize(
    ("attempt", "most"), [(0, 0.5), (1, 1.0), (4, 8.0), (6, 30.0), (5000, 30.0)]
)
def test_the_wait_doubles_up_to_a_maximum(attempt, most):
    assert Backoff(chance=lambda: 1.0).delay(attempt) == most
    assert Backoff(chance=lambda: 0.0).delay(attempt) == 0.0


def test_what_the_server_asks_for_is_the_least_wait():
    assert Backoff(chance=lambda: 0.0).delay(0, at_least=42.0) == 42.0


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:8000", "ws://h:8000/ws/ai?surgery=1"),
        ("https://h", "wss://h/ws/ai?surgery=1"),
    ],
)
def test_the_socket_address_follows_the_rest_address(url, expected):
    assert socket_url(url, "/ws/ai", surgery="1") == expected


async def test_a_conversation_returns_what_it_found(tokens, clock):
    async with serving(_greet) as url:
        assert await _link(url, tokens, clock).converse(_receive) == {"status": "connected"}


async def test_every_attempt_asks_for_a_token(tokens, clock):
    async with serving(closing(1012), cutting, closing(1000), _greet) as url:
        await _link(url, tokens, clock).converse(_receive)
    assert tokens.asked == 4
    assert tokens.forgotten == 0


async def test_the_token_travels_in_a_header_and_not_in_the_address(tokens, clock):
    seen = []

    async def look(connection):
        seen.append((connection.request.path, connection.request.headers["Authorization"]))
        await _greet(connection)

    async with serving(look) as url:
        await _link(url, tokens, clock).converse(_receive)
    assert seen == [("/ws/ai", "Bearer token-1")]


async def test_an_expired_token_is_forgotten_before_the_next_attempt(tokens, clock):
    async with serving(closing(1008, "token expired"), _greet) as url:
        await _link(url, tokens, clock, gives_up=when_final).converse(_receive)
    assert tokens.forgotten == 1
    assert tokens.asked == 2


@pytest.mark.parametrize(("code", "error"), [(1008, NotAllowed), (1003, FrameRefused)])
async def test_a_link_gives_up_when_told(tokens, clock, code, error):
    async with serving(closing(code, "no")) as url:
        with pytest.raises(error):
            await _link(url, tokens, clock, gives_up=when_final).converse(_receive)
    assert tokens.asked == 1


async def test_without_being_told_it_outlives_even_a_refusal(tokens, clock):
    async with serving(closing(1008, "invalid token"), closing(1003), _greet) as url:
        await _link(url, tokens, clock).converse(_receive)
    assert tokens.asked == 3


async def test_waits_grow_with_each_failure_in_a_row(tokens, clock):
    longest = Backoff(chance=lambda: 1.0)
    async with serving(*[closing(1013)] * 3, _greet) as url:
        await _link(url, tokens, clock, backoff=longest).converse(_receive)
    assert clock.slept == [0.5, 1.0, 2.0]


async def test_a_connection_that_lasted_starts_a_new_back_off(tokens, clock):
    lasting = [0.0, 0.0, 6.0, 0.0]

    async def last(socket):
        clock.now += lasting.pop(0)
        return await socket.receive(dict)

    longest = Backoff(chance=lambda: 1.0)
    async with serving(*[closing(1013)] * 3, _greet) as url:
        await _link(url, tokens, clock, backoff=longest).converse(last)
    assert clock.slept == [0.5, 1.0, 0.5]


async def test_a_server_that_is_not_there_is_unreachable(tokens, clock):
    async with serving(_greet) as url:
        pass
    with pytest.raises(Unreachable):
        await _link(url, tokens, clock, gives_up=lambda _: True).converse(_receive)


async def test_a_refused_handshake_says_its_status(tokens, clock):
    def refuse(connection, request):
        return connection.respond(403, "no\n")

    async with serve(_greet, "127.0.0.1", 0, process_request=refuse) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(HandshakeRefused, match="403"):
            await _link(url, tokens, clock, gives_up=lambda _: True).converse(_receive)


async def test_a_message_of_another_shape_is_unreadable(tokens, clock):
    async def babble(connection):
        await connection.send("not json")
        await connection.wait_closed()

    async with serving(babble) as url:
        with pytest.raises(Unreadable):
            await _link(url, tokens, clock, gives_up=lambda _: True).converse(_receive)


async def test_what_the_conversation_raises_itself_is_not_retried(tokens, clock):
    async def stumble(socket):
        raise ZeroDivisionError

    async with serving(_greet) as url:
        with pytest.raises(ZeroDivisionError):
            await _link(url, tokens, clock).converse(stumble)
    assert tokens.asked == 1


async def test_no_log_line_shows_the_token(tokens, clock, caplog):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("websockets").setLevel(logging.DEBUG)
    async with serving(closing(1012), _greet) as url:
        await _link(url, tokens, clock).converse(_receive)
    ours = [r for r in caplog.records if r.name.startswith("vitalwire")]
    assert ours
    assert not any("token-" in record.getMessage() for record in ours)
