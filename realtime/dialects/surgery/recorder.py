"""Takes one operation's frames to the writer: gathered, chained, in order, bounded."""

import asyncio
import functools
from collections.abc import Callable
from datetime import UTC, datetime

from devices.services.surgeries import Recording
from devices.trajectory import Chunk, chain
from devices.writer import Stopped, Writer
from realtime.core.errors import Failure, Unavailable
from realtime.core.movement import Movement, encode_movements

FRAMES_PER_CHUNK = 64
CHUNK_SECONDS = 0.25
# Frames that may wait for the database before we stop reading from the surgeon.
UNSTORED_CHUNKS_MAX = 16
AWAY_SECONDS = 1.0


class Recorder:
    """Cuts a chunk at 64 frames or 250 ms after its first one arrived.

    `on_chunk` is told of every chunk as it is cut, `on_failure` once, when one could not be
    stored. Nothing is handed over after that until `flush_patiently`; what still comes is kept,
    and bounded by what a transport hands over before it closes.
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
        # Chunks that were handed over, by number, until they are known to be stored.
        self._unstored: dict[int, tuple[Chunk, asyncio.Future[None]]] = {}
        self._failure: BaseException | None = None
        self._is_failure_told = False

    def add(self, movement: Movement) -> None:
        """Take the next frame. Look at `is_behind` afterwards."""
        pending = self._pending
        pending.append(movement)
        self.last = movement
        if len(pending) == 1:
            self._first_at = datetime.now(UTC)
        if self._failure is not None:
            return
        if len(pending) >= FRAMES_PER_CHUNK:
            self._cut()
        elif len(pending) == 1:
            self._timer = asyncio.get_running_loop().call_later(CHUNK_SECONDS, self._cut)

    @property
    def is_behind(self) -> bool:
        """Whether the database is so slow that the surgeon must wait."""
        most = 1 if self._writer.is_behind else UNSTORED_CHUNKS_MAX
        return len(self._unstored) >= most

    @property
    def has_failed(self) -> bool:
        """Whether a chunk could not be stored, and was not since."""
        return self._failure is not None

    @property
    def unstored(self) -> tuple[int, int]:
        """Return the place of the first frame that is not known to be stored, and their number."""
        chunks = [chunk for chunk, _ in self._unstored.values()]
        first = chunks[0].first if chunks else self.movements
        return first, self.movements + len(self._pending) - first

    async def catch_up(self) -> None:
        """Wait until the oldest chunk is stored. Raises what prevented it."""
        if self._unstored:
            _, oldest = next(iter(self._unstored.values()))
            await asyncio.shield(oldest)

    async def flush(self) -> None:
        """Wait until every frame taken so far is committed. Raises what prevented it."""
        while self._pending and self._failure is None:
            self._cut()
        if self._unstored:
            await asyncio.wait([future for _, future in self._unstored.values()])
        if self._failure is not None:
            raise self._failure

    async def flush_patiently(self) -> None:
        """Like `flush`, but wait out a database that is away: hand the same chunks over again.

        Raises Conflict when somebody else records or interrupted the operation by then, and
        Stopped with the writer.
        """
        while True:
            try:
                return await self.flush()
            except Stopped:
                raise
            except Unavailable:
                await asyncio.sleep(AWAY_SECONDS)
                self.hand_over_again()

    def hand_over_again(self) -> None:
        """Hand over what is not stored, in order: the writer stores the same chunk once."""
        self._failure = None
        for chunk, _ in list(self._unstored.values()):
            self._hand_over(chunk)

    def _cut(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._pending or self._failure is not None:
            return
        movements = self._pending[:FRAMES_PER_CHUNK]
        del self._pending[:FRAMES_PER_CHUNK]
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
        self._hand_over(chunk)
        self._on_chunk(self.recording, chunk)

    def _hand_over(self, chunk: Chunk) -> None:
        try:
            future = self._writer.put(chunk)
        except Failure as failure:
            future = asyncio.get_running_loop().create_future()
            future.set_exception(failure)
        self._unstored[chunk.seq] = (chunk, future)
        future.add_done_callback(functools.partial(self._settled, chunk.seq))

    def _settled(self, seq: int, future: asyncio.Future[None]) -> None:
        failure = None if future.cancelled() else future.exception()
        if failure is None:
            del self._unstored[seq]
        elif self._failure is None:
            self._failure = failure
            if isinstance(failure, Failure) and not self._is_failure_told:
                self._is_failure_told = True
                self._on_failure(failure)
