"""The message log: a line for every message of those who are watched, never what it says.

Off until somebody is watched in the admin. The rows of `MessageWatch` say who, a control event
tells every process when they change, and a watch ends by itself.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
from django.db import transaction
from django.db.models import QuerySet

from realtime import journal
from realtime.calls import call_patiently
from realtime.core.events import MessageWatchChanged
from realtime.core.session import Session
from realtime.models import MessageWatch

logger = logging.getLogger("vitalwire.messages")

# As document 001 calls them, section "Message Logging".
RECEIVED = "received"
SENT = "sent"
UNKNOWN = "?"
NAME_CHARACTERS = 64
WATCHES_MAX = 1_000


class Watch(msgspec.Struct, frozen=True):
    """Who is watched until when: a user, or one connection."""

    user_id: UUID | None
    connection_id: str
    until: datetime


class Line(msgspec.Struct):
    """One line of the log; `size` in bytes, `connection` is the session's id."""

    timestamp: datetime
    direction: str
    type: str
    size: int
    channel: str
    connection: str
    user: str


class _Head(msgspec.Struct):
    """What any dialect's message may say of its kind and of where it belongs."""

    type: Any = None
    event: Any = None
    status: Any = None
    channel: Any = ""
    data: Any = None


_read_head = msgspec.json.Decoder(_Head).decode
_read_packed_head = msgspec.msgpack.Decoder(_Head).decode


class MessageLog:
    """Listens to the sessions that are watched. Belongs to the event loop's thread.

    `sessions` gives the open ones. Whoever is not watched has no tap: that costs a look at one
    attribute for each message.
    """

    def __init__(
        self,
        sessions: Callable[[], Iterable[Session]],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._watches: list[Watch] = []
        self._end: asyncio.TimerHandle | None = None

    def watches(self, session: Session) -> bool:
        """Tell whether this session's messages are logged."""
        now = self._clock()
        return any(
            watch.until > now
            and (
                watch.connection_id == session.id
                or (watch.user_id is not None and watch.user_id == session.principal.user_id)
            )
            for watch in self._watches
        )

    def look_at(self, session: Session) -> None:
        """Listen to this session, or no longer, as the watches are now."""
        session.tap = self if self.watches(session) else None

    async def reload(self) -> None:
        """Read again who is watched; waits for a database that is away."""
        self.watch(await call_patiently(_current, self._clock()))

    def watch(self, watches: list[Watch]) -> None:
        """Watch these from now on, each until its end, and nobody else."""
        self.stop()
        self._watches = watches
        for session in self._sessions():
            self.look_at(session)
        now = self._clock()
        ends = [watch.until for watch in watches if watch.until > now]
        if ends:
            seconds = (min(ends) - now).total_seconds()
            self._end = asyncio.get_running_loop().call_later(seconds, self.watch, watches)

    def stop(self) -> None:
        """Wait for no watch's end any more."""
        if self._end is not None:
            self._end.cancel()
            self._end = None

    # --- What a session tells ----------------------------------------------------------

    def received(self, session: Session, data: str | bytes) -> None:
        self._log_message(RECEIVED, session, data)

    def sent(self, session: Session, data: str | bytes) -> None:
        self._log_message(SENT, session, data)

    def _log_message(self, direction: str, session: Session, data: str | bytes) -> None:
        size = len(data.encode(errors="replace")) if isinstance(data, str) else len(data)
        kind, channel = kind_of(data)
        self.log(direction, session, kind, size, channel)

    def log(self, direction: str, session: Session, type: str, size: int, channel: str) -> None:
        """Write one line, as JSON."""
        line = Line(
            timestamp=self._clock(),
            direction=direction,
            type=type,
            size=size,
            channel=channel,
            connection=session.id,
            user=session.principal.username,
        )
        logger.info("%s", msgspec.json.encode(line).decode())


def kind_of(data: str | bytes) -> tuple[str, str]:
    """Return a message's type and channel, read as any dialect writes them."""
    head = _head_of(data)
    if head is None:
        return UNKNOWN, ""
    kind = next((each for each in (head.type, head.event, head.status) if each), UNKNOWN)
    channel = head.channel
    if not channel and isinstance(head.data, dict):
        channel = head.data.get("topic", "")
    return _name(kind), _name(channel)


def _head_of(data: str | bytes) -> _Head | None:
    """Return the head of an object in JSON, or else in MessagePack."""
    for read in (_read_head, _read_packed_head) if isinstance(data, bytes) else (_read_head,):
        with contextlib.suppress(msgspec.DecodeError, RecursionError, UnicodeError):
            return read(data)
    return None


def _name(value: Any) -> str:
    return value[:NAME_CHARACTERS] if isinstance(value, str) else UNKNOWN


# --- The rows ------------------------------------------------------------------------------


def save_watch(watch: MessageWatch) -> None:
    """Store a watch and tell every process, in one transaction."""
    with transaction.atomic():
        watch.save()
        _announce()


def end_watches(watches: QuerySet[MessageWatch]) -> None:
    """Delete these and tell every process, in one transaction."""
    with transaction.atomic():
        watches.delete()
        _announce()


def prune(*, now: datetime) -> None:
    """Delete what has ended; nobody has to hear of it."""
    MessageWatch.objects.filter(until__lt=now).delete()


def _announce() -> None:
    journal.append(MessageWatchChanged(id=str(uuid4()), at=datetime.now(UTC)))


def _current(now: datetime) -> list[Watch]:
    rows = MessageWatch.objects.filter(until__gt=now)
    return [
        Watch(user_id, connection_id, until)
        for user_id, connection_id, until in rows.values_list("user_id", "connection_id", "until")[
            :WATCHES_MAX
        ]
    ]
