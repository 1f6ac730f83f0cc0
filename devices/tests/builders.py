"""Operations, trajectories and devices for tests."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from asgiref.sync import sync_to_async
from django.db import connections

from accounts.models import User
from devices.models import Alert, AlertRule, Device, Surgery, TrajectoryChunk
from devices.services.alerts import raise_alert
from devices.services.devices import register_device
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


async def parts_of(response: Any) -> list[bytes]:
    """Return the parts of an answer that is streamed under ASGI."""
    assert response.is_async
    parts = [part async for part in response.streaming_content]
    # A server closes it when the request has ended; a test's client leaves it to nobody.
    await sync_to_async(connections.close_all)()
    return parts


def body_of(response: Any) -> Any:
    """Return what a REST answer says, streamed or not; every answer has to be JSON."""
    assert response["Content-Type"].startswith("application/json")
    return json.loads(response.getvalue())


def a_device(external_id: str = "TEMP-001", *, now: datetime = NOW, **fields: Any) -> Device:
    """Put a device into service; it has not been heard of yet."""
    named = {"name": f"Sensor {external_id}", "device_type": "sensor", **fields}
    return register_device(external_id=external_id, now=now, **named)


def a_rule(device: Device | None = None, **fields: Any) -> AlertRule:
    """Add a rule that does not want it warmer than 30."""
    given = {"name": "Too warm", "metric": "temperature", "condition": "gt", "threshold": 30.0}
    return AlertRule.objects.create(device=device, **(given | fields))


def an_alert(device: Device, *, rule: AlertRule | None = None, now: datetime = NOW) -> Alert:
    """Raise an alert about a device that is too warm."""
    alert = raise_alert(
        title="Too warm",
        severity="warning",
        alert_type="threshold",
        device_id=device.pk,
        rule_id=rule.pk if rule else None,
        metric="temperature",
        threshold_value=30.0,
        actual_value=32.5,
        now=now,
    )
    assert alert is not None
    return alert
