"""The processes there are: heartbeats, who is connected where, and who holds which duty."""

import os
import socket
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TypedDict

from django.db import transaction
from django.utils import timezone

from realtime.core.session import Session
from realtime.models import Lease, Node, PastStatistics

HEARTBEAT_SECONDS = 5
DEAD_AFTER = timedelta(seconds=12)


class NodeReport(TypedDict):
    """What the dashboard shows of one living process."""

    node: str
    host: str
    pid: int
    started_at: datetime
    heartbeat_at: datetime
    connections: dict[str, int]


# Cumulative figures by name: opened, closed, messages_in, messages_out, seconds_open.
Figures = dict[str, float]


class Statistics:
    """What this process has counted since it started, or since its row was folded.

    Belongs to the event loop's thread; `figures` may be asked by any.
    """

    def __init__(self) -> None:
        self.opened = 0
        self._ended: Counter[str] = Counter()
        self._folded: Figures = {}

    def on_open(self) -> None:
        self.opened += 1

    def on_close(self, session: Session, now: datetime) -> None:
        """Keep what an ended session counted."""
        self._ended["closed"] += 1
        self._ended.update(_figures_of(session, now))

    def figures(self, sessions: Iterable[Session], now: datetime) -> Figures:
        """Return the figures, those of the open `sessions` included."""
        figures = Counter(self._ended, opened=self.opened)
        for session in sessions:
            figures.update(_figures_of(session, now))
        figures.subtract(self._folded)
        return dict(figures)

    def start_over(self, figures: Figures) -> None:
        """Count from these on: they were taken for those of a dead process, and folded."""
        self._folded = dict(Counter(self._folded) + Counter(figures))


def _figures_of(session: Session, now: datetime) -> Figures:
    return {
        "messages_in": session.messages_in,
        "messages_out": session.messages_out,
        "seconds_open": (now - session.opened_at).total_seconds(),
    }


def new_node_id() -> str:
    return str(uuid.uuid4())


def beat(
    node_id: str,
    connections: dict[str, int],
    *,
    now: datetime,
    statistics: Figures | None = None,
) -> bool:
    """Say that this process lives, what it serves, and what it has counted.

    Tells whether its row is new: it is at the start, and after it was taken for dead.
    """
    shown = {"heartbeat_at": now, "connections": connections, "statistics": statistics or {}}
    _, is_new = Node.objects.update_or_create(
        id=node_id,
        defaults=shown,
        create_defaults={
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started_at": now,
            **shown,
        },
    )
    return is_new


def bury(node_id: str) -> None:
    """Remove a process that leaves in order, with its duties; what it counted is kept."""
    with transaction.atomic():
        Lease.objects.filter(node_id=node_id).delete()
        _fold(id=node_id)


def bury_dead(*, now: datetime) -> int:
    """Delete rows of processes that died without a word, keep what they counted; return how many.

    They are dead for others long before: the row stays for a while to be looked at.
    """
    with transaction.atomic():
        return _fold(heartbeat_at__lt=now - DEAD_AFTER * 10)


def _fold(**which: object) -> int:
    """Delete these rows and add their figures to those of all that ended, once."""
    rows = list(Node.objects.select_for_update().filter(**which).order_by("id"))
    if not rows:
        return 0
    past, _ = PastStatistics.objects.select_for_update().get_or_create(pk=PastStatistics.SINGLETON)
    figures = Counter(past.figures)
    for row in rows:
        figures.update(row.statistics)
    past.figures = figures
    past.save(update_fields=["figures"])
    Node.objects.filter(id__in=[row.id for row in rows]).delete()
    return len(rows)


def statistics_of_all(own: Mapping[str, Figures] | None = None) -> Figures:
    """Return the figures of all processes there are and were.

    Those of others are as old as their heartbeat; `own` gives this process's as they are now.
    """
    with transaction.atomic():
        past = PastStatistics.objects.filter(pk=PastStatistics.SINGLETON).first()
        rows = dict(Node.objects.values_list("id", "statistics"))
    figures = Counter(past.figures if past else {})
    for each in {**rows, **(own or {})}.values():
        figures.update(each)
    return dict(figures)


def living(*, now: datetime) -> set[str]:
    """Return the ids of the processes whose heartbeat is fresh."""
    return set(Node.objects.filter(heartbeat_at__gte=now - DEAD_AFTER).values_list("id", flat=True))


def hold_lease(name: str, node_id: str, *, seconds: float, now: datetime) -> bool:
    """Take or renew a duty; tells whether this process has it until `now + seconds`."""
    expires_at = now + timedelta(seconds=seconds)
    with transaction.atomic():
        lease, is_new = Lease.objects.select_for_update().get_or_create(
            name=name, defaults={"node_id": node_id, "expires_at": expires_at}
        )
        if is_new:
            return True
        if lease.node_id != node_id and lease.expires_at > now:
            return False
        lease.node_id = node_id
        lease.expires_at = expires_at
        lease.save(update_fields=["node_id", "expires_at"])
        return True


def connections_by_node(*, now: datetime | None = None) -> list[NodeReport]:
    """Return the living processes with their connections by endpoint, oldest first."""
    fresh = Node.objects.filter(heartbeat_at__gte=(now or timezone.now()) - DEAD_AFTER)
    return [
        NodeReport(
            node=node.id,
            host=node.host,
            pid=node.pid,
            started_at=node.started_at,
            heartbeat_at=node.heartbeat_at,
            connections=node.connections,
        )
        for node in fresh
    ]
