"""How a batch of trajectory chunks is stored: fenced, in order, hash-chained, each once."""

import logging
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final
from uuid import UUID

import msgspec

from devices.models import Surgery, TrajectoryChunk
from devices.services.surgeries import Interrupted
from devices.trajectory import Chunk, chain, genesis
from realtime.core.errors import Conflict, Invalid, VitalwireError

log = logging.getLogger("vitalwire.writer")

ENDS_REMEMBERED: Final = 10_000


class Fenced(Conflict):
    """Raised when the operation is recorded by somebody else, or complete."""


class _End(msgspec.Struct, frozen=True):
    """Where an operation's trajectory goes on, and whose recording that is known of."""

    recording: int
    seq: int
    first: int
    digest: bytes


class ChunkStore:
    """Stores chunks for the writer, in its thread and inside its transactions."""

    # A chunk is about 2.5 kB, as much memory as ten readings.
    weight: ClassVar = 10

    def __init__(self) -> None:
        self._ends: dict[UUID, _End] = {}

    def insert(
        self, chunks: Sequence[Chunk]
    ) -> tuple[dict[int, VitalwireError], Mapping[UUID, _End]]:
        """Insert what follows; return the others by index, and the ends there will be."""
        fences = _lock_recordings({chunk.surgery_id for chunk in chunks})
        ends: dict[UUID, _End] = {}
        refused: dict[int, VitalwireError] = {}
        fresh: dict[tuple[UUID, int], Chunk] = {}
        for index, chunk in enumerate(chunks):
            key = chunk.surgery_id, chunk.seq
            try:
                _check_fence(chunk, fences.get(chunk.surgery_id))
                end = ends.get(chunk.surgery_id) or self._end_before(chunk)
                if fresh.get(key) != chunk and not _is_stored(chunk, end):
                    ends[chunk.surgery_id] = _follow(chunk, end)
                    fresh[key] = chunk
            except VitalwireError as error:
                refused[index] = error
        TrajectoryChunk.objects.bulk_create(map(_model_of, fresh.values()))
        return refused, ends

    def _end_before(self, chunk: Chunk) -> _End:
        """Return the committed end. Nobody but this thread writes under this number."""
        end = self._ends.get(chunk.surgery_id)
        if end is not None and end.recording == chunk.recording:
            return end
        stored = TrajectoryChunk.objects.filter(surgery_id=chunk.surgery_id)
        last = stored.order_by("-seq").defer("payload").first()
        if last is None:
            return _End(chunk.recording, 0, 0, genesis(chunk.surgery_id))
        digest = bytes.fromhex(last.digest)
        return _End(chunk.recording, last.seq + 1, last.first + last.count, digest)

    def remember(self, ends: Mapping[UUID, _End]) -> None:
        """Keep what `insert` found out; called after its COMMIT."""
        if len(self._ends) > ENDS_REMEMBERED:
            self._ends.clear()
        self._ends.update(ends)

    def refusal(self, chunk: Chunk, error: BaseException | None) -> Invalid:
        """Return what to tell whoever sent the chunk that the database refuses."""
        log.warning("chunk %d of %s is refused: %s", chunk.seq, chunk.surgery_id, error)
        return Invalid("the database refuses these movements", field="movements")


def _lock_recordings(surgery_ids: set[UUID]) -> dict[UUID, tuple[int, str]]:
    """Lock the operations, in one order everywhere; return who records them, and their status."""
    rows = Surgery.objects.select_for_update(no_key=True).filter(id__in=surgery_ids).order_by("id")
    return {
        surgery_id: (recording, status)
        for surgery_id, recording, status in rows.values_list("id", "recording", "status")
    }


def _check_fence(chunk: Chunk, fence: tuple[int, str] | None) -> None:
    """Raise unless this chunk's recorder may write to the operation."""
    if fence == (chunk.recording, Surgery.Status.INTERRUPTED):
        raise Interrupted("this operation was interrupted")
    if fence != (chunk.recording, Surgery.Status.IN_PROGRESS):
        raise Fenced("another connection took over this operation, or it ended")


def _is_stored(chunk: Chunk, end: _End) -> bool:
    """Tell whether this very chunk is there: a COMMIT whose answer was lost is tried again."""
    if chunk.seq >= end.seq:
        return False
    same = TrajectoryChunk.objects.filter(surgery_id=chunk.surgery_id, seq=chunk.seq)
    return same.filter(digest=chunk.digest.hex()).exists()


def _follow(chunk: Chunk, end: _End) -> _End:
    """Return the end after `chunk`. Raises Conflict when it does not continue the trajectory."""
    if (chunk.seq, chunk.first) != (end.seq, end.first) or chunk.count < 1:
        raise Conflict(
            f"chunk {chunk.seq} after {chunk.first} movements does not follow:"
            f" expected chunk {end.seq} after {end.first}"
        )
    if chunk.digest != chain(end.digest, chunk.seq, chunk.payload):
        raise Conflict(f"the digest of chunk {chunk.seq} does not continue the chain")
    return _End(chunk.recording, chunk.seq + 1, chunk.first + chunk.count, chunk.digest)


def _model_of(chunk: Chunk) -> TrajectoryChunk:
    return TrajectoryChunk(
        surgery_id=chunk.surgery_id,
        seq=chunk.seq,
        first=chunk.first,
        count=chunk.count,
        payload=chunk.payload,
        received_at=chunk.received_at,
        digest=chunk.digest.hex(),
    )
