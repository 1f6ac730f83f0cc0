"""The alert rules of a process, with a real database: shared out, restored, none lost."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError

from devices.models import Alert, AlertRule, Device, Reading, Series
from devices.readings import Report
from devices.rules import Decision
from devices.services.alerts import resolve_alert
from devices.services.devices import change_status
from devices.tests.builders import a_device, a_rule
from devices.tests.rules import LONG_AGO, at
from realtime import nodes
from realtime.alarms import Alarms, verdicts
from realtime.alarms import alarms as module
from realtime.alarms.shares import owner_of
from realtime.alarms.verdicts import Verdicts
from realtime.calls import call
from realtime.core.events import (
    AlertRaised,
    AlertUpdated,
    DevicesChanged,
    DeviceStatusChanged,
    Measured,
    RulesChanged,
    TelemetryReceived,
)
from realtime.tests.test_broker import until

pytestmark = pytest.mark.django_db(transaction=True)

HERE, THERE = "node-here", "node-there"


class Process:
    """The alarms of one process, with a clock and a layer that do as the test wants."""

    def __init__(self, node: str = HERE, *, is_shared: bool = False) -> None:
        self.second = 100.0
        self.is_deaf = False
        self.beacon = 1
        self.alarms = Alarms(
            node,
            is_shared=is_shared,
            is_deaf=lambda: self.is_deaf,
            next_beacon=lambda: self.beacon,
            clock=lambda: at(self.second),
        )

    def observe(self, device: Device, value: float, second: float) -> Report:
        report = report_of(device, value, second)
        self.alarms.observe(report)
        return report

    def forward(self, device: Device, value: float, second: float) -> None:
        report = report_of(device, value, second)
        about = {"device_id": device.pk, "metrics": report.metrics}
        self.alarms.forwarded(TelemetryReceived(id="t", at=report.received_at, **about))

    def tick(self, second: float) -> None:
        self.second = second
        self.alarms.tick(at(second))

    async def settled(self) -> None:
        await until(lambda: self.alarms.is_idle)


@asynccontextmanager
async def running(process: Process) -> AsyncIterator[Process]:
    await process.alarms.start()
    task = asyncio.ensure_future(process.alarms.run())
    await process.settled()
    yield process
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def process() -> AsyncIterator[Process]:
    """Return a process that is alone, with nothing to watch yet."""
    async with running(Process()) as process:
        yield process


@pytest.fixture
async def one_of_two() -> AsyncIterator[Process]:
    """Return a process that shares its work with another over a layer."""
    for node in (HERE, THERE):
        await call(nodes.beat, node, {}, now=at(100))
    async with running(Process(is_shared=True)) as process:
        yield process


def report_of(device: Device, value: float, second: float) -> Report:
    metrics = {"temperature": Measured(value, "°C", at(second))}
    return Report(device_id=device.pk, account_id=None, metrics=metrics, received_at=at(second))


def old_rule(device: Device | None = None, **fields: Any) -> AlertRule:
    rule = a_rule(device, **({"cooldown_seconds": 0} | fields))
    AlertRule.objects.filter(pk=rule.pk).update(updated_at=LONG_AGO)
    return rule


def store(device: Device, value: float, second: float) -> None:
    series, _ = Series.objects.get_or_create(device=device, metric="temperature")
    moment = at(second)
    Reading.objects.create(series=series, at=moment, value=value, unit="°C", received_at=moment)


def a_sensor() -> Device:
    device = a_device(f"TEMP-{Device.objects.count()}", now=LONG_AGO)
    Device.objects.filter(pk=device.pk).update(created_at=LONG_AGO)
    return device


def devices_of(node: str) -> list[Device]:
    """Put devices into service until one belongs to `node`; return that one."""
    device = a_sensor()
    while owner_of(device.pk, (HERE, THERE)) != node:
        device = a_sensor()
    return [device]


def alerts() -> list[tuple[str, datetime]]:
    return list(Alert.objects.order_by("pk").values_list("status", "created_at"))


async def told(process: Process) -> list[tuple[str, datetime]]:
    await process.settled()
    return await call(alerts)


async def with_rule(process: Process, **fields: Any) -> AlertRule:
    rule = await call(old_rule, **fields)
    process.alarms.on_event(RulesChanged(id="r", at=at(0), rule_id=rule.pk))
    await process.settled()
    return rule


# --- One process ---------------------------------------------------------------------------


async def test_a_bad_value_raises_and_a_good_one_resolves(process: Process) -> None:
    device = await call(a_sensor)
    await with_rule(process)
    process.observe(device, 31.0, 1)
    assert await told(process) == [("active", at(1))]
    process.observe(device, 29.0, 2)
    assert await told(process) == [("resolved", at(1))]
    process.observe(device, 31.0, 3)
    assert await told(process) == [("resolved", at(1)), ("active", at(3))]


async def test_what_no_rule_is_about_costs_no_look_at_the_database(
    process: Process,
) -> None:
    device = await call(a_sensor)
    await with_rule(process, metric="humidity")
    process.observe(device, 31.0, 1)
    assert process.alarms.is_idle


async def test_values_that_come_before_the_device_is_restored_are_taken_in_order(
    process: Process,
) -> None:
    device = await call(a_sensor)
    await with_rule(process)
    for second, value in enumerate((31.0, 29.0, 31.0, 29.0)):
        process.observe(device, value, second)
    assert await told(process) == [("resolved", at(0)), ("resolved", at(2))]


async def test_the_database_may_be_away_for_a_while(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = await call(a_sensor)
    await with_rule(process)
    process.observe(device, 20.0, 0)
    await process.settled()
    tries = []

    def away(*args: Any, **kwargs: Any) -> int | None:
        tries.append(1)
        if len(tries) < 3:
            raise OperationalError("the database is away")
        return carry_out(*args, **kwargs)

    carry_out = verdicts.carry_out
    monkeypatch.setattr(verdicts, "carry_out", away)
    monkeypatch.setattr("realtime.calls.AWAY_SECONDS", 0.001)
    process.observe(device, 31.0, 1)
    process.observe(device, 29.0, 2)
    assert await told(process) == [("resolved", at(1))]
    assert len(tries) == 4


async def test_decisions_that_the_queue_cannot_take_are_made_again_from_the_table(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensors = [await call(a_sensor) for _ in range(3)]
    await with_rule(process)
    for device in sensors:
        process.observe(device, 20.0, 0)
    await process.settled()
    monkeypatch.setattr(process.alarms._verdicts, "put", lambda verdict: False)
    for device in sensors:
        await call(store, device, 31.0, 1)
        process.observe(device, 31.0, 1)
        assert device.pk not in process.alarms._watching.devices
    monkeypatch.undo()
    process.tick(10)
    assert await told(process) == [("active", at(1))] * 3


async def test_a_full_queue_lets_the_restoring_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[int] = []
    queue = Verdicts(
        on_raised=lambda verdict, id: raised.append(id), on_outdated=lambda v: None, most=1
    )
    device = await call(a_sensor)
    rule = await call(old_rule)
    compiled = (await call(module.services.load_rules)).get(rule.pk)
    assert compiled is not None
    verdict = verdicts.Verdict(device.pk, compiled, Decision.RAISE, 31.0, "", at(1))
    assert queue.put(verdict)
    assert not queue.put(verdict)
    waiting = asyncio.ensure_future(queue.wait_for_room())
    await asyncio.sleep(0)
    assert not waiting.done()
    task = asyncio.ensure_future(queue.run())
    await waiting
    await until(lambda: bool(raised))
    task.cancel()


# --- What others do ------------------------------------------------------------------------


async def test_an_alert_resolved_by_hand_is_raised_again_when_it_goes_on(
    process: Process,
) -> None:
    device = await call(a_sensor)
    rule = await with_rule(process)
    process.observe(device, 31.0, 1)
    await process.settled()
    alert = await call(Alert.objects.get)
    await call(resolve_alert, alert.pk, by=None, now=at(2))
    about = {"device_id": device.pk, "alert_id": alert.pk, "rule_id": rule.pk}
    words = {"severity": "warning", "alert_type": "threshold", "title": ""}
    process.alarms.on_event(
        AlertUpdated(id="a", at=at(2), status="resolved", by="olga", **about, **words)
    )
    process.observe(device, 32.0, 3)
    assert await told(process) == [("resolved", at(1)), ("active", at(3))]


async def test_an_acknowledgement_changes_nothing(process: Process) -> None:
    device = await call(a_sensor)
    rule = await with_rule(process)
    process.observe(device, 31.0, 1)
    await process.settled()
    alert = await call(Alert.objects.get)
    about = {"device_id": device.pk, "alert_id": alert.pk, "rule_id": rule.pk}
    words = {"severity": "warning", "alert_type": "threshold", "title": ""}
    process.alarms.on_event(
        AlertUpdated(id="a", at=at(2), status="acknowledged", by="olga", **about, **words)
    )
    process.observe(device, 32.0, 3)
    assert await told(process) == [("active", at(1))]


async def test_an_alert_that_another_process_raised_ends_with_a_good_value_here(
    process: Process,
) -> None:
    device = await call(a_sensor)
    rule = await with_rule(process)
    process.observe(device, 20.0, 0)
    await process.settled()
    alert = await call(lambda: Alert.objects.create(device=device, rule=rule, created_at=at(1)))
    about = {"device_id": device.pk, "alert_id": alert.pk, "rule_id": rule.pk}
    words = {"severity": "warning", "alert_type": "threshold", "title": "", "message": ""}
    process.alarms.on_event(AlertRaised(id="a", at=at(1), **about, **words))
    process.observe(device, 20.0, 2)
    assert await told(process) == [("resolved", at(1))]


async def test_a_decision_that_another_process_had_made_is_not_told_twice(
    process: Process,
) -> None:
    device = await call(a_sensor)
    rule = await with_rule(process)
    process.observe(device, 20.0, 0)
    await process.settled()
    await call(lambda: Alert.objects.create(device=device, rule=rule, created_at=at(1)))
    process.observe(device, 31.0, 1)
    assert await told(process) == [("active", at(1))]
    process.observe(device, 29.0, 2)
    assert await told(process) == [("resolved", at(1))], "it has learnt of that alert"


# --- Changes -------------------------------------------------------------------------------


async def test_a_changed_rule_is_in_force_at_once(process: Process) -> None:
    device = await call(a_sensor)
    rule = await with_rule(process)
    process.observe(device, 25.0, 0)
    await process.settled()

    def change(**fields: Any) -> None:
        AlertRule.objects.filter(pk=rule.pk).update(**fields)

    await call(change, threshold=20.0)
    process.alarms.on_event(RulesChanged(id="r", at=at(0), rule_id=rule.pk))
    await process.settled()
    process.observe(device, 25.0, 1)
    assert await told(process) == [("active", at(1))]
    await call(change, is_active=False)
    process.alarms.on_event(RulesChanged(id="r", at=at(0), rule_id=rule.pk))
    await process.settled()
    process.observe(device, 19.0, 2)
    assert await told(process) == [("active", at(1))], "it is left to a person"


async def test_many_changed_rules_are_loaded_in_one_go(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHANGES_MAX", 1)
    device = await call(a_sensor)
    rules = [await call(old_rule, metric=metric) for metric in ("humidity", "temperature")]
    for rule in rules:
        process.alarms.on_event(RulesChanged(id="r", at=at(0), rule_id=rule.pk))
    await process.settled()
    process.observe(device, 31.0, 1)
    assert await told(process) == [("active", at(1))]


async def test_a_device_of_another_type_has_other_rules(process: Process) -> None:
    device = await call(a_sensor)
    await with_rule(process, device_type="gateway")
    process.observe(device, 31.0, 1)
    assert await told(process) == []
    await call(lambda: Device.objects.filter(pk=device.pk).update(device_type="gateway"))
    process.alarms.on_event(DevicesChanged(id="d", at=at(0), device_id=device.pk))
    process.observe(device, 31.0, 2)
    assert await told(process) == [("active", at(2))]


def status_changed(device: Device, status: str) -> DeviceStatusChanged:
    about = {"device": device.name, "reason": "", "last_seen": None}
    return DeviceStatusChanged(
        id="s", at=at(0), device_id=device.pk, old_status="online", new_status=status, **about
    )


async def test_a_device_in_maintenance_raises_nothing(process: Process) -> None:
    device = await call(a_sensor)
    await with_rule(process)
    process.observe(device, 20.0, 0)
    await process.settled()
    process.alarms.on_event(status_changed(device, "maintenance"))
    process.observe(device, 31.0, 1)
    assert await told(process) == []
    process.alarms.on_event(status_changed(device, "online"))
    process.observe(device, 31.0, 2)
    assert await told(process) == [("active", at(2))]


async def test_a_device_is_restored_muted_while_it_is_in_maintenance(process: Process) -> None:
    device = await call(a_sensor)
    await call(change_status, device.pk, "maintenance", reason="", now=at(0))
    await with_rule(process)
    process.observe(device, 31.0, 1)
    assert await told(process) == []


# --- Absence -------------------------------------------------------------------------------


async def test_a_silent_device_raises_and_its_next_reading_resolves(process: Process) -> None:
    device = await call(a_sensor)
    await with_rule(process, condition="absent", threshold=60.0)
    process.observe(device, 1.0, 110)
    process.tick(169)
    assert await told(process) == []
    process.tick(170)
    assert await told(process) == [("active", at(170))]
    process.tick(171)
    process.observe(device, 1.0, 200)
    assert await told(process) == [("resolved", at(170))]


async def test_a_device_that_another_process_hears_is_not_absent(process: Process) -> None:
    """Without a layer between them the table tells."""
    device = await call(a_sensor)
    await with_rule(process, condition="absent", threshold=60.0)
    await call(store, device, 1.0, 150)
    process.tick(170)
    assert await told(process) == []
    process.tick(210)
    assert await told(process) == [("active", at(210))]


async def test_a_device_that_never_reported_is_absent_after_its_time(process: Process) -> None:
    await call(a_sensor)
    await with_rule(process, condition="absent", threshold=60.0)
    process.tick(159)
    assert await told(process) == []
    process.tick(160)
    assert await told(process) == [("active", at(160))]


# --- After a restart -----------------------------------------------------------------------


async def test_what_the_dead_process_had_not_told_is_told_at_the_start() -> None:
    device = await call(a_sensor)
    await call(old_rule)
    await call(store, device, 31.0, 50)
    async with running(Process()) as process:
        assert await told(process) == [("active", at(50))]


async def test_without_a_layer_nothing_waits_until_the_dead_process_is_noticed() -> None:
    await call(old_rule)
    await call(nodes.beat, THERE, {}, now=at(99))
    for device in await call(devices_of, THERE):
        await call(store, device, 31.0, 98)
    async with running(Process()) as process:
        assert await told(process) == [("active", at(98))]


async def test_a_restart_continues_where_it_stood() -> None:
    device = await call(a_sensor)
    await call(old_rule, raise_after_seconds=20, clear_after_seconds=20)
    async with running(Process()) as process:
        for second, value in ((101, 31.0), (115, 31.0)):
            await call(store, device, value, second)
            process.observe(device, value, second)
    async with running(Process()) as process:
        process.observe(device, 31.0, 121)
        assert await told(process) == [("active", at(121))]
        await call(store, device, 29.0, 130)
        process.observe(device, 29.0, 130)
        await process.settled()
    async with running(Process()) as process:
        process.observe(device, 29.0, 150)
        assert await told(process) == [("resolved", at(121))]


# --- Several processes ---------------------------------------------------------------------


async def test_a_value_of_anothers_device_is_left_to_it(one_of_two: Process) -> None:
    [ours], [theirs] = await call(devices_of, HERE), await call(devices_of, THERE)
    await with_rule(one_of_two)
    one_of_two.observe(ours, 31.0, 1)
    one_of_two.observe(theirs, 31.0, 2)
    assert await told(one_of_two) == [("active", at(1))]
    one_of_two.alarms.on_heard(THERE, 0, 1)
    one_of_two.tick(1_000)
    assert await told(one_of_two) == [("active", at(1))]


async def test_what_others_forward_is_evaluated_by_the_owner_only(one_of_two: Process) -> None:
    [ours], [theirs] = await call(devices_of, HERE), await call(devices_of, THERE)
    await with_rule(one_of_two)
    one_of_two.forward(theirs, 31.0, 1)
    one_of_two.forward(ours, 31.0, 2)
    assert await told(one_of_two) == [("active", at(2))]


async def test_what_a_dead_process_took_in_of_our_devices_is_looked_up(
    one_of_two: Process,
) -> None:
    [ours] = await call(devices_of, HERE)
    await with_rule(one_of_two)
    await call(store, ours, 29.0, 99)
    one_of_two.observe(ours, 29.0, 99)
    assert await told(one_of_two) == []
    # The other one stores and acknowledges a spike, and dies before it has told us of it.
    await call(store, ours, 31.0, 101)
    await call(store, ours, 29.0, 103)
    one_of_two.observe(ours, 29.0, 103)
    assert await told(one_of_two) == []
    await call(nodes.beat, HERE, {}, now=at(113))
    await one_of_two.alarms.refresh(now=at(113))
    assert await told(one_of_two) == [("resolved", at(101))]


async def lost(process: Process) -> None:
    process.alarms.on_heard(THERE, 5, 6)


async def late(process: Process) -> None:
    process.tick(107)


async def deaf(process: Process) -> None:
    process.is_deaf = True
    process.tick(101)


@pytest.mark.parametrize("happens", [lost, late, deaf])
async def test_what_its_owner_has_not_heard_is_evaluated_here(
    one_of_two: Process, happens: Callable[[Process], Any]
) -> None:
    [theirs] = await call(devices_of, THERE)
    await with_rule(one_of_two)
    one_of_two.observe(theirs, 31.0, 100)
    assert await told(one_of_two) == []
    await happens(one_of_two)
    assert await told(one_of_two) == [("active", at(100))]


async def test_while_the_layer_is_deaf_everything_is_evaluated_here(one_of_two: Process) -> None:
    [theirs] = await call(devices_of, THERE)
    await with_rule(one_of_two)
    one_of_two.is_deaf = True
    one_of_two.tick(101)
    one_of_two.observe(theirs, 31.0, 101)
    assert await told(one_of_two) == [("active", at(101))]
    one_of_two.is_deaf = False
    one_of_two.tick(102)
    one_of_two.observe(theirs, 29.0, 102)
    assert await told(one_of_two) == [("active", at(101))], "left to its owner again"
    assert theirs.pk not in one_of_two.alarms._watching.devices


async def test_after_deafness_our_devices_are_looked_at_in_the_table(one_of_two: Process) -> None:
    [ours] = await call(devices_of, HERE)
    await with_rule(one_of_two)
    one_of_two.observe(ours, 20.0, 100)
    await one_of_two.settled()
    one_of_two.is_deaf = True
    one_of_two.tick(101)
    await call(store, ours, 31.0, 102)
    one_of_two.is_deaf = False
    one_of_two.tick(103)
    assert await told(one_of_two) == [("active", at(102))]


async def test_what_was_missed_is_judged_before_what_came_after_it(one_of_two: Process) -> None:
    """It was bad for a moment, which nobody told us of."""
    [ours] = await call(devices_of, HERE)
    await with_rule(one_of_two)
    one_of_two.forward(ours, 20.0, 100)
    await one_of_two.settled()
    for value, second in ((31.0, 101), (20.0, 102)):
        await call(store, ours, value, second)
    one_of_two.alarms.on_missed()
    one_of_two.forward(ours, 20.0, 103)
    assert await told(one_of_two) == [("resolved", at(101))]


async def test_whoever_takes_over_looks_back(one_of_two: Process) -> None:
    [theirs] = await call(devices_of, THERE)
    await with_rule(one_of_two)
    await call(store, theirs, 31.0, 100)
    await call(nodes.bury, THERE)
    await one_of_two.alarms.refresh(now=at(101))
    assert await told(one_of_two) == [("active", at(100))]
    one_of_two.observe(theirs, 29.0, 102)
    assert await told(one_of_two) == [("resolved", at(100))]


async def test_what_a_new_process_takes_over_is_let_go(process: Process) -> None:
    shared = Process(is_shared=True)
    await call(nodes.beat, HERE, {}, now=at(100))
    [theirs] = await call(devices_of, THERE)
    await call(old_rule)
    async with running(shared):
        assert theirs.pk in shared.alarms._watching.devices
        await call(nodes.beat, THERE, {}, now=at(100))
        await shared.alarms.refresh(now=at(100) + timedelta(seconds=1))
        await shared.settled()
        assert theirs.pk not in shared.alarms._watching.devices


async def test_only_the_owner_misses_a_device(one_of_two: Process) -> None:
    await call(devices_of, HERE)
    await call(devices_of, THERE)
    await with_rule(one_of_two, condition="absent", threshold=60.0)
    one_of_two.is_deaf = True
    one_of_two.tick(200)
    await one_of_two.settled()
    found = await call(lambda: list(Alert.objects.values_list("device_id", flat=True)))
    assert all(owner_of(device_id, (HERE, THERE)) == HERE for device_id in found)
    assert found
