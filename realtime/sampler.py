"""How this deployment fares, once a second: `SystemSampled`.

Every process measures its machine and itself, tells the others, and puts together what it
knows of all of them: connections, messages and queues are added up; of percentages and of the
event loop's delay the highest counts, that of the busiest machine or process. So subscribers of
any process see the same deployment, nobody has to be the one that speaks, and a process that
hears nobody speaks for itself. Without Redis there is one process.
"""

import asyncio
import shutil
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psutil
from django.conf import settings

from realtime.core.events import SystemSampled
from realtime.hub import Hub

SAMPLE_SECONDS = 1.0
# How often the event loop is asked how late it is.
FEEL_SECONDS = 0.1
# What a process said of itself counts for so long.
FRESH_SECONDS = 3.0
PEERS_MAX = 256

# The name of these messages on the broker.
FIGURES = "figures"

ADDED_UP = (
    "active_connections",
    "messages_per_second",
    "queue_depth_writer",
    "queue_depth_outbox",
)
HIGHEST = ("cpu_usage", "memory_usage", "disk_usage", "event_loop_delay_ms")

Metrics = dict[str, float]
Tell = Callable[[str, Any], None]


class Sampler:
    """Measures, tells and delivers. Belongs to the event loop's thread.

    `depths` gives the lengths of this process's queues, by metric. `latest` is what a new
    subscriber is shown first.
    """

    def __init__(self, node_id: str, hub: Hub, *, depths: Callable[[], Metrics]) -> None:
        self.latest: SystemSampled | None = None
        # This process's and its machine's part of it.
        self.own: Metrics = {}
        self._node_id = node_id
        self._hub = hub
        self._depths = depths
        self._peers: dict[str, tuple[float, Metrics]] = {}
        self._lateness = 0.0
        self._messages = 0
        self._messages_ended = 0
        self._sampled_at = time.monotonic()

    async def sample(self, tell: Tell) -> None:
        """Measure, tell the other processes, and deliver the sample of all of them here."""
        # What the system is asked may block: a disk that is away, above all.
        machine = await asyncio.to_thread(measure_machine)
        now = time.monotonic()
        self.own = {**machine, **self._measure_process(now)}
        tell(FIGURES, self.own)
        self.latest = SystemSampled(
            id=str(uuid4()),
            at=datetime.now(UTC),
            node=self._node_id,
            metrics=combined([self.own, *self._fresh(now)]),
        )
        self._hub.deliver(self.latest)

    def on_told(self, node: str, metrics: Metrics, now: float | None = None) -> None:
        """Another process told how it fares."""
        if node in self._peers or len(self._peers) < PEERS_MAX:
            self._peers[node] = (time.monotonic() if now is None else now, metrics)

    async def feel(self) -> None:
        """Notice how late the event loop is; runs until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + FEEL_SECONDS
            await asyncio.sleep(FEEL_SECONDS)
            self._lateness = max(self._lateness, loop.time() - due)

    def on_leave(self, messages: int) -> None:
        """A session ended that had so many messages: the sum must not fall."""
        self._messages_ended += messages

    def _measure_process(self, now: float) -> Metrics:
        members = list(self._hub)
        messages = self._messages_ended + sum(
            member.session.messages_in + member.session.messages_out for member in members
        )
        rate = (messages - self._messages) / max(now - self._sampled_at, 0.001)
        self._messages, self._sampled_at = messages, now
        lateness, self._lateness = self._lateness, 0.0
        return {
            "active_connections": len(members),
            "messages_per_second": round(rate, 1),
            "event_loop_delay_ms": round(lateness * 1000, 2),
            **self._depths(),
        }

    def _fresh(self, now: float) -> list[Metrics]:
        self._peers = {
            node: told for node, told in self._peers.items() if now - told[0] < FRESH_SECONDS
        }
        return [metrics for _, metrics in self._peers.values()]


def combined(all_metrics: Iterable[Metrics]) -> Metrics:
    """Put the figures of several processes together into those of the deployment."""
    several = list(all_metrics)
    return {
        **{name: max(each.get(name, 0.0) for each in several) for name in HIGHEST},
        **{name: round(sum(each.get(name, 0) for each in several), 1) for name in ADDED_UP},
    }


def measure_machine() -> Metrics:
    """Return percentages of this machine; the processor's since the last time."""
    disk = shutil.disk_usage(settings.BASE_DIR)
    return {
        "cpu_usage": psutil.cpu_percent(),
        "memory_usage": psutil.virtual_memory().percent,
        "disk_usage": round(100 * disk.used / max(disk.used + disk.free, 1), 1),
    }
