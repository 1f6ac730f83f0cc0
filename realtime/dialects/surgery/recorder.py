"""Takes one operation's frames to the writer: gathered, chained, in order, bounded."""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from devices.services.surgeries import Recording
from devices.trajectory import Chunk, chain
from devices.writer import Writer
from realtime.core.errors import Failure
from realtime.core.movement import Movement, encode_movements

FRAMES_PER_CHUNK = 64
CHUNK_SECONDS = 0.25
# Frames that may wait for the database before we stop reading from the surgeon.
UNSTORED_CHUNKS_MAX = 16


class Recorder:
    """Cuts a chunk at 64 frames or 250 ms after its first one arrived.

    `on_chunk` is told of every chunk as it is cut, `on_failure` once, when one could not be
    stored; nothing more is taken after that.
    """

    def __init__(
        self,
        recording: Recording,
        writer: Writer,
        *,
        on_chunk: Callable[[Recording, Chunk], None],
        on_failure: Callable[[Failure], None],
    ) -> None:
        self.recording = recording
        self.chunks = recording.chunks
        self.movements = recording.movements
        self.digest = recording.digest
        self.last = recording.last
        self._writer = writer
        self._on_chunk = on_chunk
        self._on_failure = on_failure
        self._pending: list[Movement] = []
        self._first_at: datetime | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unstored: deque[asyncio.Future[None]] = deque()
        self._failure: BaseException | None = None

    def add(self, movement: Movement) -> None:
        """Take the next frame. Look at `is_behind` afterwards."""
        if self._failure is not None:
            return
        pending = self._pending
        pending.append(movement)
        self.last = movement
        if len(pending) >= FRAMES_PER_CHUNK:
            self._cut()
        elif len(pending) == 1:
            self._first_at = datetime.now(UTC)
            self._timer = asyncio.get_running_loop().call_later(CHUNK_SECONDS, self._cut)

    @property
    def is_behind(self) -> bool:
        """Whether the database is so slow that the surgeon must wait."""
        most = 1 if self._writer.is_behind else UNSTORED_CHUNKS_MAX
        return len(self._unstored) >= most

    async def catch_up(self) -> None:
        """Wait until the oldest chunk is stored. Raises what prevented it."""
        if self._unstored:
            await asyncio.shield(self._unstored[0])

    async def flush(self) -> None:
        """Wait until every frame taken so far is committed. Raises what prevented it."""
        self._cut()
        for future in tuple(self._unstored):
            await asyncio.shield(future)
        if self._failure is not None:
            raise self._failure

    def _cut(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._pending:
            return
        movements, self._pending = self._pending, []
        payload = encode_movements(movements)
        self.digest = chain(self.digest, self.chunks, payload)
        chunk = Chunk(
            surgery_id=self.recording.surgery_id,
            recording=self.recording.recording,
            seq=self.chunks,
            first=self.movements,
            count=len(movements),
            payload=payload,
            received_at=self._first_at or datetime.now(UTC),
            digest=self.digest,
        )
        self.chunks += 1
        self.movements += len(movements)
        try:
            future = self._writer.put(chunk)
        except Failure as failure:
            self._fail(failure)
            return
        self._unstored.append(future)
        future.add_done_callback(self._stored)
        self._on_chunk(self.recording, chunk)

    def _stored(self, future: asyncio.Future[None]) -> None:
        self._unstored.remove(future)
        if future.cancelled():
            return
        failure = future.exception()
        if failure is not None:
            self._fail(failure)

    def _fail(self, failure: BaseException) -> None:
        if self._failure is None:
            self._failure = failure
            if isinstance(failure, Failure):
                self._on_failure(failure)
