"""Services: who may record, what is stored when it ends, what is announced and how often."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction

from accounts.models import User
from devices import signals
from devices.models import Surgery, TrajectoryChunk
from devices.services.surgeries import (
    Interrupted,
    claim_surgery,
    complete_interrupted,
    finish_surgery,
    record_analysis,
    start_surgery,
    take_surgery,
)
from devices.tests.builders import (
    LATER,
    MUCH_LATER,
    NODE,
    NOW,
    Announced,
    chunks_after,
    completed,
    in_progress,
    interrupted,
    names,
    start,
    store,
)
from devices.trajectory import genesis
from realtime.core.errors import Conflict, NotFound

# --- start ----------------------------------------------------------------------------


def test_starting_stores_the_operation_and_announces_it(
    surgeon: User, announced: Announced
) -> None:
    surgery_id = uuid4()
    recording = start(surgeon, surgery_id=surgery_id)

    surgery = Surgery.objects.get(pk=surgery_id)
    assert (surgery.status, surgery.node, surgery.started_at) == ("in_progress", NODE, NOW)
    assert (recording.recording, recording.chunks, recording.movements) == (1, 0, 0)
    assert recording.digest == genesis(surgery_id)
    assert recording.surgeon == "dr grey"
    assert announced == [("surgery_started", {"surgery": surgery, "resumed": False})]


def test_an_id_can_be_used_once(surgeon: User, other_surgeon: User, announced: Announced) -> None:
    recording = start(surgeon)
    with pytest.raises(Conflict):
        start(other_surgeon, surgery_id=recording.surgery_id)
    assert names(announced) == ["surgery_started"]
    assert Surgery.objects.get().surgeon == surgeon


def test_a_surgeon_who_was_deleted_cannot_start(db: None, announced: Announced) -> None:
    with pytest.raises(NotFound):
        start_surgery(surgery_id=uuid4(), surgeon_id=uuid4(), node=NODE, now=NOW)
    assert not announced


def test_a_receiver_that_fails_undoes_the_start(surgeon: User) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("the journal is full")

    signals.surgery_started.connect(fail)
    try:
        with pytest.raises(RuntimeError):
            start(surgeon)
    finally:
        signals.surgery_started.disconnect(fail)
    assert not Surgery.objects.exists()


def test_what_is_announced_in_a_transaction_that_rolls_back_is_rolled_back_with_it(
    surgeon: User,
) -> None:
    """Whoever listens writes in the same transaction, so that nothing of it is left."""

    def write(surgery: Surgery, **_: Any) -> None:
        assert transaction.get_connection().in_atomic_block
        User.objects.create_user(f"witness of {surgery.pk}")

    recording = in_progress(surgeon, 3)
    digest = chunks_after(recording, [3])[-1].digest
    signals.surgery_completed.connect(write)
    try:
        with transaction.atomic():
            finish_surgery(
                surgery_id=recording.surgery_id, recording=1, chunks=1, digest=digest, now=LATER
            )
            assert User.objects.filter(username__startswith="witness").exists()
            transaction.set_rollback(True)
    finally:
        signals.surgery_completed.disconnect(write)
    assert not User.objects.filter(username__startswith="witness").exists()
    assert Surgery.objects.get().status == "in_progress"


# --- finish ---------------------------------------------------------------------------


def test_finishing_completes_and_announces(surgeon: User, announced: Announced) -> None:
    surgery = completed(surgeon, 3, 2)
    surgery.refresh_from_db()
    assert surgery.status == "completed"
    assert surgery.ended_at == NOW + timedelta(seconds=70.5)
    assert (surgery.duration_seconds, surgery.movements, surgery.node) == (70, 5, "")
    assert surgery.digest == TrajectoryChunk.objects.get(seq=1).digest
    assert names(announced) == ["surgery_started", "surgery_completed"]


def test_finishing_twice_announces_once(surgeon: User, announced: Announced) -> None:
    first = completed(surgeon, 3, 2)
    again = finish_surgery(
        surgery_id=first.id,
        recording=1,
        chunks=2,
        digest=bytes.fromhex(first.digest),
        now=MUCH_LATER,
    )
    assert again.ended_at == first.ended_at
    assert names(announced) == ["surgery_started", "surgery_completed"]


@pytest.mark.parametrize("stored", [0, 1])
def test_finishing_is_refused_while_chunks_are_missing(
    surgeon: User, announced: Announced, stored: int
) -> None:
    recording = start(surgeon)
    chunks = chunks_after(recording, [3, 2])
    store(chunks[:stored])
    with pytest.raises(Conflict, match=f"{stored} of 2 chunks"):
        finish_surgery(
            surgery_id=recording.surgery_id,
            recording=1,
            chunks=2,
            digest=chunks[-1].digest,
            now=LATER,
        )
    assert names(announced) == ["surgery_started"]


def test_finishing_is_refused_when_a_chunk_in_the_middle_is_missing(surgeon: User) -> None:
    recording = start(surgeon)
    chunks = chunks_after(recording, [3, 2, 1])
    store([chunks[0], chunks[2]])
    with pytest.raises(Conflict):
        finish_surgery(
            surgery_id=recording.surgery_id,
            recording=1,
            chunks=3,
            digest=chunks[-1].digest,
            now=LATER,
        )


def test_finishing_is_refused_when_the_digest_differs(surgeon: User) -> None:
    recording = in_progress(surgeon, 3)
    with pytest.raises(Conflict):
        finish_surgery(
            surgery_id=recording.surgery_id, recording=1, chunks=1, digest=b"\0" * 32, now=LATER
        )


def test_finishing_is_refused_after_a_takeover(surgeon: User) -> None:
    recording = in_progress(surgeon, 3)
    surgery_id = recording.surgery_id
    claim = claim_surgery(surgery_id=surgery_id, surgeon_id=surgeon.pk, now=LATER).claim
    take_surgery(surgery_id=surgery_id, claim=claim, node="node-2", force=True, now=LATER)
    digest = chunks_after(recording, [3])[-1].digest
    with pytest.raises(Conflict, match="took over"):
        finish_surgery(surgery_id=surgery_id, recording=1, chunks=1, digest=digest, now=LATER)


def test_finishing_is_refused_once_it_was_interrupted(surgeon: User) -> None:
    surgery = interrupted(surgeon, 3)
    with pytest.raises(Interrupted, match="in progress"):
        finish_surgery(
            surgery_id=surgery.id,
            recording=1,
            chunks=1,
            digest=bytes.fromhex(surgery.digest),
            now=LATER,
        )


def test_a_clock_that_was_set_back_makes_no_negative_duration(surgeon: User) -> None:
    recording = in_progress(surgeon, 3)
    surgery = finish_surgery(
        surgery_id=recording.surgery_id,
        recording=1,
        chunks=1,
        digest=chunks_after(recording, [3])[-1].digest,
        now=NOW - timedelta(hours=1),
    )
    assert surgery.duration_seconds == 0


# --- by hand --------------------------------------------------------------------------


def test_completing_an_interrupted_operation_ends_it_with_its_last_frame(
    surgeon: User, announced: Announced
) -> None:
    surgery = complete_interrupted(surgery_id=interrupted(surgeon, 3, 2).id, by="boss")
    assert (surgery.status, surgery.movements) == ("completed", 5)
    assert surgery.ended_at == NOW + timedelta(seconds=1)
    assert names(announced) == ["surgery_started", "surgery_interrupted", "surgery_completed"]


def test_only_an_interrupted_operation_can_be_completed_by_hand(
    surgeon: User, announced: Announced
) -> None:
    running = in_progress(surgeon, 3).surgery_id
    done = completed(surgeon, 3).id
    announced.clear()
    for surgery_id in (running, done):
        with pytest.raises(Conflict):
            complete_interrupted(surgery_id=surgery_id, by="boss")
    assert not announced


def test_an_operation_without_any_movement_is_not_completed_by_hand(surgeon: User) -> None:
    with pytest.raises(Conflict):
        complete_interrupted(surgery_id=interrupted(surgeon).id, by="boss")


# --- analysis -------------------------------------------------------------------------


def test_an_analysis_is_kept_and_a_later_one_replaces_it(
    surgeon: User, announced: Announced
) -> None:
    surgery = completed(surgeon, 3)
    announced.clear()
    for score, text in ((85.5, "bien"), (85.5, "bien"), (90.0, "mejor")):
        record_analysis(surgery_id=surgery.id, score=score, feedback=text, now=LATER)
    surgery.refresh_from_db()
    assert (surgery.score, surgery.feedback, surgery.analysed_at) == (90.0, "mejor", LATER)
    # The same one again changes nothing, so nobody is told.
    assert names(announced) == ["surgery_analysed", "surgery_analysed"]


def test_what_is_not_completed_cannot_be_analysed(surgeon: User) -> None:
    for surgery_id in (in_progress(surgeon, 3).surgery_id, interrupted(surgeon, 3).id):
        with pytest.raises(Conflict):
            record_analysis(surgery_id=surgery_id, score=1, feedback="x", now=LATER)


def test_analysing_what_does_not_exist_is_not_found(db: None) -> None:
    with pytest.raises(NotFound):
        record_analysis(surgery_id=uuid4(), score=1, feedback="x", now=LATER)
