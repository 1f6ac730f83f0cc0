"""Samples: this machine and all processes, as one truth, once a second."""

import asyncio
import time
from typing import Any

import pytest

from realtime import sampler as module
from realtime.core.events import SystemSampled
from realtime.hub import Hub
from realtime.sampler import ADDED_UP, FRESH_SECONDS, HIGHEST, Sampler, combined, measure_machine
from realtime.tests.doubles import member, principal

QUEUES = {"queue_depth_writer": 3.0, "queue_depth_outbox": 1.0}


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def sampler(hub: Hub) -> Sampler:
    return Sampler("one", hub, depths=lambda: dict(QUEUES))


def test_the_machine_is_measured_in_percent() -> None:
    measured = measure_machine()
    assert set(measured) == {"cpu_usage", "memory_usage", "disk_usage"}
    assert all(0 <= value <= 100 for value in measured.values())


def test_numbers_are_added_up_and_of_percentages_the_highest_counts() -> None:
    one = {"cpu_usage": 10.0, "active_connections": 3, "event_loop_delay_ms": 7.0}
    other = {"cpu_usage": 90.0, "active_connections": 4, "messages_per_second": 2.5}
    together = combined([one, other])
    assert together["cpu_usage"] == 90.0
    assert together["event_loop_delay_ms"] == 7.0
    assert together["active_connections"] == 7
    assert together["messages_per_second"] == 2.5
    assert set(together) == {*ADDED_UP, *HIGHEST}


async def test_a_sample_is_told_delivered_and_kept(sampler: Sampler, hub: Hub) -> None:
    listener = member(principal(subscribe=("system.**",)))
    hub.join(listener)
    hub.subscribe(listener, "system")
    told: list[tuple[str, Any]] = []
    await sampler.sample(lambda *about: told.append(about))
    assert told == [(module.FIGURES, sampler.own)]
    assert isinstance(sampler.latest, SystemSampled)
    assert sampler.latest.metrics["active_connections"] == 1
    assert sampler.latest.metrics["queue_depth_writer"] == 3
    assert set(sampler.latest.metrics) == {*ADDED_UP, *HIGHEST}
    assert listener.transport.texts == [f"{sampler.latest.id} live"]  # type: ignore[attr-defined]


async def test_the_other_processes_count_as_long_as_they_speak(sampler: Sampler) -> None:
    now = time.monotonic()
    sampler.on_told("other", {"active_connections": 5, "cpu_usage": 100.0}, now)
    sampler.on_told("gone", {"active_connections": 50}, now - FRESH_SECONDS)
    await sampler.sample(lambda *_: None)
    assert sampler.latest is not None
    assert sampler.latest.metrics["active_connections"] == 5
    assert sampler.latest.metrics["cpu_usage"] == 100.0
    assert list(sampler._peers) == ["other"]


async def test_messages_are_counted_by_the_second_whoever_leaves(
    sampler: Sampler, hub: Hub
) -> None:
    one = member()
    hub.join(one)
    one.session.messages_in, one.session.messages_out = 30, 70
    sampler._sampled_at = time.monotonic() - 1
    await sampler.sample(lambda *_: None)
    assert sampler.own["messages_per_second"] == pytest.approx(100, rel=0.2)
    hub.leave(one)
    sampler.on_leave(100)
    await sampler.sample(lambda *_: None)
    assert sampler.own["messages_per_second"] == 0


async def test_a_loop_that_is_late_is_felt_once(
    sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FEEL_SECONDS", 0.001)
    feeling = asyncio.ensure_future(sampler.feel())
    await asyncio.sleep(0)
    time.sleep(0.05)  # noqa: ASYNC251  it is the fault to be felt
    await asyncio.sleep(0.005)
    feeling.cancel()
    await sampler.sample(lambda *_: None)
    assert sampler.own["event_loop_delay_ms"] >= 40
    await sampler.sample(lambda *_: None)
    assert sampler.own["event_loop_delay_ms"] == 0


def test_processes_beyond_all_reason_are_not_remembered(sampler: Sampler) -> None:
    for number in range(module.PEERS_MAX * 2):
        sampler.on_told(f"node {number}", {}, 0.0)
    assert len(sampler._peers) == module.PEERS_MAX
