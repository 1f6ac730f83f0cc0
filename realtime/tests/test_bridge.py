"""The bridge: what happens to operations and accounts becomes events, or undoes the change."""

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.db import transaction

from accounts import roles
from accounts.models import Role, User
from accounts.services import revoke_all_tokens
from devices.models import Surgery
from devices.services import surgeries
from devices.tests.builders import NODE, NOW, chunks_after, store
from realtime import bridge, journal
from realtime.core.events import (
    AccessChanged,
    AnyEvent,
    RecordingClaimed,
    SurgeryAnalysed,
    SurgeryCompleted,
    SurgeryInterrupted,
    SurgeryStarted,
    decode,
)
from realtime.models import JournalEntry

pytestmark = pytest.mark.django_db


@pytest.fixture
def surgeon() -> User:
    user = User.objects.create_user("dr grey", role=roles.SURGEON)
    JournalEntry.objects.all().delete()
    return user


def told() -> list[AnyEvent]:
    """Return what was appended since the last time, in order."""
    rows = list(JournalEntry.objects.order_by("id"))
    JournalEntry.objects.all().delete()
    return [decode(bytes(row.payload)) for row in rows]


def start(surgeon: User) -> surgeries.Recording:
    return surgeries.start_surgery(surgery_id=uuid4(), surgeon_id=surgeon.pk, node=NODE, now=NOW)


def finish(recording: surgeries.Recording) -> Surgery:
    chunks = chunks_after(recording, [64, 6])
    store(chunks)
    return surgeries.finish_surgery(
        surgery_id=recording.surgery_id,
        recording=recording.recording,
        chunks=2,
        digest=chunks[-1].digest,
        now=NOW + timedelta(seconds=70),
    )


# --- Operations ----------------------------------------------------------------------------


def test_a_start_is_told(surgeon: User) -> None:
    recording = start(surgeon)
    (event,) = told()
    assert isinstance(event, SurgeryStarted)
    assert (event.surgery_id, event.surgeon_id) == (recording.surgery_id, surgeon.pk)
    assert (event.surgeon, event.started_at, event.resumed) == ("dr grey", NOW, False)


def test_a_completion_is_told_once(surgeon: User) -> None:
    recording = start(surgeon)
    told()
    surgery = finish(recording)
    surgery.notes = "an admin adds a note"
    surgery.save(update_fields=["notes"])
    (event,) = told()
    assert isinstance(event, SurgeryCompleted)
    assert (event.ended_at, event.duration_seconds) == (NOW + timedelta(seconds=70), 70)
    assert event.movements == 70


def test_an_analysis_is_told(surgeon: User) -> None:
    recording = start(surgeon)
    finish(recording)
    told()
    surgeries.record_analysis(
        surgery_id=recording.surgery_id, score=85.5, feedback="Steady hand.", now=NOW
    )
    (event,) = told()
    assert isinstance(event, SurgeryAnalysed)
    assert (event.score, event.feedback) == (85.5, "Steady hand.")


def test_an_interruption_is_told_and_so_is_the_reopening(surgeon: User) -> None:
    recording = start(surgeon)
    surgery_id = recording.surgery_id
    surgeries.release_surgery(surgery_id=surgery_id, recording=recording.recording, now=NOW)
    told()
    later = NOW + timedelta(minutes=5)
    surgeries.interrupt_lost_surgeries(living_nodes=set(), grace=timedelta(minutes=1), now=later)
    (interrupted,) = told()
    assert isinstance(interrupted, SurgeryInterrupted)
    claim = surgeries.claim_surgery(surgery_id=surgery_id, surgeon_id=surgeon.pk, now=later)
    surgeries.take_surgery(
        surgery_id=surgery_id, claim=claim.claim, node=NODE, force=False, now=later
    )
    reopened = told()[-1]
    assert isinstance(reopened, SurgeryStarted)
    assert reopened.resumed


def test_a_claim_is_told_to_whoever_records(surgeon: User) -> None:
    recording = start(surgeon)
    told()
    claim = surgeries.claim_surgery(surgery_id=recording.surgery_id, surgeon_id=surgeon.pk, now=NOW)
    (event,) = told()
    assert isinstance(event, RecordingClaimed)
    assert (event.surgery_id, event.recording) == (recording.surgery_id, claim.claim)
    assert event.recording > recording.recording


def test_every_event_has_an_id_of_its_own(surgeon: User) -> None:
    finish(start(surgeon))
    events = told()
    assert len({event.id for event in events}) == len(events) == 2


# --- Accounts ------------------------------------------------------------------------------


def deactivate(user: User) -> None:
    user.is_active = False
    user.save()


def promote(user: User) -> None:
    user.role_id = roles.OPERATOR
    user.save()


@pytest.mark.parametrize("change", [deactivate, promote, revoke_all_tokens])
def test_a_changed_account_is_told(surgeon: User, change: Callable[[User], None]) -> None:
    change(User.objects.get(pk=surgeon.pk))
    events = told()
    assert events
    for event in events:
        assert isinstance(event, AccessChanged)
        assert (event.user_id, event.role, event.token_id) == (surgeon.pk, None, None)


def test_a_changed_role_is_told_by_its_name() -> None:
    role = Role.objects.get(pk=roles.MEMBER)
    role.subscribe = ["chat.**"]
    role.save()
    event = told()[-1]
    assert isinstance(event, AccessChanged)
    assert (event.user_id, event.role) == (None, roles.MEMBER)


def test_what_changes_no_right_is_told_to_nobody(surgeon: User) -> None:
    user = User.objects.get(pk=surgeon.pk)
    user.email = "grey@example.org"
    user.save()
    Group.objects.create(name="book club")
    assert told() == []


# --- One transaction -----------------------------------------------------------------------


class Unforeseen(Exception):
    """Stands for whatever makes a transaction roll back."""


def test_a_change_that_rolls_back_is_told_to_nobody(surgeon: User) -> None:
    def start_in_vain() -> None:
        with transaction.atomic():
            start(surgeon)
            raise Unforeseen

    with pytest.raises(Unforeseen):
        start_in_vain()
    assert told() == []
    assert not Surgery.objects.exists()


def test_what_cannot_be_told_does_not_happen(
    surgeon: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(event: object) -> None:
        raise Unforeseen

    monkeypatch.setattr(journal, "append", fails)
    with pytest.raises(Unforeseen):
        start(surgeon)
    assert not Surgery.objects.exists()


def test_connecting_twice_tells_once(surgeon: User) -> None:
    bridge.connect()
    start(surgeon)
    assert len(told()) == 1
