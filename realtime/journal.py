"""The durable, ordered log of what happened: append, number, read after a position.

A row is appended inside the transaction of the change it tells of and gets its position
after that has committed, in a short transaction of its own. So positions have no gap and
no reader ever sees a later one before an earlier one, on SQLite and PostgreSQL alike.
"""

import logging
import secrets
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, connections, transaction
from django.db.models import Q

from realtime.core.events import Event, Forgotten, decode, encode, expiry_of
from realtime.core.position import Position
from realtime.models import JournalEntry, JournalHead

logger = logging.getLogger("vitalwire.journal")

NUMBERED_AT_ONCE = 1_000
PRUNED_AT_ONCE = 5_000
FORGOTTEN_AT_ONCE = 500
# Read at once, and one step more: a step begins small and doubles.
READ_BYTES = 1024 * 1024
FIRST_STEP = 25

Listener = Callable[[list["Numbered"]], None]

_numbering = threading.Lock()
_wanted = threading.Event()
_listeners: list[Listener] = []


class Numbered(msgspec.Struct, frozen=True):
    """An event with its place. `payload` is the event as `core.events.encode` wrote it."""

    n: int
    topic: str
    payload: bytes
    # The event itself, while it is at hand: then nobody decodes what was just encoded.
    known: Event | None = None

    @property
    def event(self) -> Event:
        return decode(self.payload) if self.known is None else self.known

    @property
    def bare(self) -> "Numbered":
        """The same to be kept for long: what can be decoded again is let go."""
        return self if self.known is None else Numbered(self.n, self.topic, self.payload)


def append(event: Event) -> None:
    """Write a durable event, to be told if and only if this transaction commits.

    Must run inside `atomic()`. Raises DatabaseError, which must fail the transaction.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("append() belongs into the transaction of the change it tells of")
    entry_of(event).save(force_insert=True)
    transaction.on_commit(number_committed, robust=True)


def entry_of(event: Event) -> JournalEntry:
    """Return the event's row, not saved and without a position."""
    return JournalEntry(
        event_id=event.id,
        topic=event.topic,
        kind=event.kind,
        payload=encode(event),
        created_at=event.at,
        expires_at=expiry_of(event),
    )


def append_all(events: Sequence[Event]) -> None:
    """Write several durable events in this order, at the cost of one. See `append`."""
    if not connection.in_atomic_block:
        raise RuntimeError("append_all() belongs into the transaction of what it tells of")
    if not events:
        return
    JournalEntry.objects.bulk_create(map(entry_of, events))
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
                tell(batch)
        finally:
            _numbering.release()
    return numbered


class Turn(msgspec.Struct, frozen=True):
    """Inside the transaction of `write_numbered`: where the journal stands."""

    head: Position

    def insert(self, events: Sequence[Event]) -> list[Numbered]:
        """Insert events with the positions that follow; once in a turn."""
        entries = [
            Numbered(n, event.topic, encode(event), event)
            for n, event in enumerate(events, start=self.head.n + 1)
        ]
        if entries:
            _insert_numbered(entries)
        return entries


def write_numbered(write: Callable[[Turn], list[Numbered]]) -> list[Numbered]:
    """Let `write` insert events that have their positions from the start; tell the listeners.

    `write` runs in a transaction that holds the head, and returns what its turn inserted. It
    must be repeatable: what it raises, and what COMMIT raises, is raised again. May not be
    called inside `atomic()`.
    """
    with _numbering:
        with transaction.atomic(durable=True):
            entries = write(Turn(_lock_head()))
        tell(entries)
    if _wanted.is_set():
        # Who came meanwhile was turned away.
        number_committed()
    return entries


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
    """Return at most `limit` events after position `n`, in order; of one topic if named.

    Fewer when they have some `READ_BYTES` together; none only when there are none.
    """
    rows = JournalEntry.objects.order_by("position")
    if topic is not None:
        rows = rows.filter(topic=topic)
    return _read_some(lambda at: rows.filter(position__gt=at), n, limit)


def read_topic(
    topic: str,
    *,
    after: int | None = None,
    before: int | None = None,
    limit: int,
    now: datetime,
) -> list[Numbered]:
    """Return events of a topic between two positions, both excluded, that have not expired.

    From `after` on, the earliest `limit` of them; without it the latest, the latest first. Fewer
    when they have some `READ_BYTES` together.
    """
    is_alive = Q(expires_at=None) | Q(expires_at__gt=now)
    rows = JournalEntry.objects.filter(is_alive, topic=topic, position__isnull=False)
    if after is None:
        rows = rows.order_by("-position")
        return _read_some(
            lambda at: rows if at is None else rows.filter(position__lt=at), before, limit
        )
    if before is not None:
        rows = rows.filter(position__lt=before)
    return _read_some(lambda at: rows.order_by("position").filter(position__gt=at), after, limit)


def _read_some(rows_from: Callable[[Any], Any], start: int | None, limit: int) -> list[Numbered]:
    entries: list[Numbered] = []
    size, step = 0, FIRST_STEP
    while len(entries) < limit and size < READ_BYTES:
        step = min(step, limit - len(entries))
        rows = rows_from(start).values_list("position", "topic", "payload")[:step]
        more = [Numbered(n, topic, bytes(payload)) for n, topic, payload in rows]
        entries += more
        if len(more) < step:
            break
        start = more[-1].n
        size += sum(len(entry.payload) for entry in more)
        step *= 2
    return entries


def oldest() -> int:
    """Return the position after which the journal has everything."""
    first = (
        JournalEntry.objects.filter(position__isnull=False)
        .order_by("position")
        .values_list("position", flat=True)
        .first()
    )
    return first - 1 if first else head().n


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


def forget_expired(*, now: datetime) -> int:
    """Replace what has expired by a `Forgotten` at its position; return how many there were.

    In short transactions; positions keep no gap.
    """
    forgotten = 0
    while True:
        entries = list(
            JournalEntry.objects.filter(expires_at__lte=now, position__isnull=False)
            .only("event_id", "created_at")
            .order_by("expires_at")[:FORGOTTEN_AT_ONCE]
        )
        if not entries:
            return forgotten
        for entry in entries:
            event = Forgotten(id=entry.event_id, at=entry.created_at)
            entry.topic, entry.kind, entry.payload = event.topic, event.kind, encode(event)
            entry.expires_at = None
        JournalEntry.objects.bulk_update(entries, ["topic", "kind", "payload", "expires_at"])
        forgotten += len(entries)


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


def tell(batch: list[Numbered]) -> None:
    """Tell the listeners of what was numbered here and has committed."""
    if batch:
        for listener in _listeners:
            listener(batch)


def _lock_head() -> Position:
    """Read the head row and keep it from others until the transaction ends."""
    table = connection.ops.quote_name(JournalHead._meta.db_table)
    lock = " FOR UPDATE" if connection.features.has_select_for_update else ""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT epoch, position FROM {table} WHERE id = %s{lock}", [JournalHead.SINGLETON]
        )
        return Position(*cursor.fetchone())


def _insert_numbered(entries: Sequence[Numbered]) -> None:
    """Insert rows and move the head, by plain SQL: this is done for every broadcast."""
    adapt = connection.ops.adapt_datetimefield_value
    rows = [
        (
            entry.n,
            event.id,
            entry.topic,
            event.kind,
            entry.payload,
            adapt(event.at),
            None if (expires_at := expiry_of(event)) is None else adapt(expires_at),
        )
        for entry in entries
        if (event := entry.known) is not None
    ]
    journal = connection.ops.quote_name(JournalEntry._meta.db_table)
    head = connection.ops.quote_name(JournalHead._meta.db_table)
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {journal}"
            " (position, event_id, topic, kind, payload, created_at, expires_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            rows,
        )
        cursor.execute(
            f"UPDATE {head} SET position = %s WHERE id = %s",
            [entries[-1].n, JournalHead.SINGLETON],
        )


def _write_positions(pairs: list[tuple[int, int]]) -> None:
    table = connection.ops.quote_name(JournalEntry._meta.db_table)
    with connection.cursor() as cursor:
        cursor.executemany(f"UPDATE {table} SET position = %s WHERE id = %s", pairs)
