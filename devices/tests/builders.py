"""Operations and trajectories for tests."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from accounts.models import User
from devices.models import Surgery, TrajectoryChunk
from devices.services.surgeries import (
    Recording,
    finish_surgery,
    interrupt_lost_surgeries,
    release_surgery,
    start_surgery,
)
from devices.trajectory import Chunk, Movement, chain, encode_movements

NOW = datetime(2026, 3, 5, 10, 30, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
MUCH_LATER = NOW + timedelta(hours=1)
GRACE = timedelta(seconds=60)
NODE = "node-1"

# What was announced, in order: the signal's name and what it carried.
Announced = list[tuple[str, dict[str, Any]]]


def names(announced: Announced) -> list[str]:
    return [name for name, _ in announced]


def movements(count: int, *, first: int = 0) -> list[Movement]:
    """Return some movements, each different from all others."""
    return [
        Movement([float(n), n / 2, -1.5], "NONE", 1_710_523_456_789 + 16 * n)
        for n in range(first, first + count)
    ]


def chunks_after(recording: Recording, sizes: Sequence[int]) -> list[Chunk]:
    """Return chunks of these sizes that continue the recording."""
    chunks: list[Chunk] = []
    digest, first = recording.digest, recording.movements
    for seq, size in enumerate(sizes, start=recording.chunks):
        payload = encode_movements(movements(size, first=first))
        digest = chain(digest, seq, payload)
        chunks.append(
            Chunk(
                surgery_id=recording.surgery_id,
                recording=recording.recording,
                seq=seq,
                first=first,
                count=size,
                payload=payload,
                received_at=NOW + timedelta(seconds=seq),
                digest=digest,
            )
        )
        first += size
    return chunks


def store(chunks: Sequence[Chunk]) -> None:
    """Insert chunks as they are, past the writer and its checks."""
    TrajectoryChunk.objects.bulk_create(
        TrajectoryChunk(
            surgery_id=chunk.surgery_id,
            seq=chunk.seq,
            first=chunk.first,
            count=chunk.count,
            payload=chunk.payload,
            received_at=chunk.received_at,
            digest=chunk.digest.hex(),
        )
        for chunk in chunks
    )


def start(surgeon: User, *, surgery_id: UUID | None = None, now: datetime = NOW) -> Recording:
    """Start an operation that holds nothing yet."""
    return start_surgery(
        surgery_id=surgery_id or uuid4(), surgeon_id=surgeon.pk, node=NODE, now=now
    )


def in_progress(surgeon: User, *sizes: int, now: datetime = NOW) -> Recording:
    """Start an operation and store chunks of these sizes; return how it began."""
    recording = start(surgeon, now=now)
    store(chunks_after(recording, sizes))
    return recording


def completed(surgeon: User, *sizes: int, now: datetime = NOW) -> Surgery:
    """Return an operation that was recorded and finished after 70.5 seconds."""
    recording = start(surgeon, now=now)
    chunks = chunks_after(recording, sizes)
    store(chunks)
    return finish_surgery(
        surgery_id=recording.surgery_id,
        recording=recording.recording,
        chunks=len(chunks),
        digest=chunks[-1].digest,
        now=now + timedelta(seconds=70.5),
    )


def interrupted(surgeon: User, *sizes: int, now: datetime = NOW) -> Surgery:
    """Return an operation whose surgeon left and did not come back."""
    recording = in_progress(surgeon, *sizes, now=now)
    release_surgery(surgery_id=recording.surgery_id, recording=recording.recording, now=now)
    interrupt_lost_surgeries(
        living_nodes={NODE}, grace=timedelta(seconds=60), now=now + timedelta(hours=1)
    )
    return Surgery.objects.get(pk=recording.surgery_id)


def body_of(response: Any) -> Any:
    """Return what a REST answer says, streamed or not; every answer has to be JSON."""
    assert response["Content-Type"].startswith("application/json")
    return json.loads(response.getvalue())
