"""Acknowledgements that wait for a COMMIT while the connection reads on."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from realtime.core.errors import Failure, Unavailable, VitalwireError
from realtime.dialects.telemetry.schema import (
    BatchResponse,
    Code,
    Outgoing,
    Rejection,
    Telemetry,
    TelemetryAck,
    error,
    rejection_for,
)

# Of one connection: so many messages may wait for their commit before we stop reading.
WAITING_MAX = 512
SETTLE_SECONDS = 5.0
CANCELLED = Unavailable("it was not stored: send it again")

Tell = Callable[[Outgoing], None]
Stored = asyncio.Future[Any]


class Part:
    """Readings of a batch that were taken in together, by their place in it."""

    def __init__(self, messages: dict[int, Telemetry], stored: Stored) -> None:
        self.messages = messages
        self.stored = stored

    def answer_into(self, results: list[Outgoing | None]) -> None:
        """Put the answers, once they are stored, where they belong."""
        stored = self.stored
        problem = None if stored.cancelled() else stored.exception()
        refused: dict[int, BaseException] = {}
        if not stored.cancelled() and problem is None:
            refused = stored.result()
        elif self.messages:
            refused = dict.fromkeys(range(len(self.messages)), problem or CANCELLED)
        for index, (place, message) in enumerate(self.messages.items()):
            results[place] = _answer(message, refused.get(index))


class Acks:
    """The messages of one connection that are taken in and not stored yet."""

    def __init__(self, tell: Tell) -> None:
        self.waiting = 0
        self._tell = tell
        self._has_room = asyncio.Event()

    def expect(self, message: Telemetry, stored: Stored) -> None:
        """Answer `message` when it is stored, or say why it is not."""
        self.waiting += 1

        def tell(done: Stored) -> None:
            self._tell(_answer(message, CANCELLED if done.cancelled() else done.exception()))
            self._settle(1)

        stored.add_done_callback(tell)

    def expect_batch(self, results: list[Outgoing | None], parts: list[Part]) -> None:
        """Answer a batch when all of its parts are stored."""
        count = sum(len(part.messages) for part in parts)
        self.waiting += count
        left = len(parts)

        def tell(_: Stored) -> None:
            nonlocal left
            left -= 1
            if left:
                return
            for part in parts:
                part.answer_into(results)
            self._tell(BatchResponse(results=results))
            self._settle(count)

        for part in parts:
            part.stored.add_done_callback(tell)

    async def wait_for_room(self, most: int = WAITING_MAX) -> None:
        """Return when fewer than `most` messages wait."""
        while self.waiting >= most:
            self._has_room.clear()
            await self._has_room.wait()

    async def settle(self, seconds: float) -> None:
        """Wait until nothing waits any more, `seconds` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.wait_for_room(1)

    def _settle(self, count: int) -> None:
        self.waiting -= count
        self._has_room.set()


def _answer(message: Telemetry, problem: BaseException | None) -> Outgoing:
    if problem is None:
        return TelemetryAck(
            id=message.id, device_id=message.device_id, accepted=len(message.telemetry)
        )
    return error(about(message, problem))


def about(message: Telemetry, problem: BaseException) -> Rejection:
    """Return why a message was not stored, with what tells the device which one it was."""
    more: dict[str, Any] = {"id": message.id, "device_id": message.device_id}
    if isinstance(problem, Failure):
        return rejection_for(problem, **more)
    if isinstance(problem, VitalwireError):
        return Rejection(Code.UNAVAILABLE, str(problem), **more)
    return Rejection(Code.UNAVAILABLE, "it was not stored: send it again", **more)
