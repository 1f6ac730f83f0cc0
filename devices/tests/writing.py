"""Handing work to a writer from a test."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from devices.models import TrajectoryChunk
from devices.trajectory import Chunk
from devices.writer import Writer


@contextmanager
def held_up(writer: Writer) -> Iterator[None]:
    """Keep the writer busy, so that what is handed over meanwhile becomes one batch."""
    entered, gate = threading.Event(), threading.Event()
    writer.submit(lambda: entered.set() or gate.wait())
    entered.wait()
    try:
        yield
    finally:
        gate.set()


def block_until_written(writer: Writer) -> None:
    """Return when the writer has done everything, without a turn for the event loop."""
    while writer.depth:
        time.sleep(0.001)


def stored(surgery_id: object) -> list[int]:
    chunks = TrajectoryChunk.objects.filter(surgery_id=surgery_id).order_by("id")
    return list(chunks.values_list("seq", flat=True))


def run(main: Callable[[], Any]) -> Any:
    """Run a coroutine function in a loop of its own, beside this thread's connection."""
    return asyncio.run(main())


def outcomes_of(writer: Writer, chunks: list[Chunk]) -> list[BaseException | None]:
    """Hand these over as one batch and return what became of each."""

    async def main() -> list[BaseException | None]:
        with held_up(writer):
            futures = [writer.put(chunk) for chunk in chunks]
        return await asyncio.gather(*futures, return_exceptions=True)

    return run(main)
