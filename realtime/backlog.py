"""What the journal holds for members that are behind: each event once, each topic in order.

One slice of a page is written in a turn of the event loop, whoever it is for: many who catch up
at once keep nobody else waiting. What is written to several of them is rendered once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec

from realtime.core.events import Event, expiry_of
from realtime.core.frames import Frame
from realtime.core.pages import Due, Page
from realtime.core.position import Position
from realtime.core.session import Gap
from realtime.journal import Numbered
from realtime.members import Dialect, Member

if TYPE_CHECKING:
    from realtime.hub import Hub

# Looked through at once: within so many the priorities count.
PAGE_EVENTS = 1_000
WRITTEN_AT_ONCE = 200
# What is kept of decoded events and rendered frames.
KEPT_BYTES = 8 * 1024 * 1024
# How far the processes may be apart in time: the poll of the journal's head takes a fifth of it.
AHEAD_SECONDS = 1.0

History = Callable[[int, int], Awaitable[list[Numbered]]]


class Backlog:
    """Catches members up for one hub. Belongs to the event loop's thread."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self.history: History | None = None
        self._kept = Kept(hub)
        self._turn = asyncio.Lock()
        self._awaited: list[tuple[int, asyncio.Future[None]]] = []

    async def catch_up(self, member: Member) -> None:
        """Write from `behind_at` to the present, stopping where the peer stops reading.

        Whoever comes while this is going on waits for its end, and looks what is left. Raises
        what reading the journal raises; the member stays behind then, and can be caught up later.
        """
        while member.caught_up is not None:
            await member.caught_up
        ended = member.caught_up = asyncio.get_running_loop().create_future()
        try:
            await self._write_all(member)
        finally:
            member.caught_up = None
            ended.set_result(None)

    async def find_start(self, since: Position) -> int | None:
        """Return the position from which the journal holds what happened after `since`.

        That is `since` itself, or a later one; None when it holds nothing of that time. A
        position that another process was ahead with is waited for; one that nobody has got to
        within `AHEAD_SECONDS` was never given out.
        """
        if since.epoch != self._hub.epoch:
            return None
        if since.n > self._hub.position:
            await self._reach(since.n)
        if since.n >= self._hub.position:
            return since.n if since.n == self._hub.position else None
        first = await self._read(since.n, 1)
        return first[0].n - 1 if first else None

    async def find_oldest(self) -> int:
        """Return the position after which the journal holds everything."""
        first = await self._read(0, 1)
        return first[0].n - 1 if first else self._hub.position

    def on_position(self, n: int) -> None:
        """The hub has got to `n`."""
        if not self._awaited:
            return
        for wanted, reached in self._awaited:
            if wanted <= n and not reached.done():
                reached.set_result(None)

    def forget(self) -> None:
        """Positions mean something else from now on."""
        self._kept.forget()

    async def _reach(self, n: int) -> None:
        reached = asyncio.get_running_loop().create_future()
        self._awaited.append((n, reached))
        try:
            await asyncio.wait([reached], timeout=AHEAD_SECONDS)
        finally:
            self._awaited.remove((n, reached))

    # --- Pages -------------------------------------------------------------------------

    async def _write_all(self, member: Member) -> None:
        while member.behind_at is not None and self._can_write(member):
            if member.behind_at >= self._hub.position:
                member.keep_pace()
                break
            await self._write_page(member, member.behind_at)
        if member.behind_at is None:
            member.write_waiting()

    async def _write_page(self, member: Member, after: int) -> None:
        upto = self._hub.position
        entries = await self._read(after, PAGE_EVENTS)
        if member.behind_at != after:
            return  # Meanwhile it was told to stand elsewhere.
        # What retention took is told; from there it goes on.
        next_n = entries[0].n if entries else upto + 1
        if lost := next_n - 1 - after:
            known = member.gaps.get("", Gap("", 0))
            member.gaps[""] = Gap("", known.skipped + lost)
        member.behind_at = next_n - 1
        if not entries:
            return
        async with self._turn:
            changes = member.changes
            due = [(entry.n, event) for entry in entries if (event := self._due(member, entry))]
            # History in memory does not wait by itself: let the others have their turn.
            await asyncio.sleep(0)
        page = Page(due, upto=entries[-1].n, overtakes=member.dialect.overtakes)
        for start in range(0, len(due), WRITTEN_AT_ONCE):
            async with self._turn:
                if member.changes != changes:
                    return  # It hears something else now: what is left is looked through again.
                if not self._write_slice(member, page, page.order[start : start + WRITTEN_AT_ONCE]):
                    return
                await asyncio.sleep(0)
        if member.changes == changes:
            member.behind_at = page.had_upto
            member.ahead = {n for n in member.ahead if n > page.had_upto}

    def _write_slice(self, member: Member, page: Page, some: "list[Due] | tuple[Due, ...]") -> bool:
        """Write some of a page; tells whether the peer took all of it."""
        for n, event in some:
            if not self._can_write(member):
                return False
            if page.is_next(n):
                frame = self._kept.frame(member.dialect, event, n)
            else:
                recover_from = str(Position(self._hub.epoch, page.had_upto))
                frame = self._hub.render(member.dialect, event, n, recover_from)
                member.ahead.add(n)
            if frame is not None and not self._is_expired(event):
                member.send(frame)
                if self._hub.on_late is not None:
                    self._hub.on_late(member, event)
            page.note(n)
            member.behind_at = page.had_upto
        return True

    def _due(self, member: Member, entry: Numbered) -> Event | None:
        """Return the event if this member has yet to hear of it."""
        if not member.may_hear(entry.topic):
            return None
        event = self._kept.event(entry)
        if event is None or self._is_expired(event) or not member.hears(event, entry.n):
            return None
        return event

    def _is_expired(self, event: Event) -> bool:
        expires_at = expiry_of(event)
        return expires_at is not None and expires_at <= self._hub.now()

    async def _read(self, after: int, limit: int) -> list[Numbered]:
        if self.history is None:
            raise RuntimeError("a hub needs its history connected before anyone can lag")
        return await self.history(after, limit)

    def _can_write(self, member: Member) -> bool:
        return (
            not member.is_held
            and member.session.id in self._hub.members
            and member.transport.is_open
            and not member.transport.is_blocked
        )


class Kept:
    """Events that were read for somebody, and their frames for each dialect: others read the same.

    The first that were read make room for the next.
    """

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._events: dict[int, Event] = {}
        self._frames: dict[int, dict[str, Frame | None]] = {}
        self._sizes: dict[int, int] = {}
        self._bytes = 0

    def event(self, entry: Numbered) -> Event | None:
        """Return the event, None for one that a newer build wrote; the tail has said so."""
        event = self._events.get(entry.n)
        if event is None:
            try:
                event = entry.event
            except msgspec.DecodeError:
                return None
            self._events[entry.n] = event
            self._frames[entry.n] = {}
            self._grow(entry.n, len(entry.payload))
        return event

    def frame(self, dialect: Dialect, event: Event, n: int) -> Frame | None:
        """Return the event's frame in a dialect, None when it has no words for it."""
        frames = self._frames.get(n)
        if frames is None:
            return self._hub.render(dialect, event, n)
        if dialect.name not in frames:
            frame = frames[dialect.name] = self._hub.render(dialect, event, n)
            if frame is not None:
                self._grow(n, len(frame.wire))
        return frames[dialect.name]

    def forget(self) -> None:
        for each in (self._events, self._frames, self._sizes):
            each.clear()
        self._bytes = 0

    def _grow(self, n: int, size: int) -> None:
        self._sizes[n] = self._sizes.get(n, 0) + size
        self._bytes += size
        while self._bytes > KEPT_BYTES:
            first = next(iter(self._sizes))
            self._bytes -= self._sizes.pop(first)
            del self._events[first], self._frames[first]
