"""Write-behind for high-rate rows: one thread, one transaction at a time, no timers.

What arrives while a transaction runs makes up the next one. Nothing is answered before its
COMMIT, so a process that is killed loses only what nobody was told is safe.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
from django.db import InterfaceError, OperationalError, connection, transaction

from devices.models import Surgery, TrajectoryChunk
from devices.services.surgeries import Interrupted
from devices.trajectory import Chunk, chain, genesis
from realtime.core.errors import Conflict, Invalid, Unavailable, VitalwireError

T = TypeVar("T")

log = logging.getLogger("vitalwire.writer")

BATCH_ROWS: Final = 5_000
# About five seconds of a hundred hands at 60 frames a second, and 5 MB.
HIGH: Final = 2_000
# A caller hears within this time that the database is away (SQLite's own wait comes on top).
RETRY_SECONDS: Final = 4.0
FIRST_PAUSE_SECONDS: Final = 0.05
ENDS_REMEMBERED: Final = 10_000


class Fenced(Conflict):
    """Raised when the operation is recorded by somebody else, or complete."""


class Stopped(Unavailable):
    """Raised when a writer does not run (any more): handing over again cannot help."""


class _End(msgspec.Struct, frozen=True):
    """Where an operation's trajectory goes on, and whose recording that is known of."""

    recording: int
    seq: int
    first: int
    digest: bytes


class _Row(msgspec.Struct, frozen=True, eq=False):
    """A chunk to store, and who waits for it."""

    future: asyncio.Future
    chunk: Chunk


class _Job(msgspec.Struct, frozen=True, eq=False):
    """A function to run, and who waits for its result."""

    future: asyncio.Future
    function: Callable[[], Any]


_Work = _Row | _Job


class _Outcome(msgspec.Struct, frozen=True):
    """What became of one piece of work."""

    future: asyncio.Future
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Stores chunks and runs jobs, in the order they were handed over.

    `put` and `submit` are called from an event loop, any number of them; both raise
    Stopped unless the writer runs. Their futures are resolved after COMMIT, all of a batch
    in one wake-up of the loop.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._in_hand = 0
        self._ends: dict[UUID, _End] = {}

    def start(self) -> None:
        """Begin to write. What was stopped can be started again."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Write what was handed over, then end the thread and its database connection."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is None:
                return
            self._queue.put(None)
        thread.join()

    @property
    def is_behind(self) -> bool:
        """Tell producers to stop reading from their sockets for a while."""
        return self._queue.qsize() + self._in_hand > HIGH

    def put(self, chunk: Chunk) -> "asyncio.Future[None]":
        """Store one chunk. The future fails with Fenced, Interrupted, Conflict, Invalid or
        Unavailable.

        The same chunk put twice is stored once and succeeds twice.
        """
        return self._hand_over(_Row(asyncio.get_running_loop().create_future(), chunk))

    def submit(self, function: Callable[[], T]) -> "asyncio.Future[T]":
        """Run `function` alone, in a transaction of its own; the future has its result.

        It is tried again when the database was locked or away, unless COMMIT itself failed:
        then nobody knows, and the future fails with Unavailable.
        """
        return self._hand_over(_Job(asyncio.get_running_loop().create_future(), function))

    def _hand_over(self, work: _Work) -> "asyncio.Future[Any]":
        with self._lock:
            if self._thread is None:
                raise Stopped("the server is stopping: try again soon")
            self._queue.put(work)
        return work.future

    def _run(self) -> None:
        try:
            while batch := self._next_batch():
                self._in_hand = len(batch)
                for kind, works in groupby(batch, key=type):
                    if kind is _Row:
                        _resolve(self._store(list(works)))
                    else:
                        for work in works:
                            _resolve([self._do(work)])
                self._in_hand = 0
        finally:
            connection.close()

    def _next_batch(self) -> list[_Work]:
        """Wait for something to do, then take all there is; nothing when it is time to end."""
        batch: list[_Work] = []
        work = self._queue.get()
        while work is not None:
            batch.append(work)
            if len(batch) == BATCH_ROWS:
                return batch
            try:
                work = self._queue.get_nowait()
            except queue.Empty:
                return batch
        if batch:
            # The last word is for the next call: first comes what was handed over before it.
            self._queue.put(None)
        return batch

    def _do(self, work: _Job) -> _Outcome:
        result, error = self._attempt(work.function)
        return _Outcome(work.future, result, error)

    def _store(self, works: list[_Row]) -> list[_Outcome]:
        """Store rows in one transaction; halve what fails until the bad row stands alone."""
        chunks = [work.chunk for work in works]
        stored, error = self._attempt(lambda: self._insert(chunks), is_repeatable=True)
        if stored is not None:
            refused, ends = stored
            if len(self._ends) > ENDS_REMEMBERED:
                self._ends.clear()
            self._ends.update(ends)
            return [_Outcome(work.future, None, refused.get(i)) for i, work in enumerate(works)]
        if isinstance(error, Unavailable):
            return [_Outcome(work.future, None, error) for work in works]
        if len(works) > 1:
            middle = len(works) // 2
            return self._store(works[:middle]) + self._store(works[middle:])
        log.warning("chunk %d of %s is refused: %s", chunks[0].seq, chunks[0].surgery_id, error)
        refusal = Invalid("the database refuses these movements", field="movements")
        refusal.__cause__ = error
        return [_Outcome(works[0].future, None, refusal)]

    def _attempt(
        self, function: Callable[[], T], *, is_repeatable: bool = False
    ) -> tuple[T | None, BaseException | None]:
        try:
            return self._persist(function, is_repeatable=is_repeatable), None
        except Exception as error:  # as in every executor: it belongs to whoever waits
            return None, error

    def _persist(self, function: Callable[[], T], *, is_repeatable: bool) -> T:
        """Run `function` in a transaction, again and again while the database is away.

        Only what `is_repeatable` is run again after a COMMIT that may have succeeded.
        """
        deadline = time.monotonic() + RETRY_SECONDS
        pause = FIRST_PAUSE_SECONDS
        while True:
            is_committing = False
            try:
                with transaction.atomic(durable=True):
                    result = function()
                    is_committing = True
                return result
            except (OperationalError, InterfaceError) as error:
                connection.close()
                is_hopeless = time.monotonic() + pause > deadline
                if is_hopeless or (is_committing and not is_repeatable):
                    raise Unavailable("the database does not answer: try again later") from error
                log.warning("the database does not answer, trying again: %s", error)
            time.sleep(pause)
            pause *= 2

    def _insert(
        self, chunks: Sequence[Chunk]
    ) -> tuple[dict[int, VitalwireError], dict[UUID, _End]]:
        """Insert what follows; return the others by index, and the ends there will be."""
        fences = _lock_recordings({chunk.surgery_id for chunk in chunks})
        ends: dict[UUID, _End] = {}
        refused: dict[int, VitalwireError] = {}
        fresh: dict[tuple[UUID, int], Chunk] = {}
        for index, chunk in enumerate(chunks):
            key = chunk.surgery_id, chunk.seq
            try:
                _check_fence(chunk, fences.get(chunk.surgery_id))
                end = ends.get(chunk.surgery_id) or self._end_before(chunk)
                if fresh.get(key) != chunk and not _is_stored(chunk, end):
                    ends[chunk.surgery_id] = _follow(chunk, end)
                    fresh[key] = chunk
            except VitalwireError as error:
                refused[index] = error
        TrajectoryChunk.objects.bulk_create(map(_model_of, fresh.values()))
        return refused, ends

    def _end_before(self, chunk: Chunk) -> _End:
        """Return the committed end. Nobody but this thread writes under this number."""
        end = self._ends.get(chunk.surgery_id)
        if end is not None and end.recording == chunk.recording:
            return end
        stored = TrajectoryChunk.objects.filter(surgery_id=chunk.surgery_id)
        last = stored.order_by("-seq").defer("payload").first()
        if last is None:
            return _End(chunk.recording, 0, 0, genesis(chunk.surgery_id))
        digest = bytes.fromhex(last.digest)
        return _End(chunk.recording, last.seq + 1, last.first + last.count, digest)


def _lock_recordings(surgery_ids: set[UUID]) -> dict[UUID, tuple[int, str]]:
    """Lock the operations, in one order everywhere; return who records them, and their status."""
    rows = Surgery.objects.select_for_update(no_key=True).filter(id__in=surgery_ids).order_by("id")
    return {
        surgery_id: (recording, status)
        for surgery_id, recording, status in rows.values_list("id", "recording", "status")
    }


def _check_fence(chunk: Chunk, fence: tuple[int, str] | None) -> None:
    """Raise unless this chunk's recorder may write to the operation."""
    if fence == (chunk.recording, Surgery.Status.INTERRUPTED):
        raise Interrupted("this operation was interrupted")
    if fence != (chunk.recording, Surgery.Status.IN_PROGRESS):
        raise Fenced("another connection took over this operation, or it ended")


def _is_stored(chunk: Chunk, end: _End) -> bool:
    """Tell whether this very chunk is there: a COMMIT whose answer was lost is tried again."""
    if chunk.seq >= end.seq:
        return False
    same = TrajectoryChunk.objects.filter(surgery_id=chunk.surgery_id, seq=chunk.seq)
    return same.filter(digest=chunk.digest.hex()).exists()


def _follow(chunk: Chunk, end: _End) -> _End:
    """Return the end after `chunk`. Raises Conflict when it does not continue the trajectory."""
    if (chunk.seq, chunk.first) != (end.seq, end.first) or chunk.count < 1:
        raise Conflict(
            f"chunk {chunk.seq} after {chunk.first} movements does not follow:"
            f" expected chunk {end.seq} after {end.first}"
        )
    if chunk.digest != chain(end.digest, chunk.seq, chunk.payload):
        raise Conflict(f"the digest of chunk {chunk.seq} does not continue the chain")
    return _End(chunk.recording, chunk.seq + 1, chunk.first + chunk.count, chunk.digest)


def _model_of(chunk: Chunk) -> TrajectoryChunk:
    return TrajectoryChunk(
        surgery_id=chunk.surgery_id,
        seq=chunk.seq,
        first=chunk.first,
        count=chunk.count,
        payload=chunk.payload,
        received_at=chunk.received_at,
        digest=chunk.digest.hex(),
    )


def _resolve(outcomes: list[_Outcome]) -> None:
    """Tell everyone who waits, with one wake-up for each event loop."""
    loops: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for outcome in outcomes:
        loops.setdefault(outcome.future.get_loop(), []).append(outcome)
    for loop, theirs in loops.items():
        try:
            loop.call_soon_threadsafe(_settle, theirs)
        except RuntimeError:
            log.debug("an event loop was closed before its answers came")


def _settle(outcomes: list[_Outcome]) -> None:
    for outcome in outcomes:
        if outcome.future.done():
            continue
        if outcome.error is None:
            outcome.future.set_result(outcome.result)
        else:
            outcome.future.set_exception(outcome.error)
