"""`manage.py verify_surgery` and what it stands on: what was changed by hand is found."""

from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from accounts.models import User
from devices.models import Surgery, TrajectoryChunk
from devices.tests.builders import completed, in_progress, movements, start
from devices.trajectory import encode_movements
from devices.verification import verify


def proved(surgery_id: object) -> str:
    out = StringIO()
    call_command("verify_surgery", str(surgery_id), stdout=out)
    return out.getvalue()


def test_an_untouched_operation_is_proved(surgeon: User) -> None:
    surgery = completed(surgeon, 3, 2, 4)
    assert f"{surgery.id} (completed): 3 chunks with 9 movements hold" in proved(surgery.id)


def test_one_in_progress_is_proved_as_far_as_it_is_stored(surgeon: User) -> None:
    assert "2 chunks with 5 movements hold" in proved(in_progress(surgeon, 3, 2).surgery_id)
    assert "0 chunks with 0 movements hold" in proved(start(surgeon).surgery_id)


def test_many_chunks_are_read_page_by_page(surgeon: User) -> None:
    proof = verify(completed(surgeon, *[1] * 200))
    assert (proof.holds, proof.chunks) == (True, 200)


def test_the_first_bad_chunk_is_named(surgeon: User) -> None:
    surgery = completed(surgeon, 3, 2, 4, 1)
    for seq in (1, 2):
        TrajectoryChunk.objects.filter(surgery=surgery, seq=seq).update(
            payload=encode_movements(movements(2))
        )
    with pytest.raises(CommandError, match="Bad chunk 1: chunk 1 or its digest") as error:
        proved(surgery.id)
    assert error.value.returncode == 1


def test_a_deleted_chunk_is_named(surgeon: User) -> None:
    surgery = completed(surgeon, 3, 2, 4)
    TrajectoryChunk.objects.filter(surgery=surgery, seq=0).delete()
    with pytest.raises(CommandError, match="Bad chunk 0: chunk 0 is missing"):
        proved(surgery.id)


def test_an_end_that_was_cut_off_is_found(surgeon: User) -> None:
    surgery = completed(surgeon, 3, 2, 4)
    TrajectoryChunk.objects.filter(surgery=surgery, seq=2).delete()
    with pytest.raises(CommandError, match="Bad chunk 2: the operation ended with 9 movements"):
        proved(surgery.id)


def test_the_whole_trajectory_of_another_operation_is_found(surgeon: User) -> None:
    surgery, other = completed(surgeon, 3), completed(surgeon, 3)
    surgery.chunks.all().delete()
    other.chunks.update(surgery=surgery)
    assert verify(Surgery.objects.get(pk=surgery.pk)).bad_chunk == 0


def test_an_operation_that_does_not_exist_is_an_error(db: None) -> None:
    with pytest.raises(CommandError, match="There is no operation"):
        proved(uuid4())


def test_what_is_no_uuid_is_an_error(db: None) -> None:
    with pytest.raises(CommandError, match="invalid UUID"):
        proved("1")
