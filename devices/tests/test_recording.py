"""Who records: claims, takeovers, releases, and the sweep for what nobody records."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from accounts.models import User
from devices.models import Surgery, TrajectoryChunk
from devices.services.surgeries import (
    claim_surgery,
    finish_surgery,
    interrupt_lost_surgeries,
    keep_surgeries,
    release_surgery,
    take_surgery,
)
from devices.tests.builders import (
    GRACE,
    LATER,
    MUCH_LATER,
    NODE,
    NOW,
    Announced,
    chunks_after,
    completed,
    in_progress,
    interrupted,
    movements,
    names,
    start,
)
from realtime.core.errors import Conflict, Forbidden, NotFound

# --- claim and take -------------------------------------------------------------------


def test_claiming_what_somebody_records_tells_them_to_let_go(
    surgeon: User, announced: Announced
) -> None:
    recording = in_progress(surgeon, 3, 2)
    claim = claim_surgery(surgery_id=recording.surgery_id, surgeon_id=surgeon.pk, now=LATER)

    assert (claim.claim, claim.held, claim.completed) == (2, True, False)
    assert (claim.movements, claim.last) == (5, movements(5)[-1])
    name, about = announced[-1]
    assert name == "recording_claimed"
    assert about["surgery"].claimed == 2 > recording.recording


def test_claiming_what_nobody_records_tells_nobody(surgeon: User, announced: Announced) -> None:
    recording = in_progress(surgeon, 3)
    release_surgery(surgery_id=recording.surgery_id, recording=1, now=LATER)
    claim = claim_surgery(surgery_id=recording.surgery_id, surgeon_id=surgeon.pk, now=LATER)
    assert not claim.held
    assert names(announced) == ["surgery_started"]


def test_a_completed_operation_can_be_claimed_to_repeat_its_last_movement(
    surgeon: User, announced: Announced
) -> None:
    surgery = completed(surgeon, 3, 2)
    claim = claim_surgery(surgery_id=surgery.id, surgeon_id=surgeon.pk, now=LATER)
    assert (claim.completed, claim.held) == (True, False)
    assert claim.last == movements(5)[-1]
    with pytest.raises(Conflict):
        take_surgery(surgery_id=surgery.id, claim=claim.claim, node="node-2", force=True, now=LATER)
    assert names(announced) == ["surgery_started", "surgery_completed"]


def test_an_operation_without_a_stored_movement_can_be_claimed(surgeon: User) -> None:
    claim = claim_surgery(surgery_id=start(surgeon).surgery_id, surgeon_id=surgeon.pk, now=LATER)
    assert (claim.movements, claim.last) == (0, None)


def test_nobody_can_claim_the_operation_of_another(surgeon: User, other_surgeon: User) -> None:
    recording = in_progress(surgeon, 3)
    with pytest.raises(Forbidden):
        claim_surgery(surgery_id=recording.surgery_id, surgeon_id=other_surgeon.pk, now=LATER)
    assert Surgery.objects.get().claimed == 1


def test_claiming_what_does_not_exist_is_not_found(surgeon: User) -> None:
    with pytest.raises(NotFound, match="La cirugía con id"):
        claim_surgery(surgery_id=uuid4(), surgeon_id=surgeon.pk, now=LATER)


def test_a_claim_waits_for_whoever_records_to_let_go(surgeon: User, announced: Announced) -> None:
    surgery_id = in_progress(surgeon, 3, 2).surgery_id
    claim = claim_surgery(surgery_id=surgery_id, surgeon_id=surgeon.pk, now=LATER).claim

    def take() -> Any:
        return take_surgery(
            surgery_id=surgery_id, claim=claim, node="node-2", force=False, now=LATER
        )

    assert take() is None
    release_surgery(surgery_id=surgery_id, recording=1, now=LATER)
    recording = take()
    assert (recording.recording, recording.chunks, recording.movements) == (2, 2, 5)
    assert recording.digest.hex() == TrajectoryChunk.objects.get(seq=1).digest
    surgery = Surgery.objects.get()
    assert (surgery.node, surgery.disconnected_at) == ("node-2", None)
    assert names(announced) == ["surgery_started", "recording_claimed"]


def test_a_claim_can_be_forced(surgeon: User) -> None:
    surgery_id = in_progress(surgeon, 3).surgery_id
    claim = claim_surgery(surgery_id=surgery_id, surgeon_id=surgeon.pk, now=LATER).claim
    taken = take_surgery(surgery_id=surgery_id, claim=claim, node="node-2", force=True, now=LATER)
    assert taken is not None
    assert taken.recording == 2


def test_the_last_claim_wins(surgeon: User) -> None:
    surgery_id = in_progress(surgeon, 3).surgery_id
    early = claim_surgery(surgery_id=surgery_id, surgeon_id=surgeon.pk, now=LATER).claim
    late = claim_surgery(surgery_id=surgery_id, surgeon_id=surgeon.pk, now=LATER).claim
    with pytest.raises(Conflict):
        take_surgery(surgery_id=surgery_id, claim=early, node="a", force=True, now=LATER)
    taken = take_surgery(surgery_id=surgery_id, claim=late, node="b", force=True, now=LATER)
    assert taken is not None
    assert taken.recording == late == 3


def test_taking_an_interrupted_operation_reopens_it(surgeon: User, announced: Announced) -> None:
    surgery = interrupted(surgeon, 3, 2)
    claim = claim_surgery(surgery_id=surgery.id, surgeon_id=surgeon.pk, now=MUCH_LATER).claim
    recording = take_surgery(
        surgery_id=surgery.id, claim=claim, node="node-2", force=False, now=MUCH_LATER
    )
    assert recording is not None
    assert recording.chunks == 2
    assert names(announced) == ["surgery_started", "surgery_interrupted", "surgery_started"]
    assert announced[-1][1]["resumed"] is True
    surgery.refresh_from_db()
    assert (surgery.status, surgery.digest) == ("in_progress", "")


# --- release and the sweep ------------------------------------------------------------


def test_releasing_begins_the_grace_time_and_announces_nothing(
    surgeon: User, announced: Announced
) -> None:
    recording = in_progress(surgeon, 3, 2)
    release_surgery(surgery_id=recording.surgery_id, recording=1, now=LATER)
    surgery = Surgery.objects.get()
    assert (surgery.node, surgery.disconnected_at, surgery.movements) == ("", LATER, 5)
    assert surgery.status == "in_progress"
    assert names(announced) == ["surgery_started"]


def test_releasing_after_somebody_took_over_does_nothing(surgeon: User) -> None:
    surgery_id = in_progress(surgeon, 3).surgery_id
    claim = claim_surgery(surgery_id=surgery_id, surgeon_id=surgeon.pk, now=LATER).claim
    take_surgery(surgery_id=surgery_id, claim=claim, node="node-2", force=True, now=LATER)
    release_surgery(surgery_id=surgery_id, recording=1, now=LATER)
    assert Surgery.objects.get().node == "node-2"


def test_releasing_what_was_finished_changes_nothing(surgeon: User) -> None:
    surgery = completed(surgeon, 3)
    release_surgery(surgery_id=surgery.id, recording=1, now=MUCH_LATER)
    surgery.refresh_from_db()
    assert (surgery.status, surgery.disconnected_at) == ("completed", None)


def test_an_operation_is_interrupted_once_after_its_grace_time(
    surgeon: User, announced: Announced
) -> None:
    recording = in_progress(surgeon, 3, 2)
    release_surgery(surgery_id=recording.surgery_id, recording=1, now=LATER)

    def sweep(seconds: float) -> int:
        now = LATER + timedelta(seconds=seconds)
        return interrupt_lost_surgeries(living_nodes={NODE}, grace=GRACE, now=now)

    assert [sweep(59), sweep(60), sweep(61), sweep(62)] == [0, 0, 1, 0]
    assert names(announced) == ["surgery_started", "surgery_interrupted"]
    surgery = Surgery.objects.get()
    assert (surgery.status, surgery.movements, surgery.ended_at) == ("interrupted", 5, None)
    assert surgery.digest == TrajectoryChunk.objects.get(seq=1).digest


def test_what_a_dead_process_recorded_gets_its_grace_time_from_the_moment_it_is_found(
    surgeon: User,
) -> None:
    in_progress(surgeon, 3, 2)
    sweep = {"living_nodes": {"node-2"}, "grace": GRACE}
    assert interrupt_lost_surgeries(**sweep, now=LATER) == 0
    surgery = Surgery.objects.get()
    assert (surgery.node, surgery.disconnected_at, surgery.movements) == ("", LATER, 5)
    assert interrupt_lost_surgeries(**sweep, now=LATER + GRACE) == 0
    assert interrupt_lost_surgeries(**sweep, now=LATER + 2 * GRACE) == 1


def test_a_process_that_only_seemed_dead_keeps_what_it_still_records(surgeon: User) -> None:
    recording = in_progress(surgeon, 3)
    found = NOW - timedelta(hours=1)
    interrupt_lost_surgeries(living_nodes=set(), grace=GRACE, now=found)
    # The chunk was received at NOW, long after the process was taken for dead.
    assert interrupt_lost_surgeries(living_nodes=set(), grace=GRACE, now=NOW + GRACE) == 0
    finished = finish_surgery(
        surgery_id=recording.surgery_id,
        recording=1,
        chunks=1,
        digest=chunks_after(recording, [3])[-1].digest,
        now=NOW + GRACE,
    )
    assert finished.status == "completed"


def test_what_a_living_process_records_is_left_alone(surgeon: User) -> None:
    in_progress(surgeon, 3)
    assert interrupt_lost_surgeries(living_nodes={NODE}, grace=GRACE, now=MUCH_LATER) == 0
    assert Surgery.objects.get().node == NODE


# --- keeping --------------------------------------------------------------------------


def test_what_was_interrupted_though_it_is_recorded_is_reopened(
    surgeon: User, announced: Announced
) -> None:
    surgery = interrupted(surgeon, 3)
    assert keep_surgeries(recordings={surgery.id: 1}, node=NODE) == {surgery.id}
    surgery.refresh_from_db()
    assert (surgery.status, surgery.node, surgery.digest) == ("in_progress", NODE, "")
    assert surgery.disconnected_at is None
    assert names(announced)[-1] == "surgery_started"


def test_what_nobody_touched_is_kept_as_it_is(
    surgeon: User, django_assert_num_queries: Callable[[int], AbstractContextManager[None]]
) -> None:
    recording = in_progress(surgeon, 3)
    with django_assert_num_queries(1):
        assert keep_surgeries(recordings={recording.surgery_id: 1}, node=NODE) == {
            recording.surgery_id
        }


def test_what_ended_or_was_taken_over_is_not_kept(surgeon: User) -> None:
    ended, taken = completed(surgeon, 3).id, start(surgeon).surgery_id
    Surgery.objects.filter(pk=taken).update(recording=2, claimed=2, node="node-2")
    assert keep_surgeries(recordings={ended: 1, taken: 1}, node=NODE) == set()
    assert Surgery.objects.get(pk=taken).node == "node-2"
    assert Surgery.objects.get(pk=ended).status == "completed"
