"""Services called by many threads at once: one wins, everybody gets an answer."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from accounts.models import User
from devices.models import Surgery
from devices.services.surgeries import (
    claim_surgery,
    finish_surgery,
    interrupt_lost_surgeries,
    release_surgery,
    start_surgery,
    take_surgery,
)
from devices.tests.builders import (
    NODE,
    NOW,
    Announced,
    chunks_after,
    in_progress,
    names,
    start,
    store,
)
from realtime.core.errors import Conflict

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 8


def at_once(function: Callable[[int], Any]) -> list[Any]:
    """Call it in several threads at the same moment; return results, or Conflicts, by thread."""
    results: list[Any] = [None] * THREADS
    gate = threading.Barrier(THREADS)

    def run(number: int) -> None:
        gate.wait()
        try:
            results[number] = function(number)
        except Conflict as conflict:
            results[number] = conflict
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_finishing_in_parallel_announces_once(surgeon: User, announced: Announced) -> None:
    recording = start(surgeon)
    chunks = chunks_after(recording, [3, 2])
    store(chunks)
    finished = at_once(
        lambda number: finish_surgery(
            surgery_id=recording.surgery_id,
            recording=1,
            chunks=2,
            digest=chunks[-1].digest,
            now=NOW + timedelta(seconds=number),
        )
    )
    assert len({surgery.ended_at for surgery in finished}) == 1
    assert names(announced) == ["surgery_started", "surgery_completed"]


def test_one_of_many_starts_with_the_same_id_wins(surgeon: User, announced: Announced) -> None:
    surgery_id = uuid4()
    started = at_once(
        lambda _: start_surgery(surgery_id=surgery_id, surgeon_id=surgeon.pk, node=NODE, now=NOW)
    )
    assert [type(result) for result in started].count(Conflict) == THREADS - 1
    assert names(announced) == ["surgery_started"]
    assert Surgery.objects.count() == 1


def test_of_many_who_take_over_the_last_to_ask_records(surgeon: User) -> None:
    surgery_id = in_progress(surgeon, 3).surgery_id

    def take(number: int) -> Any:
        claim = claim_surgery(surgery_id=surgery_id, surgeon_id=surgeon.pk, now=NOW).claim
        return take_surgery(
            surgery_id=surgery_id, claim=claim, node=f"node-{number}", force=True, now=NOW
        )

    taken = [result for result in at_once(take) if not isinstance(result, Conflict)]
    surgery = Surgery.objects.get()
    assert surgery.claimed == THREADS + 1
    # Whoever asked last got it; those before were told so, or were shut out afterwards.
    assert max(recording.recording for recording in taken) == surgery.recording
    assert len({recording.recording for recording in taken}) == len(taken)


def test_sweeps_in_parallel_interrupt_once(surgeon: User, announced: Announced) -> None:
    for _ in range(3):
        recording = in_progress(surgeon, 3)
        release_surgery(surgery_id=recording.surgery_id, recording=1, now=NOW)
    counts = at_once(
        lambda _: interrupt_lost_surgeries(
            living_nodes=set(), grace=timedelta(seconds=60), now=NOW + timedelta(hours=1)
        )
    )
    assert sum(counts) == 3
    assert names(announced).count("surgery_interrupted") == 3
