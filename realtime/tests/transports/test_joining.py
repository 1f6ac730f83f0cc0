"""Frames of one turn leave in one write, in order, for every connection of the loop."""

import asyncio
import socket

import pytest
import uvloop

from realtime.core.deflate import Agreement
from realtime.core.frames import Frame
from realtime.core.session import Session
from realtime.tests.doubles import member
from realtime.tests.wire import turns
from realtime.transports import joining
from realtime.transports.joining import JOINED_MAX, Joining, current_turn


class Noting(Joining):
    """Keeps each write."""

    __slots__ = ("_frames", "_turn", "is_broken", "writes")

    def __init__(self) -> None:
        super().__init__(None, None)
        self._frames = []
        self._turn = current_turn()
        self.writes: list[bytes] = []
        self.is_broken = False

    def write_now(self, data: bytes) -> None:
        if self.is_broken:
            raise RuntimeError("a fault in this transport")
        self.writes.append(data)


def frame(text: str) -> Frame:
    return Frame(text.encode())


def wire(*texts: str) -> bytes:
    return b"".join(frame(text).wire for text in texts)


async def test_frames_of_one_turn_are_one_write() -> None:
    one = Noting()
    for text in ("a", "b", "c"):
        one.write(frame(text))
    assert one.writes == []
    await turns()
    one.write(frame("d"))
    await turns()
    assert one.writes == [wire("a", "b", "c"), wire("d")]


async def test_every_connection_is_written_once_with_its_own_frames() -> None:
    one, other = Noting(), Noting()
    for connection, text in ((one, "a"), (other, "b"), (one, "c")):
        connection.write(frame(text))
    await turns()
    assert (one.writes, other.writes) == ([wire("a", "c")], [wire("b")])


async def test_what_must_come_before_something_else_is_flushed_at_once() -> None:
    one = Noting()
    one.write(frame("a"))
    one.flush()
    one.flush()
    assert one.writes == [wire("a")]
    await turns()
    assert one.writes == [wire("a")]


async def test_many_frames_do_not_wait_for_the_end_of_the_turn() -> None:
    one = Noting()
    for _ in range(JOINED_MAX + 1):
        one.write(frame("a"))
    assert one.writes == [wire(*"a" * JOINED_MAX)]
    await turns()
    assert one.writes[1:] == [wire("a")]


async def test_what_is_written_is_counted_and_told_to_the_session_s_tap() -> None:
    told: list[bytes] = []

    class Listening:
        def sent(self, session: Session, data: bytes) -> None:
            told.append(data)

    one = Noting()
    one.session = member().session
    one.write(frame("a"))
    one.write(frame("b"))
    await turns()
    assert one.session.messages_out == 2
    one.session.tap = Listening()  # type: ignore[assignment]
    texts = ("c", "d" * 200, "e" * 70_000)
    for text in texts:
        one.write(frame(text))
    await turns()
    assert told == [text.encode() for text in texts]


async def test_who_agreed_on_it_gets_long_frames_packed_and_the_tap_is_told_what_they_say() -> None:
    told: list[bytes] = []

    class Listening:
        def sent(self, session: Session, data: bytes) -> None:
            told.append(data)

    one, other = Noting(), Noting()
    one.session = member().session
    one.session.tap = Listening()  # type: ignore[assignment]
    one._pack(Agreement(), least=300)
    frames = [frame("a" * length) for length in (299, 300, 70_000)]
    for each in frames:
        one.write(each)
        other.write(each)
    await turns()
    assert other.writes == [b"".join(each.wire for each in frames)]
    assert one.writes == [frames[0].wire + frames[1].packed(15) + frames[2].packed(15)]
    assert len(one.writes[0]) < 1_000
    assert told == [each.payload for each in frames]
    assert one.session.messages_out == 3


async def test_of_many_connections_some_are_flushed_in_the_next_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(joining, "FLUSHED_AT_ONCE", 2)
    connections = [Noting() for _ in range(5)]
    for connection in connections:
        connection.write(frame("a"))
    await asyncio.sleep(0)
    assert [len(each.writes) for each in connections] == [1, 1, 0, 0, 0]
    connections[4].write(frame("b"))
    await turns()
    assert connections[4].writes == [wire("a", "b")]
    assert all(len(each.writes) == 1 for each in connections)


async def test_a_fault_of_one_connection_keeps_nothing_from_the_others() -> None:
    broken, other = Noting(), Noting()
    broken.is_broken = True
    faults: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: faults.append(context["exception"]))
    for connection in (broken, other):
        connection.write(frame("a"))
    await turns()
    assert other.writes == [wire("a")]
    assert len(faults) == 1


def test_what_uvloop_has_read_already_is_part_of_the_same_write() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(written_while_a_message_arrives()) == [wire("a", "b")]


async def written_while_a_message_arrives() -> list[bytes]:
    """Return the writes when "a" is due and the message that leads to "b" is there to be read."""
    one = Noting()
    near, far = socket.socketpair()
    with near, far:
        reader, writer = await asyncio.open_connection(sock=near)

        async def hand_on() -> None:
            one.write(frame((await reader.read(1)).decode()))

        task = asyncio.create_task(hand_on())
        await turns()
        one.write(frame("a"))
        far.send(b"b")
        await task
        await turns()
        writer.close()
        await writer.wait_closed()
    return one.writes
