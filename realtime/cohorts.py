"""Members that hear the same events in the same words, and the beat that some of them want."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from realtime.core.events import Event, Measured, SystemSampled, TelemetryReceived
from realtime.core.filters import Filter, Scope
from realtime.members import Dialect, Member

# How many values wait for one beat; a fuller one is told early, so that it loses nothing.
HELD_MAX = 4096


class Timer(Protocol):
    """What `Clock.call_later` returns."""

    def cancel(self) -> None:
        """Keep it from being called."""


class Clock(Protocol):
    """The time and an alarm; every event loop is one."""

    def time(self) -> float:
        """Return seconds since whenever."""

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Timer:
        """Call back after `delay` seconds."""


class Cohort:
    """Members that hear the same events in the same words."""

    __slots__ = ("beat", "dialect", "filter", "members", "scope", "timer")

    def __init__(self, dialect: Dialect, filter_: Filter, scope: Scope) -> None:
        self.dialect = dialect
        self.filter = filter_
        self.scope = scope
        self.members: dict[Member, None] = {}
        # Of those that hear live events at a frequency.
        self.beat: Beat | None = None
        # Set only while the beat has something to tell.
        self.timer: Timer | None = None

    def view(self, event: Event) -> Event | None:
        """Return what its members hear of `event`, None when that is nothing."""
        return self.filter.view(event) if self.scope.admits(event) else None

    def stop(self) -> None:
        """Forget what waits for the beat: nobody is left to hear it."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Beat:
    """The live values of one cohort between two beats; its hub flushes it in time.

    Telemetry is kept by device and metric, the latest value with the lowest, the highest and
    the number of its window; of other live events the latest of each thing is kept.

    A value that crossed a threshold closes its metric's window and passes at once, with that
    window's figures. So every value counts in one window and none is told twice.
    """

    __slots__ = ("_began", "_every", "_others", "_reports", "size")

    def __init__(self, every: float, *, began: float) -> None:
        self._every = every
        self._began = began
        self._reports: dict[int, TelemetryReceived] = {}
        self._others: dict[str, Event] = {}
        self.size = 0

    def seconds_left(self, now: float) -> float:
        """Return the time to the next beat: beats keep to the grid of the first."""
        return self._every - (now - self._began) % self._every

    def take(self, event: Event) -> Event | None:
        """Keep a live event for the beat and return what of it must not wait."""
        if not isinstance(event, TelemetryReceived):
            if self._others.pop(event.conflation_key, None) is None:
                self.size += 1
            self._others[event.conflation_key] = event
            return None
        held = self._reports.get(event.device_id)
        windows = {} if held is None else held.metrics
        self.size -= len(windows)
        for metric, measured in event.metrics.items():
            windows[metric] = _joined(windows.get(metric), measured)
        passing = {metric: windows.pop(metric) for metric in event.crossed & event.metrics.keys()}
        self._keep(event, windows)
        if not passing:
            return None
        return msgspec.structs.replace(event, metrics=passing, crossed=frozenset(passing))

    def flush(self) -> list[Event]:
        """Return what was kept, one event for each device, and begin anew."""
        events: list[Event] = [*self._reports.values(), *self._others.values()]
        self._reports, self._others, self.size = {}, {}, 0
        return events

    def _keep(self, event: TelemetryReceived, windows: dict[str, Measured]) -> None:
        self.size += len(windows)
        if windows:
            self._reports[event.device_id] = msgspec.structs.replace(
                event, metrics=windows, crossed=frozenset()
            )
        else:
            self._reports.pop(event.device_id, None)


def _joined(before: Measured | None, measured: Measured) -> Measured:
    """Add one value to a window; the latest is the one with the latest time."""
    value = measured.value
    if before is None or before.low is None or before.high is None or before.count is None:
        return msgspec.structs.replace(measured, low=value, high=value, count=1)
    latest = measured if measured.at >= before.at else before
    return msgspec.structs.replace(
        latest,
        low=min(before.low, value),
        high=max(before.high, value),
        count=before.count + 1,
    )


def content_of(view: Event) -> object:
    """Return what tells two narrowed views of one event apart."""
    assert isinstance(view, TelemetryReceived | SystemSampled)
    return tuple(view.metrics)


def unreached(members: Iterable[Member], reached: set[Member]) -> list[Member]:
    """Return those who were not reached yet, and count them as reached."""
    new = [member for member in members if len(member.cohorts) == 1 or member not in reached]
    # Who has one subscription only cannot be reached through two.
    reached.update(member for member in new if len(member.cohorts) > 1)
    return new


def is_told(member: Member, cohort: Cohort, event: Event) -> bool:
    """Tell whether it is this cohort's beat that tells the member of the event."""
    if len(member.cohorts) == 1:
        return True
    chosen = member.choose(event)
    return chosen is not None and chosen[0] is cohort
