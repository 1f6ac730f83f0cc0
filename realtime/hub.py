"""Who in this process hears what: sessions in cohorts, rendered once, written many times.

A cohort is everybody with the same dialect, pattern, filter and right. An event is judged,
rendered and framed once per cohort (once per dialect, in fact) and the same bytes go to
every member. A member that does not read is left behind and told so, never waited for.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol

import msgspec

from realtime.core.errors import Disconnect, Forbidden, TryLater
from realtime.core.events import Event
from realtime.core.filters import EVERYTHING, Filter, Scope
from realtime.core.frames import Frame
from realtime.core.session import Session
from realtime.core.topics import matches, patterns_matching
from realtime.journal import Numbered
from realtime.transports import Transport

logger = logging.getLogger("vitalwire.hub")

CONFLATED_MAX = 64
CATCH_UP_AT_ONCE = 200
ENDED_AT_ONCE = 100


class Dialect(Protocol):
    """How one dialect says what happened. Stateless, shared by all its sessions."""

    name: str

    def render(self, event: Event, position: str | None) -> bytes | None:
        """Return the message's bytes, or None: clients of this dialect never hear of it."""

    def render_gap(self, skipped: int) -> bytes | None:
        """Return the message that tells how many live events a slow reader missed."""


class Member:
    """One session with its connection: what the hub writes to."""

    __slots__ = (
        "behind_at",
        "cohorts",
        "conflated",
        "dialect",
        "is_catching_up",
        "is_ending",
        "is_held",
        "session",
        "skipped",
        "stalled_since",
        "transport",
    )

    def __init__(self, session: Session, transport: Transport, dialect: Dialect) -> None:
        self.session = session
        self.transport = transport
        self.dialect = dialect
        self.cohorts: dict[str, Cohort] = {}
        # Position up to which durable events were written, while later ones must wait.
        self.behind_at: int | None = None
        self.is_catching_up = False
        self.is_held = False
        self.is_ending = False
        # Live events by conflation key, while the peer does not read; the latest value stays.
        self.conflated: dict[str, Frame] | None = None
        self.skipped = 0
        self.stalled_since: float | None = None

    def send(self, frame: Frame) -> None:
        """Write an answer to this peer alone."""
        self.session.messages_out += 1
        self.transport.write(frame)

    def end(self, error: Disconnect) -> None:
        """Close this connection for `error`, once what it sent already was looked at."""
        self.is_ending = True
        self.transport.close_after_received(error)

    def hears(self, event: Event) -> bool:
        return any(
            matches(pattern, event.topic) and cohort.accepts(event)
            for pattern, cohort in self.cohorts.items()
        )


class Cohort:
    """Members that hear the same events in the same words."""

    __slots__ = ("dialect", "filter", "members", "scope")

    def __init__(self, dialect: Dialect, filter_: Filter, scope: Scope) -> None:
        self.dialect = dialect
        self.filter = filter_
        self.scope = scope
        self.members: dict[Member, None] = {}

    def accepts(self, event: Event) -> bool:
        return self.filter.accepts(event) and self.scope.admits(event)


CohortKey = tuple[str, Filter, Scope]
History = Callable[[int, int], Awaitable[list[Numbered]]]
Spawn = Callable[[Awaitable[None]], object]


class Hub:
    """The sessions of this process. All of it belongs to the event loop's thread."""

    def __init__(self, *, epoch: str = "0") -> None:
        self.members: dict[str, Member] = {}
        self.epoch = epoch
        self.position = 0
        self.history: History | None = None
        self.spawn: Spawn | None = None
        self.delivered = 0
        # Counts what may have changed somebody's rights, for those who are just being let in.
        self.access_changes = 0
        self.look_again: Callable[[Member], object] | None = None
        self._cohorts: dict[str, dict[CohortKey, Cohort]] = {}
        self._guests: set[object] = set()
        self._ending: Disconnect | None = None
        self._somebody_left = asyncio.Event()

    # --- Members -----------------------------------------------------------------------

    def arrive(self, guest: object) -> None:
        """Await somebody whose handshake is not over yet."""
        self._guests.add(guest)

    def depart(self, guest: object) -> None:
        """Await them no more: they joined, or were refused, or left. Safe to repeat."""
        self._guests.discard(guest)
        self._somebody_left.set()

    def join(self, member: Member) -> None:
        """Make the conversation heard from; one that begins too late ends at once."""
        self.members[member.session.id] = member
        member.transport.on_drained = lambda: self._drained(member)
        if self._ending is not None:
            member.end(self._ending)

    def leave(self, member: Member) -> None:
        """Forget the member; safe to repeat."""
        for pattern in list(member.cohorts):
            self.unsubscribe(member, pattern)
        self.members.pop(member.session.id, None)
        member.transport.on_drained = None
        self._somebody_left.set()

    async def dismiss(self, ending: Disconnect) -> None:
        """End everyone, and from now on whoever joins; return when the last one has left."""
        self._ending = ending
        for position, member in enumerate(self, start=1):
            member.end(ending)
            if position % ENDED_AT_ONCE == 0:
                await asyncio.sleep(0)
        await self.wait_until_empty()

    async def wait_until_empty(self) -> None:
        """Return when the last member has left, and nobody is on the way in."""
        while self.members or self._guests:
            self._somebody_left.clear()
            await self._somebody_left.wait()

    def count_of(self, dialect: str) -> int:
        """Return how many sessions a dialect has."""
        return sum(member.dialect.name == dialect for member in self.members.values())

    def counts(self) -> dict[str, int]:
        """Return how many sessions each endpoint has."""
        counts: dict[str, int] = {}
        for member in self:  # a copy: other threads ask as well
            endpoint = member.session.endpoint
            counts[endpoint] = counts.get(endpoint, 0) + 1
        return counts

    # --- Subscriptions -----------------------------------------------------------------

    def subscribe(
        self, member: Member, pattern: str, filter_: Filter = EVERYTHING, *, held: bool = False
    ) -> None:
        """Let the member hear `pattern` from now on; repeating replaces the filter.

        With `held` nothing durable is written until `catch_up`, which then starts where
        this call stood. Raises Forbidden when the principal may hear none of it.
        """
        scope = member.session.principal.scope.narrowed(pattern)
        if scope.is_empty:
            raise Forbidden(f"your role may not subscribe to {pattern}")
        self.unsubscribe(member, pattern)
        key = (member.dialect.name, filter_, scope)
        of_pattern = self._cohorts.setdefault(pattern, {})
        cohort = of_pattern.get(key)
        if cohort is None:
            cohort = of_pattern[key] = Cohort(member.dialect, filter_, scope)
        cohort.members[member] = None
        member.cohorts[pattern] = cohort
        if held and member.behind_at is None:
            member.behind_at = self.position
            member.is_held = True

    def unsubscribe(self, member: Member, pattern: str) -> bool:
        """End a subscription; tells whether there was one."""
        cohort = member.cohorts.pop(pattern, None)
        if cohort is None:
            return False
        cohort.members.pop(member, None)
        if not cohort.members:
            of_pattern = self._cohorts[pattern]
            del of_pattern[cohort.dialect.name, cohort.filter, cohort.scope]
            if not of_pattern:
                del self._cohorts[pattern]
        return True

    def reauthorise(self, member: Member) -> list[str]:
        """Judge the member's subscriptions by its present principal; return those that ended."""
        ended = []
        for pattern, cohort in list(member.cohorts.items()):
            try:
                self.subscribe(member, pattern, cohort.filter)
            except Forbidden:
                self.unsubscribe(member, pattern)
                ended.append(pattern)
        return ended

    def stand_at(self, epoch: str, position: int) -> None:
        """Go on from here: at the start, and after the journal was restored."""
        self.epoch = epoch
        self.position = position
        for member in self.members.values():
            if member.behind_at is not None:
                member.behind_at = position

    # --- Delivery ----------------------------------------------------------------------

    def deliver(self, event: Event, n: int | None = None) -> None:
        """Write the event to everyone here who hears it. `n` is a durable event's position."""
        if n is not None:
            self.position = n
        cohorts = [
            cohort
            for pattern in patterns_matching(event.topic)
            for cohort in self._cohorts.get(pattern, {}).values()
            if cohort.accepts(event)
        ]
        frames: dict[str, Frame | None] = {}
        reached: set[Member] | None = set() if len(cohorts) > 1 else None
        for cohort in cohorts:
            frame = self._frame_for(cohort.dialect, event, n, frames)
            if frame is None:
                continue
            for member in cohort.members:
                if reached is not None:
                    if member in reached:
                        continue
                    reached.add(member)
                if member.behind_at is None and not member.transport.is_blocked:
                    member.session.messages_out += 1
                    self.delivered += 1
                    member.transport.write(frame)
                else:
                    self._leave_behind(member, event, n, frame)

    def catch_up(self, member: Member) -> None:
        """Start writing what waits for this member, now that it reads (again)."""
        member.is_held = False
        if member.behind_at is None:
            self._write_conflated(member)
        elif not member.is_catching_up and self.spawn is not None:
            member.is_catching_up = True
            self.spawn(self._catch_up(member))

    def look_after(self, *, now: float, stalled_after: float) -> int:
        """Close everyone who has read nothing for `stalled_after` seconds; return how many.

        Who reads again, but could not be caught up (the database was away), is tried again.
        """
        ended = 0
        for member in self:
            if not member.transport.is_blocked:
                member.stalled_since = None
                if member.behind_at is not None and not member.is_held:
                    self.catch_up(member)
            elif member.stalled_since is None:
                member.stalled_since = now
            elif now - member.stalled_since < stalled_after:
                continue
            elif member.transport.is_open:
                ended += 1
                late = TryLater("you have stopped reading: reconnect and catch up")
                member.transport.close(late.code, late.reason)
            else:
                # The close frame stands behind all that was not read: it was not read either.
                member.transport.abort()
        return ended

    def _frame_for(
        self, dialect: Dialect, event: Event, n: int | None, frames: dict[str, Frame | None]
    ) -> Frame | None:
        if dialect.name not in frames:
            frames[dialect.name] = self._render(dialect, event, n)
        return frames[dialect.name]

    def _render(self, dialect: Dialect, event: Event, n: int | None) -> Frame | None:
        position = None if n is None else f"{self.epoch}-{n}"
        try:
            payload = dialect.render(event, position)
        except Exception:
            # One dialect's fault must not keep the event from the others.
            logger.exception("%s has no words for %s", dialect.name, event.kind)
            return None
        return None if payload is None else Frame(payload)

    def _leave_behind(self, member: Member, event: Event, n: int | None, frame: Frame) -> None:
        if n is not None:
            if member.behind_at is None:
                member.behind_at = n - 1
            return
        if member.conflated is None:
            member.conflated = {}
        key = event.conflation_key
        if key in member.conflated:
            member.skipped += 1
        elif len(member.conflated) >= CONFLATED_MAX:
            member.skipped += 1
            return
        member.conflated[key] = frame

    def _drained(self, member: Member) -> None:
        member.stalled_since = None
        if member.is_held:
            return
        if member.behind_at is not None or member.conflated is not None:
            self.catch_up(member)

    async def _catch_up(self, member: Member) -> None:
        """Write from `behind_at` to the present, stopping where the peer stops reading."""
        try:
            while member.behind_at is not None and self._can_write(member):
                if member.behind_at >= self.position:
                    member.behind_at = None
                    break
                await self._write_history(member)
                # History in memory does not wait by itself: let the others have their turn.
                await asyncio.sleep(0)
            if member.behind_at is None:
                self._write_conflated(member)
        finally:
            member.is_catching_up = False

    async def _write_history(self, member: Member) -> None:
        if self.history is None or member.behind_at is None:
            raise RuntimeError("a hub needs its history connected before anyone can lag")
        upto = self.position
        entries = await self.history(member.behind_at, CATCH_UP_AT_ONCE)
        # What retention took is told; from there it goes on.
        next_n = entries[0].n if entries else upto + 1
        member.skipped += next_n - 1 - member.behind_at
        member.behind_at = next_n - 1
        for entry in entries:
            if not self._can_write(member):
                return
            self._write_entry(member, entry)
            member.behind_at = entry.n

    def _write_entry(self, member: Member, entry: Numbered) -> None:
        try:
            event = entry.event
        except msgspec.DecodeError:
            return  # A newer build wrote it; the tail has said so.
        if member.hears(event):
            frame = self._render(member.dialect, event, entry.n)
            if frame is not None:
                member.send(frame)

    def _write_conflated(self, member: Member) -> None:
        waiting, member.conflated = member.conflated, None
        for frame in (waiting or {}).values():
            member.send(frame)
        if member.skipped:
            gap = member.dialect.render_gap(member.skipped)
            member.skipped = 0
            if gap is not None:
                member.send(Frame(gap))

    def _can_write(self, member: Member) -> bool:
        return (
            member.session.id in self.members
            and member.transport.is_open
            and not member.transport.is_blocked
        )

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self.members.values()))
