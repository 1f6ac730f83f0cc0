"""Answers in the order of the questions, though some become known later than others."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

# So many questions of one connection may be open; then it is not read.
OPEN_MAX = 256

Answer = bytes | None
Words = Callable[["asyncio.Future[Any]"], Answer]


class Answers:
    """What one connection waits for. Belongs to the event loop's thread."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._open: deque[tuple[asyncio.Future[Any], Words]] = deque()
        self._changed: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._open)

    def put(self, answer: bytes) -> None:
        """Answer behind everything that was asked before."""
        if not self._open:
            self._write(answer)
            return
        known: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        known.set_result(answer)
        self._open.append((known, _as_it_is))

    def expect(self, work: Coroutine[Any, Any, Answer]) -> None:
        """Answer with what `work` returns, which must not raise; None is no answer."""
        self.follow(asyncio.ensure_future(work), _as_it_is)

    def follow(self, outcome: "asyncio.Future[Any]", words: Words) -> None:
        """Answer with what `words`, which must not raise, says of an outcome once it is there."""
        self._open.append((outcome, words))
        outcome.add_done_callback(self._write_known)

    async def until_room(self) -> None:
        """Wait while too many questions are open."""
        while len(self._open) >= OPEN_MAX:
            await self._until_changed()

    async def until_all(self) -> None:
        """Wait until everything that was asked is answered."""
        while self._open:
            await self._until_changed()

    async def _until_changed(self) -> None:
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)

    def _write_known(self, _: "asyncio.Future[Any]") -> None:
        while self._open and self._open[0][0].done():
            outcome, words = self._open.popleft()
            answer = None if outcome.cancelled() else words(outcome)
            if answer is not None:
                self._write(answer)
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)


def _as_it_is(answer: "asyncio.Future[Answer]") -> Answer:
    return answer.result()
