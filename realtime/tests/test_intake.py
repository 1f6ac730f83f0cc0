"""The intake: what is shown at once, what is stored, who is refused, who comes back to life."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError

from devices.clocks import SKEW
from devices.models import Device, Reading
from devices.readings import METRICS_MAX, Report
from devices.services import devices
from devices.services.telemetry import record_reports
from devices.tests.builders import LATER, NOW, a_device
from devices.tests.reports import a_report, measured, store_reports, stored_values
from devices.tests.writing import held_up
from devices.writer import Writer
from realtime import bridge
from realtime.calls import call
from realtime.core.errors import Forbidden, Invalid, NotFound, Unavailable
from realtime.core.events import DevicesChanged, Event, TelemetryReceived
from realtime.intake import Intake
from realtime.tests.device_events import status_changed
from realtime.tests.test_broker import until
from realtime.tests.wire import turns

pytestmark = pytest.mark.django_db(transaction=True)

SECOND = timedelta(seconds=1)


class Threshold:
    """A rule at 30 degrees, and what it was told."""

    def __init__(self) -> None:
        self.observed: list[Report] = []
        self.heard_of: list[TelemetryReceived] = []

    def observe(self, report: Report) -> None:
        self.observed.append(report)

    def crossed(
        self, device_id: int, device_type: str, metric: str, before: float | None, value: float
    ) -> bool:
        assert device_type == "sensor"
        return before is not None and (before > 30) is not (value > 30)

    def forwarded(self, event: TelemetryReceived) -> None:
        self.heard_of.append(event)


class Bench:
    """An intake with its writer, and everything that it tells."""

    def __init__(self) -> None:
        self.here: list[Event] = []
        self.everywhere: list[Event] = []
        self.is_heard = True
        self.alarms = Threshold()
        self.writer = Writer()
        self.tasks: list[asyncio.Task[None]] = []
        self.intake = Intake(
            self.writer,
            self.alarms,
            node_id="0123abcd-4567",
            deliver=self.here.append,
            publish_live=self.everywhere.append,
            is_heard=lambda: self.is_heard,
            spawn=self.spawn,
        )

    def spawn(self, work: Any) -> None:
        self.tasks.append(asyncio.ensure_future(work))

    async def rest(self) -> None:
        """Wait until nothing runs in the background."""
        while self.tasks:
            await self.tasks.pop()


@pytest.fixture
def device(transactional_db: None) -> Device:
    return a_device()


@pytest.fixture
async def bench(device: Device) -> AsyncIterator[Bench]:
    """Return an intake that knows `device`, which is online."""
    bench = Bench()
    bench.writer.start()
    await call(devices.mark_alive, device.pk, now=NOW)
    await bench.intake.load()
    yield bench
    await bench.rest()
    await asyncio.to_thread(bench.writer.stop)


# --- shown at once, stored soon -------------------------------------------------------------


async def test_a_report_is_shown_before_and_acknowledged_after_it_is_stored(
    bench: Bench, device: Device
) -> None:
    report = a_report(device, at=NOW, received_at=LATER, temperature=21.5)
    with held_up(bench.writer):
        stored = bench.intake.take(report)
        (event,) = bench.everywhere
        await turns()
        assert not stored.done()
    assert await stored is None
    assert await call(stored_values) == [(device.pk, "temperature", 21.5, 0)]
    assert isinstance(event, TelemetryReceived)
    assert (event.topic, event.at) == (f"telemetry.{device.pk}", LATER)
    assert event.metrics == report.metrics
    assert bench.intake.latest.of(device.pk) == report.metrics
    assert bench.alarms.observed == [report]


async def test_every_event_has_an_id_of_its_own(bench: Bench, device: Device) -> None:
    for n in range(3):
        await bench.intake.take(a_report(device, at=NOW + n * SECOND))
    assert [event.id for event in bench.everywhere] == ["0123abcd:1", "0123abcd:2", "0123abcd:3"]


async def test_an_event_belongs_to_the_account_of_its_device(bench: Bench, device: Device) -> None:
    changed, _ = await call(devices.issue_device_token, device.pk, now=NOW)
    bench.intake.on_event(DevicesChanged(id="e", at=NOW, device_id=device.pk))
    await bench.rest()
    await bench.intake.take(a_report(device))
    assert bench.everywhere[0].owner == changed.account_id


async def test_what_crosses_a_threshold_is_named(bench: Bench, device: Device) -> None:
    for n, (a, b) in enumerate([(20, 20), (31, 20), (32, 33), (29, 33)]):
        await bench.intake.take(a_report(device, at=NOW + n * SECOND, a=a, b=b))
    crossed = [sorted(event.crossed) for event in bench.everywhere]
    assert crossed == [[], ["a"], ["b"], ["a"]]


async def test_where_nobody_hears_it_nothing_is_said_and_all_is_known(
    bench: Bench, device: Device
) -> None:
    bench.is_heard = False
    await bench.intake.take(a_report(device, a=1))
    assert not bench.everywhere
    assert bench.intake.latest.of(device.pk)["a"].value == 1
    assert len(bench.alarms.observed) == 1
    assert await call(Reading.objects.count) == 1


async def test_the_same_reading_again_is_not_shown_again(bench: Bench, device: Device) -> None:
    report = a_report(device, message_id="a1")
    await bench.intake.take(report)
    await bench.intake.take(report)
    assert len(bench.everywhere) == len(bench.alarms.observed) == 1
    assert await call(Reading.objects.count) == 1


async def test_a_late_reading_is_shown_and_is_not_the_latest(bench: Bench, device: Device) -> None:
    await bench.intake.take(a_report(device, at=NOW, a=20))
    await bench.intake.take(a_report(device, at=NOW - SECOND, received_at=NOW, a=40))
    assert bench.intake.latest.of(device.pk)["a"].value == 20
    assert [event.metrics["a"].value for event in bench.everywhere] == [20, 40]
    assert not bench.everywhere[1].crossed


async def test_a_clock_in_the_future_does_not_hide_what_comes_then(
    bench: Bench, device: Device
) -> None:
    ahead = NOW + SKEW + SECOND
    await bench.intake.take(a_report(device, at=ahead, received_at=NOW, a=1))
    await bench.intake.take(a_report(device, at=NOW, received_at=NOW, a=2))
    assert bench.intake.latest.of(device.pk)["a"].value == 2
    assert await call(Reading.objects.filter(is_skewed=True).count) == 1


# --- several at once ------------------------------------------------------------------------


async def test_several_reports_are_taken_in_one(bench: Bench, device: Device) -> None:
    reports = [a_report(device, at=NOW + n * SECOND, a=n) for n in range(10)]
    assert await bench.intake.take_many(reports) == {}
    assert len(bench.everywhere) == 10
    assert len(await call(stored_values)) == 10


async def test_who_is_refused_among_several_is_told_by_place(bench: Bench, device: Device) -> None:
    nan = Report(
        device_id=device.pk,
        account_id=None,
        metrics={"a": measured(float("nan"))},
        received_at=NOW,
    )
    reports = [
        a_report(device.pk + 999),
        a_report(device, a=1),
        nan,
        a_report(device, **{f"m{n}": 1.0 for n in range(METRICS_MAX + 1)}),
        a_report(device, b=1),
    ]
    refused = await bench.intake.take_many(reports)
    assert {place: type(error) for place, error in refused.items()} == {
        0: NotFound,
        2: Invalid,
        3: Invalid,
    }
    assert [metric for _, metric, _, _ in await call(stored_values)] == ["a", "b"]


async def test_a_stopped_writer_shows_nothing(bench: Bench, device: Device) -> None:
    await asyncio.to_thread(bench.writer.stop)
    with pytest.raises(Unavailable):
        bench.intake.take(a_report(device))
    with pytest.raises(Unavailable):
        bench.intake.take_many([a_report(device)])
    assert not bench.everywhere


async def test_it_is_behind_when_the_writer_is(
    bench: Bench, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devices.writer.HIGH", 1)
    with held_up(bench.writer):
        stored = bench.intake.take(a_report(device))
        assert bench.intake.is_behind
    await stored


# --- who is refused -------------------------------------------------------------------------


async def test_an_unknown_device_is_refused(bench: Bench, device: Device) -> None:
    with pytest.raises(NotFound):
        bench.intake.take(a_report(device.pk + 999))
    bench.intake.alive(device.pk + 999)


async def test_a_device_out_of_service_is_refused_and_forgotten(
    bench: Bench, device: Device
) -> None:
    await bench.intake.take(a_report(device))
    await call(devices.retire_device, device.pk, now=NOW)
    bench.intake.on_event(DevicesChanged(id="e", at=NOW, device_id=device.pk))
    await bench.rest()
    with pytest.raises(Forbidden):
        bench.intake.take(a_report(device, at=LATER))
    bench.intake.alive(device.pk)
    assert not bench.tasks
    assert bench.intake.latest.devices() == []


async def test_one_metric_too_many_is_refused_by_name(bench: Bench, device: Device) -> None:
    await bench.intake.take(a_report(device, **{f"m{n}": 1.0 for n in range(METRICS_MAX)}))
    with pytest.raises(Invalid) as caught:
        bench.intake.take(a_report(device, at=LATER, zz=1))
    assert caught.value.field == "zz"
    await bench.intake.take(a_report(device, at=LATER, m1=1))


# --- devices --------------------------------------------------------------------------------


async def test_a_new_device_is_known_when_somebody_asks(bench: Bench) -> None:
    new = await call(a_device, "TEMP-002")
    known = await bench.intake.know(new.pk)
    assert known is not None
    assert known.device_type == "sensor"
    await bench.intake.take(a_report(new))
    assert await bench.intake.know(new.pk + 999) is None


async def test_a_device_that_was_just_given_an_account_is_known_with_it(
    bench: Bench, device: Device
) -> None:
    before = await bench.intake.know(device.pk)
    assert before is not None
    assert before.account_id is None
    given, _ = await call(devices.issue_device_token, device.pk, now=NOW)
    assert await bench.intake.know(device.pk) == before, "the journal will tell"
    known = await bench.intake.know(device.pk, account_id=given.account_id)
    assert known is not None
    assert known.account_id == given.account_id


async def test_a_device_that_exists_no_more_is_forgotten(bench: Bench, device: Device) -> None:
    event = DevicesChanged(id="e", at=NOW, device_id=device.pk)
    await call(device.delete)
    bench.intake.on_event(event)
    await bench.rest()
    assert len(bench.intake.registry) == 0


async def test_what_was_measured_before_a_restart_is_known(bench: Bench, device: Device) -> None:
    retired = await call(a_device, "TEMP-002")
    await call(store_reports, [a_report(device, a=1), a_report(retired, a=2)])
    await call(devices.retire_device, retired.pk, now=NOW)
    later = Intake(
        bench.writer,
        bench.alarms,
        node_id="n",
        deliver=print,
        publish_live=print,
        is_heard=lambda: True,
        spawn=bench.spawn,
    )
    await later.load()
    assert later.latest.of(device.pk) == {"a": measured(1)}
    assert later.latest.devices() == [device.pk]


# --- signs of life --------------------------------------------------------------------------


def status_of(device: Device) -> tuple[str, Any]:
    return Device.objects.values_list("status", "last_seen").get(pk=device.pk)


async def test_the_first_sign_of_life_brings_a_device_online_once(
    bench: Bench, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    await call(devices.change_status, device.pk, "offline", reason="test", now=NOW)
    bench.intake.on_event(status_changed(device=device.pk, new_status="offline"))
    calls: list[int] = []
    mark_alive = devices.mark_alive
    monkeypatch.setattr(
        devices, "mark_alive", lambda id_, **how: calls.append(id_) or mark_alive(id_, **how)
    )
    for n in range(5):
        await bench.intake.take(a_report(device, at=NOW + n * SECOND))
    await bench.rest()
    for n in range(5, 9):
        await bench.intake.take(a_report(device, at=NOW + n * SECOND))
    await bench.rest()
    assert calls == [device.pk]
    assert (await call(status_of, device))[0] == "online"


@pytest.mark.parametrize("status", ["maintenance", "error", "warning"])
async def test_other_states_are_left_alone(bench: Bench, device: Device, status: str) -> None:
    await call(devices.change_status, device.pk, status, reason="test", now=NOW)
    bench.intake.on_event(status_changed(device=device.pk, new_status=status))
    bench.intake.alive(device.pk, now=LATER)
    assert not bench.tasks
    await bench.intake.keep_seen()
    assert await call(status_of, device) == (status, LATER)


async def test_a_stale_memory_of_a_status_is_put_right(bench: Bench, device: Device) -> None:
    bench.intake.on_event(status_changed(device=device.pk, new_status="offline"))
    bench.intake.alive(device.pk, now=LATER)
    await bench.rest()
    known = bench.intake.registry.get(device.pk)
    assert known is not None
    assert known.status == "online"


async def test_signs_of_life_are_kept_together_and_never_go_back(
    bench: Bench, device: Device
) -> None:
    for now in (LATER - SECOND, LATER):
        bench.intake.alive(device.pk, now=now)
    await bench.intake.keep_seen()
    assert (await call(status_of, device))[1] == LATER
    bench.intake.alive(device.pk, now=NOW)
    await bench.intake.keep_seen()
    await bench.intake.keep_seen()
    assert (await call(status_of, device))[1] == LATER


async def test_signs_of_life_that_could_not_be_kept_are_kept_later(
    bench: Bench, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("the database is away")

    bench.intake.alive(device.pk, now=LATER)
    with monkeypatch.context() as patch:
        patch.setattr(devices, "note_seen", fail)
        patch.setattr("devices.writer.RETRY_SECONDS", 0)
        with pytest.raises(Unavailable):
            await bench.intake.keep_seen()
    await bench.intake.keep_seen()
    assert (await call(status_of, device))[1] == LATER


# --- otherwise than from our sockets --------------------------------------------------------


async def test_what_came_over_rest_is_shown_and_not_stored_again(
    bench: Bench, device: Device
) -> None:
    loop = asyncio.get_running_loop()
    stop = bridge.on_readings(
        lambda reports: loop.call_soon_threadsafe(bench.intake.on_recorded, reports)
    )
    report = a_report(device, a=1)
    await call(record_reports, [report], now=NOW)
    await until(lambda: bool(bench.everywhere))
    stop()
    assert bench.intake.latest.of(device.pk) == {"a": measured(1)}
    assert bench.alarms.observed == [report]
    await call(record_reports, [a_report(device, at=LATER)], now=NOW)
    await turns()
    assert len(bench.everywhere) == 1
    assert await call(Reading.objects.count) == 2


async def test_what_a_new_device_sent_over_rest_is_shown_too(bench: Bench) -> None:
    new = await call(a_device, "TEMP-002")
    bench.intake.on_recorded([a_report(new, a=1), a_report(new.pk + 999, a=1)])
    await bench.rest()
    assert [event.topic for event in bench.everywhere] == [f"telemetry.{new.pk}"]


async def test_what_another_process_took_in_is_heard_here_only(
    bench: Bench, device: Device
) -> None:
    await bench.intake.take(a_report(device, a=1))
    bench.everywhere.clear()
    for n, at in enumerate([NOW - SECOND, NOW + SECOND]):
        event = TelemetryReceived(
            id=f"n:{n}", at=at, device_id=device.pk, metrics={"a": measured(n, at=at)}
        )
        bench.intake.on_live(event)
    assert [event.id for event in bench.here] == ["n:0", "n:1"]
    assert bench.alarms.heard_of == bench.here
    assert not bench.everywhere
    assert bench.intake.latest.of(device.pk) == {"a": measured(1, at=NOW + SECOND)}
    await bench.rest()


async def test_too_many_metrics_of_another_process_are_shown_and_not_kept(
    bench: Bench, device: Device
) -> None:
    metrics = {f"m{n}": measured(1) for n in range(METRICS_MAX + 1)}
    bench.intake.on_live(TelemetryReceived(id="n", at=NOW, device_id=device.pk, metrics=metrics))
    assert len(bench.here) == 1
    assert bench.intake.latest.of(device.pk) == {}
