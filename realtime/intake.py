"""Where readings come in: shown at once, stored soon, acknowledged after their COMMIT.

The hot path of this system: it runs once for every message of every device, on the event
loop's thread, and never waits.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from devices import history
from devices.latest import Latest, is_newer
from devices.models import Device
from devices.readings import Report
from devices.registry import Known, Registry, read_devices
from devices.services import devices
from devices.services.rows import NO_SUCH_DEVICE
from devices.writer import Writer
from realtime.calls import call, call_patiently
from realtime.core.errors import Failure, Forbidden, Invalid, NotFound, VitalwireError
from realtime.core.events import (
    DevicesChanged,
    DeviceStatusChanged,
    Event,
    Measured,
    TelemetryReceived,
)

NOT_IN_SERVICE = "this device is not in service"

Refused = dict[int, VitalwireError]


class Alarms(Protocol):
    """What the alert rules offer the hot path; see `realtime/alarms.py`."""

    def observe(self, report: Report) -> None: ...

    def crossed(
        self, device_id: int, device_type: str, metric: str, before: float | None, value: float
    ) -> bool: ...

    def forwarded(self, event: TelemetryReceived) -> None: ...


class Intake:
    """The readings of this process's devices, and the last values of all. Belongs to the event
    loop's thread.

    `publish_live` delivers an event here and in the other processes, `deliver` only here;
    `is_heard` is asked once for what comes in together: no event is made that nobody would hear.
    """

    def __init__(
        self,
        writer: Writer,
        alarms: Alarms,
        *,
        node_id: str,
        deliver: Callable[[Event], None],
        publish_live: Callable[[Event], None],
        is_heard: Callable[[], bool],
        spawn: Callable[[Awaitable[None]], object],
    ) -> None:
        self.registry = Registry()
        self.latest = Latest()
        self._alarms = alarms
        self._writer = writer
        self._deliver = deliver
        self._publish_live = publish_live
        self._is_heard = is_heard
        self._spawn = spawn
        # A UUID for each reading would cost more than all the rest of the event.
        self._prefix = node_id.partition("-")[0]
        self._numbers = itertools.count(1)
        self._seen: dict[int, datetime] = {}
        self._reviving: set[int] = set()

    # --- Readings ----------------------------------------------------------------------

    @property
    def is_behind(self) -> bool:
        """Whether producers must wait before they read on."""
        return self._writer.is_behind

    def take(self, report: Report) -> "asyncio.Future[None]":
        """Show a report now and store it; the future is done after COMMIT.

        Raises NotFound, Forbidden for a device out of service, Invalid, Unavailable; the
        future fails with the last two. What was sent before is neither shown nor stored again.
        """
        known, values = self._admit(report)
        stored = self._writer.put_report(report)
        self._show(known, values, report, is_heard=self._is_heard())
        return stored

    def take_many(self, reports: Sequence[Report]) -> "asyncio.Future[Refused]":
        """Do the same with several reports, each by itself, for the price of one future.

        It has what is refused, by index, and never fails. Raises Unavailable.
        """
        admitted: list[tuple[Known, dict[str, Measured], Report]] = []
        refused: Refused = {}
        for index, report in enumerate(reports):
            try:
                admitted.append((*self._admit(report), report))
            except Failure as failure:
                refused[index] = failure
        stored = self._writer.put_reports(
            [report for _, _, report in admitted] if refused else reports
        )
        is_heard = self._is_heard()
        for each in admitted:
            self._show(*each, is_heard=is_heard)
        return _with_refused(stored, refused, len(reports)) if refused else stored

    def alive(self, device_id: int, *, now: datetime | None = None) -> None:
        """Note a sign of life; of a device that is not known nothing is noted."""
        known = self.registry.get(device_id)
        if known is not None and known.is_active:
            self._see(known, now or datetime.now(UTC))

    def on_recorded(self, reports: Iterable[Report]) -> None:
        """Show readings that are stored already: they came over REST."""
        for report in reports:
            try:
                self._show(*self._admit(report), report, is_heard=self._is_heard())
            except NotFound:
                self._spawn(self._show_when_known(report))
            except Failure:
                pass  # It has been stored, and went out of service meanwhile: nobody watches it.

    def on_live(self, event: TelemetryReceived) -> None:
        """Hear readings that another process took in."""
        try:
            values = self.latest.values_of(event.device_id, event.metrics)
        except Invalid:
            values = {}
        for metric, measured in event.metrics.items():
            if is_newer(measured, values.get(metric), event.at):
                values[metric] = measured
        self._deliver(event)
        self._alarms.forwarded(event)

    def _admit(self, report: Report) -> tuple[Known, dict[str, Measured]]:
        known = self.registry.get(report.device_id)
        if known is None:
            raise NotFound(NO_SUCH_DEVICE)
        if not known.is_active:
            raise Forbidden(NOT_IN_SERVICE)
        return known, self.latest.values_of(report.device_id, report.metrics)

    def _show(
        self, known: Known, values: dict[str, Measured], report: Report, *, is_heard: bool
    ) -> None:
        received_at = report.received_at
        self._see(known, received_at)
        steps: list[tuple[str, Measured | None, Measured]] = []
        is_repeated = True
        for metric, measured in report.metrics.items():
            before = values.get(metric)
            if before is not None and before.at == measured.at:
                continue
            is_repeated = False
            if is_newer(measured, before, received_at):
                values[metric] = measured
                if is_heard:
                    steps.append((metric, before, measured))
        if is_repeated:
            return
        if is_heard:
            self._tell(known, report, steps)
        self._alarms.observe(report)

    def _tell(
        self, known: Known, report: Report, steps: Iterable[tuple[str, Measured | None, Measured]]
    ) -> None:
        device_id, device_type = known.device_id, known.device_type
        crossed = frozenset(
            metric
            for metric, before, measured in steps
            if before is not None
            and self._alarms.crossed(device_id, device_type, metric, before.value, measured.value)
        )
        self._publish_live(
            TelemetryReceived(
                id=f"{self._prefix}:{next(self._numbers)}",
                at=report.received_at,
                device_id=device_id,
                account_id=known.account_id,
                metrics=report.metrics,
                crossed=crossed,
            )
        )

    async def _show_when_known(self, report: Report) -> None:
        await self.know(report.device_id)
        self.on_recorded([report] if self.registry.get(report.device_id) else [])

    # --- Devices -----------------------------------------------------------------------

    async def load(self) -> None:
        """Read the devices and what they measured last."""
        self.registry.replace(await call(read_devices))
        self.latest.fill(await call(history.newest_values, now=datetime.now(UTC)))
        self.latest.keep_only(known.device_id for known in self.registry if known.is_active)

    async def know(self, device_id: int, *, account_id: UUID | None = None) -> Known | None:
        """Return the device, read anew where it is not known yet; None when there is none.

        With `account_id` it is also read anew where it was known with another account: it was
        given this one a moment ago, and the journal has not told us yet.
        """
        known = self.registry.get(device_id)
        if known is None or account_id not in (None, known.account_id):
            await self._read(device_id)
            known = self.registry.get(device_id)
        return known

    def on_event(self, event: Event) -> None:
        """Hear from the journal what became of a device."""
        if isinstance(event, DeviceStatusChanged):
            self.registry.set_status(event.device_id, event.new_status)
        elif isinstance(event, DevicesChanged):
            self._spawn(self._read(event.device_id))

    async def keep_seen(self) -> None:
        """Store when devices were last seen: all since the last time, in one transaction."""
        seen, self._seen = self._seen, {}
        if not seen:
            return
        try:
            # Not in a thread of its own: on SQLite it would have to wait for the writer.
            await self._writer.submit(lambda: devices.note_seen(seen))
        except BaseException:
            self._seen = {**seen, **self._seen}
            raise

    async def _read(self, device_id: int) -> None:
        found = await call_patiently(read_devices, device_id)
        self.registry.put(found)
        if not found:
            self.registry.drop(device_id)
        if not found or not found[0].is_active:
            self.latest.drop(device_id)

    def _see(self, known: Known, now: datetime) -> None:
        self._seen[known.device_id] = now
        if known.is_offline and known.device_id not in self._reviving:
            self._reviving.add(known.device_id)
            self._spawn(self._revive(known.device_id, now))

    async def _revive(self, device_id: int, now: datetime) -> None:
        try:
            if await call_patiently(devices.mark_alive, device_id, now=now):
                # The journal will say so as well; until then nobody needs to ask again.
                self.registry.set_status(device_id, Device.Status.ONLINE)
            else:
                await self._read(device_id)
        finally:
            self._reviving.discard(device_id)


def _with_refused(
    stored: "asyncio.Future[Refused]", refused: Refused, count: int
) -> "asyncio.Future[Refused]":
    """Return a future that also has those who were never handed over, counted through all."""
    answer: asyncio.Future[Refused] = stored.get_loop().create_future()
    handed_over = [index for index in range(count) if index not in refused]

    def tell(done: "asyncio.Future[Refused]") -> None:
        if answer.done() or done.cancelled():
            answer.cancel()
            return
        problems = {handed_over[index]: problem for index, problem in done.result().items()}
        answer.set_result(refused | problems)

    stored.add_done_callback(tell)
    return answer
