"""A saved row announces its transition, and only that."""

from typing import Any

import pytest

from accounts.models import User
from devices import signals
from devices.models import Surgery
from devices.tests.builders import NOW, Announced, completed, in_progress, interrupted


def test_saving_without_a_transition_announces_nothing(surgeon: User, announced: Announced) -> None:
    surgery = completed(surgeon, 3)
    announced.clear()
    surgery.notes = "checked"
    surgery.save(update_fields=["notes"])
    Surgery.objects.get().save()
    assert not announced


def test_a_transition_is_announced_by_whatever_saves_it(
    surgeon: User, announced: Announced
) -> None:
    surgery = interrupted(surgeon, 3)
    announced.clear()
    surgery.status = Surgery.Status.COMPLETED
    surgery.ended_at = NOW
    surgery.save()
    surgery.save()
    assert announced == [("surgery_completed", {"surgery": surgery})]


def test_a_state_that_is_not_among_the_saved_fields_is_no_transition(
    surgeon: User, announced: Announced
) -> None:
    surgery = interrupted(surgeon, 3)
    announced.clear()
    surgery.status = Surgery.Status.COMPLETED
    surgery.notes = "not yet"
    surgery.save(update_fields=["notes"])
    assert not announced


def test_a_state_saved_elsewhere_is_no_transition_here(surgeon: User, announced: Announced) -> None:
    surgery = interrupted(surgeon, 3)
    Surgery.objects.filter(pk=surgery.pk).update(status=Surgery.Status.COMPLETED)
    announced.clear()
    surgery.refresh_from_db()
    surgery.save()
    assert not announced


def test_fields_that_were_not_loaded_are_neither_asked_for_nor_announced(
    surgeon: User, announced: Announced, django_assert_num_queries: Any
) -> None:
    in_progress(surgeon, 3)
    surgery = Surgery.objects.only("notes").get()
    announced.clear()
    surgery.notes = "still running"
    with django_assert_num_queries(1):
        surgery.save()
    assert not announced


def test_loading_a_fixture_announces_nothing(surgeon: User, announced: Announced) -> None:
    surgery = Surgery(surgeon=surgeon, started_at=NOW)
    surgery.save_base(raw=True)
    assert not announced


@pytest.mark.django_db(transaction=True)
def test_a_receiver_that_fails_undoes_a_save_outside_any_service(surgeon: User) -> None:
    surgery = interrupted(surgeon, 3)

    def fail(**_: Any) -> None:
        raise RuntimeError("the journal is full")

    signals.surgery_completed.connect(fail)
    try:
        surgery.status = Surgery.Status.COMPLETED
        with pytest.raises(RuntimeError):
            surgery.save()
    finally:
        signals.surgery_completed.disconnect(fail)
    assert Surgery.objects.get().status == "interrupted"
