"""The portable transport, against a server in memory."""

import asyncio

import pytest

from realtime.core.errors import PolicyViolation
from realtime.core.frames import Frame
from realtime.tests.wire import Wire, turns
from realtime.transports import Closed
from realtime.transports.asgi import AsgiTransport
from realtime.transports.base import OUTBOUND_HIGH
from realtime.transports.choose import transport_for

BIG = Frame(b"x" * (OUTBOUND_HIGH // 2))


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
async def transport(wire: Wire) -> AsgiTransport:
    transport = AsgiTransport(wire.receive, wire.send)
    await transport.accept()
    assert (await wire.next())["type"] == "websocket.accept"
    return transport


def test_an_unknown_server_gets_the_portable_transport(wire: Wire) -> None:
    assert type(transport_for(wire.receive, wire.send, frame_bytes=1)) is AsgiTransport


async def test_the_subprotocol_is_told_at_the_handshake(wire: Wire) -> None:
    transport = AsgiTransport(wire.receive, wire.send)
    assert not transport.is_open
    await transport.accept("realtime.v1")
    assert (await wire.next())["subprotocol"] == "realtime.v1"
    assert transport.is_open


async def test_frames_arrive_in_order_as_text(wire: Wire, transport: AsgiTransport) -> None:
    for text in ("one", "zwölf", "✓"):
        transport.write(Frame(text.encode()))
    assert [await wire.hear() for _ in range(3)] == ["one", "zwölf", "✓"]


async def test_a_binary_frame_is_sent_as_bytes(wire: Wire, transport: AsgiTransport) -> None:
    transport.write(Frame(b"\xff\x00", binary=True))
    message = await wire.next()
    assert message["bytes"] == b"\xff\x00"
    assert "text" not in message


async def test_text_and_binary_are_told_apart(wire: Wire, transport: AsgiTransport) -> None:
    wire.say("text")
    wire.say("")
    wire.say_bytes(b"\x00")
    assert [await transport.receive() for _ in range(3)] == ["text", "", b"\x00"]


async def test_a_peer_that_leaves_is_closed_with_its_code(
    wire: Wire, transport: AsgiTransport
) -> None:
    wire.leave(1001)
    with pytest.raises(Closed) as closed:
        await transport.receive()
    assert closed.value.code == 1001
    assert not transport.is_open


async def test_a_close_comes_after_what_was_written_and_nothing_after_it(
    wire: Wire, transport: AsgiTransport
) -> None:
    transport.write(Frame(b"last words"))
    transport.close(1008, "bad token")
    transport.write(Frame(b"too late"))
    transport.close(1011, "again")
    assert await wire.hear() == "last words"
    assert await wire.ending() == (1008, "bad token")
    await turns()
    assert wire.outbound.empty()


async def test_nothing_is_written_before_the_handshake(wire: Wire) -> None:
    transport = AsgiTransport(wire.receive, wire.send)
    transport.write(Frame(b"early"))
    transport.close(1000, "")
    await turns()
    assert wire.outbound.empty()


async def test_a_server_that_waits_makes_a_blocked_transport_that_says_when_it_drained(
    wire: Wire, transport: AsgiTransport
) -> None:
    drained = []
    transport.on_drained = lambda: drained.append(transport.is_blocked)
    wire.jam()
    for _ in range(3):
        transport.write(BIG)
    await turns()
    assert transport.is_blocked
    wire.unjam()
    await turns()
    assert drained == [False]


async def test_a_transport_that_was_never_blocked_says_nothing(
    wire: Wire, transport: AsgiTransport
) -> None:
    drained: list[bool] = []
    transport.on_drained = lambda: drained.append(True)
    transport.write(Frame(b"small"))
    await turns()
    assert not drained


@pytest.mark.parametrize("error", [OSError("gone"), RuntimeError("after close")])
async def test_a_server_that_raises_means_a_peer_that_is_gone(
    wire: Wire, transport: AsgiTransport, error: Exception
) -> None:
    wire.breaks_with = error
    for _ in range(3):
        transport.write(BIG)
    await turns()
    assert not transport.is_open
    assert not transport.is_blocked


async def test_an_ending_is_raised_out_of_a_waiting_receive(transport: AsgiTransport) -> None:
    receiving = asyncio.ensure_future(transport.receive())
    await turns()
    transport.close_after_received(PolicyViolation("token expired"))
    with pytest.raises(PolicyViolation, match="expired"):
        await receiving


async def test_an_ending_is_raised_once_and_then_the_departure_is_waited_for(
    wire: Wire, transport: AsgiTransport
) -> None:
    transport.close_after_received(PolicyViolation("token expired"))
    with pytest.raises(PolicyViolation):
        await transport.receive()
    wire.leave(1008)
    with pytest.raises(Closed):
        await transport.receive()


async def test_being_cancelled_from_outside_is_no_ending(transport: AsgiTransport) -> None:
    receiving = asyncio.ensure_future(transport.receive())
    await turns()
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving


async def test_aborting_ends_the_conversation_though_the_server_still_waits(
    wire: Wire, transport: AsgiTransport
) -> None:
    wire.jam()
    for _ in range(3):
        transport.write(BIG)
    receiving = asyncio.ensure_future(transport.receive())
    await turns()
    transport.close(1013, "you have stopped reading")
    transport.abort()
    with pytest.raises(Closed):
        await receiving
    assert not transport.is_open
    assert not transport.is_blocked
