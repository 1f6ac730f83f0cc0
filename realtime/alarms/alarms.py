"""Alert rules on the hot path: evaluated in memory, by one process of several, none lost.

A device's rules are evaluated by its owner among the living processes; whoever receives a value
of another's device leaves it to that one until it has certainly heard it. Where nobody else can
hear (no shared layer, or a deaf one) everything received here is evaluated here. A device that
we begin to evaluate is restored from the database first. That two processes evaluate the same
for a moment does no harm: a decision counts once.

Everything here belongs to the event loop's thread.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial

from devices.readings import Report
from devices.services import rules as services
from devices.services.rules import Restored
from realtime import nodes
from realtime.alarms.pending import Pending
from realtime.alarms.shares import Heard, Leftovers, Shares
from realtime.alarms.verdicts import Verdicts
from realtime.alarms.watched import Verdict, Watched, Watching
from realtime.calls import call, call_patiently
from realtime.core.events import (
    AlertRaised,
    AlertUpdated,
    DevicesChanged,
    DeviceStatusChanged,
    Event,
    RulesChanged,
    TelemetryReceived,
)

RESTORED_AT_ONCE = 50
# With more changed rules than this at once all of them are loaded anew.
CHANGES_MAX = 50
# A beacon a second goes out and comes back; who takes so much longer has not heard us.
UNCONFIRMED_AFTER = timedelta(seconds=5)
# Between two turns of the loop.
LOOKED_AT_ONCE = 500

MAINTENANCE = "maintenance"
RESOLVED = "resolved"


def _now() -> datetime:
    return datetime.now(UTC)


class Alarms:
    """The alert rules of this process.

    `is_shared` says whether a layer connects several processes, `is_deaf` whether it is silent,
    `next_beacon` is the number of the next beacon (see `Broker`).
    """

    def __init__(
        self,
        node_id: str,
        *,
        is_shared: bool = False,
        is_deaf: Callable[[], bool] = lambda: False,
        next_beacon: Callable[[], int] = lambda: 0,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._is_shared = is_shared
        self._is_deaf = is_deaf
        self._next_beacon = next_beacon
        self._clock = clock
        self._shares = Shares(node_id)
        self._left = Leftovers()
        self._watching = Watching()
        self._is_local = True
        self._was_deaf = False
        self._listening_since = clock()
        self._changed_rules: set[int] = set()
        self._must_share_out = False
        self._pending = Pending()
        self._has_chores = asyncio.Event()
        self._verdicts = Verdicts(
            on_raised=lambda verdict, alert_id: self._watching.note(
                verdict.device_id, verdict.rule.id, alert_id
            ),
            on_outdated=lambda verdict: self._mark(verdict.device_id, verdict.at),
        )

    # --- Starting and ending ---------------------------------------------------------------

    async def start(self) -> None:
        """Load the rules, find our share, and mark its devices for being restored."""
        self._listening_since = now = self._clock()
        self._shares.change(await call_patiently(nodes.living, now=now))
        self._settle_mode()
        await self.reload()

    async def run(self) -> None:
        """Restore what is marked and carry out what is decided, until cancelled."""
        self._pending.put_back()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._do_chores())
            tasks.create_task(self._verdicts.run())

    async def reload(self) -> None:
        """Load all rules anew; every device is restored."""
        self._watching.book = await call_patiently(services.load_rules)
        self._watching.devices.clear()
        await self._share_out()

    async def refresh(self, *, now: datetime) -> None:
        """See who lives: once a second, for nobody evaluates what the dead ones leave.

        What a dead one took in of our devices it may never have told us: the table knows.
        """
        before = self._shares.nodes
        if self._shares.change(await call(nodes.living, now=now)):
            if before - self._shares.nodes:
                self._mark_all()
            self._settle_mode()
            self._must_share_out = True
            self._has_chores.set()

    @property
    def depth(self) -> int:
        """How many decisions wait for the database."""
        return len(self._verdicts)

    @property
    def is_idle(self) -> bool:
        """Whether everything is restored and every decision carried out."""
        return not self._has_chores.is_set() and not self._pending and not self._verdicts

    # --- The hot path ------------------------------------------------------------------------

    def observe(self, report: Report) -> None:
        """Take what a device reported to this process."""
        if not self._watching.book.concerns(report.metrics):
            return
        heard = Heard(report.device_id, report.metrics, report.received_at)
        if self._is_local or self._shares.owns(report.device_id):
            self._take(heard)
            return
        owner = self._shares.owner(report.device_id)
        lost = self._left.leave(owner, heard, beacon=self._next_beacon())
        if lost is not None:
            self._mark_later(lost.device_id, lost.received_at)

    def forwarded(self, event: TelemetryReceived) -> None:
        """Take what a device reported to another process; `event.at` is when that was."""
        if self._shares.owns(event.device_id) and self._watching.book.concerns(event.metrics):
            self._take(Heard(event.device_id, event.metrics, event.at))

    def crossed(
        self, device_id: int, device_type: str, metric: str, before: float | None, value: float
    ) -> bool:
        """Tell whether the value lies on another side of some rule's threshold than before."""
        return self._watching.book.crossed(device_id, device_type, metric, before, value)

    def _take(self, heard: Heard) -> None:
        device = self._watching.devices.get(heard.device_id)
        if device is None:
            self._pending.wait(heard)
            self._has_chores.set()
        else:
            self._decide(self._watching.evaluate(device, heard))

    def _decide(self, verdicts: Iterable[Verdict]) -> None:
        for verdict in verdicts:
            if not self._verdicts.put(verdict):
                # It is decided again, from what is stored.
                self._mark_later(verdict.device_id, verdict.at)
                return

    # --- Once in a while ---------------------------------------------------------------------

    def tick(self, now: datetime) -> None:
        """Notice what does not happen: once a second."""
        if self._settle_mode():
            self._must_share_out = True
            self._has_chores.set()
        for heard in self._left.overdue(now - UNCONFIRMED_AFTER):
            self._take(heard)
        self._pending.ripen(now)
        if self._pending.has_marks:
            self._has_chores.set()
        for device, _ in list(self._watching.due(now)):
            # Another process may have heard of it: the table knows.
            if self._shares.owns(device.device_id):
                self._mark(device.device_id, now)

    def on_heard(self, node: str, since: int, upto: int) -> None:
        """Another process heard all we published after our beacon `since`, before `upto`."""
        for heard in self._left.confirm(node, since=since, upto=upto):
            self._take(heard)

    def on_missed(self) -> None:
        """Something that another process published never came here: the table has it.

        What came after it must not be judged before it: a value that was bad for a moment only
        would raise nothing then.
        """
        self._mark_all()

    def _settle_mode(self) -> bool:
        """Find out whether others hear what we publish; tells whether that changed."""
        is_deaf = self._is_shared and self._is_deaf()
        is_local = is_deaf or not self._is_shared or self._shares.is_alone
        if (is_local, is_deaf) == (self._is_local, self._was_deaf):
            return False
        if self._was_deaf and not is_deaf:
            # Others evaluated what we did not hear.
            self._mark_all()
        self._is_local, self._was_deaf = is_local, is_deaf
        if is_local:
            for heard in self._left.take_all():
                self._take(heard)
        return True

    # --- What changed in the database ----------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """Take note of a durable event, in the order of the journal."""
        match event:
            case RulesChanged():
                self._changed_rules.add(event.rule_id)
                self._has_chores.set()
            case DevicesChanged():
                self._forget(event.device_id)
                if self._is_local or self._shares.owns(event.device_id):
                    self._mark(event.device_id, self._clock())
            case DeviceStatusChanged():
                device = self._watching.devices.get(event.device_id)
                if device is not None:
                    device.is_muted = event.new_status == MAINTENANCE
                self._restore_again(event.device_id)
            case AlertRaised() | AlertUpdated():
                self._on_alert(event)

    def _on_alert(self, event: AlertRaised | AlertUpdated) -> None:
        if event.device_id is None or event.rule_id is None:
            return
        self._restore_again(event.device_id)
        if self._verdicts.has(event.device_id, event.rule_id):
            return  # What we have decided since is newer.
        pair = event.device_id, event.rule_id
        if isinstance(event, AlertRaised):
            self._watching.on_raised(*pair, event.alert_id, event.at)
        elif event.status == RESOLVED:
            self._watching.on_resolved(*pair, event.alert_id)

    def _restore_again(self, device_id: int) -> None:
        """What is being read may have been read before this change."""
        if self._pending.is_in_hand(device_id):
            self._mark(device_id, self._clock())

    # --- Restoring ---------------------------------------------------------------------------

    def _mark(self, device_id: int, since: datetime) -> None:
        """Have a device restored before it is evaluated again."""
        self._forget(device_id)
        self._pending.mark(device_id, since)
        self._has_chores.set()

    def _mark_later(self, device_id: int, since: datetime) -> None:
        """Have a device restored when what we heard of it is certainly stored."""
        self._forget(device_id)
        self._pending.mark_later(device_id, since)

    def _mark_all(self) -> None:
        now = self._clock()
        for device_id in (*self._watching.devices, *self._pending.in_hand):
            if self._shares.owns(device_id):
                self._mark(device_id, now)

    def _forget(self, device_id: int) -> None:
        self._watching.devices.pop(device_id, None)

    async def _do_chores(self) -> None:
        while True:
            await self._has_chores.wait()
            if self._changed_rules:
                await self._reload_changed()
            elif self._must_share_out:
                self._must_share_out = False
                await self._share_out()
            elif self._pending.has_marks:
                await self._restore_some()
            else:
                self._has_chores.clear()

    async def _share_out(self) -> None:
        """Let go of what others evaluate, mark what is ours and has rules.

        Without a layer that is everything, once: whoever died a moment ago still seems to live,
        and what it had not decided must not wait until that is noticed.
        """
        devices = await call_patiently(services.load_devices)
        if not self._is_local:
            for device_id in list(self._watching.devices):
                if not self._shares.owns(device_id):
                    self._forget(device_id)
        now = self._clock()
        for position, (device_id, device_type) in enumerate(devices.items(), start=1):
            if position % LOOKED_AT_ONCE == 0:
                await asyncio.sleep(0)
            if device_id in self._watching.devices:
                continue
            is_ours = self._shares.owns(device_id) or not self._is_shared
            if is_ours and self._watching.book.metrics_of(device_id, device_type):
                self._mark(device_id, now)

    async def _reload_changed(self) -> None:
        changed, self._changed_rules = self._changed_rules, set()
        if len(changed) > CHANGES_MAX:
            await self.reload()
            return
        found = await call_patiently(services.reload_rules, changed)
        for rule_id in changed:
            self._watching.change(rule_id, found.get(rule_id))
            await asyncio.sleep(0)
        if any(each.rule.is_absence for each in found.values()):
            # When each device was last heard is in the table only.
            self._mark_all()
            await self._share_out()

    async def _restore_some(self) -> None:
        await self._verdicts.wait_for_room()
        batch = self._pending.take_batch(RESTORED_AT_ONCE)
        restore = partial(
            services.restore, since=batch, listening_since=self._listening_since, now=self._clock()
        )
        restored = await call_patiently(restore, self._watching.book, list(batch))
        self._pending.done()
        for device in restored:
            if device.device_id not in self._pending:
                self._install(device)
        for device_id in batch.keys() - {device.device_id for device in restored}:
            self._pending.take_waiting(device_id)  # It is out of service.

    def _install(self, restored: Restored) -> None:
        device_id = restored.device_id
        device = Watched(
            device_id,
            restored.device_type,
            restored.is_muted,
            restored.states,
            restored.open_alerts,
        )
        self._watching.add(device)
        verdicts = [
            Verdict(device_id, each.rule, each.decision, each.value, each.unit, each.received_at)
            for each in restored.undecided
        ]
        waiting = list(self._pending.take_waiting(device_id))
        for heard in waiting:
            verdicts += self._watching.evaluate(device, heard)
        if self._shares.owns(device_id):
            verdicts += self._watching.miss(device, self._clock())
        elif not self._is_local or not waiting:
            self._forget(device_id)  # This once: its owner may not have heard.
        self._decide(verdicts)
