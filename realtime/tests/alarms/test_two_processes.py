"""Two serving processes on one layer: one takes a reading in, the other evaluates its rule."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django import Settings

from devices.models import Alert, AlertRule, Device
from devices.readings import Report
from devices.tests.builders import a_device, a_rule
from realtime import broker
from realtime.calls import call
from realtime.core.events import Measured
from realtime.runtime import Runtime
from realtime.tests.test_broker import IN_MEMORY, until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _shared(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one loop's processes speak to each other as if over Redis."""
    settings.CHANNEL_LAYERS = IN_MEMORY
    settings.REDIS_URL = "redis://in-memory"
    monkeypatch.setattr(broker, "BEACON_SECONDS", 0.02)


@pytest.fixture
async def pair(serving: Runtime) -> AsyncIterator[tuple[Runtime, Runtime]]:
    """Return two processes that know each other and hear each other."""
    other = Runtime()
    await other.start()
    for each in (serving, other):
        await each._beat()
    for each in (serving, other):
        await until(lambda each=each: any(h.upto for h in each.broker._hearings.values()))
    yield serving, other
    await other.stop()


@pytest.fixture
async def theirs(pair: tuple[Runtime, Runtime]) -> Device:
    """Return a device whose rules the second process evaluates."""
    first, second = pair
    device = await call(a_device)
    while first.alarms._shares.owns(device.pk):
        device = await call(lambda: a_device(f"TEMP-{Device.objects.count()}"))
    assert second.alarms._shares.owns(device.pk)
    rule = await call(lambda: a_rule(cooldown_seconds=0))
    for each in pair:
        await until(lambda each=each: each.alarms._watching.book.get(rule.pk) is not None)
        await until(lambda each=each: each.intake.registry.get(device.pk) is not None)
    return device


async def take(runtime: Runtime, device: Device, value: float) -> None:
    now = datetime.now(UTC)
    metrics = {"temperature": Measured(value, "°C", now)}
    await runtime.intake.take(
        Report(device_id=device.pk, account_id=None, metrics=metrics, received_at=now)
    )


def statuses() -> list[str]:
    return list(Alert.objects.order_by("pk").values_list("status", flat=True))


async def told(expected: list[str]) -> None:
    async with asyncio.timeout(10):
        while await call(statuses) != expected:  # noqa: ASYNC110  nobody tells a test
            await asyncio.sleep(0.01)


async def test_the_owner_evaluates_what_another_process_took_in(
    pair: tuple[Runtime, Runtime], theirs: Device
) -> None:
    first, second = pair
    await take(first, theirs, 31.0)
    await told(["active"])
    assert theirs.pk in second.alarms._watching.devices
    assert theirs.pk not in first.alarms._watching.devices
    await until(lambda: len(first.alarms._left) == 0)
    await take(first, theirs, 29.0)
    await told(["resolved"])


async def test_what_was_lost_on_the_way_is_evaluated_where_it_came_in(
    pair: tuple[Runtime, Runtime], theirs: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = pair
    send = first.broker._send

    async def lose(group: str, message: dict[str, Any]) -> None:
        if message["type"] != "live":
            await send(group, message)

    monkeypatch.setattr(first.broker, "_send", lose)
    await take(first, theirs, 31.0)
    await told(["active"])
    monkeypatch.undo()
    await take(first, theirs, 29.0)
    await told(["resolved"])


async def test_a_rule_changed_in_one_process_is_in_force_in_the_other(
    pair: tuple[Runtime, Runtime], theirs: Device
) -> None:
    first, second = pair

    def soften() -> int:
        rule = AlertRule.objects.get()
        rule.threshold = 50.0
        rule.save(update_fields=["threshold", "updated_at"])
        return rule.pk

    rule_id = await call(soften)
    for each in pair:
        async with asyncio.timeout(1):
            await until(lambda each=each: each.alarms._watching.book.get(rule_id).threshold == 50.0)
    await take(first, theirs, 31.0)
    await asyncio.sleep(0.1)
    await told([])
    await take(second, theirs, 51.0)
    await told(["active"])


async def test_a_process_that_ends_leaves_its_devices_to_the_other(
    pair: tuple[Runtime, Runtime], theirs: Device
) -> None:
    first, second = pair
    await take(first, theirs, 31.0)
    await told(["active"])
    await second.stop()
    await first.alarms.refresh(now=datetime.now(UTC) + timedelta(seconds=1))
    await take(first, theirs, 29.0)
    await told(["resolved"])
