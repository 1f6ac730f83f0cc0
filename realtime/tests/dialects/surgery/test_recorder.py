"""The recorder: frames become chunks that follow each other, and nothing is lost unsaid."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from devices.services.surgeries import Recording
from devices.trajectory import Chunk, Link, Movement, decode_movements, genesis, prove
from devices.writer import Stopped
from realtime.core.errors import Conflict, Failure, Unavailable
from realtime.dialects.surgery import recorder as module
from realtime.dialects.surgery.recorder import (
    FRAMES_PER_CHUNK,
    UNSTORED_CHUNKS_MAX,
    Recorder,
)
from realtime.tests.doubles import NOW, surgery_id_of, user_id_of
from realtime.tests.wire import turns

SURGERY_ID = surgery_id_of("one")


class FakeWriter:
    """Keeps chunks, and answers when the test says so."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.answers: list[asyncio.Future[None]] = []
        self.is_stopped = False
        self.is_behind = False

    def put(self, chunk: Chunk) -> asyncio.Future[None]:
        if self.is_stopped:
            raise Stopped("the server is stopping: try again soon")
        self.chunks.append(chunk)
        self.answers.append(asyncio.get_running_loop().create_future())
        return self.answers[-1]

    def commit(self, count: int = 1) -> None:
        for answer in [answer for answer in self.answers if not answer.done()][:count]:
            answer.set_result(None)

    @property
    def sizes(self) -> list[int]:
        return [chunk.count for chunk in self.chunks]


class Room:
    """A recorder with everyone it talks to."""

    def __init__(self, **recording: Any) -> None:
        self.writer = FakeWriter()
        self.shown: list[Chunk] = []
        self.failures: list[Failure] = []
        self.sent = 0
        self.recorder = Recorder(
            Recording(
                **{
                    "surgery_id": SURGERY_ID,
                    "surgeon_id": user_id_of("ana"),
                    "surgeon": "ana",
                    "recording": 1,
                    "chunks": 0,
                    "movements": 0,
                    "digest": genesis(SURGERY_ID),
                    "started_at": NOW,
                    **recording,
                }
            ),
            self.writer,  # type: ignore[arg-type]
            on_chunk=lambda recording, chunk: self.shown.append(chunk),
            on_failure=self.failures.append,
        )

    def send(self, count: int) -> None:
        for _ in range(count):
            self.sent += 1
            self.recorder.add(Movement([float(self.sent), 0.0], "NONE", self.sent))


@pytest.fixture
def room() -> Room:
    return Room()


async def test_sixty_four_frames_make_a_chunk_at_once(room: Room) -> None:
    room.send(FRAMES_PER_CHUNK * 2 + 5)
    assert room.writer.sizes == [64, 64]
    assert room.shown == room.writer.chunks


async def test_fewer_frames_are_written_a_quarter_second_after_the_first(room: Room) -> None:
    loop = asyncio.get_running_loop()
    before = loop.time()
    room.send(3)
    timer = room.recorder._timer
    assert timer is not None
    assert 0.24 < timer.when() - before < 0.35
    assert room.writer.chunks == []
    timer._run()
    assert room.writer.sizes == [3]
    assert room.recorder._timer is None


async def test_the_timer_of_a_full_chunk_does_not_cut_the_next_one(room: Room) -> None:
    room.send(FRAMES_PER_CHUNK - 1)
    timer = room.recorder._timer
    room.send(2)
    assert timer is not None
    assert timer.cancelled()
    assert room.recorder._timer is not timer


async def test_the_chunks_chain_and_hold_every_frame_in_order(room: Room) -> None:
    for count in (64, 10, 100):
        room.send(count)
        room.recorder._cut()
    links = [
        Link(chunk.seq, chunk.first, chunk.count, chunk.payload, chunk.digest.hex())
        for chunk in room.writer.chunks
    ]
    proof = prove(SURGERY_ID, links)
    assert proof.holds
    assert (proof.chunks, proof.movements) == (room.recorder.chunks, 174)
    assert proof.digest == room.recorder.digest.hex()
    frames = [frame for chunk in room.writer.chunks for frame in decode_movements(chunk.payload)]
    assert [frame.timestamp for frame in frames] == list(range(1, 175))


async def test_a_resumed_recording_goes_on_where_it_stood() -> None:
    room = Room(chunks=3, movements=130, digest=b"d" * 32, recording=2)
    room.send(FRAMES_PER_CHUNK)
    (chunk,) = room.writer.chunks
    assert (chunk.seq, chunk.first, chunk.recording) == (3, 130, 2)
    assert (room.recorder.chunks, room.recorder.movements) == (4, 194)


async def test_a_chunk_is_dated_by_its_first_frame(room: Room) -> None:
    before = datetime.now(UTC)
    room.send(1)
    after = datetime.now(UTC)
    room.send(FRAMES_PER_CHUNK - 1)
    assert before <= room.writer.chunks[0].received_at <= after


async def test_flushing_writes_what_is_left_and_waits_for_its_commit(room: Room) -> None:
    room.send(FRAMES_PER_CHUNK + 1)
    flushing = asyncio.ensure_future(room.recorder.flush())
    await turns()
    assert room.writer.sizes == [64, 1]
    room.writer.commit()
    await turns()
    assert not flushing.done()
    room.writer.commit()
    await flushing


async def test_flushing_nothing_waits_for_nothing(room: Room) -> None:
    await room.recorder.flush()
    assert room.writer.chunks == []


async def test_a_database_that_is_slow_makes_the_surgeon_wait(room: Room) -> None:
    room.send(FRAMES_PER_CHUNK * UNSTORED_CHUNKS_MAX - 1)
    assert not room.recorder.is_behind
    room.send(1)
    assert room.recorder.is_behind
    waiting = asyncio.ensure_future(room.recorder.catch_up())
    await turns()
    assert not waiting.done()
    room.writer.commit()
    await waiting
    assert not room.recorder.is_behind


async def test_a_writer_that_is_behind_makes_every_surgeon_wait_for_each_chunk(room: Room) -> None:
    room.writer.is_behind = True
    room.send(FRAMES_PER_CHUNK - 1)
    assert not room.recorder.is_behind
    room.send(1)
    assert room.recorder.is_behind


async def test_a_wait_that_is_cancelled_does_not_cancel_the_writing(room: Room) -> None:
    room.send(1)
    flushing = asyncio.ensure_future(room.recorder.flush())
    await turns()
    flushing.cancel()
    await asyncio.gather(flushing, return_exceptions=True)
    assert not room.writer.answers[0].cancelled()
    room.writer.commit()
    await room.recorder.flush()


async def test_what_could_not_be_stored_is_told_once_and_raised_by_every_flush(
    room: Room,
) -> None:
    room.send(FRAMES_PER_CHUNK * 2)
    refusals = [Conflict("another connection took over"), Conflict("does not follow")]
    for answer, refusal in zip(room.writer.answers, refusals, strict=True):
        answer.set_exception(refusal)
    await turns()
    assert room.failures == refusals[:1]
    for _ in range(2):
        with pytest.raises(Conflict, match="took over"):
            await room.recorder.flush()


async def test_after_a_failure_nothing_more_is_handed_over(room: Room) -> None:
    room.send(FRAMES_PER_CHUNK)
    room.writer.answers[0].set_exception(Conflict("another connection took over"))
    await turns()
    room.send(FRAMES_PER_CHUNK * 3)
    assert room.writer.sizes == [64]
    assert room.recorder._timer is None


async def test_a_writer_that_has_stopped_is_a_failure_like_any_other(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK_SECONDS", 0)
    room.writer.is_stopped = True
    room.send(1)
    await turns()
    assert [str(failure) for failure in room.failures] == ["the server is stopping: try again soon"]
    with pytest.raises(Stopped):
        await room.recorder.flush_patiently()
    assert room.recorder.unstored == (0, 1)


# --- Patience ------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AWAY_SECONDS", 0)


async def test_a_database_that_was_away_gets_the_same_chunks_again_and_what_came_since(
    room: Room, impatient: None
) -> None:
    room.send(FRAMES_PER_CHUNK * 2 + 4)
    for answer in room.writer.answers:
        answer.set_exception(Unavailable("the database does not answer"))
    await turns()
    room.send(FRAMES_PER_CHUNK)
    assert room.recorder.unstored == (0, FRAMES_PER_CHUNK * 3 + 4)
    flushing = asyncio.ensure_future(room.recorder.flush_patiently())
    await turns()
    first, second, *again = room.writer.chunks
    assert again[:2] == [first, second]
    assert [chunk.first for chunk in again] == [0, 64, 128, 192]
    assert [chunk.count for chunk in again] == [64, 64, 64, 4]
    room.writer.commit(4)
    await flushing
    assert room.recorder.unstored == (196, 0)
    assert len(room.failures) == 1


async def test_only_what_is_not_stored_is_handed_over_again(room: Room, impatient: None) -> None:
    room.send(FRAMES_PER_CHUNK * 3)
    room.writer.commit(1)
    away = Unavailable("the database does not answer")
    # What followed it may be refused because it was not there: that is no other failure.
    for answer, refusal in zip(
        room.writer.answers[1:], [away, Conflict("does not follow")], strict=True
    ):
        answer.set_exception(refusal)
    flushing = asyncio.ensure_future(room.recorder.flush_patiently())
    await turns()
    assert [chunk.seq for chunk in room.writer.chunks] == [0, 1, 2, 1, 2]
    room.writer.commit(2)
    await flushing


async def test_patience_ends_when_somebody_else_records(room: Room, impatient: None) -> None:
    room.send(FRAMES_PER_CHUNK + 3)
    room.writer.answers[0].set_exception(Unavailable("the database does not answer"))
    flushing = asyncio.ensure_future(room.recorder.flush_patiently())
    await turns()
    for answer in room.writer.answers[1:]:
        answer.set_exception(Conflict("another connection took over"))
    with pytest.raises(Conflict):
        await flushing
    assert room.recorder.unstored == (0, 67)
