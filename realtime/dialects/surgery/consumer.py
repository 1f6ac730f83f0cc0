"""The surgery dialect's order of talk: a surgeon streams, an AI listens. Source: seed 000."""

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import msgspec
from django.db import Error as DatabaseProblem

from devices.access import unanalysed_among
from devices.services import surgeries
from devices.services.surgeries import Claim, Completed, Interrupted, Recording
from devices.trajectory import Chunk
from devices.writer import Writer
from realtime import journal
from realtime.budgets import SharedBudget
from realtime.calls import call
from realtime.consumers import SocketConsumer
from realtime.core.errors import (
    BadData,
    Conflict,
    Failure,
    Forbidden,
    NotFound,
    PolicyViolation,
    TryLater,
    Unavailable,
)
from realtime.core.events import Event, SurgeryCompleted, SurgeryMoved
from realtime.core.frames import Frame
from realtime.core.limits import DialectLimits
from realtime.core.movement import FINISH, Movement
from realtime.core.session import Principal
from realtime.dialects.surgery.recorder import Recorder
from realtime.dialects.surgery.recordings import Recordings, give_back, store_and_release
from realtime.dialects.surgery.schema import (
    CONNECTED,
    SurgeryDialect,
    new_surgery,
    parse,
    saved,
)
from realtime.hub import Hub

DIALECT = SurgeryDialect()
DATABASE_AWAY = "the database does not answer: resume this operation later"
INTERRUPTED = "this operation was interrupted while we were not heard of: resume it"
COMPLETED_TOPIC = "surgeries.completed"
BACKLOG = timedelta(days=1)
BACKLOG_AT_ONCE = 500
LET_GO_SECONDS = 1.0
LOOK_AGAIN_SECONDS = 0.02
# Whoever is told why we close may come back at once, and shall find everything stored by then. A
# database that is away is not waited for: daphne would cancel us after ten seconds.
LAST_WORDS_SECONDS = 5.0

PublishLive = Callable[[Event], None]


class SimulationConsumer(SocketConsumer):
    """`/ws/simulation`: frames in, one answer for each FINISH out."""

    dialect = DIALECT
    endpoint = "simulation"

    def __init__(
        self,
        hub: Hub,
        limits: DialectLimits,
        budget: SharedBudget | None = None,
        *,
        node_id: str,
        writer: Writer,
        recordings: Recordings,
        publish_live: PublishLive,
    ) -> None:
        super().__init__(hub, limits, budget)
        self._node_id = node_id
        self._writer = writer
        self._recordings = recordings
        self._publish_live = publish_live
        self._chosen: UUID | None = None
        self._taken: Recording | None = None
        self._recorder: Recorder | None = None
        # The FINISH that was answered last, for the client that never saw the answer.
        self._finished: tuple[Movement, UUID] | None = None
        # Set when nobody waits any more for what is asked of the database.
        self._is_cancelled = False
        # Set while the socket may only repeat the FINISH of a completed operation.
        self._is_only_repeating = False

    def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Awaitable[None]:
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        self._chosen_raw = query.get("surgery", [None])[-1]
        return super().__call__(scope, receive, send)

    @property
    def recording_number(self) -> int:
        return self._recorder.recording.recording if self._recorder else 0

    # --- Opening -----------------------------------------------------------------------

    async def on_handshake(self, principal: Principal) -> None:
        """Take the chosen operation before the client sees an open connection.

        So its next connection claims later than this one, and whatever its last one sent is
        stored, and can be asked for, by the time this one opens.
        """
        if self._chosen_raw is None:
            return
        try:
            self._chosen = UUID(self._chosen_raw)
        except ValueError:
            raise BadData("surgery must be a UUID") from None
        self._taken = await self._resume(self._chosen, principal)

    async def on_open(self) -> None:
        taken, self._taken = self._taken, None
        if taken is not None:
            self._record(taken)

    async def _claim_chosen(self, surgery_id: UUID, principal: Principal) -> Claim | None:
        """Return the claim; None when the first frame is to create the operation."""
        try:
            with _database_refusals():
                return await call(
                    surgeries.claim_surgery,
                    surgery_id=surgery_id,
                    surgeon_id=principal.user_id,
                    now=_now(),
                    is_wanted=lambda: not self._is_cancelled,
                )
        except Forbidden:
            raise PolicyViolation("this operation is another surgeon's", kind="forbidden") from None
        except NotFound:
            return None
        except asyncio.CancelledError:
            self._is_cancelled = True
            raise

    async def _resume(self, surgery_id: UUID, principal: Principal) -> Recording | None:
        """Return the right to go on; None for an operation that is complete or not there."""
        claim = await self._claim_chosen(surgery_id, principal)
        if claim is not None and not claim.completed:
            try:
                return await self._take(surgery_id, claim)
            except Completed:
                claim = await self._claim_chosen(surgery_id, principal)
        if claim is not None:
            self._finished = (claim.last, surgery_id)
            self._is_only_repeating = True
        return None

    async def _take(self, surgery_id: UUID, claim: Claim) -> Recording:
        """Wait for whoever records it to let go; a dead one is not waited for long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LET_GO_SECONDS
        pause = LOOK_AGAIN_SECONDS
        while True:
            try:
                recording = await self._obtain(
                    surgeries.take_surgery,
                    surgery_id=surgery_id,
                    claim=claim.claim,
                    force=loop.time() >= deadline,
                )
            except Completed:
                raise
            except Conflict:
                raise PolicyViolation("another connection took this operation over") from None
            if recording is not None:
                return recording
            await asyncio.sleep(min(pause, max(deadline - loop.time(), 0)))
            pause *= 2

    async def _obtain(
        self, service: Callable[..., Recording | None], **about: Any
    ) -> Recording | None:
        """Ask for the right to record; who is cancelled meanwhile gives it back."""
        asking = asyncio.ensure_future(call(service, node=self._node_id, now=_now(), **about))
        try:
            with _database_refusals():
                return await asyncio.shield(asking)
        except asyncio.CancelledError:
            self._recordings.see_off(give_back(asking))
            raise

    def give_way(self) -> None:
        """Let the other socket have it, with everything that arrived here until now."""
        self.member.end(PolicyViolation("another connection took this operation over"))

    # --- Frames ------------------------------------------------------------------------

    async def on_text(self, text: str) -> None:
        movement = parse(text)
        if self._recorder is None:
            if await self._answers_repeat(movement):
                return
            await self._start()
        recorder = self._recorder
        # A FINISH that was stored just before the server was killed is not stored again.
        if movement.event != FINISH or movement != recorder.last:
            recorder.add(movement)
        if movement.event == FINISH:
            await self._finish(recorder, movement)
        elif recorder.is_behind:
            with _fence_refusals(), _database_refusals():
                await recorder.catch_up()

    async def on_binary(self, data: bytes) -> None:
        raise BadData("bad frame: text frames only")

    async def _answers_repeat(self, movement: Movement) -> bool:
        """Answer a FINISH that was answered already; nothing new happens."""
        if self._finished is not None:
            finish, surgery_id = self._finished
            if movement == finish and finish.event == FINISH:
                self.member.send(Frame(saved(surgery_id)))
                return True
        if self._is_only_repeating:
            raise PolicyViolation("this operation is complete; only its FINISH may be repeated")
        return False

    async def _start(self) -> None:
        chosen, self._chosen = self._chosen, None
        try:
            started = await self._obtain(
                surgeries.start_surgery,
                surgery_id=chosen or uuid.uuid4(),
                surgeon_id=self._surgeon.user_id,
            )
        except Conflict as conflict:
            # Another connection created it since we asked: take it over, if it is ours.
            started = await self._resume(chosen, self._surgeon) if chosen else None
            if started is None:
                raise PolicyViolation(str(conflict)) from conflict
        if started is not None:
            self._record(started)

    def _record(self, recording: Recording) -> None:
        self._recorder = Recorder(
            recording, self._writer, on_chunk=self._show, on_failure=self._end_for
        )
        self._recordings.hold(recording.surgery_id, self)

    async def _finish(self, recorder: Recorder, movement: Movement) -> None:
        surgery_id = recorder.recording.surgery_id
        with _fence_refusals(), _database_refusals():
            await recorder.flush()
            await call(
                surgeries.finish_surgery,
                surgery_id=surgery_id,
                recording=recorder.recording.recording,
                chunks=recorder.chunks,
                digest=recorder.digest,
                now=_now(),
            )
        self._recordings.let_go(surgery_id, self)
        self._recorder, self._chosen = None, None
        self._finished = (movement, surgery_id)
        self.member.send(Frame(saved(surgery_id)))

    def _show(self, recording: Recording, chunk: Chunk) -> None:
        """Let whoever watches see the frames; their storing does not wait for it."""
        self._publish_live(
            SurgeryMoved(
                id=f"{chunk.surgery_id}:{chunk.first}",
                at=chunk.received_at,
                surgery_id=chunk.surgery_id,
                surgeon_id=recording.surgeon_id,
                surgeon=recording.surgeon,
                offset=chunk.first,
                movements=msgspec.Raw(chunk.payload),
            )
        )

    def _end_for(self, failure: Failure) -> None:
        if isinstance(failure, Interrupted):
            self.member.end(TryLater(INTERRUPTED))
        elif isinstance(failure, Conflict):
            self.give_way()
        else:
            self.member.end(TryLater(DATABASE_AWAY))

    # --- Leaving -----------------------------------------------------------------------

    async def on_close(self) -> None:
        taken, self._taken = self._taken, None
        recorder, self._recorder = self._recorder, None
        recording = recorder.recording if recorder is not None else taken
        if recording is None:
            return
        self._recordings.let_go(recording.surgery_id, self)
        last_words = self._recordings.see_off(
            store_and_release(recording, recorder, node=self._node_id)
        )
        if recorder is None or not recorder.has_failed:
            await asyncio.wait({last_words}, timeout=LAST_WORDS_SECONDS)

    @property
    def _surgeon(self) -> Principal:
        return self.member.session.principal


class AiConsumer(SocketConsumer):
    """`/ws/ai`: told once of every completed operation; what it sends is ignored."""

    dialect = DIALECT
    endpoint = "ai"

    async def on_open(self) -> None:
        self.member.send(Frame(CONNECTED))
        # Held back until what it missed is written: positions keep the two apart.
        self.hub.subscribe(self.member, COMPLETED_TOPIC, held=True)
        with _database_refusals():
            await self._send_backlog(upto=self.hub.position)
        self.hub.catch_up(self.member)

    async def _send_backlog(self, *, upto: int) -> None:
        n = await call(journal.first_since, _now() - BACKLOG)
        while n < upto:
            entries = await call(journal.read_after, n, BACKLOG_AT_ONCE, topic=COMPLETED_TOPIC)
            entries = [entry for entry in entries if entry.n <= upto]
            if not entries:
                return
            await self._send_unanalysed([entry.event for entry in entries])
            if self.transport.is_blocked:
                await self._until_it_reads()
            n = entries[-1].n

    async def _send_unanalysed(self, events: list[Event]) -> None:
        ids = [event.surgery_id for event in events if isinstance(event, SurgeryCompleted)]
        waiting = await call(unanalysed_among, ids)
        for surgery_id in ids:
            if surgery_id in waiting:
                self.member.send(Frame(new_surgery(surgery_id)))


@contextlib.contextmanager
def _fence_refusals() -> Iterator[None]:
    """Say what it means for the connection that it does not record the operation any more."""
    try:
        yield
    except Interrupted as interrupted:
        raise TryLater(INTERRUPTED) from interrupted
    except Conflict as conflict:
        raise PolicyViolation(str(conflict)) from conflict


@contextlib.contextmanager
def _database_refusals() -> Iterator[None]:
    """Say what it means for the connection that the database cannot be written."""
    try:
        yield
    except (Unavailable, DatabaseProblem) as problem:
        raise TryLater(DATABASE_AWAY) from problem


def _now() -> datetime:
    return datetime.now(UTC)
