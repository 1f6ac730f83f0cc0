"""Services called by many threads at once: one wins, everybody gets an answer."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from accounts.models import User
from devices.models import Alert, Command, Device, Surgery
from devices.services import alerts
from devices.services.alerts import acknowledge_alert, raise_alert
from devices.services.commands import queue_command, take_commands
from devices.services.devices import (
    change_status,
    issue_device_token,
    mark_alive,
    note_seen,
    retire_device,
)
from devices.services.surgeries import (
    claim_surgery,
    finish_surgery,
    interrupt_lost_surgeries,
    release_surgery,
    start_surgery,
    take_surgery,
)
from devices.tests.builders import (
    LATER,
    NODE,
    NOW,
    Announced,
    a_device,
    a_rule,
    an_alert,
    chunks_after,
    in_progress,
    names,
    start,
    store,
)
from realtime.core.errors import Conflict, Failure

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 8


def at_once(function: Callable[[int], Any]) -> list[Any]:
    """Call it in several threads at the same moment; return results, or Failures, by thread."""
    results: list[Any] = [None] * THREADS
    gate = threading.Barrier(THREADS)

    def run(number: int) -> None:
        gate.wait()
        try:
            results[number] = function(number)
        except Failure as failure:
            results[number] = failure
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


# --- Devices --------------------------------------------------------------------------


def test_of_many_who_raise_the_same_alert_one_does(device: Device, announced: Announced) -> None:
    rule = a_rule()
    announced.clear()
    raised = at_once(
        lambda _: raise_alert(
            title="Too warm",
            severity="warning",
            alert_type="threshold",
            device_id=device.pk,
            rule_id=rule.pk,
            now=NOW,
        )
    )
    assert len([alert for alert in raised if alert is not None]) == 1
    assert Alert.objects.count() == 1
    assert names(announced) == ["alert_raised"]


def test_the_constraint_decides_between_processes_that_did_not_see_each_other(
    device: Device, announced: Announced, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the row had been committed between our look and our insert."""
    rule = a_rule()
    an_alert(device, rule=rule)
    announced.clear()
    look = alerts._open_alerts
    looks: list[Any] = [Alert.objects.none()]
    monkeypatch.setattr(alerts, "_open_alerts", lambda *ids: looks.pop() if looks else look(*ids))
    again = raise_alert(
        title="Too warm",
        severity="warning",
        alert_type="threshold",
        device_id=device.pk,
        rule_id=rule.pk,
        now=NOW,
    )
    assert again is None
    assert not looks
    assert Alert.objects.count() == 1
    assert not announced


def test_of_many_who_acknowledge_one_is_told_that_it_did(
    device: Device, operator: User, announced: Announced
) -> None:
    alert = an_alert(device)
    announced.clear()
    done = at_once(lambda _: acknowledge_alert(alert.pk, by=operator, now=NOW))
    assert [type(result) for result in done].count(Conflict) == THREADS - 1
    assert names(announced) == ["alert_updated"]


def test_a_command_is_taken_by_one_of_many(device: Device) -> None:
    for number in range(20):
        queue_command(device.pk, command=str(number), parameters={}, by=None, now=NOW)
    taken = [command.pk for commands in at_once(_take(device)) for command in commands]
    assert len(taken) == len(set(taken)) == 20
    assert not Command.objects.exclude(status="sent").exists()


def _take(device: Device) -> Callable[[int], list[Command]]:
    return lambda _: take_commands(device.pk, now=NOW)


def test_many_signs_of_life_are_one_transition(device: Device, announced: Announced) -> None:
    announced.clear()
    assert at_once(lambda _: mark_alive(device.pk, now=NOW)).count(True) == 1
    assert names(announced) == ["device_status_changed"]


def test_of_many_new_devices_with_one_id_one_is_registered(db: None) -> None:
    results = at_once(lambda _: a_device("TEMP-001"))
    assert [type(result) for result in results].count(Conflict) == THREADS - 1
    assert Device.objects.count() == 1


def test_many_tokens_at_once_make_one_account(device: Device) -> None:
    accounts = {issued.account_id for issued, _ in at_once(_issue(device))}
    assert accounts == {User.objects.get().pk}


def _issue(device: Device) -> Callable[[int], Any]:
    return lambda _: issue_device_token(device.pk, now=NOW)


def test_nothing_stays_open_of_a_device_that_is_taken_out_meanwhile(
    device: Device, operator: User
) -> None:
    device_id = device.pk

    def one_of(number: int) -> Any:
        match number % 4:
            case 0:
                return retire_device(device_id, now=LATER)
            case 1:
                return queue_command(device_id, command="x", parameters={}, by=None, now=NOW)
            case 2:
                return an_alert(device)
            case _:
                return change_status(device_id, "online", reason="", now=NOW)

    at_once(one_of)
    device.refresh_from_db()
    assert (device.is_active, device.status) == (False, "offline")
    assert not Command.objects.filter(status="pending").exists()
    assert not Alert.objects.exclude(status="resolved").exists()


def test_batches_of_last_seen_do_not_wait_for_each_other_forever(db: None) -> None:
    ids = [a_device(str(number)).pk for number in range(20)]

    def note(number: int) -> None:
        order = ids if number % 2 else reversed(ids)
        note_seen({device_id: NOW + timedelta(seconds=number) for device_id in order})

    at_once(note)
    latest = NOW + timedelta(seconds=THREADS - 1)
    assert set(Device.objects.values_list("last_seen", flat=True)) == {latest}
