"""What waits for users who were not there: direct messages and notifications, each told once.

A cursor, not a second store: a row says that an event in the journal was not told its user
yet. It is written in the transaction of the event and struck out by the process that has
written the message to one of the user's sessions, so a crash repeats it rather than loses it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import connection
from django.utils import timezone

from realtime.calls import call_patiently
from realtime.core.events import Event, decode
from realtime.models import JournalEntry, QueuedMessage

READ_AT_ONCE = 50
PRUNED_AT_ONCE = 5_000
REMEMBERED = 16_384

# One row: whose, and the event's id.
Row = tuple[UUID, str]


class Letter(NamedTuple):
    """An event that waits, and its position."""

    n: int
    event: Event


def recipient_of(event: Event) -> UUID | None:
    """Return the one user whom the event is for, None where it is for others too."""
    return getattr(event, "recipient_id", None)


def keep(event: Event, recipient_id: UUID) -> bool:
    """Let the event wait for its user, if and only if this transaction commits.

    Must run inside `atomic()`. False when so many wait already that it is not kept.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("keep() belongs into the transaction of the event")
    most = settings.QUEUED_PER_USER
    waiting = QueuedMessage.objects.filter(user_id=recipient_id)
    # Counted no further than it matters.
    if waiting.values("id").order_by()[:most].count() >= most:
        return False
    QueuedMessage.objects.create(user_id=recipient_id, event_id=event.id, created_at=event.at)
    return True


def read(user_id: UUID, after: int, upto: int, *, now: datetime) -> list[Letter]:
    """Return what waits for the user: at most `READ_AT_ONCE`, after < position <= upto.

    What is too old, or was wished to be kept no longer, is left out.
    """
    oldest = now - timedelta(days=settings.QUEUED_DAYS)
    waiting = QueuedMessage.objects.filter(user_id=user_id, created_at__gte=oldest)
    entries = JournalEntry.objects.filter(
        event_id__in=waiting.order_by().values("event_id"), position__gt=after, position__lte=upto
    ).order_by("position")
    rows = entries.values_list("position", "payload")[:READ_AT_ONCE]
    return [Letter(n, event) for n, payload in rows if (event := _event_of(bytes(payload)))]


def is_waiting(user_id: UUID, event_id: str) -> bool:
    """Tell whether nobody has told the user of this event yet."""
    return QueuedMessage.objects.filter(user_id=user_id, event_id=event_id).exists()


def strike(rows: Iterable[Row]) -> None:
    """Take out what its users were told."""
    by_user: dict[UUID, list[str]] = {}
    for user_id, event_id in rows:
        by_user.setdefault(user_id, []).append(event_id)
    for user_id, event_ids in by_user.items():
        QueuedMessage.objects.filter(user_id=user_id, event_id__in=event_ids).delete()


def prune(*, now: datetime) -> int:
    """Delete what has waited too long, in short transactions; return how many."""
    oldest = now - timedelta(days=settings.QUEUED_DAYS)
    deleted = 0
    while True:
        old = QueuedMessage.objects.filter(created_at__lt=oldest).order_by()
        ids = list(old.values_list("id", flat=True)[:PRUNED_AT_ONCE])
        if not ids:
            return deleted
        QueuedMessage.objects.filter(id__in=ids).delete()
        deleted += len(ids)


def _event_of(payload: bytes) -> Event | None:
    try:
        event = decode(payload)
    except msgspec.DecodeError:
        return None  # A newer build wrote it.
    # What was kept no longer than its sender wished is nobody's any more.
    return event if recipient_of(event) is not None else None


class Mailbox:
    """This process's hand in it. Belongs to the event loop's thread."""

    def __init__(self, spawn: Callable[[Awaitable[None]], object]) -> None:
        self._spawn = spawn
        # Remembered beyond the row: who reads the table meanwhile may still find it there.
        self._told: OrderedDict[Row, None] = OrderedDict()
        self._to_strike: list[Row] = []
        self._is_striking = False
        self._turns: dict[UUID, asyncio.Lock] = {}

    def on_told(self, event: Event) -> None:
        """The event was written to a session of its user: it waits no longer."""
        user_id = recipient_of(event)
        if user_id is None or (user_id, event.id) in self._told:
            return
        self._told[user_id, event.id] = None
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        self._to_strike.append((user_id, event.id))
        if not self._is_striking:
            self._is_striking = True
            self._spawn(self._strike())

    async def waiting(self, user_id: UUID, after: int, upto: int) -> list[Letter]:
        """Return the next that wait and that this process has not told; empty: there are no more.

        A database that is away is waited for.
        """
        while True:
            letters = await call_patiently(read, user_id, after, upto, now=timezone.now())
            if not letters:
                return []
            after = letters[-1].n
            untold = [letter for letter in letters if self._is_untold(user_id, letter.event)]
            if untold:
                return untold

    def turn_of(self, user_id: UUID) -> asyncio.Lock:
        """Return what keeps two new sessions of one user from being told the same."""
        self._turns = {user: turn for user, turn in self._turns.items() if turn.locked()}
        return self._turns.setdefault(user_id, asyncio.Lock())

    def _is_untold(self, user_id: UUID, event: Event) -> bool:
        expires_at = getattr(event, "expires_at", None)
        if expires_at is not None and expires_at <= timezone.now():
            return False
        return (user_id, event.id) not in self._told

    async def _strike(self) -> None:
        """Strike out what was told; what is told meanwhile comes in the next statement."""
        try:
            while rows := self._to_strike:
                self._to_strike = []
                await call_patiently(strike, rows)
        finally:
            self._is_striking = False
