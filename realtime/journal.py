"""The durable, ordered log of what happened: append, number, read after a position.

A row is appended inside the transaction of the change it tells of and gets its position
after that has committed, in a short transaction of its own. So positions have no gap and
no reader ever sees a later one before an earlier one, on SQLite and PostgreSQL alike.
"""

import logging
import secrets
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, connections, transaction

from realtime.core.events import AnyEvent, Event, decode, encode
from realtime.core.position import Position
from realtime.models import JournalEntry, JournalHead

logger = logging.getLogger("vitalwire.journal")

NUMBERED_AT_ONCE = 1_000
PRUNED_AT_ONCE = 5_000

Listener = Callable[[list["Numbered"]], None]

_numbering = threading.Lock()
_wanted = threading.Event()
_listeners: list[Listener] = []


class Numbered(msgspec.Struct, frozen=True):
    """An event with its place. `payload` is the event as `core.events.encode` wrote it."""

    n: int
    topic: str
    payload: bytes

    @property
    def event(self) -> AnyEvent:
        return decode(self.payload)


def append(event: Event) -> None:
    """Write a durable event, to be told if and only if this transaction commits.

    Must run inside `atomic()`. Raises DatabaseError, which must fail the transaction.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("append() belongs into the transaction of the change it tells of")
    JournalEntry.objects.create(
        event_id=event.id,
        topic=event.topic,
        kind=event.kind,
        payload=encode(event),
        created_at=event.at,
    )
    transaction.on_commit(number_committed, robust=True)


def number_committed() -> list[Numbered]:
    """Give every committed, unnumbered row its position, tell the listeners, return them.

    One thread of a process at a time; who comes meanwhile leaves its rows to that one and
    returns nothing. Processes are kept apart by the head row's lock.
    """
    numbered: list[Numbered] = []
    _wanted.set()
    # Looked at again after the release: a thread that was turned away just before left a wish.
    while _wanted.is_set() and _numbering.acquire(blocking=False):
        try:
            _wanted.clear()
            is_full = True
            while is_full:
                batch = _number_batch()
                is_full = len(batch) == NUMBERED_AT_ONCE
                numbered += batch
                _tell(batch)
        finally:
            _numbering.release()
    return numbered


def on_numbered(listener: Listener) -> Callable[[], None]:
    """Call `listener` with every batch that this process numbers, in the numbering thread.

    Returns the function that ends it.
    """
    _listeners.append(listener)
    return lambda: _listeners.remove(listener)


def make_head(using: str = DEFAULT_DB_ALIAS, **_: Any) -> None:
    """See that there is a head row, with an epoch of its own; a receiver of `post_migrate`."""
    if JournalHead._meta.db_table in connections[using].introspection.table_names():
        JournalHead.objects.using(using).get_or_create(
            pk=JournalHead.SINGLETON, defaults={"epoch": secrets.token_hex(4)}
        )


def head() -> Position:
    """Return the last position given out."""
    row = JournalHead.objects.get(pk=JournalHead.SINGLETON)
    return Position(row.epoch, row.position)


def peek() -> tuple[Position, bool]:
    """Return the head, and whether rows wait for a number (a process died before numbering)."""
    return head(), JournalEntry.objects.filter(position=None).exists()


def read_after(n: int, limit: int = 500, *, topic: str | None = None) -> list[Numbered]:
    """Return at most `limit` events after position `n`, in order; of one topic if named."""
    rows = JournalEntry.objects.filter(position__gt=n).order_by("position")
    if topic is not None:
        rows = rows.filter(topic=topic)
    return [
        Numbered(position, topic, bytes(payload))
        for position, topic, payload in rows.values_list("position", "topic", "payload")[:limit]
    ]


def first_since(moment: datetime) -> int:
    """Return the position before the first event that happened at or after `moment`."""
    first = (
        JournalEntry.objects.filter(created_at__gte=moment, position__isnull=False)
        .order_by("position")
        .values_list("position", flat=True)
        .first()
    )
    return first - 1 if first else head().n


def prune(before: datetime) -> int:
    """Delete events older than `before`, in short transactions; return how many."""
    deleted = 0
    while True:
        ids = list(
            JournalEntry.objects.filter(created_at__lt=before, position__isnull=False)
            .order_by("position")
            .values_list("id", flat=True)[:PRUNED_AT_ONCE]
        )
        if not ids:
            return deleted
        JournalEntry.objects.filter(id__in=ids).delete()
        deleted += len(ids)


def _number_batch() -> list[Numbered]:
    unnumbered = JournalEntry.objects.filter(position=None).order_by("id")
    try:
        with transaction.atomic():
            row = JournalHead.objects.select_for_update().get(pk=JournalHead.SINGLETON)
            # Only now, behind the lock, is it certain that nobody else numbers these.
            entries = unnumbered.values_list("id", "topic", "payload")[:NUMBERED_AT_ONCE]
            batch = [
                (id_, Numbered(n, topic, bytes(payload)))
                for n, (id_, topic, payload) in enumerate(entries, start=row.position + 1)
            ]
            if batch:
                _write_positions([(entry.n, id_) for id_, entry in batch])
                row.position = batch[-1][1].n
                row.save(update_fields=["position"])
        return [entry for _, entry in batch]
    except DatabaseError:
        # The rows are safe; the tail's sweep numbers them when the database answers again.
        logger.warning("numbering failed; the sweep will repeat it", exc_info=True)
        return []


def _tell(batch: list[Numbered]) -> None:
    if batch:
        for listener in _listeners:
            listener(batch)


def _write_positions(pairs: list[tuple[int, int]]) -> None:
    table = connection.ops.quote_name(JournalEntry._meta.db_table)
    with connection.cursor() as cursor:
        cursor.executemany(f"UPDATE {table} SET position = %s WHERE id = %s", pairs)
