"""Write-behind for high-rate rows: one thread, one transaction at a time, no timers.

What arrives while a transaction runs makes up the next one. Nothing is answered before its
COMMIT, so a process that is killed loses only what nobody was told is safe. How rows of one
kind are stored is in `devices/chunks.py` and `devices/storing.py`.
"""

import asyncio
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, Final, Protocol, TypeVar

import msgspec
from django.db import InterfaceError, OperationalError, connection, reset_queries, transaction

from devices.chunks import ChunkStore
from devices.readings import Report
from devices.storing import ReadingStore
from devices.trajectory import Chunk
from realtime.core.errors import Unavailable, VitalwireError

T = TypeVar("T")

log = logging.getLogger("vitalwire.writer")

BATCH_ROWS: Final = 5_000
# 20 MB of readings (a third of a second at 60,000/s), or 2,000 chunks: about five seconds of a
# hundred hands at 60 frames a second, and 5 MB.
HIGH: Final = 20_000
JOB_WEIGHT: Final = 10
# A caller hears within this time that the database is away (SQLite's own wait comes on top).
RETRY_SECONDS: Final = 4.0
FIRST_PAUSE_SECONDS: Final = 0.05
# How many waiting callers are answered before the event loop has a turn for something else.
ANSWERS_AT_ONCE: Final = 500


class Stopped(Unavailable):
    """Raised when a writer does not run (any more): handing over again cannot help."""


class Store(Protocol):
    """How rows of one kind are stored. All but `weight` is for the writer's thread."""

    weight: int

    def insert(self, rows: Sequence[Any]) -> tuple[dict[int, VitalwireError], Any]:
        """Insert what can be, inside the writer's transaction; return the refused by index.

        The second part is for `remember`: what is only true once this has been committed.
        """

    def remember(self, learnt: Any) -> None:
        """Take over what `insert` learnt, after its COMMIT."""

    def refusal(self, row: Any, error: BaseException | None) -> VitalwireError:
        """Return what to tell the sender of a row that the database refuses for itself."""


class _Rows(msgspec.Struct, frozen=True, eq=False):
    """Rows of one kind to store, and who waits for them; `size` counts what they write.

    With `is_one` the future has None or fails; without, it has the refused by index.
    """

    future: asyncio.Future
    store: Store
    rows: Sequence[Any]
    size: int
    weight: int
    is_one: bool


class _Job(msgspec.Struct, frozen=True, eq=False):
    """A function to run, and who waits for its result."""

    future: asyncio.Future
    function: Callable[[], Any]
    size: int = 1
    weight: int = JOB_WEIGHT


_Work = _Rows | _Job
# A future, its result, its error.
_Outcome = tuple[asyncio.Future, Any, BaseException | None]


class Writer:
    """Stores rows and runs jobs: each kind of rows in the order they were handed over, and
    everything before a job before it.

    `put…` and `submit` are called from an event loop, any number of them; all raise
    Stopped unless the writer runs. Their futures are resolved after COMMIT, all of a batch
    in one wake-up of the loop.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        # What waits or is being written, by weight. Guarded by the lock.
        self._load = 0
        self._chunks = ChunkStore()
        self._readings = ReadingStore()

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
        return self._load > HIGH

    @property
    def depth(self) -> int:
        """How much waits or is being written: in readings, of which a chunk or a job weighs ten."""
        return self._load

    def put(self, chunk: Chunk) -> "asyncio.Future[None]":
        """Store one chunk. The future fails with Fenced, Interrupted, Conflict, Invalid or
        Unavailable.

        The same chunk put twice is stored once and succeeds twice.
        """
        future = asyncio.get_running_loop().create_future()
        store = self._chunks
        return self._hand_over(_Rows(future, store, (chunk,), 1, store.weight, True))

    def put_report(self, report: Report) -> "asyncio.Future[None]":
        """Store the readings of one report, all or none. The future fails with Invalid or
        Unavailable.

        A reading whose message or moment is stored already is not stored again and succeeds.
        """
        future = asyncio.get_running_loop().create_future()
        size = len(report.metrics)
        return self._hand_over(_Rows(future, self._readings, (report,), size, size, True))

    def put_reports(self, reports: Sequence[Report]) -> "asyncio.Future[dict[int, VitalwireError]]":
        """Store several reports, each by itself; the future has the refused ones by index."""
        future = asyncio.get_running_loop().create_future()
        size = sum([len(report.metrics) for report in reports])
        return self._hand_over(_Rows(future, self._readings, reports, size, size, False))

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
            self._load += work.weight
            self._queue.put(work)
        return work.future

    def _run(self) -> None:
        try:
            while batch := self._next_batch():
                for kind, works in groupby(batch, key=type):
                    if kind is _Job:
                        for work in works:
                            _resolve([self._do(work)])
                    else:
                        self._store_all(works)
                with self._lock:
                    self._load -= sum(work.weight for work in batch)
                # With DEBUG Django keeps every statement, and ours are half a megabyte each.
                reset_queries()
        finally:
            connection.close()

    def _next_batch(self) -> list[_Work]:
        """Wait for something to do, then take all there is; nothing when it is time to end."""
        batch: list[_Work] = []
        size = 0
        work = self._queue.get()
        while work is not None:
            batch.append(work)
            size += work.size
            if size >= BATCH_ROWS:
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
        return work.future, result, error

    def _store_all(self, works: Iterable[_Rows]) -> None:
        """Store each kind in a transaction of its own: kinds that alternate are not cut up."""
        kinds: dict[Store, list[_Rows]] = {}
        for work in works:
            kinds.setdefault(work.store, []).append(work)
        for store, theirs in kinds.items():
            refused = self._store(store, [row for work in theirs for row in work.rows])
            _resolve(_outcomes_of(theirs, refused))

    def _store(self, store: Store, rows: Sequence[Any]) -> dict[int, BaseException]:
        """Store rows in one transaction; halve what fails until the bad row stands alone.

        Return the refused ones by index.
        """
        stored, error = self._attempt(lambda: store.insert(rows), is_repeatable=True)
        if stored is not None:
            refused, learnt = stored
            store.remember(learnt)
            return refused
        if isinstance(error, Unavailable):
            return dict.fromkeys(range(len(rows)), error)
        if len(rows) == 1:
            refusal = store.refusal(rows[0], error)
            refusal.__cause__ = error
            return {0: refusal}
        middle = len(rows) // 2
        refused = self._store(store, rows[:middle])
        second = self._store(store, rows[middle:])
        return refused | {middle + index: problem for index, problem in second.items()}

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


def _outcomes_of(works: Iterable[_Rows], refused: dict[int, BaseException]) -> list[_Outcome]:
    """Say of each work what became of its rows; `refused` counts through the rows of all."""
    if not refused:
        return [(work.future, None if work.is_one else {}, None) for work in works]
    outcomes: list[_Outcome] = []
    first = 0
    for work in works:
        count = len(work.rows)
        own = {i: refused[first + i] for i in range(count) if first + i in refused}
        if work.is_one:
            outcomes.append((work.future, None, own.get(0)))
        else:
            outcomes.append((work.future, own, None))
        first += count
    return outcomes


def _resolve(outcomes: list[_Outcome]) -> None:
    """Tell everyone who waits, with one wake-up for each event loop."""
    loops: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for outcome in outcomes:
        loops.setdefault(outcome[0].get_loop(), []).append(outcome)
    for loop, theirs in loops.items():
        try:
            loop.call_soon_threadsafe(_settle, loop, theirs)
        except RuntimeError:
            log.debug("an event loop was closed before its answers came")


# Of each loop that has more to answer than it does at once; touched by its own thread only.
_late: dict[asyncio.AbstractEventLoop, deque[_Outcome]] = {}


def _settle(loop: asyncio.AbstractEventLoop, outcomes: list[_Outcome]) -> None:
    """Answer, behind those who still wait for the answers to an earlier batch."""
    if loop in _late:
        _late[loop].extend(outcomes)
        return
    if len(outcomes) > ANSWERS_AT_ONCE:
        _late[loop] = deque(outcomes[ANSWERS_AT_ONCE:])
        loop.call_soon(_settle_late, loop)
    _answer(outcomes[:ANSWERS_AT_ONCE])


def _settle_late(loop: asyncio.AbstractEventLoop) -> None:
    late = _late[loop]
    _answer([late.popleft() for _ in range(min(ANSWERS_AT_ONCE, len(late)))])
    if late:
        loop.call_soon(_settle_late, loop)
    else:
        del _late[loop]


def _answer(outcomes: list[_Outcome]) -> None:
    for future, result, error in outcomes:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
