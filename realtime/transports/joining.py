"""Frames due to one connection in the same turn of the event loop leave in one write.

The kernel's `send()` costs more than all that we do for a frame, so events that arrive
together are written together. Nothing waits longer than for what is ready to run already.
"""

import asyncio
from collections import deque
from typing import Protocol
from weakref import WeakKeyDictionary

from realtime.core.frames import Frame
from realtime.transports.base import Transport

# A connection with so many frames is written at once: else `is_blocked` would lag behind.
JOINED_MAX = 64
# About two milliseconds of the kernel's time.
FLUSHED_AT_ONCE = 500


class Flushable(Protocol):
    """What a `Turn` calls at its end."""

    def flush(self) -> None:
        """Write what waits. Must not wait itself."""


class Turn:
    """Who has frames waiting in this turn of one event loop: one call flushes them all.

    Of thousands it flushes so many at once; what is ready meanwhile has its turn in between.
    """

    __slots__ = ("_loop", "_reads_first", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # asyncio's own loops call what is due before they read, uvloop's afterwards: what was
        # read then is taken by somebody who is called behind us, and would miss this write.
        self._reads_first = not isinstance(loop, asyncio.BaseEventLoop)
        self._waiting: deque[Flushable] = deque()

    def add(self, connection: Flushable) -> None:
        """Flush this connection when what is ready now has run."""
        if not self._waiting:
            self._loop.call_soon(self._end_after_read if self._reads_first else self._end)
        self._waiting.append(connection)

    def _end_after_read(self) -> None:
        self._loop.call_soon(self._end)

    def _end(self) -> None:
        waiting = self._waiting
        try:
            for _ in range(min(len(waiting), FLUSHED_AT_ONCE)):
                waiting.popleft().flush()
        finally:
            # Whoever fails keeps nothing from the others.
            if waiting:
                self._loop.call_soon(self._end)


_turns: "WeakKeyDictionary[asyncio.AbstractEventLoop, Turn]" = WeakKeyDictionary()


def current_turn() -> Turn:
    """Return what all connections of the running event loop share."""
    loop = asyncio.get_running_loop()
    turn = _turns.get(loop)
    if turn is None:
        turn = _turns[loop] = Turn(loop)
    return turn


class Joining(Transport):
    """Of a transport whose `write_now` takes the bytes of whole frames.

    Without slots, to be mixed in: subclasses have `_frames` and `_turn`.
    """

    __slots__ = ()

    _frames: list[bytes]
    _turn: Turn

    def write(self, frame: Frame) -> None:
        """Hand the frame to the connection before the next turn of the event loop is over."""
        frames = self._frames
        if not frames:
            self._turn.add(self)
        wire = frame.wire
        if self._packs_from and len(wire) >= self._packs_from:
            wire = frame.packed(self._window_bits)
        frames.append(wire)
        if len(frames) >= JOINED_MAX:
            self.flush()

    def flush(self) -> None:
        """Write what waits: before the end of the turn where something must come after it."""
        frames = self._frames
        if frames:
            data = frames[0] if len(frames) == 1 else b"".join(frames)
            self._note(frames)
            frames.clear()
            self.write_now(data)

    def write_now(self, data: bytes) -> None:
        """Write whole frames, or drop them where the connection is not open."""
        raise NotImplementedError
