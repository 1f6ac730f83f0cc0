"""Every write to an operation but its chunks: one verb per function, one transaction each.

Who records an operation holds its recording number, a fence: it is the number of the claim
that was turned into the recording, so taking over raises it, and from then on nothing that
carries a lower one is written. Times are passed in, aware UTC.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction

from devices.models import Surgery, TrajectoryChunk
from devices.trajectory import Movement, decode_movements, genesis
from realtime.core.errors import Conflict, Forbidden, NotFound

log = logging.getLogger("vitalwire.surgeries")

NO_SUCH_SURGERY = "La cirugía con id {} no existe."
NOT_YOURS = "No tienes permiso para acceder a esta cirugía."
NOT_COMPLETED = "La cirugía aún no está completada."


class Completed(Conflict):
    """Raised when an operation cannot be recorded any more: it is complete."""


class Interrupted(Conflict):
    """Raised when an operation was interrupted though its recorder was only late."""


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """The right to append to an operation, and where its trajectory goes on.

    `chunks` is the next sequence number, `movements` what the chunks before it hold,
    `digest` that of the last one (the genesis digest when there is none), `last` its last
    movement.
    """

    surgery_id: UUID
    surgeon_id: UUID
    surgeon: str
    recording: int
    chunks: int
    movements: int
    digest: bytes
    started_at: datetime
    last: Movement | None = None


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A surgeon asked for an operation that exists.

    `held` says that another socket records it and was told to let go. A `completed` one can
    only have its last movement repeated.
    """

    surgery_id: UUID
    claim: int
    held: bool
    completed: bool
    movements: int
    last: Movement | None


@transaction.atomic
def start_surgery(*, surgery_id: UUID, surgeon_id: UUID, node: str, now: datetime) -> Recording:
    """Create the operation whose first frame just arrived.

    Raises Conflict when the id is taken, NotFound when the surgeon is gone.
    """
    surgeon = get_user_model().objects.filter(pk=surgeon_id).first()
    if surgeon is None:
        raise NotFound("the surgeon's account does not exist any more")
    surgery = Surgery(id=surgery_id, surgeon=surgeon, node=node, started_at=now)
    try:
        surgery.save(force_insert=True)
    except IntegrityError as error:
        raise Conflict(f"an operation with the id {surgery_id} exists already") from error
    return _recording_of(surgery)


@transaction.atomic
def claim_surgery(
    *,
    surgery_id: UUID,
    surgeon_id: UUID,
    now: datetime,
    is_wanted: Callable[[], bool] = lambda: True,
) -> Claim:
    """Ask to record an operation that exists; whoever records it is told to let go.

    A later claim shuts out this one. `is_wanted` is asked once the row is locked, which may take
    long: a claim that nobody waits for any more would shut out the one made instead of it.
    Raises NotFound, Forbidden when it is somebody else's, Conflict when it is not wanted.
    """
    surgery = _locked(surgery_id)
    if not is_wanted():
        raise Conflict("whoever asked for this operation has left")
    if surgery.surgeon_id != surgeon_id:
        raise Forbidden(NOT_YOURS)
    completed = surgery.status == Surgery.Status.COMPLETED
    held = bool(surgery.node) and not completed
    if not completed:
        surgery.claimed += 1
        surgery.save(update_fields=["claimed"])
    log.info("surgery %s claimed (%d) at %s", surgery_id, surgery.claimed, now.isoformat())
    last = _last_chunk(surgery_id)
    return Claim(
        surgery_id=surgery_id,
        claim=surgery.claimed,
        held=held,
        completed=completed,
        movements=_movements_after(last),
        last=_last_movement(last),
    )


@transaction.atomic
def take_surgery(
    *, surgery_id: UUID, claim: int, node: str, force: bool, now: datetime
) -> Recording | None:
    """Turn a claim into a recording; None while another socket still holds it.

    With `force` it is taken from whoever holds it. An interrupted operation goes on. Raises
    NotFound, Completed when that happened meanwhile, and Conflict when a later claim came.
    """
    surgery = _locked(surgery_id)
    if surgery.status == Surgery.Status.COMPLETED:
        raise Completed("this operation is completed")
    if surgery.claimed != claim:
        raise Conflict("another connection took over this operation")
    if surgery.node and not force:
        return None
    surgery.recording = claim
    _hold(surgery, node)
    log.info("surgery %s is recorded (%d) since %s", surgery_id, surgery.recording, now.isoformat())
    return _recording_of(surgery)


@transaction.atomic
def release_surgery(*, surgery_id: UUID, recording: int, now: datetime) -> None:
    """Stop recording: the grace time begins. Does nothing when somebody else has taken over."""
    surgery = _locked(surgery_id)
    if surgery.recording == recording and _is_in_progress(surgery):
        _let_go(surgery, now)


@transaction.atomic
def finish_surgery(
    *, surgery_id: UUID, recording: int, chunks: int, digest: bytes, now: datetime
) -> Surgery:
    """Complete the operation, once; asked again with the same trajectory, return it as it is.

    `chunks` and `digest` are what the recorder wrote. Raises NotFound, Interrupted, and Conflict
    when somebody else records it, or when what is stored is not what the recorder wrote.
    """
    surgery = _locked(surgery_id)
    if surgery.recording != recording:
        raise Conflict("another connection took over this operation")
    if surgery.status == Surgery.Status.COMPLETED and surgery.digest == digest.hex():
        return surgery
    if surgery.status == Surgery.Status.INTERRUPTED:
        raise Interrupted("this operation is not in progress any more: it was interrupted")
    if not _is_in_progress(surgery):
        raise Conflict("this operation is not in progress any more")
    last = _last_chunk(surgery_id)
    stored = TrajectoryChunk.objects.filter(surgery_id=surgery_id).count()
    if last is None or (stored, last.seq, last.digest) != (chunks, chunks - 1, digest.hex()):
        raise Conflict(f"the trajectory is not complete: {stored} of {chunks} chunks are stored")
    return _complete(surgery, last, now)


@transaction.atomic
def complete_interrupted(*, surgery_id: UUID, by: str) -> Surgery:
    """Complete an interrupted operation with what was received; it ended with its last frame.

    `by` is the username of who decided so, for the log. Raises NotFound, and Conflict when it
    is not interrupted or holds no movement.
    """
    surgery = _locked(surgery_id)
    if surgery.status != Surgery.Status.INTERRUPTED:
        raise Conflict(f"the operation is {surgery.get_status_display()}, not interrupted")
    last = _last_chunk(surgery_id)
    if last is None:
        raise Conflict("no movement of this operation was stored")
    log.info("surgery %s completed by %r", surgery_id, by)
    return _complete(surgery, last, max(last.received_at, surgery.started_at))


@transaction.atomic
def record_analysis(*, surgery_id: UUID, score: float, feedback: str, now: datetime) -> Surgery:
    """Keep the AI's judgement; a later one replaces it, the same one again changes nothing.

    Raises NotFound, and Conflict when the operation is not completed.
    """
    surgery = _locked(surgery_id)
    if surgery.status != Surgery.Status.COMPLETED:
        raise Conflict(NOT_COMPLETED)
    if (surgery.score, surgery.feedback) != (score, feedback):
        surgery.score, surgery.feedback, surgery.analysed_at = score, feedback, now
        surgery.save(update_fields=["score", "feedback", "analysed_at"])
    return surgery


def keep_surgeries(*, recordings: Mapping[UUID, int], node: str) -> set[UUID]:
    """Go on recording what others let go or interrupted because this process seemed dead.

    `recordings` are the operations it records, with their numbers. Return those that are its own;
    the others are complete, or somebody has taken them over.
    """
    touched = Surgery.objects.filter(id__in=list(recordings)).exclude(
        node=node, status=Surgery.Status.IN_PROGRESS
    )
    lost = {
        surgery_id
        for surgery_id in list(touched.values_list("id", flat=True))
        if not _keep(surgery_id, recordings[surgery_id], node)
    }
    return recordings.keys() - lost


@transaction.atomic
def _keep(surgery_id: UUID, recording: int, node: str) -> bool:
    surgery = _locked(surgery_id)
    if surgery.recording != recording or surgery.status == Surgery.Status.COMPLETED:
        return False
    _hold(surgery, node)
    log.info("surgery %s is still recorded (%d)", surgery_id, recording)
    return True


def interrupt_lost_surgeries(
    *, living_nodes: Collection[str], grace: timedelta, now: datetime
) -> int:
    """Interrupt what nobody has recorded for `grace`; return how many.

    What a dead process recorded is let go now, so that its grace begins now. One short
    transaction for each operation, so that a long list holds no lock for long.
    """
    in_progress = Surgery.objects.filter(status=Surgery.Status.IN_PROGRESS)
    orphans = in_progress.exclude(node="").exclude(node__in=living_nodes)
    for surgery_id in list(orphans.values_list("id", flat=True)):
        _let_go_of_dead(surgery_id, living_nodes, now)
    lost = in_progress.filter(node="", disconnected_at__lt=now - grace)
    return sum(
        _interrupt_if_lost(surgery_id, now - grace)
        for surgery_id in list(lost.values_list("id", flat=True))
    )


@transaction.atomic
def _let_go_of_dead(surgery_id: UUID, living_nodes: Collection[str], now: datetime) -> None:
    surgery = _locked(surgery_id)
    if _is_in_progress(surgery) and surgery.node and surgery.node not in living_nodes:
        _let_go(surgery, now)


@transaction.atomic
def _interrupt_if_lost(surgery_id: UUID, since: datetime) -> bool:
    surgery = _locked(surgery_id)
    is_abandoned = _is_in_progress(surgery) and not surgery.node
    if not is_abandoned or surgery.disconnected_at is None or surgery.disconnected_at >= since:
        return False
    last = _last_chunk(surgery_id)
    # A process that only seemed dead (its heartbeat was late) still stores what it records.
    if last and last.received_at >= since:
        return False
    surgery.status = Surgery.Status.INTERRUPTED
    surgery.movements = _movements_after(last)
    surgery.digest = last.digest if last else ""
    surgery.save(update_fields=["status", "movements", "digest"])
    return True


def _hold(surgery: Surgery, node: str) -> None:
    surgery.node = node
    surgery.disconnected_at = None
    surgery.digest = ""
    surgery.status = Surgery.Status.IN_PROGRESS
    surgery.save(update_fields=["recording", "node", "disconnected_at", "digest", "status"])


def _let_go(surgery: Surgery, now: datetime) -> None:
    surgery.node = ""
    surgery.disconnected_at = now
    surgery.movements = _movements_after(_last_chunk(surgery.id))
    surgery.save(update_fields=["node", "disconnected_at", "movements"])


def _complete(surgery: Surgery, last: TrajectoryChunk, ended_at: datetime) -> Surgery:
    surgery.status = Surgery.Status.COMPLETED
    surgery.node = ""
    surgery.ended_at = ended_at
    # The clock may have been set back meanwhile; nothing lasts less than no time.
    lasted = max(ended_at - surgery.started_at, timedelta(0))
    surgery.duration_seconds = int(lasted.total_seconds())
    surgery.movements = _movements_after(last)
    surgery.digest = last.digest
    surgery.save(
        update_fields=["status", "node", "ended_at", "duration_seconds", "movements", "digest"]
    )
    return surgery


def _locked(surgery_id: UUID) -> Surgery:
    """Return the row, locked. A chunk may refer to it meanwhile: its key does not change."""
    rows = Surgery.objects.select_related("surgeon")
    try:
        return rows.select_for_update(no_key=True, of=("self",)).get(pk=surgery_id)
    except Surgery.DoesNotExist:
        raise NotFound(NO_SUCH_SURGERY.format(surgery_id)) from None


def _is_in_progress(surgery: Surgery) -> bool:
    return surgery.status == Surgery.Status.IN_PROGRESS


def _last_chunk(surgery_id: UUID) -> TrajectoryChunk | None:
    return TrajectoryChunk.objects.filter(surgery_id=surgery_id).order_by("-seq").first()


def _movements_after(last: TrajectoryChunk | None) -> int:
    return last.first + last.count if last else 0


def _last_movement(last: TrajectoryChunk | None) -> Movement | None:
    return decode_movements(bytes(last.payload))[-1] if last else None


def _recording_of(surgery: Surgery) -> Recording:
    last = _last_chunk(surgery.id)
    return Recording(
        surgery_id=surgery.id,
        surgeon_id=surgery.surgeon_id,
        surgeon=surgery.surgeon.username,
        recording=surgery.recording,
        chunks=last.seq + 1 if last else 0,
        movements=_movements_after(last),
        digest=bytes.fromhex(last.digest) if last else genesis(surgery.id),
        started_at=surgery.started_at,
        last=_last_movement(last),
    )
