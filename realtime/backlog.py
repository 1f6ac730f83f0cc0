"""What the journal holds for members that are behind: written in order, each event once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec

from realtime.core.position import Position
from realtime.core.session import Gap
from realtime.journal import Numbered
from realtime.members import Member

if TYPE_CHECKING:
    from realtime.hub import Hub

CATCH_UP_AT_ONCE = 200

History = Callable[[int, int], Awaitable[list[Numbered]]]


class Backlog:
    """Catches members up for one hub. Belongs to the event loop's thread."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self.history: History | None = None

    async def catch_up(self, member: Member) -> None:
        """Write from `behind_at` to the present, stopping where the peer stops reading.

        Whoever comes while this is going on waits for its end. Raises what reading the
        journal raises; the member stays behind then, and can be caught up later.
        """
        if member.caught_up is not None:
            await member.caught_up
            return
        ended = member.caught_up = asyncio.get_running_loop().create_future()
        try:
            await self._write_all(member)
        finally:
            member.caught_up = None
            ended.set_result(None)

    async def find_start(self, since: Position) -> int | None:
        """Return the position from which the journal holds what happened after `since`.

        That is `since` itself, or a later one; None when it holds nothing of that time.
        """
        if since.epoch != self._hub.epoch:
            return None
        if since.n >= self._hub.position:
            return since.n
        first = await self._read(since.n, 1)
        return first[0].n - 1 if first else None

    async def _write_all(self, member: Member) -> None:
        while member.behind_at is not None and self._can_write(member):
            if member.behind_at >= self._hub.position:
                member.stand_at(None)
                break
            await self._write_page(member, member.behind_at)
            # History in memory does not wait by itself: let the others have their turn.
            await asyncio.sleep(0)
        if member.behind_at is None:
            member.write_waiting()

    async def _write_page(self, member: Member, after: int) -> None:
        upto = self._hub.position
        entries = await self._read(after, CATCH_UP_AT_ONCE)
        if member.behind_at != after:
            return  # Meanwhile it was told to stand elsewhere.
        # What retention took is told; from there it goes on.
        next_n = entries[0].n if entries else upto + 1
        if lost := next_n - 1 - after:
            known = member.gaps.get("", Gap("", 0))
            member.gaps[""] = Gap("", known.skipped + lost)
        member.behind_at = next_n - 1
        for entry in entries:
            if not self._can_write(member):
                return
            self._write_entry(member, entry)
            member.behind_at = entry.n

    def _write_entry(self, member: Member, entry: Numbered) -> None:
        if not member.may_hear(entry.topic):
            return
        try:
            event = entry.event
        except msgspec.DecodeError:
            return  # A newer build wrote it; the tail has said so.
        if member.hears(event, entry.n):
            frame = self._hub.render(member.dialect, event, entry.n)
            if frame is not None:
                member.send(frame)

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
