"""The processes there are: heartbeats, who is connected where, and who holds which duty."""

import os
import socket
import uuid
from datetime import datetime, timedelta
from typing import TypedDict

from django.db import transaction
from django.utils import timezone

from realtime.models import Lease, Node

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


def new_node_id() -> str:
    return str(uuid.uuid4())


def beat(node_id: str, connections: dict[str, int], *, now: datetime) -> None:
    """Say that this process lives, and how many connections each endpoint has."""
    Node.objects.update_or_create(
        id=node_id,
        defaults={"heartbeat_at": now, "connections": connections},
        create_defaults={
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started_at": now,
            "heartbeat_at": now,
            "connections": connections,
        },
    )


def bury(node_id: str) -> None:
    """Remove a process that leaves in order, with its duties."""
    with transaction.atomic():
        Lease.objects.filter(node_id=node_id).delete()
        Node.objects.filter(id=node_id).delete()


def living(*, now: datetime) -> set[str]:
    """Return the ids of the processes whose heartbeat is fresh."""
    return set(Node.objects.filter(heartbeat_at__gte=now - DEAD_AFTER).values_list("id", flat=True))


def bury_dead(*, now: datetime) -> int:
    """Delete rows of processes that died without a word; return how many."""
    deleted, _ = Node.objects.filter(heartbeat_at__lt=now - DEAD_AFTER * 10).delete()
    return deleted


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
