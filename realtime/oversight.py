"""What watches over the conversations of this process, wired together.

Budgets, refused attempts, the message log, statistics and samples: each knows nothing of the
others, of the hub's members or of the domain; here they meet.
"""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from django.conf import settings

from devices.models import Alert
from devices.services import alerts
from devices.writer import Writer
from realtime import nodes
from realtime.attempts import QUIET_SECONDS, Attempts
from realtime.broker import Broker, Ear
from realtime.budgets import COUNTS, Budgets
from realtime.calls import call, call_patiently
from realtime.core.errors import Disconnect
from realtime.hub import Hub, Member
from realtime.messagelog import MessageLog
from realtime.nodes import Figures, Statistics
from realtime.presence import Presence
from realtime.presence.people import SWEEP_SECONDS
from realtime.rollcall import ANSWER, ASK, RollCall
from realtime.sampler import FIGURES, SAMPLE_SECONDS, Sampler

WRITE_ATTEMPTS_SECONDS = 1.0

Spawn = Callable[[Awaitable[None]], object]
# Runs a chore every so many seconds.
Every = Callable[[float, Callable[[], Awaitable[None]]], Awaitable[None]]


class Oversight:
    """Belongs to the event loop's thread; `figures` may be asked by any."""

    def __init__(self, node_id: str, hub: Hub, writer: Writer) -> None:
        self.budgets = Budgets(settings.DIALECT_LIMITS)
        self.attempts = Attempts(on_many=self._tell_of_many)
        self.message_log = MessageLog(lambda: (member.session for member in hub))
        self.statistics = Statistics()
        self.presence = Presence(node_id)
        self.roll_call = RollCall(hub)
        self.sampler = Sampler(node_id, hub, depths=self._depths)
        self.ears: dict[str, Ear] = {
            COUNTS: self.budgets.on_told,
            FIGURES: self.sampler.on_told,
            ASK: self.roll_call.on_asked,
            ANSWER: self.roll_call.on_answered,
        }
        self._node_id = node_id
        self._hub = hub
        self._writer = writer
        self._broker: Broker | None = None
        self._spawn: Spawn | None = None
        self._has_beaten = False
        self._told: Figures = {}
        hub.on_join = self._on_join
        hub.on_leave = self._on_leave
        hub.on_stalled = self._on_stalled

    def start(self, broker: Broker, *, spawn: Spawn, every: Every) -> None:
        """Begin to watch; what is spawned ends with the process."""
        self._broker, self._spawn = broker, spawn
        self.budgets.connect(broker.tell)
        self.roll_call.connect(broker.tell)
        spawn(self.message_log.reload())
        spawn(self.sampler.feel())
        spawn(every(SAMPLE_SECONDS, self._sample))
        spawn(every(WRITE_ATTEMPTS_SECONDS, self.attempts.write))
        spawn(every(SWEEP_SECONDS, self.presence.sweep))

    async def stop(self) -> None:
        """Stop watching, and keep what was counted and noted last. Raises DatabaseError."""
        self.budgets.connect(None)
        self.roll_call.connect(None)
        self.message_log.stop()
        if self._has_beaten:
            await self.beat(datetime.now(UTC))
        self._has_beaten = False
        await self.attempts.write()
        await self.presence.stop()

    async def beat(self, now: datetime) -> set[str]:
        """Say that this process lives and what it has counted; return who else lives."""
        figures = self.figures(now)
        is_new, living = await call(_beat, self._node_id, self._hub.counts(), figures, now)
        if is_new and self._has_beaten:
            # Taken for dead while it was not: what it had told is among what has ended.
            self.statistics.start_over(self._told)
            figures = self.figures(now)
            await call(_beat, self._node_id, self._hub.counts(), figures, now)
        self._told, self._has_beaten = figures, True
        self.budgets.beat(living, time.monotonic())
        return living

    def figures(self, now: datetime) -> Figures:
        """Return what this process has counted until now."""
        return self.statistics.figures((member.session for member in self._hub), now)

    async def _sample(self) -> None:
        assert self._broker is not None
        await self.sampler.sample(self._broker.tell)

    def _depths(self) -> dict[str, float]:
        return {
            "queue_depth_writer": self._writer.depth,
            "queue_depth_outbox": self._broker.waiting if self._broker is not None else 0,
        }

    # --- What the hub tells ------------------------------------------------------------

    def _on_join(self, member: Member) -> None:
        self.statistics.on_open()
        self.presence.on_join(member.session)
        self.message_log.look_at(member.session)

    def _on_leave(self, member: Member) -> None:
        session = member.session
        self.statistics.on_close(session, datetime.now(UTC))
        self.presence.on_leave(session)
        self.sampler.on_leave(session.messages_in + session.messages_out)

    def _on_stalled(self, member: Member, end: Disconnect) -> None:
        session = member.session
        self.attempts.note(
            end.kind,
            username=session.principal.username,
            address=session.address,
            endpoint=session.endpoint,
            detail=end.reason,
        )

    # --- What the operators are told ---------------------------------------------------

    def _tell_of_many(self, address: str, number: int) -> None:
        if self._spawn is not None:
            now = datetime.now(UTC)
            self._spawn(call_patiently(_raise_alert_about, address, number, now))


def _beat(
    node_id: str, connections: dict[str, int], figures: Figures, now: datetime
) -> tuple[bool, set[str]]:
    is_new = nodes.beat(node_id, connections, statistics=figures, now=now)
    return is_new, nodes.living(now=now)


def _raise_alert_about(address: str, number: int, now: datetime) -> None:
    """Raise the alert unless another process did: each sees its own share of the attempts."""
    title = f"Many refused connections from {address}"[:200]
    since = now - timedelta(seconds=QUIET_SECONDS)
    if Alert.objects.filter(device=None, title=title, created_at__gte=since).exists():
        return
    alerts.raise_alert(
        device_id=None,
        title=title,
        message=f"{number} or more connections were refused or cut within a minute.",
        severity="warning",
        alert_type="system",
        metric="refused_attempts",
        threshold_value=float(number),
        now=now,
    )
