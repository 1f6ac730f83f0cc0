"""Operations in the admin: looked at, annotated, completed through the service."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from accounts.models import User
from devices.admin import SurgeryAdmin
from devices.models import Surgery, TrajectoryChunk
from devices.services.surgeries import complete_interrupted
from devices.tests.admin.pages import act, page_of, signed_in
from devices.tests.builders import Announced, completed, in_progress, interrupted
from realtime.core.apart import stop_apart

LIST = "/admin/devices/surgery/"


@pytest.fixture
def client(administrator: User) -> Client:
    return signed_in(administrator)


def test_the_pages_open(client: Client, surgeon: User) -> None:
    surgery = completed(surgeon, 3, 2)
    chunk = TrajectoryChunk.objects.first()
    chunks = "/admin/devices/trajectorychunk/"
    for url in (LIST, page_of(surgery), chunks, f"{chunks}{chunk.pk}/change/"):
        assert client.get(url).status_code == 200
    assert b"1710523456789" in client.get(f"{chunks}{chunk.pk}/change/").content


@pytest.mark.parametrize(
    "query",
    ["?q=dr+grey", "?status=completed", "?started_at__year=2026", "?q=checked", "?q={id}"],
)
def test_operations_are_found(client: Client, surgeon: User, query: str) -> None:
    surgery = completed(surgeon, 3)
    Surgery.objects.update(notes="checked by boss")
    response = client.get(LIST + query.format(id=str(surgery.pk)[:8]))
    assert response.context["cl"].result_count == 1


def test_nothing_that_is_recorded_is_added_or_deleted(client: Client, surgeon: User) -> None:
    surgery = completed(surgeon, 3)
    chunk = TrajectoryChunk.objects.get()
    for model, pk in (("surgery", surgery.pk), ("trajectorychunk", chunk.pk)):
        assert client.get(f"/admin/devices/{model}/add/").status_code == 403
        assert client.post(f"/admin/devices/{model}/{pk}/delete/").status_code == 403
    assert client.post(f"/admin/devices/trajectorychunk/{chunk.pk}/change/").status_code == 403
    act(client, "delete_selected", surgery)
    assert Surgery.objects.count() == 1


def test_only_notes_can_be_edited(client: Client, surgeon: User, announced: Announced) -> None:
    surgery = interrupted(surgeon, 3)
    announced.clear()
    forged = {"status": "completed", "score": "100", "movements": "9", "notes": "a note"}
    assert client.post(page_of(surgery), forged).status_code == 302
    surgery.refresh_from_db()
    assert (surgery.status, surgery.score, surgery.movements) == ("interrupted", None, 3)
    assert surgery.notes == "a note"
    assert not announced


def test_completing_an_interrupted_operation_is_announced_and_logged(
    client: Client, surgeon: User, announced: Announced, administrator: User
) -> None:
    surgery = interrupted(surgeon, 3, 2)
    announced.clear()
    assert act(client, "complete", surgery) == [f"{surgery.pk}: completed with 5 movements."]
    assert [name for name, _ in announced] == ["surgery_completed"]
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id) == (administrator, str(surgery.pk))


def test_completing_says_of_each_operation_what_came_of_it(
    client: Client, surgeon: User, announced: Announced
) -> None:
    lost, running = interrupted(surgeon, 3), in_progress(surgeon, 3)
    announced.clear()
    told = act(client, "complete", lost, Surgery.objects.get(pk=running.surgery_id))
    assert sorted(told) == sorted(
        [
            f"{lost.pk}: completed with 3 movements.",
            f"{running.surgery_id}: the operation is in progress, not interrupted.",
        ]
    )
    assert len(announced) == LogEntry.objects.count() == 1


def test_two_stale_forms_announce_one_transition_once_and_revert_nothing(
    surgeon: User, administrator: User, announced: Announced
) -> None:
    """Two administrators opened the same interrupted operation; both act on what they saw."""
    surgery = interrupted(surgeon, 3)
    announced.clear()
    first, second = signed_in(administrator), signed_in(administrator)
    for client in (first, second):
        assert b"interrupted" in client.get(page_of(surgery)).content

    act(first, "complete", surgery)
    told = act(second, "complete", surgery)
    assert told == [f"{surgery.pk}: the operation is completed, not interrupted."]
    for client, notes in ((first, "from the first"), (second, "from the second")):
        stale = {"status": "interrupted", "ended_at_0": "", "ended_at_1": "", "notes": notes}
        assert client.post(page_of(surgery), stale).status_code == 302

    assert [name for name, _ in announced] == ["surgery_completed"]
    surgery.refresh_from_db()
    assert (surgery.status, surgery.movements) == ("completed", 3)
    assert surgery.ended_at is not None
    assert surgery.notes == "from the second"


def test_a_form_that_was_loaded_before_the_transition_saves_its_notes_only(
    surgeon: User, administrator: User, announced: Announced, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row changes between Django's reading of it for the form and the save."""
    surgery = interrupted(surgeon, 3)
    announced.clear()
    save_model = SurgeryAdmin.save_model

    def save_late(self: SurgeryAdmin, request: Any, obj: Surgery, *args: Any) -> None:
        complete_interrupted(surgery_id=obj.pk, by="somebody else")
        save_model(self, request, obj, *args)

    monkeypatch.setattr(SurgeryAdmin, "save_model", save_late)
    signed_in(administrator).post(page_of(surgery), {"notes": "late"})
    assert [name for name, _ in announced] == ["surgery_completed"]
    surgery.refresh_from_db()
    assert (surgery.status, surgery.notes) == ("completed", "late")


def test_a_trajectory_is_verified_from_the_list(client: Client, surgeon: User) -> None:
    good, bad = completed(surgeon, 3, 2), completed(surgeon, 3, 2)
    TrajectoryChunk.objects.filter(surgery=bad, seq=1).update(payload=b"[]")
    try:
        told = act(client, "verify", good, bad)
    finally:
        stop_apart()
    assert sorted(told) == sorted(
        [
            f"{good.pk}: all 2 chunks hold.",
            f"{bad.pk}: chunk 1 or its digest was changed.",
        ]
    )


def test_an_operator_looks_and_verifies_but_completes_nothing(
    operator: User, surgeon: User
) -> None:
    surgery = interrupted(surgeon, 3)
    client = signed_in(operator)
    assert client.get(page_of(surgery)).status_code == 200
    assert client.post(page_of(surgery), {"notes": "mine"}).status_code == 403
    act(client, "complete", surgery)
    surgery.refresh_from_db()
    assert (surgery.status, surgery.notes) == ("interrupted", "")


def test_a_surgeon_has_no_business_there(surgeon: User) -> None:
    assert signed_in(surgeon).get(LIST).status_code == 302
