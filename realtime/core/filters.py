"""What a listener may hear and wants to hear of a topic it subscribed to.

A `Scope` is the right, a `Filter` the wish. Both are frozen and hashable: listeners with
equal ones share a cohort, and an event is judged once for all of them.
"""

from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec

from realtime.core.events import (
    NOTIFICATIONS,
    AlertEvent,
    DeviceStatusChanged,
    Event,
    SystemSampled,
    TelemetryReceived,
)
from realtime.core.topics import matches, overlaps, root_of

OWN = "own:"


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """The wish: what to hear of a topic, and how often. An empty set takes everything.

    `metrics` is for telemetry and system samples, `severities` and `alert_types` for alerts,
    `statuses` for devices (the new one). `every_ms` asks for live values on a beat: the latest of
    each metric with the window's lowest, highest and number; 0 for each as it comes.
    """

    kinds: frozenset[str] = frozenset()
    metrics: frozenset[str] = frozenset()
    severities: frozenset[str] = frozenset()
    alert_types: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()
    every_ms: int = 0

    def view(self, event: Event) -> Event | None:
        """Return what is wanted of `event`: itself, some of its metrics, or None."""
        if self.kinds and event.kind not in self.kinds:
            return None
        match event:
            case TelemetryReceived() | SystemSampled():
                return self._measured(event)
            case AlertEvent():
                is_wanted = _takes(self.severities, event.severity) and _takes(
                    self.alert_types, event.alert_type
                )
            case DeviceStatusChanged():
                is_wanted = _takes(self.statuses, event.new_status)
            case _:
                is_wanted = True
        return event if is_wanted else None

    def _measured(self, event: TelemetryReceived | SystemSampled) -> Event | None:
        wanted = self.metrics
        if not wanted or wanted.issuperset(event.metrics):
            return event
        some: dict[str, Any] = {k: v for k, v in event.metrics.items() if k in wanted}
        return msgspec.structs.replace(event, metrics=some) if some else None


def _takes(wanted: frozenset[str], value: str) -> bool:
    return not wanted or value in wanted


EVERYTHING = Filter()


class Scope(msgspec.Struct, frozen=True):
    """The right: patterns heard from anyone, and patterns heard of one's own things only.

    `owner` is set only when `own` is not empty, so that two operators are equal and two
    surgeons are not. `role` is kept only for topics where an event may be for one role.
    """

    anyone: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    owner: UUID | None = None
    role: str = ""

    @classmethod
    def of(cls, patterns: tuple[str, ...], user_id: UUID, role: str = "") -> "Scope":
        """Read a role's patterns; `own:surgeries.*` hears only what `user_id` owns.

        Everyone hears `users.<own id>`.
        """
        anyone = tuple(p for p in patterns if not p.startswith(OWN))
        own = tuple(p.removeprefix(OWN) for p in patterns if p.startswith(OWN))
        return cls(anyone, own, user_id if own else None, role)

    def narrowed(self, pattern: str) -> "Scope":
        """Keep what can matter for `pattern`: fewer distinct scopes, fewer cohorts."""
        own = tuple(p for p in self.own if overlaps(p, pattern))
        anyone = tuple(p for p in self.anyone if overlaps(p, pattern))
        role = self.role if root_of(pattern) == NOTIFICATIONS else ""
        return Scope(anyone, own, self.owner if own else None, role)

    @property
    def is_empty(self) -> bool:
        return not self.anyone and not self.own

    def admits(self, event: Event) -> bool:
        if event.audience is not None and event.audience != self.role:
            return False
        topic = event.topic
        if _any_matches(self.anyone, topic):
            return True
        return (
            self.owner is not None and event.owner == self.owner and _any_matches(self.own, topic)
        )


@lru_cache(maxsize=65_536)
def _any_matches(patterns: tuple[str, ...], topic: str) -> bool:
    return any(matches(pattern, topic) for pattern in patterns)
