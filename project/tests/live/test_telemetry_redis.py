"""Redis dies and comes back between two processes: no alert is lost, none is told twice."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from devices.models import Alert
from project.tests import services
from project.tests.live.crowd import Crowd, Gauge
from project.tests.live.halls import UNLIMITED, listen, new_rules, stored_ids
from project.tests.live.raw import RawWebSocket
from project.tests.live.server import Server
from project.tests.live.surgeons import eventually

pytestmark = pytest.mark.redis

Connect = Callable[..., RawWebSocket]
GOOD, BAD = 20.0, 90.0
GAUGES = 16
PAUSE_SECONDS = 0.1


class Redis:
    """A Redis between two processes, to be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = services.free_port()
        self._stack = ExitStack()
        self._process: Any = None
        self.url = services.redis_url(self._port)

    def start(self) -> None:
        running = services.running_redis(self._folder, self._port)
        self._process = self._stack.enter_context(running)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop_answering(self) -> None:
        """Hold it, with its connections open: worse than being gone."""
        self._process.send_signal(signal.SIGSTOP)

    def answer_again(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        self._stack.close()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    if not settings.REDIS_URL:
        pytest.skip("one process only: this deployment has no Redis")
    redis = Redis(tmp_path)
    redis.start()
    yield redis
    redis.end()


@pytest.fixture
def pair(
    django_db_setup: None, redis: Redis, start_server: Callable[..., Any]
) -> Iterator[tuple[Server, Server]]:
    """Yield two processes that have this Redis, and nothing but it and the database, in common."""
    with (
        start_server(**UNLIMITED, REDIS_URL=redis.url) as one,
        start_server(**UNLIMITED, REDIS_URL=redis.url) as other,
    ):
        time.sleep(1.5)  # They have heard of each other.
        yield one, other


def steps_of(redis: Redis, fault: str, seconds: float) -> list[tuple[float, Callable[[], None]]]:
    """Return what befalls Redis within so many seconds, and when."""
    if fault == "kill":
        return [(seconds / 4, redis.kill), (seconds / 2, redis.start)]
    return [(seconds / 4, redis.stop_answering), (seconds / 2, redis.answer_again)]


def report_through(
    gauges: list[Gauge], steps: list[tuple[float, Callable[[], None]]], *, seconds: float
) -> None:
    """Let every device report on; each gets too warm at a time of its own, spread over all.

    `steps` are what is done meanwhile, each once its second has come.
    """
    began = time.monotonic()
    waiting = list(steps)
    while (second := time.monotonic() - began) < seconds:
        while waiting and waiting[0][0] <= second:
            waiting.pop(0)[1]()
        for index, gauge in enumerate(gauges):
            turns_bad_at = (index + 0.5) * seconds / len(gauges)
            gauge.report(BAD if second >= turns_bad_at else GOOD)
        for gauge in gauges:
            gauge.read(seconds=0.001)
        time.sleep(PAUSE_SECONDS)
    for gauge in gauges:
        gauge.report(BAD)
        gauge.settle()


def assert_one_alert_each(gauges: list[Gauge], crowd: Crowd) -> None:
    """Assert that the table and every listener have exactly one alert of each device."""
    devices = {gauge.device.pk for gauge in gauges}
    alerts = Alert.objects.filter(device__in=devices)
    eventually(lambda: alerts.count() >= len(gauges), within=30)
    eventually(lambda: crowd.all_heard("alert", len(gauges)), within=10)
    time.sleep(1)
    assert Counter(alerts.values_list("device", flat=True)) == Counter(devices)
    for index in range(len(crowd.heard)):
        told = Counter(alert["device_id"] for alert in crowd.of(index, "alert"))
        assert told == Counter(devices)
    assert set(alerts.values_list("status", flat=True)) == {"active"}


@pytest.mark.parametrize("fault", ["kill", "hang"])
def test_no_alert_is_lost_and_none_is_told_twice_while_redis_is_away(
    pair: tuple[Server, Server], redis: Redis, connect: Connect, soak: int, fault: str
) -> None:
    gauges = [Gauge() for _ in range(GAUGES)]
    new_rules(*(gauge.device for gauge in gauges))
    for index, gauge in enumerate(gauges):
        gauge.connect(connect, pair[index % 2])
    channels = [{"channel": "alerts"}, {"channel": "telemetry"}]
    listeners = [listen(connect, server, *channels) for server in pair]
    seconds = 12.0 * soak
    steps = steps_of(redis, fault, seconds)
    with Crowd(listeners) as crowd:
        report_through(gauges, steps, seconds=seconds)
        assert_one_alert_each(gauges, crowd)
        # Local delivery went on all the time.
        for index, server in enumerate(pair):
            of_device = Counter(
                update["device_id"] for update in crowd.of(index, "telemetry_update")
            )
            for gauge in gauges[index::2]:
                assert of_device[gauge.device.pk] == len(gauge.sent), server.url
        # And each hears the other again.
        counts = [len(crowd.of(index, "telemetry_update")) for index in range(2)]
        for gauge in gauges:
            gauge.report(BAD)

        def has_heard_all(index: int) -> bool:
            return len(crowd.of(index, "telemetry_update")) >= counts[index] + GAUGES

        eventually(lambda: has_heard_all(0) and has_heard_all(1))
    for gauge in gauges:
        gauge.settle()
        assert sorted(stored_ids(gauge.device)) == sorted(gauge.sent)


@pytest.mark.parametrize("fault", ["kill", "hang"])
def test_every_crossing_is_told_once_while_redis_is_away(
    pair: tuple[Server, Server], redis: Redis, connect: Connect, soak: int, fault: str
) -> None:
    """Devices that get too warm and well again all the time: each time is an alert."""
    gauges = [Gauge() for _ in range(GAUGES)]
    new_rules(*(gauge.device for gauge in gauges), cooldown_seconds=0)
    for index, gauge in enumerate(gauges):
        gauge.connect(connect, pair[index % 2])
    listeners = [listen(connect, server, {"channel": "alerts"}) for server in pair]
    seconds = 12.0 * soak
    steps = steps_of(redis, fault, seconds)
    crossings = dict.fromkeys((gauge.device.pk for gauge in gauges), 0)
    with Crowd(listeners) as crowd:
        began = time.monotonic()
        turn = 0
        while (second := time.monotonic() - began) < seconds:
            while steps and steps[0][0] <= second:
                steps.pop(0)[1]()
            turn += 1
            for index, gauge in enumerate(gauges):
                is_bad = (turn // 4 + index) % 2 == 1
                was_bad = ((turn - 1) // 4 + index) % 2 == 1 and turn > 1
                crossings[gauge.device.pk] += is_bad and not was_bad
                gauge.report(BAD if is_bad else GOOD)
            for gauge in gauges:
                gauge.settle()
            time.sleep(PAUSE_SECONDS)
        alerts = Alert.objects.filter(device__in=crossings)
        expected = sum(crossings.values())
        eventually(lambda: alerts.count() >= expected, within=30)
        eventually(lambda: crowd.all_heard("alert", expected), within=10)
        time.sleep(1)
        assert Counter(alerts.values_list("device", flat=True)) == Counter(crossings)
        for index in range(2):
            told = Counter(alert["device_id"] for alert in crowd.of(index, "alert"))
            assert told == Counter(crossings)


def test_two_processes_start_and_serve_while_redis_is_away(
    redis: Redis, start_server: Callable[..., Any], connect: Connect
) -> None:
    redis.kill()
    with (
        start_server(**UNLIMITED, REDIS_URL=redis.url) as one,
        start_server(**UNLIMITED, REDIS_URL=redis.url) as other,
    ):
        gauges = [Gauge().connect(connect, each) for each in (one, other)]
        new_rules(*(gauge.device for gauge in gauges))
        listeners = [listen(connect, each, {"channel": "alerts"}) for each in (one, other)]
        with Crowd(listeners) as crowd:
            for gauge in gauges:
                gauge.acknowledge(gauge.report(GOOD))
            for gauge in gauges:
                gauge.acknowledge(gauge.report(BAD))
            assert_one_alert_each(gauges, crowd)
            assert one.request("GET", "/readyz")[1]["layer"] == "deaf"
            redis.start()
            eventually(lambda: one.request("GET", "/readyz")[1]["layer"] == "ok", within=15)
