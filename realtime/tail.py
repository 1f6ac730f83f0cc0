"""The only way durable events reach the hub: strictly by position, each once.

Fed by local commits, by other processes' messages and by a poll of the head. Hints may be
lost, doubled or out of order; the poll is the truth.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable

import msgspec
from django.db import Error as DatabaseProblem

from realtime import journal
from realtime.calls import call
from realtime.core.events import Event
from realtime.core.position import Position
from realtime.journal import Numbered

logger = logging.getLogger("vitalwire.tail")

POLL_SECONDS = 0.2
POLL_WHEN_DEAF_SECONDS = 0.05
POLL_WHEN_DOWN_SECONDS = 1.0
READ_AT_ONCE = 500
MEMORY_EVENTS = 65_536
MEMORY_BYTES = 16 * 1024 * 1024

Deliver = Callable[[Event, int], None]


class Tail:
    """Follows the journal for this process. Belongs to the event loop's thread."""

    def __init__(
        self,
        deliver: Deliver,
        *,
        on_stand: Callable[[str, int], None] = lambda epoch, position: None,
        is_deaf: Callable[[], bool] = lambda: False,
    ) -> None:
        self._deliver = deliver
        self._on_stand = on_stand
        self._is_deaf = is_deaf
        self._wake = asyncio.Event()
        self._recent: deque[Numbered] = deque()
        self._recent_bytes = 0
        self._saw_unnumbered = False
        self.epoch = ""
        self.position = 0

    async def start(self) -> None:
        """Stand at the journal's present end: what came before is history."""
        self._stand_at(await call(journal.head))

    async def run(self) -> None:
        """Follow until cancelled; a database that is away is waited for."""
        while True:
            # Before looking: what is hinted at meanwhile means to look again at once.
            self._wake.clear()
            try:
                await self.follow()
                pause = POLL_WHEN_DEAF_SECONDS if self._is_deaf() else POLL_SECONDS
            except DatabaseProblem as problem:
                logger.warning("the journal cannot be read: %s", type(problem).__name__)
                pause = POLL_WHEN_DOWN_SECONDS
            with contextlib.suppress(TimeoutError):
                # Not wait_for(): in Python 3.11 it may swallow a cancellation.
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def follow(self) -> None:
        """Read the head once and deliver up to it; number what a dead process left."""
        head, has_unnumbered = await call(journal.peek)
        if has_unnumbered and self._saw_unnumbered:
            await call(journal.number_committed)
        self._saw_unnumbered = has_unnumbered
        if head.epoch != self.epoch:
            logger.warning("the journal was restored: its epoch is now %s", head.epoch)
            self._stand_at(head)
        while self.position < head.n:
            entries = await call(journal.read_after, self.position, READ_AT_ONCE)
            if not entries:
                return
            self._take(entries)

    def hint(self, entries: list[Numbered]) -> None:
        """Offer events that somebody numbered; where they do not follow the table is read."""
        for entry in entries:
            if entry.n > self.position + 1:
                self._wake.set()
                return
            self._take([entry])

    def nudge(self) -> None:
        """Say that there may be something new."""
        self._wake.set()

    async def read_after(self, n: int, limit: int) -> list[Numbered]:
        """Return events after `n` up to where this tail stands: from memory, else the table."""
        if self._recent and self._recent[0].n <= n + 1:
            skip = n + 1 - self._recent[0].n
            return [self._recent[i] for i in range(skip, min(skip + limit, len(self._recent)))]
        entries = await call(journal.read_after, n, limit)
        return [entry for entry in entries if entry.n <= self.position]

    def _stand_at(self, head: Position) -> None:
        self.epoch = head.epoch
        self.position = head.n
        self._recent.clear()
        self._recent_bytes = 0
        self._on_stand(self.epoch, self.position)

    def _take(self, entries: list[Numbered]) -> None:
        for entry in entries:
            if entry.n <= self.position:
                continue
            self.position = entry.n
            self._remember(entry)
            try:
                event = entry.event
            except msgspec.DecodeError:
                # A newer build wrote it; ours has no words for it.
                logger.warning("position %d holds an event unknown to this build", entry.n)
                continue
            self._deliver(event, entry.n)

    def _remember(self, entry: Numbered) -> None:
        self._recent.append(entry.bare)
        self._recent_bytes += len(entry.payload)
        while len(self._recent) > MEMORY_EVENTS or self._recent_bytes > MEMORY_BYTES:
            self._recent_bytes -= len(self._recent.popleft().payload)
