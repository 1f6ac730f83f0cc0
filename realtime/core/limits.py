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
    batch_items: int = 0


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


class AddressBudget:
    """Counts open connections and handshakes per minute for each client address.

    `admit` answers whether one more handshake fits and counts it if so; every admitted
    connection must be handed back by `release`. Remembers at most `MAX_ADDRESSES`.
    """

    MAX_ADDRESSES = 65_536

    def __init__(self, *, connections: int, handshakes_per_minute: int) -> None:
        self._connections = connections
        self._per_minute = handshakes_per_minute
        self._open: dict[str, int] = {}
        self._recent: dict[str, tuple[float, int]] = {}

    def admit(self, address: str, now: float) -> bool:
        if self._connections and self._open.get(address, 0) >= self._connections:
            return False
        if self._per_minute and not self._fits(address, now):
            return False
        self._open[address] = self._open.get(address, 0) + 1
        return True

    def release(self, address: str) -> None:
        left = self._open.get(address, 0) - 1
        if left > 0:
            self._open[address] = left
        else:
            self._open.pop(address, None)

    def _fits(self, address: str, now: float) -> bool:
        began, count = self._recent.get(address, (now, 0))
        if now - began >= 60:
            began, count = now, 0
        if count >= self._per_minute:
            return False
        if not count:
            # Those whose minute began last stand last: the first is the one to forget.
            self._recent.pop(address, None)
            while len(self._recent) >= self.MAX_ADDRESSES:
                del self._recent[next(iter(self._recent))]
        self._recent[address] = (began, count + 1)
        return True
