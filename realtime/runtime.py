"""The background work of this process: wired together, started once, drained once."""

import asyncio
import contextlib
import gc
import logging
import sys
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseProblem

from devices.services import surgeries
from devices.writer import Writer
from realtime import bridge, journal, nodes, watch
from realtime.alarms import Alarms
from realtime.auth import AccessWatch
from realtime.broker import Broker
from realtime.calls import call, stop_calls
from realtime.census import CENSUS, Census
from realtime.core.apart import stop_apart
from realtime.core.errors import Restarting, Unavailable
from realtime.core.events import (
    AccessChanged,
    CommandIssued,
    ConnectionEnded,
    Event,
    Message,
    MessageWatchChanged,
    Notified,
    PresenceChanged,
    RecordingClaimed,
    TelemetryReceived,
)
from realtime.dialects.pubsub import renewal
from realtime.dialects.pubsub.schema import PubsubDialect
from realtime.dialects.surgery.recordings import Recordings
from realtime.dialects.telemetry import consumer as telemetry
from realtime.dialects.telemetry.device import Connected
from realtime.hub import Hub, Member
from realtime.intake import Intake
from realtime.journal import Numbered
from realtime.lobby import Lobby
from realtime.mailbox import Mailbox
from realtime.oversight import Oversight
from realtime.publisher import Publisher
from realtime.rollcall import end_connections
from realtime.tail import Tail

logger = logging.getLogger("vitalwire.runtime")

# A computing thread keeps the event loop waiting for one interval; the default is 5 ms.
SWITCH_INTERVAL_SECONDS = 0.0001
# Between two looks for garbage in circles; at the default of 700 what waits for its COMMIT is
# looked through again and again: a sixteenth of the loop's time when readings come in.
GARBAGE_OBJECTS = 10_000
SWEEP_SECONDS = 5.0
LOOK_FOR_STALLED_SECONDS = 1.0
KEEP_SEEN_SECONDS = 2.0
TICK_SECONDS = 1.0
DATABASE_RETRY_SECONDS = 1.0
RESTART_WORK_SECONDS = 1.0
BEAT_AGAIN_SECONDS = nodes.HEARTBEAT_SECONDS
SWEEP_LEASE = "sweep"
DRAIN_SECONDS = 8.0
# Who has not said who they are, where their dialect has no limit of its own.
LOBBY_MOST = 1_000
CANCEL_SECONDS = 2.0


class Runtime:
    """Everything of one serving process that outlives a connection.

    Built before the event loop runs; `start` and `drain` may be called more than once.
    """

    def __init__(self) -> None:
        self.node_id = nodes.new_node_id()
        self.hub = Hub()
        self.writer = Writer()
        self.publisher = Publisher()
        self.mailbox = Mailbox(self.spawn)
        self.census = Census(
            self.node_id,
            tell=lambda kind, body: self.broker.tell(kind, body),
            peers=self._peers,
        )
        self.recordings = Recordings(self.spawn)
        self.connected = Connected()
        self.lobby = Lobby(settings.DIALECT_LIMITS["telemetry"].connections_total or LOBBY_MOST)
        self.oversight = Oversight(self.node_id, self.hub, self.writer)
        self.is_draining = False
        self.is_started = False
        self._living: set[str] = set()
        self.broker: Broker
        self.tail: Tail
        self.alarms = Alarms(
            self.node_id,
            is_shared=bool(settings.REDIS_URL),
            is_deaf=lambda: self.broker.is_deaf,
            next_beacon=lambda: self.broker.next_beacon,
        )
        self.intake = Intake(
            self.writer,
            self.alarms,
            node_id=self.node_id,
            deliver=self.hub.deliver,
            publish_live=self.publish_live,
            is_heard=self._is_telemetry_heard,
            spawn=self.spawn,
        )
        self._access = AccessWatch(
            self.hub, on_narrowed=self._tell_narrowed, on_ended=self._tell_ended
        )
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stop_listening: list[Callable[[], None]] = []
        self._starting: asyncio.Task[None] | None = None

    # --- Starting and ending -----------------------------------------------------------

    async def start(self) -> None:
        """Start once; whoever calls while it starts waits for it."""
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start())
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        loop = asyncio.get_running_loop()
        self.broker = Broker(
            self.node_id,
            on_journal=lambda entries: self.tail.hint(entries),
            on_nudge=lambda: self.tail.nudge(),
            on_live=self._on_live,
            on_joined=self.oversight.budgets.on_joined,
            on_heard=self.alarms.on_heard,
            on_missed=self.alarms.on_missed,
            ears={**self.oversight.ears, CENSUS: self.census.on_told},
        )
        self.tail = Tail(
            self._deliver, on_stand=self._stand_at, is_deaf=lambda: self.broker.is_deaf
        )
        self.hub.history = self.tail.read_after
        self.hub.spawn = self.spawn
        self.hub.on_late = lambda member, event: self.mailbox.on_told(event)
        self.hub.look_again = lambda member: self.spawn(self._access.look_again(member))
        self.writer.start()
        self.publisher.start()
        await self._find_database()
        self._stop_listening = [
            journal.on_numbered(
                lambda entries: loop.call_soon_threadsafe(self._on_numbered, entries)
            ),
            bridge.on_readings(
                lambda reports: loop.call_soon_threadsafe(self.intake.on_recorded, reports)
            ),
        ]
        self.spawn(self._keep(self.tail.run))
        self.spawn(self._keep(self.broker.run))
        self.spawn(self._keep(self.alarms.run))
        self.spawn(self._keep(self.oversight.presence.run))
        self.spawn(self._every(nodes.HEARTBEAT_SECONDS, self._beat))
        self.spawn(self._every(SWEEP_SECONDS, self._sweep))
        self.spawn(self._every(watch.PRUNE_SECONDS, self._prune))
        self.spawn(self._every(watch.FORGET_SECONDS, self._forget))
        self.spawn(self._every(LOOK_FOR_STALLED_SECONDS, self._look_after))
        self.spawn(self._every(KEEP_SEEN_SECONDS, self.intake.keep_seen))
        self.oversight.start(self.broker, spawn=self.spawn, every=self._every)
        self.spawn(self._every(watch.WATCH_SECONDS, self._watch))
        self.spawn(self._every(TICK_SECONDS, self._tick))
        # What was imported stays: a full collection that walks it all stops us for 90 ms.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE_OBJECTS, *gc.get_threshold()[1:])
        self.is_started = True
        logger.info("serving as %s from position %s", self.node_id, self.tail.position)

    async def _find_database(self) -> None:
        """Take our place in the journal and among the processes; wait if it cannot be read."""
        while True:
            try:
                await self.tail.start()
                await self.intake.load()
                self._living = await self.oversight.beat(datetime.now(UTC))
                await self.oversight.presence.load()
                return await self.alarms.start()
            except DatabaseProblem as problem:
                logger.warning("waiting for the database: %s", type(problem).__name__)
                await asyncio.sleep(DATABASE_RETRY_SECONDS)

    async def drain(self) -> None:
        """Let everyone go with 1012, store what was sent, stop. Nothing new is let in."""
        if self.is_draining or self._starting is None:
            return
        self.is_draining = True
        if self.is_started:
            await self._dismiss_everyone()
        await self.stop()

    async def stop(self) -> None:
        """Stop all background work and give every connection back."""
        for stop_listening in self._stop_listening:
            stop_listening()
        self._stop_listening = []
        if self._starting is not None:
            # It may still wait for the database.
            self._starting.cancel()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CANCEL_SECONDS)
        with contextlib.suppress(DatabaseProblem, Unavailable):
            await self.intake.keep_seen()
        await asyncio.to_thread(self.publisher.stop)
        await asyncio.to_thread(self.writer.stop)
        with contextlib.suppress(DatabaseProblem):
            await self.oversight.stop()
            await call(nodes.bury, self.node_id)
        await asyncio.to_thread(stop_calls)
        stop_apart()
        self.is_started = False
        self._starting = None
        logger.info("stopped")

    def spawn(self, work: Coroutine[Any, Any, None] | Awaitable[None]) -> asyncio.Task[None]:
        """Run `work` until it ends or this process does; a failure is logged, not lost."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("background work failed", exc_info=task.exception())

    async def _dismiss_everyone(self) -> None:
        restarting = Restarting("the server restarts: connect again")
        self.lobby.dismiss(restarting)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await self.lobby.wait_until_empty()
                await self.hub.dismiss(restarting)
                await self.recordings.wait_until_all_let_go()

    @property
    def is_layer_deaf(self) -> bool:
        """Whether events of other processes come by polling only; for any thread."""
        return self.is_started and self.broker.is_deaf

    # --- Events ------------------------------------------------------------------------

    def publish_live(self, event: Event) -> None:
        """Deliver a live event here and in the other processes."""
        self.hub.deliver(event)
        self.broker.publish_live(event)

    def _is_telemetry_heard(self) -> bool:
        """Whether to tell of a reading at all; most of the time nobody watches."""
        if self.hub.is_heard("telemetry") or not self.broker.is_alone:
            return True
        self.broker.pass_over()
        return False

    def _on_live(self, event: Event) -> None:
        if isinstance(event, TelemetryReceived):
            self.intake.on_live(event)
        else:
            self.hub.deliver(event)

    def _stand_at(self, epoch: str, position: int) -> None:
        self.hub.stand_at(epoch, position)
        if self.is_started:
            # The journal was restored, and with it the devices.
            self.spawn(self.intake.load())
            self.spawn(self.alarms.reload())
            self.spawn(self.oversight.presence.load())

    def _on_numbered(self, entries: list[Numbered]) -> None:
        self.tail.hint(entries)
        self.broker.publish_journal(entries)

    def _deliver(self, event: Event, n: int) -> None:
        if isinstance(event, Message | Notified):
            self._deliver_message(event, n)
            return
        if isinstance(event, RecordingClaimed):
            self.recordings.on_claimed(event)
        elif isinstance(event, AccessChanged):
            self.hub.access_changes += 1
            self.spawn(self._access.on_access_changed(event))
        elif isinstance(event, MessageWatchChanged):
            self.spawn(self.oversight.message_log.reload())
        elif isinstance(event, PresenceChanged):
            self.oversight.presence.roster.on_event(event)
        elif isinstance(event, ConnectionEnded):
            end_connections(self.hub, event)
        elif isinstance(event, CommandIssued):
            self.connected.on_issued(event)
        else:
            self.intake.on_event(event)
            self.alarms.on_event(event)
        self.hub.deliver(event, n)

    def _deliver_message(self, event: Message | Notified, n: int) -> None:
        """Deliver what is counted, or kept until its user was told."""
        told: list[Member] = []
        self.hub.deliver(event, n, told)
        if isinstance(event, Message):
            self.census.on_delivered(event, (member.session.id for member in told), len(told))
        if any(member.behind_at is None and member.transport.is_open for member in told):
            self.mailbox.on_told(event)

    def _peers(self) -> tuple[set[str], set[str]]:
        """Return the other processes that live, and those of them that can be asked."""
        heard = self.broker.heard()
        return (self._living | heard) - {self.node_id}, heard

    def _tell_narrowed(self, member: Any, ended: list[str]) -> None:
        if isinstance(member.dialect, PubsubDialect):
            renewal.on_narrowed(member, ended)
        elif isinstance(member.dialect, telemetry.TelemetryDialect):
            telemetry.on_narrowed(self.hub, member, ended)

    def _tell_ended(self, member: Any, reason: Exception) -> None:
        if isinstance(member.dialect, PubsubDialect):
            renewal.on_access_ended(member, reason)

    # --- Chores ------------------------------------------------------------------------

    async def _keep(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run what must never end; a fault in it is logged and it starts again."""
        while True:
            try:
                await work()
            except Exception:
                logger.exception("%s ended and starts again", work.__qualname__)
            await asyncio.sleep(RESTART_WORK_SECONDS)

    async def _every(self, seconds: float, chore: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await chore()
            except (DatabaseProblem, Unavailable) as problem:
                logger.warning("%s is put off: %s", chore.__name__, type(problem).__name__)
            except Exception:
                logger.exception("%s failed; it will be repeated", chore.__name__)

    async def _beat(self) -> None:
        """Say that this process lives, and undo what others did who thought it dead."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            self._living = await self.oversight.beat(datetime.now(UTC))
            # A heartbeat that waited for the database was old when it was written.
            if loop.time() - began < BEAT_AGAIN_SECONDS:
                break
        await self.recordings.keep(self.node_id)

    async def _sweep(self) -> None:
        """One process of many ends the operations whose surgeon stayed away."""
        await self._beat()
        await call(_sweep, self.node_id)

    async def _tick(self) -> None:
        now = datetime.now(UTC)
        self.alarms.tick(now)
        await self.alarms.refresh(now=now)

    async def _watch(self) -> None:
        await call(watch.watch_devices, self.node_id, now=datetime.now(UTC))

    async def _prune(self) -> None:
        await call(watch.prune_in_turn, self.node_id, now=datetime.now(UTC))

    async def _forget(self) -> None:
        await call(watch.forget_in_turn, self.node_id, now=datetime.now(UTC))

    async def _look_after(self) -> None:
        now = asyncio.get_running_loop().time()
        self.hub.look_after(now=now, stalled_after=settings.STALLED_SECONDS)


def _sweep(node_id: str) -> None:
    now = datetime.now(UTC)
    if not nodes.hold_lease(SWEEP_LEASE, node_id, seconds=SWEEP_SECONDS * 3, now=now):
        return
    nodes.bury_dead(now=now)
    surgeries.interrupt_lost_surgeries(
        # Whoever sweeps lives, however long its heartbeat waited for the database.
        living_nodes=nodes.living(now=now) | {node_id},
        grace=timedelta(seconds=settings.SURGERY_GRACE_SECONDS),
        now=now,
    )


runtime = Runtime()
