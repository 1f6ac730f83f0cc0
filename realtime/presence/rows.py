"""The rows of who is present: a user's, and one for each process they are connected to.

Whatever changes the first is told through the journal in the same transaction.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote
from uuid import UUID, uuid4

import msgspec
from django.db import transaction
from django.db.models import Q, QuerySet

from accounts.models import User
from realtime import journal, nodes
from realtime.core.events import PresenceChanged
from realtime.core.presence import SILENCE, Voice, together
from realtime.models import Node, NodePresence, PresenceStatus, UserPresence

SWEPT_AT_ONCE = 500
# Who is asked for by name, in one subscription.
NAMES_AT_ONCE = 128

OFFLINE = PresenceStatus.OFFLINE


class Change(msgspec.Struct, frozen=True):
    """What one process says of a user from now on. `last_seen`: when they were here last."""

    user_id: UUID
    username: str
    voice: Voice
    last_seen: datetime


@transaction.atomic
def write(node_id: str, changes: Sequence[Change], *, now: datetime) -> list[PresenceChanged]:
    """Store what a process says of these users, tell what that changes, and return it."""
    by_user = {change.user_id: change for change in changes}
    rows = _lock(by_user, {each.user_id: each.username for each in changes}, now=now)
    ours = NodePresence.objects.filter(node_id=node_id)
    ours.filter(
        user_id__in=[each.user_id for each in changes if not each.voice.is_present]
    ).delete()
    NodePresence.objects.bulk_create(
        [_share(node_id, each, now) for each in by_user.values() if each.voice.is_present],
        update_conflicts=True,
        unique_fields=["user_id", "node_id"],
        update_fields=["status", "metadata", "given_at", "seen_at"],
    )
    names = {each.user_id: each.username for each in changes if each.username}
    seen = {each.user_id: each.last_seen for each in changes}
    return _settle(rows, names, seen, now=now)


def sweep(node_id: str, *, now: datetime, grace: timedelta) -> bool:
    """Delete what processes said that are dead, and tell what that changes.

    The users of a process that ended in order have `grace` to come back elsewhere; those of one
    that was killed had that while it was not yet taken for dead. Returns False, and nobody is
    swept, when the heartbeat of the sweeper itself is late: so may be the others'.
    """
    heartbeats = dict(Node.objects.values_list("id", "heartbeat_at"))
    living = {each for each, at in heartbeats.items() if at >= now - nodes.DEAD_AFTER}
    if node_id not in living:
        return False
    dead = Q(node_id__in=heartbeats.keys() - living) | Q(seen_at__lt=now - grace)
    lost = NodePresence.objects.exclude(node_id__in=living).filter(dead)
    ordered = lost.order_by("user_id").values_list("user_id", flat=True).distinct()
    while users := list(ordered[:SWEPT_AT_ONCE]):
        _sweep_users(users, lost, heartbeats, now=now)
    return True


def note_end(node_id: str, *, now: datetime) -> None:
    """Note when a process ended in order: its users were here until then."""
    NodePresence.objects.filter(node_id=node_id).update(seen_at=now)


def held_by(node_id: str, expected: int) -> set[UUID] | None:
    """Return whose rows a process has, or None: as many as it expected."""
    rows = NodePresence.objects.filter(node_id=node_id)
    if rows.count() == expected:
        return None
    return set(rows.values_list("user_id", flat=True))


def find_present() -> list[PresenceChanged]:
    """Return what was told last of everybody who is not offline, the first to come first."""
    rows = UserPresence.objects.exclude(status=OFFLINE).order_by("changed_at")
    return [_event(row) for row in rows.iterator()]


def find_offline(topics: Iterable[str]) -> list[PresenceChanged]:
    """Return what was told last on these topics, as far as it was that somebody left."""
    names = [unquote(topic.partition(".")[2]) for topic in topics][:NAMES_AT_ONCE]
    return [_event(row) for row in UserPresence.objects.filter(username__in=names, status=OFFLINE)]


def prune() -> int:
    """Forget who has no account any more and is offline; return how many."""
    gone = UserPresence.objects.filter(status=OFFLINE).exclude(
        user_id__in=User.objects.values("pk")
    )
    return gone.delete()[0]


def _lock(
    user_ids: Iterable[UUID], names: dict[UUID, str], *, now: datetime
) -> dict[UUID, UserPresence]:
    """Return the users' rows, locked in order: two processes never wait for each other."""
    wanted = sorted(user_ids)
    UserPresence.objects.bulk_create(
        [
            UserPresence(user_id=each, username=names[each], last_seen=now, changed_at=now)
            for each in wanted
            if names.get(each)
        ],
        ignore_conflicts=True,
    )
    rows = UserPresence.objects.select_for_update().filter(user_id__in=wanted).order_by("user_id")
    return {row.user_id: row for row in rows}


def _settle(
    rows: dict[UUID, UserPresence],
    names: dict[UUID, str],
    seen: dict[UUID, datetime],
    *,
    now: datetime,
) -> list[PresenceChanged]:
    """Bring the locked rows in line with what all processes say, and tell what changed.

    In the order of `seen`, which names whom it is about.
    """
    voices: dict[UUID, list[Voice]] = {}
    for share in NodePresence.objects.filter(user_id__in=list(rows)):
        voices.setdefault(share.user_id, []).append(
            Voice(share.status, _read(share.metadata), share.given_at)  # type: ignore[arg-type]
        )
    changed, events = [], []
    for user_id, left_at in seen.items():
        row = rows.get(user_id)
        if row is None:
            continue
        name, before = names.get(user_id, row.username), _told(row)
        if name != row.username and row.status != OFFLINE:
            _set(row, SILENCE, last_seen=now, now=now)
            events.append(_event(row))
        row.username = name
        voice = together(voices.get(user_id, ()))
        if (row.status, row.metadata) != (voice.status, _write(voice.metadata)):
            last_seen = now if voice.is_present else max(left_at, row.last_seen)
            _set(row, voice, last_seen=last_seen, now=now)
            events.append(_event(row))
        if _told(row) != before:
            changed.append(row)
    UserPresence.objects.bulk_create(
        changed,
        update_conflicts=True,
        unique_fields=["user_id"],
        update_fields=["username", "status", "metadata", "last_seen", "changed_at"],
    )
    journal.append_all(events)
    return events


@transaction.atomic
def _sweep_users(
    users: list[UUID],
    lost: QuerySet[NodePresence],
    heartbeats: dict[str, datetime],
    *,
    now: datetime,
) -> None:
    rows = _lock(users, {}, now=now)
    seen: dict[UUID, datetime] = {}
    # Again, behind the lock: somebody else may have swept them.
    shares = list(lost.filter(user_id__in=users))
    for share in shares:
        at = max(share.seen_at, heartbeats.get(share.node_id, share.seen_at))
        seen[share.user_id] = max(at, seen.get(share.user_id, at))
    NodePresence.objects.filter(id__in=[share.pk for share in shares]).delete()
    _settle(rows, {}, seen, now=now)


def _told(row: UserPresence) -> tuple[str, str, str]:
    return row.username, row.status, row.metadata


def _set(row: UserPresence, voice: Voice, *, last_seen: datetime, now: datetime) -> None:
    row.status, row.metadata = voice.status, _write(voice.metadata)
    row.last_seen, row.changed_at = last_seen, now


def _share(node_id: str, change: Change, now: datetime) -> NodePresence:
    return NodePresence(
        user_id=change.user_id,
        node_id=node_id,
        status=change.voice.status,
        metadata=_write(change.voice.metadata),
        given_at=change.voice.given_at,
        seen_at=now,
    )


def _event(row: UserPresence) -> PresenceChanged:
    return PresenceChanged(
        id=str(uuid4()),
        at=row.changed_at,
        username=row.username,
        user_id=row.user_id,
        status=row.status,  # type: ignore[arg-type]
        last_seen=row.last_seen,
        metadata=_read(row.metadata),
    )


def _read(text: str) -> dict[str, Any]:
    metadata: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
    return metadata


def _write(metadata: dict[str, Any]) -> str:
    return msgspec.json.encode(metadata).decode()
