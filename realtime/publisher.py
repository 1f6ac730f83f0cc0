"""Takes what users say into the journal: inserted and numbered in one transaction, no timers.

What arrives while a commit runs makes up the next one. Nothing is answered before its COMMIT.
The same message said again is recognised by its key, and is not taken twice.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from django.db import (
    DatabaseError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connection,
    reset_queries,
)

from realtime import journal, mailbox
from realtime.core.errors import NotFound, Unavailable
from realtime.core.events import Message
from realtime.journal import Numbered, Turn
from realtime.models import JournalEntry, Publication

logger = logging.getLogger("vitalwire.publisher")

BATCH_MESSAGES: Final = 500
# What waits or is being written, in bytes of payload with something for the rest of a message.
HIGH_BYTES: Final = 32 * 1024 * 1024
MESSAGE_BYTES: Final = 1024
# A sender hears within this time that the database is away (SQLite's own wait comes on top).
RETRY_SECONDS: Final = 4.0
FIRST_PAUSE_SECONDS: Final = 0.05
# Answers are written with the next messages, or by themselves when there are none for so long.
IDLE_SECONDS: Final = 0.1
KEPT: Final = timedelta(days=1)
PRUNED_AT_ONCE: Final = 5_000


class Receipt(msgspec.Struct, frozen=True):
    """What became of a message. `position` is where it stands, `<epoch>-<n>`.

    Of a repeated one it is the first one's, and `answer` what that one was told, if known.
    `is_kept`: it waits for its recipient until they have been told.
    """

    event_id: str
    position: str
    is_repeat: bool = False
    answer: dict[str, Any] | None = None
    is_kept: bool = False


class _Letter(msgspec.Struct, frozen=True, eq=False):
    """A message to take in, and who waits for its receipt."""

    future: "asyncio.Future[Receipt]"
    event: Message
    key: str | None
    recipient: UUID | None

    @property
    def size(self) -> int:
        return memoryview(self.event.payload).nbytes + MESSAGE_BYTES


class _Answer(msgspec.Struct, frozen=True, eq=False):
    """What a message was answered, to be kept for whoever says it again."""

    key: str
    answer: dict[str, Any]


class Publisher:
    """One thread. `publish` and `keep_answer` are called from event loops."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[_Letter | _Answer | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        # Bytes that wait or are being written. Guarded by the lock.
        self._load = 0
        # For the thread alone: answers that wait for a transaction.
        self._answers: list[_Answer] = []

    def start(self) -> None:
        """Begin to write. What was stopped can be started again."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
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
    def depth(self) -> int:
        """How much waits or is being written: bytes."""
        return self._load

    def publish(
        self, event: Message, *, key: str | None = None, recipient: UUID | None = None
    ) -> "asyncio.Future[Receipt]":
        """Take a message into the journal; those of one caller in the order of their calls.

        `key` is the same for what is the same message; `recipient` is whose mailbox it waits
        in until they were told. Where this process listens to the journal, the message has
        been delivered when the future is done. Raises Unavailable when too much waits or the
        publisher does not run; the future fails with it when the database is away.
        """
        future = asyncio.get_running_loop().create_future()
        letter = _Letter(future, event, key, recipient)
        with self._lock:
            if self._thread is None:
                raise Unavailable("the server is stopping: try again soon")
            if self._load + letter.size > HIGH_BYTES:
                raise Unavailable("too many messages wait to be stored: try again later")
            self._load += letter.size
            self._queue.put(letter)
        return future

    def keep_answer(self, key: str, answer: dict[str, Any]) -> None:
        """Remember what the message was answered; kept soon, not at once."""
        self._queue.put(_Answer(key, answer))

    # --- The thread ----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            is_running = True
            while is_running:
                letters, is_running = self._next_batch()
                if letters:
                    self._take_in(letters)
                elif self._answers:
                    self._write_answers()
                # With DEBUG Django keeps every statement.
                reset_queries()
        finally:
            connection.close()

    def _next_batch(self) -> tuple[list[_Letter], bool]:
        """Wait for something to do, then take all there is; False with it to end after that."""
        letters: list[_Letter] = []
        try:
            work = self._queue.get(timeout=IDLE_SECONDS if self._answers else None)
            while True:
                if work is None:
                    return letters, False
                if isinstance(work, _Answer):
                    self._answers.append(work)
                else:
                    letters.append(work)
                if len(letters) >= BATCH_MESSAGES:
                    return letters, True
                work = self._queue.get_nowait()
        except queue.Empty:
            return letters, True

    def _take_in(self, letters: list[_Letter]) -> None:
        """Store a batch; halve what the database refuses until that stands alone."""
        try:
            receipts = self._store(letters)
        except Unavailable as problem:
            self._answer(letters, [problem] * len(letters))
        except Exception as problem:
            if len(letters) > 1 and isinstance(problem, DatabaseError):
                middle = len(letters) // 2
                self._take_in(letters[:middle])
                self._take_in(letters[middle:])
            else:
                # As in every executor: it belongs to whoever waits.
                self._answer(letters, [_refusal(letter, problem) for letter in letters])
        else:
            self._answer(letters, receipts)

    def _answer(
        self, letters: Sequence[_Letter], outcomes: Sequence[Receipt | BaseException]
    ) -> None:
        """Make room for others, and tell those who wait what became of theirs."""
        with self._lock:
            self._load -= sum(letter.size for letter in letters)
        futures = (letter.future for letter in letters)
        _resolve(list(zip(futures, outcomes, strict=True)))

    def _store(self, letters: Sequence[_Letter]) -> list[Receipt]:
        """Store in one transaction, again and again while the database is away."""
        deadline = time.monotonic() + RETRY_SECONDS
        pause = FIRST_PAUSE_SECONDS
        batch = _Batch(letters, self._answers)
        while True:
            try:
                receipts = batch.store()
                self._answers = []
                return receipts
            except (OperationalError, InterfaceError) as problem:
                connection.close()
                if time.monotonic() + pause > deadline:
                    raise Unavailable("the database does not answer: try again later") from problem
                logger.warning("the database does not answer, trying again: %s", problem)
            time.sleep(pause)
            pause *= 2

    def _write_answers(self) -> None:
        answers, self._answers = self._answers, []
        try:
            _keep_answers(answers)
        except DatabaseError:
            # Who repeats these is told what is known without them.
            logger.warning("what messages were answered could not be kept", exc_info=True)
            connection.close()


def _refusal(letter: _Letter, problem: Exception) -> Exception:
    """Return what to tell the sender of a message that the database refuses for itself."""
    if letter.recipient is not None and isinstance(problem, IntegrityError):
        return NotFound("the user is gone")
    return problem


class _Batch:
    """Messages that are stored in one transaction, and what becomes of them."""

    def __init__(self, letters: Sequence[_Letter], answers: Sequence[_Answer]) -> None:
        self._letters = letters
        self._answers = answers
        self._receipts: list[Receipt] = []
        self._entries: list[Numbered] = []

    def store(self) -> list[Receipt]:
        """Store, and tell the journal's listeners; may be repeated after a DatabaseError.

        A COMMIT that failed may have succeeded: then the rows are there.
        """
        if (
            self._entries
            and JournalEntry.objects.filter(
                event_id=self._entries[0].event.id, position=self._entries[0].n
            ).exists()
        ):
            journal.tell(self._entries)
            return self._receipts
        journal.write_numbered(self._write)
        return self._receipts

    def _write(self, turn: Turn) -> list[Numbered]:
        first = self._known(turn.head.epoch)
        fresh: list[Message] = []
        publications: list[tuple[str, str, int, datetime]] = []
        self._entries, self._receipts = [], []
        n = turn.head.n
        for letter in self._letters:
            known = None if letter.key is None else first.get(letter.key)
            if known is not None:
                self._receipts.append(msgspec.structs.replace(known, is_repeat=True))
                continue
            n += 1
            fresh.append(letter.event)
            kept = letter.recipient is not None and mailbox.keep(letter.event, letter.recipient)
            receipt = Receipt(letter.event.id, f"{turn.head.epoch}-{n}", is_kept=kept)
            self._receipts.append(receipt)
            if letter.key is not None:
                first[letter.key] = receipt
                publications.append((letter.key, letter.event.id, n, letter.event.at))
        self._entries = turn.insert(fresh)
        if publications:
            _insert_publications(publications)
        if self._answers:
            _keep_answers(self._answers)
        return self._entries

    def _known(self, epoch: str) -> dict[str, Receipt]:
        """Return what was taken before under one of these keys."""
        keys = {letter.key for letter in self._letters if letter.key is not None}
        if not keys:
            return {}
        return {
            row.key: Receipt(row.event_id, f"{epoch}-{row.position}", answer=row.answer)
            for row in Publication.objects.filter(key__in=keys)
        }


def _insert_publications(rows: Sequence[tuple[str, str, int, datetime]]) -> None:
    table = connection.ops.quote_name(Publication._meta.db_table)
    adapt = connection.ops.adapt_datetimefield_value
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {table} (key, event_id, position, created_at) VALUES (%s, %s, %s, %s)",
            [(key, event_id, n, adapt(at)) for key, event_id, n, at in rows],
        )


def _keep_answers(answers: Sequence[_Answer]) -> None:
    table = connection.ops.quote_name(Publication._meta.db_table)
    rows = [(msgspec.json.encode(each.answer).decode(), each.key) for each in answers]
    with connection.cursor() as cursor:
        cursor.executemany(f"UPDATE {table} SET answer = %s WHERE key = %s", rows)


def answer_of(key: str) -> dict[str, Any] | None:
    """Return what the message of this key was answered, None while that is not known."""
    return Publication.objects.filter(key=key).values_list("answer", flat=True).first()


def prune(*, now: datetime) -> int:
    """Forget messages of more than a day ago, in short transactions; return how many."""
    deleted = 0
    while True:
        old = Publication.objects.filter(created_at__lt=now - KEPT)
        keys = list(old.values_list("key", flat=True)[:PRUNED_AT_ONCE])
        if not keys:
            return deleted
        Publication.objects.filter(key__in=keys).delete()
        deleted += len(keys)


_Outcome = tuple["asyncio.Future[Receipt]", Receipt | BaseException]


def _resolve(outcomes: list[_Outcome]) -> None:
    """Tell everyone who waits, with one wake-up for each event loop."""
    loops: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for outcome in outcomes:
        loops.setdefault(outcome[0].get_loop(), []).append(outcome)
    for loop, theirs in loops.items():
        try:
            loop.call_soon_threadsafe(_settle, theirs)
        except RuntimeError:
            logger.debug("an event loop was closed before its receipts came")


def _settle(outcomes: list[_Outcome]) -> None:
    for future, outcome in outcomes:
        if future.done():
            continue
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
