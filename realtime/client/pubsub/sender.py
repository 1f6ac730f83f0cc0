"""What goes out: kept until answered, below the server's limits, sent again when need be."""

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from realtime.client.errors import Refused, TooLarge
from realtime.client.pubsub.outbox import Answer, Entry, Outbox
from realtime.client.pubsub.pace import Pace

_BATCH_HEAD = b'{"type":"Batch","data":{"messages":['
_BATCH_TAIL = b"]}}"

_encode = msgspec.json.Encoder().encode


class Wire(Protocol):
    """Where frames go: a `Socket`."""

    async def send_frame(self, payload: bytes, *, text: bool = True) -> None: ...


class Sender:
    """`on_sent(kind, size)` is told of every message that leaves; `sleep` counts seconds."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        pace: Pace,
        message_bytes: int,
        on_sent: Callable[[str, int], None],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.outbox = outbox
        self.pace = pace
        self._message_bytes = message_bytes
        self._on_sent = on_sent
        self._sleep = sleep
        self._is_live = False
        self._has_news = asyncio.Event()
        # What the connection itself needs; it dies with it.
        self._urgent: deque[tuple[str, bytes]] = deque()

    def keep(self, entry: Entry) -> Answer:
        """Send until it is answered. Raises QueueFull, TooLarge.

        The future raises Refused, Stopped, and ConnectionLost for what does not repeat. Cancel
        it, and the message is not sent again.
        """
        self._check_size(entry.payload)
        entry.answer = answer = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda _: self._forget(entry.key))
        self.outbox.add(entry)
        self._has_news.set()
        return answer

    def post(self, entry: Entry) -> bool:
        """Send once, now or when we may; False when there is no room for it."""
        if len(entry.payload) > self._message_bytes or self.outbox.is_full:
            return False
        self.outbox.add(entry)
        self._has_news.set()
        return True

    def now(self, kind: str, data: dict[str, Any], key: str | None = None) -> None:
        """Send ahead of everything else what the connection itself needs."""
        self._urgent.append((kind, message(kind, data, key)))
        self._has_news.set()

    def start(self) -> None:
        """From now on what is kept may leave."""
        self._is_live = True
        self._has_news.set()

    def stop(self) -> None:
        """The connection is gone."""
        self._is_live = False
        self._urgent.clear()
        self.outbox.on_lost()

    async def speak(self, wire: Wire) -> None:
        """Send for as long as the connection lasts."""
        while True:
            self._has_news.clear()
            while self._urgent:
                kind, payload = self._urgent.popleft()
                self.pace.count()
                await self._write(wire, kind, payload)
            entries = self._due()
            wait = self.pace.wait() if entries else None
            if wait == 0:
                await self._transmit(wire, entries)
            else:
                await self._wait_for_news(wait)

    # --- Answers -----------------------------------------------------------------------

    def on_answer(self, fits: Callable[[Entry], bool], value: dict[str, Any]) -> None:
        """Hand the answer to whichever `fits` first."""
        entry = self.outbox.find(fits)
        if entry is not None:
            self.outbox.take(entry.key)
            if entry.answer is not None and not entry.answer.done():
                entry.answer.set_result(value)
            self._has_news.set()

    def tell_limits(self, limits: dict[str, int]) -> None:
        """Take over the server's limits: messages a second, and bytes of one; 0 is none."""
        if (per_second := limits.get("messages_per_second")) is not None:
            self.pace.tell(per_second)
        if (size := limits.get("message_bytes")) is not None:
            self._message_bytes = size or sys.maxsize

    def on_refused(self, key: str, refusal: Refused) -> None:
        """The `Error` to one of ours: final, or to be tried again after a while."""
        if refusal.code == 429 and (limit := refusal.details.get("limit")):
            self.pace.tell(limit)
        if refusal.retry_after and self.outbox.again(key):
            self.pace.pause(refusal.retry_after)
        else:
            self.outbox.reject(lambda entry: entry.key == key, refusal)
        self._has_news.set()

    def on_too_fast(self, wait: float, limit: int | None) -> None:
        """Something was dropped, nobody knows what: everything unanswered goes again."""
        self.pace.pause(wait)
        if limit:
            self.pace.tell(limit)
        self.outbox.repeat_all()
        if (oldest := self._oldest_binary()) is not None:
            self.outbox.again(oldest.key)
        self._has_news.set()

    def on_refused_unnamed(self, refusal: Refused) -> None:
        """An `Error` that names no message: a binary one has no name, answers come in order."""
        limit = refusal.details.get("limit", sys.maxsize)
        is_size = refusal.code == 413 and "used" not in refusal.details
        if is_size and any(len(entry.payload) > limit for entry in self.outbox):
            self._message_bytes = limit
            self.outbox.reject(lambda entry: len(entry.payload) > limit, _too_large(limit))
        else:
            oldest = self._oldest_binary()
            self.outbox.reject(lambda entry: entry is oldest, refusal)
        self._has_news.set()

    def _oldest_binary(self) -> Entry | None:
        return self.outbox.find(lambda entry: not entry.is_text)

    # --- Sending -----------------------------------------------------------------------

    def _due(self) -> list[Entry]:
        entries = self.outbox.next() if self._is_live else []
        return _fitting_into(entries, self._message_bytes)

    async def _transmit(self, wire: Wire, entries: list[Entry]) -> None:
        # Before it leaves: its answer may be here before we are back.
        for entry in entries:
            self.outbox.sent(entry)
        self.pace.count(len(entries))
        first = entries[0]
        if len(entries) > 1:
            await self._write(wire, "Batch", _batch_of(entries))
        else:
            await self._write(wire, first.kind, first.payload, text=first.is_text)

    async def _write(self, wire: Wire, kind: str, payload: bytes, *, text: bool = True) -> None:
        await wire.send_frame(payload, text=text)
        self._on_sent(kind, len(payload))

    async def _wait_for_news(self, at_most: float | None) -> None:
        """Return when there is something new to send, or after so many seconds."""
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._has_news.wait())]
        if at_most is not None:
            waits.append(asyncio.ensure_future(self._sleep(at_most)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _forget(self, key: str) -> None:
        self.outbox.take(key)
        self._has_news.set()

    def _check_size(self, payload: bytes) -> None:
        if len(payload) > self._message_bytes:
            raise _too_large(self._message_bytes)


def message(
    kind: str, data: dict[str, Any], key: str | None = None, metadata: dict[str, Any] | None = None
) -> bytes:
    """Return a message as JSON; what is None is left out, in `data` too."""
    given = {name: value for name, value in data.items() if value is not None or name == "payload"}
    body: dict[str, Any] = {"type": kind, "data": given}
    if key is not None:
        body["id"] = key
    if metadata is not None:
        body["metadata"] = metadata
    return _encode(body)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"a message has at most {limit} bytes")


def _batch_of(entries: list[Entry]) -> bytes:
    return _BATCH_HEAD + b",".join(entry.payload for entry in entries) + _BATCH_TAIL


def _fitting_into(entries: list[Entry], most: int) -> list[Entry]:
    """Return as many of the first as one message holds; at least one, if there is one."""
    size = len(_BATCH_HEAD) + len(_BATCH_TAIL)
    for index, entry in enumerate(entries):
        size += len(entry.payload) + 1
        if size > most:
            return entries[: max(1, index)]
    return entries
