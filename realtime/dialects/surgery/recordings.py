"""Which socket of this process records which operation, and what is left to do for those that left.

Whoever records an operation must let go of it in the end: a row that names a living process is
never interrupted. So that is nobody's but this process's own work, whatever becomes of the socket.
"""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from django.db import Error as DatabaseProblem

from devices.services import surgeries
from devices.services.surgeries import Interrupted, Recording
from realtime.calls import call, call_patiently
from realtime.core.errors import Failure
from realtime.core.events import RecordingClaimed
from realtime.dialects.surgery.recorder import Recorder

logger = logging.getLogger("vitalwire.surgery")

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

    async def keep(self, node: str) -> None:
        """Go on with what other processes took from us while our heartbeat was late."""
        held = {surgery_id: one.recording_number for surgery_id, one in self._holders.items()}
        if not held:
            return
        for surgery_id in await call(surgeries.keep_surgeries, recordings=held, node=node):
            holder = self._holders.get(surgery_id)
            if holder is None or holder.recording_number != held[surgery_id]:
                # It let go while we asked, and what it released may be ours again.
                self.see_off(release(surgery_id, held[surgery_id]))

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


async def store_and_release(recording: Recording, recorder: Recorder | None, *, node: str) -> None:
    """Store what a socket left, then let go of its operation, however long the database takes."""
    try:
        # What is refused for good is another connection's to send, or nobody's.
        with contextlib.suppress(Failure):
            if recorder is not None:
                await _store(recorder, node)
        await release(recording.surgery_id, recording.recording)
    finally:
        if recorder is not None:
            _log_lost(recorder)


async def release(surgery_id: UUID, recording: int) -> None:
    """Stop recording, as soon as the database answers; the grace time begins then."""

    def release_now() -> None:
        now = datetime.now(UTC)
        surgeries.release_surgery(surgery_id=surgery_id, recording=recording, now=now)

    with contextlib.suppress(Failure):
        await call_patiently(release_now)


async def give_back(asking: "asyncio.Future[Recording | None]") -> None:
    """Release what was asked for by a socket that left before it got it."""
    with contextlib.suppress(Failure, DatabaseProblem):
        recording = await asking
        if recording is not None:
            await release(recording.surgery_id, recording.recording)


async def _store(recorder: Recorder, node: str) -> None:
    """Store every frame; an operation that was only interrupted is taken up for it."""
    surgery_id, number = recorder.recording.surgery_id, recorder.recording.recording
    while True:
        try:
            return await recorder.flush_patiently()
        except Interrupted:
            held = {surgery_id: number}
            if not await call_patiently(surgeries.keep_surgeries, recordings=held, node=node):
                raise
            recorder.hand_over_again()


def _log_lost(recorder: Recorder) -> None:
    """Say which frames were received and are not stored; the client can send them again."""
    first, count = recorder.unstored
    if count:
        surgery_id = recorder.recording.surgery_id
        logger.warning(
            "surgery %s: %d movements from %d on could not be stored", surgery_id, count, first
        )
