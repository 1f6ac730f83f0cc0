"""The writer: what it answers, in which order, to whom, and what it never writes."""

import asyncio
import threading
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from accounts.models import User
from devices import writer as writer_module
from devices.chunks import Fenced
from devices.models import Surgery, TrajectoryChunk
from devices.services.surgeries import (
    Interrupted,
    Recording,
    claim_surgery,
    finish_surgery,
    release_surgery,
    take_surgery,
)
from devices.tests.builders import NOW, chunks_after, completed, interrupted, start
from devices.tests.writing import block_until_written, held_up, outcomes_of, run, stored
from devices.trajectory import Chunk, chain
from devices.verification import verify
from devices.writer import Writer
from realtime.core.errors import Conflict, Invalid, Unavailable

pytestmark = pytest.mark.django_db(transaction=True)


def take_over(recording: Recording) -> Recording:
    claim = claim_surgery(
        surgery_id=recording.surgery_id, surgeon_id=recording.surgeon_id, now=NOW
    ).claim
    taken = take_surgery(
        surgery_id=recording.surgery_id, claim=claim, node="node-2", force=True, now=NOW
    )
    assert taken is not None
    return taken


# --- what is written ------------------------------------------------------------------


def test_a_chunk_is_there_when_its_future_is_done(surgeon: User, writer: Writer) -> None:
    recording = start(surgeon)

    async def main() -> None:
        for chunk in chunks_after(recording, [64, 64, 1]):
            assert await writer.put(chunk) is None
            count = await sync_to_async(TrajectoryChunk.objects.count)()
            assert count == chunk.seq + 1
        await sync_to_async(connections.close_all)()

    run(main)
    proof = verify(Surgery.objects.get())
    assert (proof.holds, proof.chunks, proof.movements) == (True, 3, 129)


def test_what_waits_is_written_in_one_transaction(surgeon: User, writer: Writer) -> None:
    commits: list[int] = []
    insert = writer._chunks.insert
    writer._chunks.insert = lambda chunks: commits.append(len(chunks)) or insert(chunks)
    chunks = [c for _ in range(10) for c in chunks_after(start(surgeon), [5] * 10)]
    assert outcomes_of(writer, chunks) == [None] * 100
    assert commits == [100]


def test_a_batch_has_a_largest_size(
    surgeon: User, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "BATCH_ROWS", 4)
    sizes: list[int] = []
    insert = writer._chunks.insert
    writer._chunks.insert = lambda chunks: sizes.append(len(chunks)) or insert(chunks)
    recording = start(surgeon)
    assert outcomes_of(writer, chunks_after(recording, [1] * 10)) == [None] * 10
    assert max(sizes) <= 4
    assert stored(recording.surgery_id) == list(range(10))


def test_operations_do_not_disturb_each_other(surgeon: User, writer: Writer) -> None:
    recordings = [start(surgeon) for _ in range(5)]
    by_operation = [chunks_after(recording, [2] * 6) for recording in recordings]
    mixed = [chunks[n] for n in range(6) for chunks in by_operation]
    assert outcomes_of(writer, mixed) == [None] * 30
    for recording in recordings:
        assert stored(recording.surgery_id) == list(range(6))


def test_a_recording_goes_on_where_another_process_stopped(surgeon: User, writer: Writer) -> None:
    recording = start(surgeon)
    assert outcomes_of(writer, chunks_after(recording, [3, 2])) == [None, None]
    elsewhere = Writer()
    elsewhere.start()
    taken = take_over(recording)
    assert (taken.chunks, taken.movements) == (2, 5)
    assert outcomes_of(elsewhere, chunks_after(taken, [4])) == [None]
    elsewhere.stop()
    back = take_over(taken)
    assert outcomes_of(writer, chunks_after(back, [1, 1])) == [None, None]
    proof = verify(Surgery.objects.get())
    assert (proof.holds, proof.chunks, proof.movements) == (True, 5, 11)


def test_loops_of_several_threads_share_a_writer(surgeon: User, writer: Writer) -> None:
    recordings = [start(surgeon) for _ in range(6)]
    failures: list[BaseException] = []

    def record(recording: Recording) -> None:
        async def main() -> None:
            for chunk in chunks_after(recording, [3] * 20):
                await writer.put(chunk)

        try:
            asyncio.run(main())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=record, args=(recording,)) for recording in recordings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert all(verify(surgery).movements == 60 for surgery in Surgery.objects.all())


def test_answers_come_in_the_order_of_what_was_handed_over(
    surgeon: User, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "ANSWERS_AT_ONCE", 3)
    chunks = chunks_after(start(surgeon), [1] * 20)
    answered: list[int] = []

    async def main() -> None:
        with held_up(writer):
            for chunk in chunks[:10]:
                writer.put(chunk).add_done_callback(lambda _, n=chunk.seq: answered.append(n))
        # Their answers and those to the next ones wait for the loop together.
        block_until_written(writer)
        rest = [writer.put(chunk) for chunk in chunks[10:]]
        for chunk, future in zip(chunks[10:], rest, strict=True):
            future.add_done_callback(lambda _, n=chunk.seq: answered.append(n))
        block_until_written(writer)
        await asyncio.gather(*rest)

    run(main)
    assert answered == list(range(20))


# --- what is refused ------------------------------------------------------------------


def test_whoever_was_shut_out_writes_nothing_more(surgeon: User, writer: Writer) -> None:
    recording = start(surgeon)
    early = chunks_after(recording, [3, 2])
    assert outcomes_of(writer, early[:1]) == [None]
    taken = take_over(recording)
    late, good = outcomes_of(writer, [early[1], *chunks_after(taken, [7])])
    assert isinstance(late, Fenced)
    assert good is None
    proof = verify(Surgery.objects.get())
    assert (proof.holds, proof.movements) == (True, 10)


def test_nothing_is_added_to_what_has_ended(surgeon: User, writer: Writer) -> None:
    ended = [(completed(surgeon, 3), Fenced), (interrupted(surgeon, 3), Interrupted)]
    for surgery, refusal in ended:
        recording = Recording(
            surgery_id=surgery.id,
            surgeon_id=surgeon.pk,
            surgeon="",
            recording=surgery.recording,
            chunks=1,
            movements=3,
            digest=bytes.fromhex(surgery.digest),
            started_at=NOW,
        )
        assert isinstance(outcomes_of(writer, chunks_after(recording, [1]))[0], refusal)
        assert stored(surgery.id) == [0]


def test_an_operation_that_does_not_exist_is_refused_alone(surgeon: User, writer: Writer) -> None:
    good, gone = start(surgeon), start(surgeon)
    chunks = [*chunks_after(gone, [1]), *chunks_after(good, [1])]
    Surgery.objects.filter(pk=gone.surgery_id).delete()
    first, second = outcomes_of(writer, chunks)
    assert isinstance(first, Fenced)
    assert second is None


def test_a_released_recording_may_still_write(surgeon: User, writer: Writer) -> None:
    """A process whose heartbeat was late is taken for dead, but nobody else has taken over."""
    recording = start(surgeon)
    release_surgery(surgery_id=recording.surgery_id, recording=1, now=NOW)
    assert outcomes_of(writer, chunks_after(recording, [3])) == [None]


def test_a_hole_is_refused(surgeon: User, writer: Writer) -> None:
    recording = start(surgeon)
    chunks = chunks_after(recording, [3, 2, 1])
    first, third = outcomes_of(writer, [chunks[0], chunks[2]])
    assert first is None
    assert isinstance(third, Conflict)
    assert "expected chunk 1" in str(third)
    assert outcomes_of(writer, chunks[1:]) == [None, None]


def test_a_digest_that_does_not_continue_the_chain_is_refused(
    surgeon: User, writer: Writer
) -> None:
    recording = start(surgeon)
    honest = chunks_after(recording, [3])[0]
    forged = Chunk(**{**_fields(honest), "digest": chain(b"\0" * 32, 0, honest.payload)})
    assert isinstance(outcomes_of(writer, [forged])[0], Conflict)
    assert stored(recording.surgery_id) == []


def test_the_same_chunk_twice_is_stored_once(surgeon: User, writer: Writer) -> None:
    recording = start(surgeon)
    chunks = chunks_after(recording, [3, 2])
    assert outcomes_of(writer, [chunks[0], chunks[0], chunks[1]]) == [None] * 3
    assert outcomes_of(writer, chunks) == [None] * 2
    assert stored(recording.surgery_id) == [0, 1]


def test_another_chunk_under_a_number_that_is_taken_is_refused(
    surgeon: User, writer: Writer
) -> None:
    recording = start(surgeon)
    assert outcomes_of(writer, chunks_after(recording, [3])) == [None]
    assert isinstance(outcomes_of(writer, chunks_after(recording, [4]))[0], Conflict)


def test_a_row_that_the_database_refuses_fails_alone(surgeon: User, writer: Writer) -> None:
    recordings = [start(surgeon) for _ in range(7)]
    chunks = [chunk for r in recordings for chunk in chunks_after(r, [1, 1])]
    bad = 4
    chunks[bad] = Chunk(**{**_fields(chunks[bad]), "count": 2**70})
    outcomes = outcomes_of(writer, chunks)
    # The one after it belongs to the same operation: it cannot follow what is not there.
    assert [n for n, outcome in enumerate(outcomes) if outcome] == [bad, bad + 1]
    assert isinstance(outcomes[bad], Invalid)
    assert isinstance(outcomes[bad + 1], Conflict)
    assert TrajectoryChunk.objects.count() == len(chunks) - 2
    assert all(verify(surgery).holds for surgery in Surgery.objects.all())


def _fields(chunk: Chunk) -> dict[str, Any]:
    return {name: getattr(chunk, name) for name in chunk.__struct_fields__}


# --- start, stop, fill ----------------------------------------------------------------


def test_stopping_writes_what_was_handed_over(surgeon: User) -> None:
    recording = start(surgeon)
    writer = Writer()
    writer.start()

    async def main() -> list[Any]:
        with held_up(writer):
            futures = [writer.put(chunk) for chunk in chunks_after(recording, [1] * 50)]
            stopping = asyncio.get_running_loop().run_in_executor(None, writer.stop)
        await stopping
        return await asyncio.gather(*futures)

    assert run(main) == [None] * 50
    assert len(stored(recording.surgery_id)) == 50


def test_a_stopped_writer_takes_nothing_and_can_be_started_again(surgeon: User) -> None:
    recording = start(surgeon)
    chunk = chunks_after(recording, [1])[0]
    writer = Writer()

    async def main() -> None:
        with pytest.raises(Unavailable):
            writer.put(chunk)
        writer.start()
        await writer.put(chunk)

    writer.start()
    writer.stop()
    writer.stop()
    run(main)
    writer.stop()
    assert stored(recording.surgery_id) == [0]


def test_it_tells_when_it_is_behind(
    surgeon: User, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "HIGH", 10)
    recording = start(surgeon)

    async def main() -> None:
        with held_up(writer):
            futures = [writer.put(chunk) for chunk in chunks_after(recording, [1] * 20)]
            assert writer.is_behind
        await asyncio.gather(*futures)
        await writer.submit(lambda: None)

    assert not writer.is_behind
    run(main)


def test_finishing_after_the_last_future_finds_everything(surgeon: User, writer: Writer) -> None:
    recording = start(surgeon)
    chunks = chunks_after(recording, [64] * 12)
    assert outcomes_of(writer, chunks) == [None] * 12
    surgery = finish_surgery(
        surgery_id=recording.surgery_id,
        recording=1,
        chunks=12,
        digest=chunks[-1].digest,
        now=NOW,
    )
    assert surgery.movements == 12 * 64
    assert verify(surgery).holds
