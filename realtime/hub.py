"""Who in this process hears what: sessions in cohorts, rendered once, written many times.

A cohort is everybody with the same dialect, pattern, filter and right. An event is judged
once for a cohort, rendered and framed once for a dialect (once for each distinct view, where
filters narrow it), and the same bytes go to every member. A member that does not read is left
behind and told so, never waited for.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime

from realtime.backlog import Backlog, History
from realtime.cohorts import (
    HELD_MAX,
    Beat,
    Clock,
    Cohort,
    Timer,
    content_of,
    is_told,
    unreached,
)
from realtime.core.errors import Disconnect, Forbidden, TryLater
from realtime.core.events import Event, expiry_of
from realtime.core.filters import EVERYTHING, Filter, Scope
from realtime.core.frames import Frame
from realtime.core.position import Position
from realtime.core.topics import patterns_matching, root_of
from realtime.members import Dialect, Member

__all__ = ["Dialect", "Hub", "Member"]

logger = logging.getLogger("vitalwire.hub")

ENDED_AT_ONCE = 100

CohortKey = tuple[str, Filter, Scope]
Spawn = Callable[[Awaitable[None]], object]


class Hub:
    """The sessions of this process. All of it belongs to the event loop's thread.

    `clock` is the running event loop, and `now` the time of day, unless a test brings its own.
    """

    def __init__(
        self,
        *,
        epoch: str = "0",
        clock: Clock | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.now = now
        self.members: dict[str, Member] = {}
        self.epoch = epoch
        self.position = 0
        self.spawn: Spawn | None = None
        self.delivered = 0
        # Counts what may have changed somebody's rights, for those who are just being let in.
        self.access_changes = 0
        self.look_again: Callable[[Member], object] | None = None
        # Called for everyone who comes, goes, or is cut because they have stopped reading.
        self.on_join: Callable[[Member], object] | None = None
        self.on_leave: Callable[[Member], object] | None = None
        self.on_stalled: Callable[[Member, Disconnect], object] | None = None
        # Called for what was written late, to a member that had been behind.
        self.on_late: Callable[[Member, Event], object] | None = None
        self._clock = clock
        self._backlog = Backlog(self)
        self._cohorts: dict[str, dict[CohortKey, Cohort]] = {}
        self._guests: set[object] = set()
        self._ending: Disconnect | None = None
        self._somebody_left = asyncio.Event()
        # How many patterns begin with each root.
        self._roots: Counter[str] = Counter()

    @property
    def clock(self) -> Clock:
        return self._clock or asyncio.get_running_loop()

    @property
    def history(self) -> History | None:
        """What reads the journal after a position: connected by the runtime."""
        return self._backlog.history

    @history.setter
    def history(self, history: History) -> None:
        self._backlog.history = history

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
        if self.on_join is not None:
            self.on_join(member)
        if self._ending is not None:
            member.end(self._ending)

    def leave(self, member: Member) -> None:
        """Forget the member; safe to repeat."""
        for pattern in list(member.cohorts):
            self.unsubscribe(member, pattern)
        was_here = self.members.pop(member.session.id, None) is not None
        member.transport.on_drained = None
        if was_here and self.on_leave is not None:
            self.on_leave(member)
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

        With `held` nothing durable is written until `catch_up` or `replay`, which then
        start where this call stood. Raises Forbidden when the principal may hear none of it.
        """
        scope = member.session.principal.scope.narrowed(pattern)
        if scope.is_empty:
            raise Forbidden(f"your role may not subscribe to {pattern}")
        cohort, before = self._cohort_for(member.dialect, pattern, filter_, scope), None
        if pattern in member.cohorts:
            before = member.cohorts[pattern].filter
        if member.cohorts.get(pattern) is not cohort:
            self._leave_cohort(member, pattern)
            cohort.members[member] = None
            member.cohorts[pattern] = cohort
            member.changes += 1
        if before != filter_:
            member.began[pattern] = self.position
        if held:
            member.held_at[pattern] = self.position
            member.is_held = True
            if member.behind_at is None:
                member.behind_at = self.position

    def unsubscribe(self, member: Member, pattern: str) -> bool:
        """End a subscription; tells whether there was one."""
        for of_pattern in (member.replays, member.held_at, member.began, member.asked):
            of_pattern.pop(pattern, None)
        member.changes += 1
        # Nobody will release what is held no more.
        member.is_held = bool(member.held_at)
        return self._leave_cohort(member, pattern)

    def _cohort_for(self, dialect: Dialect, pattern: str, filter_: Filter, scope: Scope) -> Cohort:
        if pattern not in self._cohorts:
            self._cohorts[pattern] = {}
            self._roots[root_of(pattern)] += 1
        of_pattern = self._cohorts[pattern]
        key = (dialect.name, filter_, scope)
        cohort = of_pattern.get(key)
        if cohort is None:
            cohort = of_pattern[key] = Cohort(dialect, filter_, scope)
            if filter_.every_ms:
                cohort.beat = Beat(filter_.every_ms / 1000, began=self.clock.time())
        return cohort

    def _leave_cohort(self, member: Member, pattern: str) -> bool:
        cohort = member.cohorts.pop(pattern, None)
        if cohort is None:
            return False
        cohort.members.pop(member, None)
        if not cohort.members:
            cohort.stop()
            of_pattern = self._cohorts[pattern]
            del of_pattern[cohort.dialect.name, cohort.filter, cohort.scope]
            if not of_pattern:
                del self._cohorts[pattern]
                self._roots[root_of(pattern)] -= 1
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

    def speak(self, member: Member, dialect: Dialect) -> None:
        """Tell the member everything in the words of another dialect from now on."""
        member.dialect = dialect
        for pattern, cohort in list(member.cohorts.items()):
            self.subscribe(member, pattern, cohort.filter)

    def shut_out(self, member: Member) -> None:
        """Tell the member nothing more of what happens, whenever it leaves."""
        member.is_shut_out = True
        for pattern in list(member.cohorts):
            self.unsubscribe(member, pattern)

    def position_of(self, member: Member) -> Position:
        """Return up to where the member has had everything that it hears."""
        n = self.position if member.behind_at is None else member.behind_at
        return Position(self.epoch, n)

    def stand_at(self, epoch: str, position: int) -> None:
        """Go on from here: at the start, and after the journal was restored."""
        self.epoch = epoch
        self.position = position
        self._backlog.forget()
        for member in self.members.values():
            was_behind = member.behind_at is not None
            member.stand_at(position)
            if was_behind:
                member.behind_at = position

    def is_heard(self, root: str) -> bool:
        """Whether anybody here hears something of the topics that begin with `root`."""
        return self._roots.get(root, 0) > 0

    # --- Delivery ----------------------------------------------------------------------

    def deliver(self, event: Event, n: int | None = None, told: list[Member] | None = None) -> None:
        """Write the event to everyone here who hears it. `n` is a durable event's position.

        A member that hears it through several subscriptions gets it once, as the most
        specific pattern that accepts it lets it. To `told` those are added who get it, at once
        or when they read again.
        """
        if n is not None:
            self.position = n
            self._backlog.on_position(n)
            expires_at = expiry_of(event)
            if expires_at is not None and expires_at <= self.now():
                return
        frames: dict[object, Frame | None] = {}
        listening = self._listening(event)
        reached: set[Member] | None = set() if len(listening) > 1 else None
        spared = None if event.spared is None else self.members.get(event.spared)
        for cohort, view in listening:
            if cohort.beat is not None and n is None:
                self._take_for_beat(cohort, view, reached)
            else:
                frame = self._frame_for(cohort.dialect, event, view, n, frames)
                if frame is not None:
                    members: Collection[Member] = cohort.members
                    if spared is not None and spared in members:
                        members = [member for member in members if member is not spared]
                    self._write(members, view, n, frame, reached, told)

    def show(self, member: Member, events: Iterable[Event]) -> None:
        """Write live events to one member, at once even if it hears at a frequency.

        Its subscriptions narrow them, as they do for what is delivered: what it does not
        hear is left out. So a snapshot comes after its subscription.
        """
        for event in events:
            chosen = member.choose(event)
            if chosen is not None and (frame := self.render(member.dialect, chosen[1], None)):
                self._write([member], chosen[1], None, frame)

    def render(
        self, dialect: Dialect, event: Event, n: int | None, recover_from: str | None = None
    ) -> Frame | None:
        """Return the event in the words of a dialect, None when it has none."""
        position = None if n is None else f"{self.epoch}-{n}"
        try:
            if recover_from is None:
                payload = dialect.render(event, position)
            else:
                payload = dialect.render(event, position, recover_from=recover_from)
        except Exception:
            # One dialect's fault must not keep the event from the others.
            logger.exception("%s has no words for %s", dialect.name, event.kind)
            return None
        return None if payload is None else Frame(payload, binary=dialect.is_binary(event))

    def _listening(self, event: Event) -> list[tuple[Cohort, Event]]:
        """Return who hears the event and what of it, the most specific patterns first."""
        return [
            (cohort, view)
            for pattern in patterns_matching(event.topic)
            if pattern in self._cohorts
            for cohort in self._cohorts[pattern].values()
            if (view := cohort.view(event)) is not None
        ]

    def _frame_for(
        self,
        dialect: Dialect,
        event: Event,
        view: Event,
        n: int | None,
        frames: dict[object, Frame | None],
    ) -> Frame | None:
        """Render once for each dialect, and once more for each narrower view of the event."""
        key = dialect.name if view is event else (dialect.name, content_of(view))
        if key not in frames:
            frames[key] = self.render(dialect, view, n)
        return frames[key]

    def _write(
        self,
        members: Collection[Member],
        view: Event,
        n: int | None,
        frame: Frame,
        reached: set[Member] | None = None,
        told: list[Member] | None = None,
    ) -> None:
        """Hand the frame to those who were not reached yet; they are afterwards."""
        if reached is not None:
            members = unreached(members, reached)
        if told is not None:
            told.extend(members)
        self.delivered += len(members)
        for member in members:
            transport = member.transport
            if member.behind_at is None and not transport.is_blocked:
                transport.write(frame)
                continue
            self.delivered -= 1
            if n is None:
                member.conflate(view, frame)
            elif member.behind_at is None:
                member.behind_at = n - 1

    # --- Beats -------------------------------------------------------------------------

    def _take_for_beat(self, cohort: Cohort, view: Event, reached: set[Member] | None) -> None:
        """Keep a live event for the cohort's beat; what may not wait of it is written."""
        assert cohort.beat is not None
        passing = cohort.beat.take(view)
        if passing is not None and (frame := self.render(cohort.dialect, passing, None)):
            self._write(cohort.members, passing, None, frame, reached)
        if reached is not None:
            # The others hear of it on the beat.
            unreached(cohort.members, reached)
        if cohort.beat.size >= HELD_MAX:
            self._flush(cohort)
        elif cohort.beat.size and cohort.timer is None:
            cohort.timer = self._alarm(cohort)

    def _alarm(self, cohort: Cohort) -> Timer:
        assert cohort.beat is not None
        wait = cohort.beat.seconds_left(self.clock.time())
        return self.clock.call_later(wait, self._flush, cohort)

    def _flush(self, cohort: Cohort) -> None:
        assert cohort.beat is not None
        cohort.stop()
        for event in cohort.beat.flush():
            frame = self.render(cohort.dialect, event, None)
            if frame is not None:
                told = [member for member in cohort.members if is_told(member, cohort, event)]
                self._write(told, event, None, frame)

    # --- Slow readers ------------------------------------------------------------------

    def catch_up(self, member: Member) -> None:
        """Start writing what waits for this member, now that it reads (again)."""
        member.is_held = False
        member.held_at.clear()
        self._go_on(member)

    async def replay(self, member: Member, pattern: str, since: Position) -> bool:
        """Write the durable events after `since` that the member hears through `pattern`.

        They end where the subscription was held; then follows what came meanwhile, as after
        `catch_up`. Where the peer stops reading it stops, and goes on when it reads again.
        While other subscriptions are held it only takes note: the last one's replay writes
        for all of them, each event once and in order. Returns whether the journal still
        reached back to `since`; of another epoch nothing is written. Raises what reading
        the journal raises, and then the subscription is still held.
        """
        start = await self._backlog.find_start(since)
        await self.replay_from(member, [pattern], start)
        return start == since.n

    async def replay_from(self, member: Member, patterns: Iterable[str], start: int | None) -> None:
        """Do the same for several subscriptions, from where `find_start` says it can begin."""
        for pattern in patterns:
            if start is not None and pattern in member.cohorts:
                member.begin_replay(pattern, after=start, position=self.position)
            member.held_at.pop(pattern, None)
        member.is_held = bool(member.held_at)
        if not member.is_held:
            await self._backlog.catch_up(member)

    async def find_start(self, since: Position) -> int | None:
        """Return the position from which the journal holds what happened after `since`.

        That is `since` itself, or a later one; None when it holds nothing of that time. Where
        another process is ahead of this one it waits. Raises what reading the journal does.
        """
        return await self._backlog.find_start(since)

    async def find_oldest(self) -> Position:
        """Return the position after which the journal holds everything. Raises likewise."""
        return Position(self.epoch, await self._backlog.find_oldest())

    async def reaches_back_to(self, since: Position) -> bool:
        """Tell whether a replay from here would be whole. Raises what reading the journal does."""
        return await self._backlog.find_start(since) == since.n

    def look_after(self, *, now: float, stalled_after: float) -> int:
        """Close everyone who has read nothing for `stalled_after` seconds; return how many.

        Who reads again, but could not be caught up (the database was away), is tried again.
        """
        ended = 0
        for member in self:
            if not member.transport.is_blocked:
                member.stalled_since = None
                if member.behind_at is not None:
                    self._go_on(member)
            elif member.stalled_since is None:
                member.stalled_since = now
            elif now - member.stalled_since < stalled_after:
                continue
            elif member.transport.is_open:
                ended += 1
                late = TryLater("you have stopped reading: reconnect and catch up", kind="stalled")
                if self.on_stalled is not None:
                    self.on_stalled(member, late)
                member.transport.close(late.code, late.reason)
            else:
                # The close frame stands behind all that was not read: it was not read either.
                member.transport.abort()
        return ended

    def _drained(self, member: Member) -> None:
        member.stalled_since = None
        self._go_on(member)

    def _go_on(self, member: Member) -> None:
        if member.is_held:
            return
        if member.behind_at is None:
            member.write_waiting()
        elif member.caught_up is None and self.spawn is not None:
            self.spawn(self._backlog.catch_up(member))

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self.members.values()))
