"""Limits and how they are counted. Time is passed in; nothing here reads a clock."""

import msgspec


class DialectLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one dialect; 0 switches a limit off. Sizes are bytes."""

    connections_per_user: int = 0
    connections_total: int = 0
    connections_per_minute: int = 0
    messages_per_second: int = 0
    message_bytes: int = 0
    frame_bytes: int = 0


class TokenBucket:
    """Allows `rate` events a second, with bursts of up to one second's worth.

    `take(now)` answers 0.0 when the event fits, else the seconds until it would. `now` is
    a monotonic clock in seconds. A rate of 0 allows everything.
    """

    __slots__ = ("_level", "_rate", "_then")

    def __init__(self, rate: float, *, now: float) -> None:
        self._rate = rate
        self._level = rate
        self._then = now

    def take(self, now: float, amount: float = 1.0) -> float:
        if not self._rate:
            return 0.0
        level = min(self._rate, self._level + (now - self._then) * self._rate)
        self._then = now
        if level >= amount:
            self._level = level - amount
            return 0.0
        self._level = level
        return (amount - level) / self._rate


class ConnectionBudget:
    """Counts open connections and new ones per minute for each key: an address, a user.

    `admit` answers whether one more fits and counts it if so; every admitted connection must
    be handed back by `release`. Remembers at most `MAX_KEYS`. 0 switches a limit off.
    """

    MAX_KEYS = 65_536

    def __init__(self, *, connections: int, per_minute: int) -> None:
        self.connections = connections
        self.per_minute = per_minute
        self._open: dict[str, int] = {}
        self._recent: dict[str, tuple[float, int]] = {}

    def admit(self, key: str, now: float) -> bool:
        """Count a connection if it fits. `now` is a monotonic clock in seconds."""
        if self.connections and self._open.get(key, 0) >= self.connections:
            return False
        if self.per_minute and not self._fits_minute(key, now):
            return False
        if self.connections:
            self._open[key] = self._open.get(key, 0) + 1
        return True

    def release(self, key: str) -> None:
        """Give an admitted connection back."""
        left = self._open.get(key, 0) - 1
        if left > 0:
            self._open[key] = left
        else:
            self._open.pop(key, None)

    def _fits_minute(self, key: str, now: float) -> bool:
        began, count = self._recent.get(key, (now, 0))
        if now - began >= 60:
            began, count = now, 0
        if count >= self.per_minute:
            return False
        if len(self._recent) >= self.MAX_KEYS:
            self._forget_old(now)
        self._recent[key] = (began, count + 1)
        return True

    def _forget_old(self, now: float) -> None:
        self._recent = {k: r for k, r in self._recent.items() if now - r[0] < 60}
        if len(self._recent) >= self.MAX_KEYS:
            self._recent.clear()
