"""A process that records operations until it is killed; run by `test_writer_killed.py`.

Prints one line for each chunk that it was told is safe: the operation and the number.
"""

import asyncio
import sys
from collections.abc import Sequence
from uuid import UUID

import django

django.setup()

from devices.models import Surgery  # noqa: E402
from devices.services.surgeries import Recording  # noqa: E402
from devices.tests.builders import NOW, chunks_after  # noqa: E402
from devices.trajectory import genesis  # noqa: E402
from devices.writer import Writer  # noqa: E402

CHUNKS = 100_000
AT_ONCE = 4


async def record(writer: Writer, recording: Recording) -> None:
    """Send chunks without end, a few of them ahead of their answers."""
    while recording.chunks < CHUNKS:
        chunks = chunks_after(recording, [3] * AT_ONCE)
        answers = [writer.put(chunk) for chunk in chunks]
        for chunk, answer in zip(chunks, answers, strict=True):
            await answer
            print(recording.surgery_id, chunk.seq, flush=True)
        last = chunks[-1]
        recording = Recording(
            surgery_id=recording.surgery_id,
            surgeon_id=recording.surgeon_id,
            surgeon="",
            recording=recording.recording,
            chunks=last.seq + 1,
            movements=last.first + last.count,
            digest=last.digest,
            started_at=NOW,
        )


async def main(surgeries: Sequence[Surgery]) -> None:
    writer = Writer()
    writer.start()
    recordings = [
        Recording(
            surgery_id=surgery.id,
            surgeon_id=surgery.surgeon_id,
            surgeon="",
            recording=surgery.recording,
            chunks=0,
            movements=0,
            digest=genesis(surgery.id),
            started_at=NOW,
        )
        for surgery in surgeries
    ]
    await asyncio.gather(*(record(writer, recording) for recording in recordings))


if __name__ == "__main__":
    ids = [UUID(text) for text in sys.argv[1:]]
    asyncio.run(main(list(Surgery.objects.filter(id__in=ids))))
