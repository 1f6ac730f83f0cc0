"""A streamed HTTP answer on daphne waits for a client that does not read.

daphne 4.2's `send` never waits: a long export to a slow client would grow in memory. Guarded by
`project/tests/live/test_exports.py`.
"""

import asyncio
from typing import Any

from twisted.internet import interfaces
from zope.interface import implementer


@implementer(interfaces.IPushProducer)
class Pace:
    """Told by the connection when its buffer is full, and when it is empty again."""

    def __init__(self) -> None:
        self._has_room = asyncio.Event()
        self._has_room.set()

    def pauseProducing(self) -> None:
        self._has_room.clear()

    def resumeProducing(self) -> None:
        self._has_room.set()

    def stopProducing(self) -> None:
        """The connection is gone: nobody waits for it."""
        self._has_room.set()

    async def wait(self, seconds: float) -> bool:
        """Return whether there was room in time."""
        try:
            async with asyncio.timeout(seconds):
                await self._has_room.wait()
        except TimeoutError:
            return False
        return True


class PacedRequest:
    """Part of a daphne request: knows how its connection fares while its answer is streamed."""

    stalled_seconds: float = 60
    _pace: Pace | None = None

    def handle_reply(self, message: dict[str, Any]) -> None:
        is_streamed = message["type"] == "http.response.body" and message.get("more_body")
        if is_streamed and self._pace is None and not self.finished and self.channel is not None:
            self._pace = Pace()
            self.registerProducer(self._pace, True)
        super().handle_reply(message)

    def finish(self) -> None:
        self._end_pace()
        super().finish()

    def connectionLost(self, reason: Any) -> None:
        self._end_pace()
        super().connectionLost(reason)

    async def room(self) -> None:
        """Return when the connection takes more; cut it when the client has stopped reading."""
        if self._pace is None or await self._pace.wait(self.stalled_seconds):
            return
        # It may be gone by now.
        if self.channel is not None and self.channel.transport is not None:
            self.channel.transport.abortConnection()

    def _end_pace(self) -> None:
        if self._pace is None:
            return
        self._pace.stopProducing()
        if self.producer is self._pace and self.channel is not None:
            self.unregisterProducer()
        self._pace = None
