"""What we want the server to have: waiting to be sent, or sent and not answered. Bounded."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from realtime.client.errors import ClientError, ConnectionLost, QueueFull
from realtime.core.codes import CloseCode

Answer = asyncio.Future[dict[str, Any]]


@dataclass(eq=False, kw_only=True, slots=True)
class Entry:
    """One message. Without `answer` it leaves once sent; with it, when it is answered.

    `awaits` names the message that answers it; what does not `repeats` is given up when its
    connection is lost before the answer. `batch` is shared by what shall travel together.
    """

    key: str
    kind: str
    payload: bytes
    is_text: bool = True
    answer: Answer | None = None
    awaits: str = "Ack"
    topic: str | None = None
    repeats: bool = False
    batch: object | None = None
    is_sent: bool = False


class Outbox:
    """At most `most` messages are kept, and `window` of them are under way unanswered."""

    def __init__(self, *, most: int = 1_000, window: int = 128) -> None:
        self._most = most
        self._window = window
        self._entries: dict[str, Entry] = {}
        self._under_way = 0

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    @property
    def is_full(self) -> bool:
        return len(self._entries) >= self._most

    def add(self, entry: Entry) -> None:
        """Keep a message. Raises QueueFull."""
        if self.is_full:
            raise QueueFull(f"{self._most} messages wait to be sent: try again later")
        self._entries[entry.key] = entry

    def next(self) -> list[Entry]:
        """Return the oldest message that may leave now, and what shall travel with it."""
        if self._under_way >= self._window:
            return []
        for entry in self._entries.values():
            if not entry.is_sent:
                return [entry] if entry.batch is None else self._batch_of(entry)
        return []

    def _batch_of(self, first: Entry) -> list[Entry]:
        return [
            entry
            for entry in self._entries.values()
            if entry.batch is first.batch and not entry.is_sent
        ]

    def sent(self, entry: Entry) -> None:
        """Take note that a message left."""
        if entry.answer is None:
            self._entries.pop(entry.key, None)
        else:
            entry.is_sent = True
            self._under_way += 1

    def take(self, key: str) -> Entry | None:
        """Take out what was answered; None for what nobody waits for any more."""
        entry = self._entries.pop(key, None)
        if entry is not None and entry.is_sent:
            self._under_way -= 1
        return entry

    def again(self, key: str) -> bool:
        """Send again what the server would not take now. Tells whether it is ours."""
        entry = self._entries.get(key)
        if entry is not None and entry.is_sent:
            entry.is_sent = False
            self._under_way -= 1
        return entry is not None

    def repeat_all(self) -> None:
        """Send again everything that may be."""
        for entry in self:
            if entry.repeats:
                self.again(entry.key)

    def find(self, fits: Callable[[Entry], bool]) -> Entry | None:
        """Return the first that was sent and that `fits` says yes to."""
        found = (entry for entry in self._entries.values() if entry.is_sent and fits(entry))
        return next(found, None)

    def reject(self, fits: Callable[[Entry], bool], error: ClientError) -> None:
        """Give up all that `fits` says yes to."""
        for entry in self:
            if fits(entry):
                self.take(entry.key)
                if entry.answer is not None and not entry.answer.done():
                    entry.answer.set_exception(error)

    def on_lost(self) -> None:
        """Send everything unanswered again, but for what might then be delivered twice."""
        self.repeat_all()
        lost = ConnectionLost(CloseCode.ABNORMAL, "before the answer")
        self.reject(lambda entry: entry.is_sent, lost)
