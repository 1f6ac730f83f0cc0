"""Readings as a file: streamed from a child process, so that nobody waits for the formatting."""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

import msgspec
from django.conf import settings
from django.db import connection

from devices.exporting import Format, Job
from devices.models.fields import to_microseconds
from devices.stored import Database
from realtime.core.errors import Unavailable

EXPORTS_AT_ONCE: Final = 2
PIECE_BYTES: Final = 64 * 1024
STOP_SECONDS: Final = 5.0
_EVER: Final = 2**63 - 1

_slots = threading.BoundedSemaphore(EXPORTS_AT_ONCE)


def export_readings(
    *,
    format: Format,
    device_ids: Iterable[int] | None = None,
    metrics: Iterable[str] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> "Export":
    """Return the readings of these devices and metrics (of all, without), `until` not included.

    Raises Unavailable when `EXPORTS_AT_ONCE` are running already. What is not read to its end
    must be closed.
    """
    return Export(
        Job(
            database=database_address(),
            format=format,
            device_ids=None if device_ids is None else list(device_ids),
            metrics=None if metrics is None else list(metrics),
            since=0 if since is None else to_microseconds(since),
            until=_EVER if until is None else to_microseconds(until),
        )
    )


class Export:
    """An iterator of bytes with a child process behind it, which waits while nobody reads.

    Raises Unavailable in the middle when the child fails: what came before is not all.
    """

    def __init__(self, job: Job) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        if not _slots.acquire(blocking=False):
            raise Unavailable(f"{EXPORTS_AT_ONCE} exports are running already: try again later")
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "devices.exporting"],
                cwd=settings.BASE_DIR,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        except BaseException:
            _slots.release()
            raise
        assert self._process.stdin is not None
        # A child that ended at once is found out by who reads from it.
        with contextlib.suppress(BrokenPipeError), self._process.stdin as stdin:
            stdin.write(msgspec.json.encode(job))

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._process is None or self._process.stdout is None:
            raise StopIteration
        # Blocks the thread, not the interpreter.
        piece: bytes = self._process.stdout.read1(PIECE_BYTES)  # type: ignore[attr-defined]
        if piece:
            return piece
        code = self._process.wait()
        self.close()
        if code:
            raise Unavailable("the export was cut short: try again later")
        raise StopIteration

    def close(self) -> None:
        """End the child, if it still runs; safe to repeat."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.kill()
            process.wait(STOP_SECONDS)
            assert process.stdout is not None
            process.stdout.close()
        finally:
            _slots.release()

    def __del__(self) -> None:
        # A response that was given up before its first byte is closed by nobody else.
        self.close()


def database_address() -> Database:
    """Return how the child reaches our database; it goes through a pipe, not a command line."""
    if connection.vendor == "sqlite":
        return str(connection.settings_dict["NAME"])
    return {
        name: value
        for name, value in connection.get_connection_params().items()
        if isinstance(value, str | int) and name != "prepare_threshold"
    }
