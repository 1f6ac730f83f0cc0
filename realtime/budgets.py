"""Connection budgets of a dialect, counted across processes.

Each process counts its own connections and tells the others what changed, a few milliseconds
later and many changes in one message, so a limit can be overshot by what is admitted elsewhere
in that time. Messages carry numbers rather than differences, and are numbered: who missed one
asks for everything. Without the layer each process counts for itself alone.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from realtime.core.limits import (
    MINUTE,
    RETRY_MS,
    ConnectionCounts,
    DialectLimits,
    Refusal,
    UserCount,
)

GATHER_SECONDS = 0.005
# A process is asked for everything at most so often by one that missed something.
ASK_SECONDS = 1.0
# Who says nothing for so long, not even its heartbeat, is not counted any more.
SILENT_SECONDS = 12.0
USERS_AT_ONCE = 500
PEERS_MAX = 256

# The name of these messages on the broker.
COUNTS = "counts"

Tell = Callable[[str, Any], None]
Changes = dict[str, tuple[int, dict[str, UserCount]]]


class SharedBudget:
    """The connections of one dialect: this process's, and what the others told of theirs.

    Every admitted connection must be handed back by `release`. 0 switches a limit off.
    """

    def __init__(self, limits: DialectLimits, on_change: Callable[[], None] = lambda: None) -> None:
        self.limits = limits
        self.is_on = bool(
            limits.connections_total or limits.connections_per_user or limits.connections_per_minute
        )
        self.own = ConnectionCounts()
        self.peers: dict[str, ConnectionCounts] = {}
        self._changed: dict[str, None] = {}
        self._on_change = on_change

    @property
    def total(self) -> int:
        """How many connections the dialect has in all processes."""
        return sum(counts.total for counts in self._all())

    def admit(self, user_id: str, now: float) -> Refusal | None:
        """Count a connection if it fits, else say why not. `now` is a monotonic clock."""
        if not self.is_on:
            return None
        refusal = self._refusal(user_id, now)
        if refusal is None:
            self.own.add(user_id, now)
            self._touch(user_id)
        return refusal

    def release(self, user_id: str) -> None:
        """Give an admitted connection back."""
        if self.own.remove(user_id):
            self._touch(user_id)

    def _refusal(self, user: str, now: float) -> Refusal | None:
        limits = self.limits
        if limits.connections_total and (used := self.total) >= limits.connections_total:
            return _too_many("connections_total", limits.connections_total, used)
        if limits.connections_per_user:
            used = sum(counts.open.get(user, 0) for counts in self._all())
            if used >= limits.connections_per_user:
                return _too_many("connections_per_user", limits.connections_per_user, used)
        if limits.connections_per_minute:
            used = sum(counts.recent_of(user, now) for counts in self._all())
            if used >= limits.connections_per_minute:
                return self._too_fast(user, used, now)
        return None

    def _too_fast(self, user: str, used: int, now: float) -> Refusal:
        known = [counts.recent[user] for counts in self._all() if user in counts.recent]
        return Refusal(
            kind="rate_limited",
            name="connections_per_minute",
            limit=self.limits.connections_per_minute,
            used=used,
            retry_after_ms=int(min(recent.seconds_to_next(now) for recent in known) * 1000) + 1,
        )

    def _all(self) -> Iterator[ConnectionCounts]:
        yield self.own
        yield from self.peers.values()

    # --- Between processes -------------------------------------------------------------

    def take_changes(self, *, everything: bool) -> list[str]:
        """Return the users whose numbers the others do not know yet."""
        changed, self._changed = self._changed, {}
        return list({**self.own.open, **self.own.recent} if everything else changed)

    def hear(self, node: str, total: int, users: Mapping[str, UserCount], now: float) -> None:
        """Take over what another process told of its connections."""
        counts = self.peers.setdefault(node, ConnectionCounts())
        counts.total = total
        for user, count in users.items():
            counts.put(user, count, now)

    def forget(self, node: str) -> None:
        self.peers.pop(node, None)

    def forget_old(self, now: float) -> None:
        for counts in self._all():
            counts.forget_old(now)

    def _touch(self, user: str) -> None:
        self._changed[user] = None
        self._on_change()


class _Peer:
    """How far we have heard another process."""

    __slots__ = ("heard_at", "is_whole", "seq")

    def __init__(self) -> None:
        self.seq = 0
        self.heard_at = 0.0
        # Whether it told everything, and we missed nothing since.
        self.is_whole = False


class Budgets:
    """The budgets of this process by dialect, and their exchange with the other processes.

    Belongs to the event loop's thread.
    """

    def __init__(self, limits: Mapping[str, DialectLimits]) -> None:
        self._budgets = {name: SharedBudget(each, self._touch) for name, each in limits.items()}
        self._peers: dict[str, _Peer] = {}
        self._tell: Tell | None = None
        self._seq = 0
        self._is_due = False
        self._owes_everything = True
        self._wants_everything = False
        self._asked_at = 0.0
        self._swept_at = 0.0

    def __getitem__(self, dialect: str) -> SharedBudget:
        return self._budgets[dialect]

    def connect(self, tell: Tell | None) -> None:
        """Tell the other processes by `tell` from now on, or nobody any more."""
        self._tell = tell
        self._is_due = False

    def on_joined(self) -> None:
        """We hear the others from now on: ask for their counts, and tell ours."""
        self._owes_everything = True
        self._ask(time.monotonic())

    def beat(self, living: set[str], now: float) -> None:
        """Forget who died or fell silent; speak even if nothing changed, so that a loss shows."""
        for node, peer in list(self._peers.items()):
            if node not in living or now - peer.heard_at > SILENT_SECONDS:
                self._forget(node)
        if now - self._swept_at >= MINUTE:
            self._swept_at = now
            for budget in self._budgets.values():
                budget.forget_old(now)
        self.flush(now)

    def on_told(self, node: str, body: Any, now: float | None = None) -> None:
        """Another process told its counts, or asks for ours, or both."""
        now = time.monotonic() if now is None else now
        if node not in self._peers and len(self._peers) >= PEERS_MAX:
            return
        peer = self._peers.setdefault(node, _Peer())
        if body["everything"]:
            self._forget(node)
            self._peers[node] = peer
            peer.is_whole = True
        elif body["seq"] != peer.seq + 1:
            peer.is_whole = False
        peer.seq, peer.heard_at = body["seq"], now
        for dialect, (total, users) in body["dialects"].items():
            if dialect in self._budgets:
                self._budgets[dialect].hear(node, total, users, now)
        if body["asks"]:
            self._owes_everything = True
            self._touch()
        if not peer.is_whole and now - self._asked_at >= ASK_SECONDS:
            self._ask(now)

    def flush(self, now: float | None = None) -> None:
        """Tell the others what changed."""
        self._is_due = False
        if self._tell is None:
            return
        now = time.monotonic() if now is None else now
        everything, self._owes_everything = self._owes_everything, False
        asks, self._wants_everything = self._wants_everything, False
        for dialects in self._changes(now, everything=everything):
            self._seq += 1
            self._tell(
                COUNTS,
                {"seq": self._seq, "everything": everything, "asks": asks, "dialects": dialects},
            )
            everything = asks = False

    def _changes(self, now: float, *, everything: bool) -> Iterator[Changes]:
        """Yield what to tell, in messages of bounded size; at least one."""
        message: Changes = {}
        room = USERS_AT_ONCE
        for name, budget in self._budgets.items():
            users = budget.take_changes(everything=everything)
            message[name] = (budget.own.total, {})
            for user in users:
                if not room:
                    yield message
                    message, room = {name: (budget.own.total, {})}, USERS_AT_ONCE
                message[name][1][user] = budget.own.of(user, now)
                room -= 1
        yield message

    def _ask(self, now: float) -> None:
        self._wants_everything = True
        self._asked_at = now
        self._touch()

    def _touch(self) -> None:
        """See that the others are told soon, together with what else changes until then."""
        if self._tell is not None and not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self.flush)

    def _forget(self, node: str) -> None:
        self._peers.pop(node, None)
        for budget in self._budgets.values():
            budget.forget(node)


def _too_many(name: str, limit: int, used: int) -> Refusal:
    return Refusal(
        kind="too_many_connections", name=name, limit=limit, used=used, retry_after_ms=RETRY_MS
    )
