"""Which socket of this process records which operation, and what is left to do for those that left.

Whoever records an operation must let go of it in the end: a row that names a living process is
never interrupted. So that is nobody's but this process's own work, whatever becomes of the socket.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from django.db import Error as DatabaseProblem

from devices.services import surgeries
from devices.services.surgeries import Recording
from realtime.calls import call_patiently
from realtime.core.errors import Failure
from realtime.core.events import RecordingClaimed

CLAIMS_REMEMBERED = 1_024

Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class Holder(Protocol):
    """A socket that records an operation."""

    @property
    def recording_number(self) -> int:
        """The number of its claim; 0 while it records nothing."""

    def give_way(self) -> None:
        """Let go, since another socket wants the operation."""


class Recordings:
    """The operations that this process records. All of it belongs to the event loop's thread."""

    def __init__(self, spawn: Spawn) -> None:
        self._spawn = spawn
        self._holders: dict[UUID, Holder] = {}
        # A claim may be heard before the socket it concerns knows that it records.
        self._claims: OrderedDict[UUID, int] = OrderedDict()
        self._last_words: set[asyncio.Task[None]] = set()

    def hold(self, surgery_id: UUID, holder: Holder) -> None:
        self._holders[surgery_id] = holder
        if holder.recording_number < self._claims.get(surgery_id, 0):
            holder.give_way()

    def let_go(self, surgery_id: UUID, holder: Holder) -> None:
        if self._holders.get(surgery_id) is holder:
            del self._holders[surgery_id]

    def on_claimed(self, event: RecordingClaimed) -> None:
        """Another socket, of whatever process, wants this operation."""
        self._claims[event.surgery_id] = event.recording
        self._claims.move_to_end(event.surgery_id)
        if len(self._claims) > CLAIMS_REMEMBERED:
            self._claims.popitem(last=False)
        holder = self._holders.get(event.surgery_id)
        if holder is not None and holder.recording_number < event.recording:
            holder.give_way()

    # --- Leaving -----------------------------------------------------------------------

    def see_off(self, last_words: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Do what a socket leaves to be done; the server may cancel it, but not this."""
        task = self._spawn(last_words)
        self._last_words.add(task)
        task.add_done_callback(self._last_words.discard)
        return task

    async def wait_until_all_let_go(self) -> None:
        """Return when nothing is left to be done for sockets that left."""
        while self._last_words:
            await asyncio.wait(self._last_words)


async def release(recording: Recording) -> None:
    """Stop recording, as soon as the database answers; the grace time begins then."""
    with contextlib.suppress(Failure):
        await call_patiently(_release, recording)


async def give_back(asking: "asyncio.Future[Recording | None]") -> None:
    """Release what was asked for by a socket that left before it got it."""
    with contextlib.suppress(Failure, DatabaseProblem):
        recording = await asking
        if recording is not None:
            await release(recording)


def _release(recording: Recording) -> None:
    surgeries.release_surgery(
        surgery_id=recording.surgery_id, recording=recording.recording, now=datetime.now(UTC)
    )
