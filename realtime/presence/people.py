"""What the connections of this process say of their users, and the writing of it.

The event loop keeps what the connections of this process say, and writes what changes in
batches; nobody who joins waits for the database. The rows of all processes together say how
present a user is, and what changes of that is told through the journal, in the same
transaction. Rows of a process that died are swept by any that lives.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import Error as DatabaseProblem

from accounts import roles
from realtime.calls import call
from realtime.core.events.messages import Presence as Status
from realtime.core.presence import SILENCE, Voice, together
from realtime.core.session import Session
from realtime.nodes import HEARTBEAT_SECONDS
from realtime.presence.roster import Roster
from realtime.presence.rows import Change, find_present, held_by, note_end, sweep, write

logger = logging.getLogger("vitalwire.presence")

# What changes together is written together.
GATHER_SECONDS: Final = 0.05
# Who leaves counts as present for so long: a page that is loaded anew is nothing to tell.
LINGER_SECONDS: Final = 3.0
# Whose process ended in order has so long to come back to another one, or to its successor.
RETURN_SECONDS: Final = 10.0
# What is said of one user is written so often at most: one client's whims are no burden to all.
APART_SECONDS: Final = 1.0
# A third of a millisecond each, while nobody else writes to an SQLite file.
USERS_AT_ONCE: Final = 200
RETRY_SECONDS: Final = 1.0
KEEP_SECONDS: Final = 5.0
SWEEP_SECONDS: Final = 1.0
# After a start, and after the database was away, nobody is swept for so long: the others'
# heartbeats are as late as ours, and who was cut off is on the way back.
TRUST_AFTER_SECONDS: Final = HEARTBEAT_SECONDS + 1.0


class _Person:
    """A user's connections here, and what is written of them."""

    __slots__ = ("connections", "last_seen", "written", "written_at", "written_name")

    def __init__(self) -> None:
        # By session id; one that has left lingers.
        self.connections: dict[str, tuple[Session, Voice]] = {}
        self.last_seen: datetime | None = None
        self.written: Voice = SILENCE
        self.written_name = ""
        self.written_at = float("-inf")

    @property
    def username(self) -> str:
        """The account's name as the latest connection knows it: names change."""
        if not self.connections:
            return self.written_name
        session, _ = next(reversed(self.connections.values()))
        return session.principal.username

    @property
    def voice(self) -> Voice:
        return together(voice for _, voice in self.connections.values())


class Presence:
    """Who is connected to this process, and who is present anywhere.

    Belongs to the event loop's thread. `clock` is monotonic.
    """

    def __init__(
        self,
        node_id: str = "",
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.roster = Roster()
        self._node_id = node_id
        self._clock = clock
        self._now = now
        self._people: dict[UUID, _Person] = {}
        # Who is to be looked at, and from when on.
        self._due: dict[UUID, float] = {}
        # Who has left, in this order: until when they linger, whose connection, which.
        self._lingering: deque[tuple[float, UUID, str]] = deque()
        self._has_work = asyncio.Event()
        self._kept_at = clock()
        self._trusts_from = clock() + TRUST_AFTER_SECONDS

    # --- What connections say ------------------------------------------------------------

    def on_join(self, session: Session) -> None:
        """Somebody is here from now on."""
        if not counts(session):
            return
        person = self._people.setdefault(session.principal.user_id, _Person())
        person.connections[session.id] = (session, Voice())
        self._look_at(session.principal.user_id)

    def on_leave(self, session: Session) -> None:
        """A connection has ended; its user stays present for a moment."""
        user_id = session.principal.user_id
        person = self._people.get(user_id)
        if person is None or session.id not in person.connections:
            return
        person.last_seen = self._now()
        self._lingering.append((self._clock() + LINGER_SECONDS, user_id, session.id))
        self._has_work.set()

    def say(self, session: Session, status: Status | None, metadata: dict[str, Any] | None) -> None:
        """Note what a connection tells of its user; None leaves it as it was."""
        person = self._people.get(session.principal.user_id)
        if person is None or session.id not in person.connections:
            return
        _, before = person.connections[session.id]
        voice = Voice(status or before.status, before.metadata, before.given_at)
        now = self._now()
        if metadata is not None:
            voice = Voice(voice.status, metadata, now)
        person.connections[session.id] = (session, voice)
        person.last_seen = now
        self._look_at(session.principal.user_id)

    def _look_at(self, user_id: UUID, *, after: float | None = None) -> None:
        due = self._people[user_id].written_at + APART_SECONDS if after is None else after
        self._due[user_id] = min(due, self._due.get(user_id, due))
        self._has_work.set()

    # --- What is written -----------------------------------------------------------------

    def take(self) -> list[Change]:
        """Return what is to be written now, at most `USERS_AT_ONCE`; `done` or `undo` follows."""
        now = self._clock()
        self._release(now)
        changes: list[Change] = []
        for user_id in [each for each, due in self._due.items() if due <= now]:
            if len(changes) == USERS_AT_ONCE:
                break
            del self._due[user_id]
            person = self._people.get(user_id)
            if person is None:
                continue
            voice, name = person.voice, person.username
            if voice != person.written or (voice.is_present and name != person.written_name):
                changes.append(Change(user_id, name, voice, person.last_seen or self._now()))
            elif not person.connections:
                del self._people[user_id]
        return changes

    def done(self, changes: list[Change]) -> None:
        """These are written."""
        for change in changes:
            person = self._people.get(change.user_id)
            if person is None:
                continue
            person.written, person.written_name = change.voice, change.username
            person.written_at = self._clock()
            if not person.connections and not change.voice.is_present:
                del self._people[change.user_id]

    def undo(self, changes: list[Change]) -> None:
        """These could not be written: look again, a little later."""
        for change in changes:
            if change.user_id in self._people:
                self._look_at(change.user_id, after=self._clock() + RETRY_SECONDS)

    def _release(self, now: float) -> None:
        while self._lingering and self._lingering[0][0] <= now:
            _, user_id, session_id = self._lingering.popleft()
            person = self._people.get(user_id)
            if person is not None and person.connections.pop(session_id, None) is not None:
                self._due[user_id] = now

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to write, now or soon."""
        return not self._due and not self._lingering

    # --- At work -------------------------------------------------------------------------

    async def load(self) -> None:
        """Read who is present anywhere. Raises DatabaseError."""
        self.roster.fill(await call(find_present))
        self._trusts_from = self._clock() + TRUST_AFTER_SECONDS

    async def run(self) -> None:
        """Write what changes until cancelled; a database that is away is waited for."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KEEP_SECONDS):
                    await self._has_work.wait()
            await asyncio.sleep(GATHER_SECONDS)
            if self._clock() - self._kept_at >= KEEP_SECONDS:
                self._kept_at = self._clock()
                await self._keep()
            await self.flush()
            if self.is_idle:
                self._has_work.clear()

    async def flush(self) -> None:
        """Write what is due."""
        while changes := self.take():
            try:
                await call(write, self._node_id, changes, now=self._now())
            except DatabaseProblem as problem:
                logger.warning("presence waits for the database: %s", type(problem).__name__)
                self.undo(changes)
                return
            except BaseException:
                self.undo(changes)
                raise
            self.done(changes)

    async def _keep(self) -> None:
        """Put right what others did to our rows, who thought us dead, and what names became."""
        for user_id, person in self._people.items():
            if person.written.is_present and person.username != person.written_name:
                self._look_at(user_id)
        written = {each for each, person in self._people.items() if person.written.is_present}
        try:
            stored = await call(held_by, self._node_id, len(written))
        except DatabaseProblem:
            return
        if stored is None:
            return
        for user_id in written - stored:
            if (person := self._people.get(user_id)) is not None:
                person.written = SILENCE
                self._look_at(user_id)
        for user_id in stored - written:
            # Nobody is here any more whose row we left behind.
            person = self._people.setdefault(user_id, _Person())
            person.written = Voice()
            self._look_at(user_id)

    async def sweep(self) -> None:
        """Take back what dead processes said of their users. Raises DatabaseError."""
        if self._clock() < self._trusts_from:
            return
        grace, is_sound = timedelta(seconds=RETURN_SECONDS), False
        try:
            is_sound = await call(sweep, self._node_id, now=self._now(), grace=grace)
        finally:
            if not is_sound:
                self._trusts_from = self._clock() + TRUST_AFTER_SECONDS

    async def stop(self) -> None:
        """This process ends in order: whoever is still here is cut off, and may come back
        elsewhere before anybody is told. Raises DatabaseError.
        """
        await self.flush()
        await call(note_end, self._node_id, now=self._now())


def counts(session: Session) -> bool:
    """Tell whether a connection makes somebody present: a device is no somebody."""
    return session.principal.role != roles.DEVICE
