"""Limits and how they are counted. Time is passed in; nothing here reads a clock."""

from collections.abc import Iterable

import msgspec

MINUTE = 60.0
# New connections that came within a second are remembered as one number.
BUCKET = 1.0
# When a place will be free again nobody knows: asking again so soon costs little.
RETRY_MS = 5_000


class DialectLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one dialect; 0 switches a limit off. Sizes are bytes."""

    connections_per_user: int = 0
    connections_total: int = 0
    connections_per_minute: int = 0
    messages_per_second: int = 0
    message_bytes: int = 0
    frame_bytes: int = 0
    batch_items: int = 0
    # What we send of so many bytes or more is packed, for whoever offers permessage-deflate.
    deflate_bytes: int = 0


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


class Flood:
    """Tells who goes on and on from who had a burst.

    `goes_on(now)` counts one more, and answers whether there were `most` of them in each of the
    `seconds` seconds before this one. `now` is a monotonic clock in seconds.
    """

    __slots__ = ("_count", "_most", "_second", "_seconds", "_streak")

    def __init__(self, most: int, *, seconds: int) -> None:
        self._most = most
        self._seconds = seconds
        self._second = -1
        self._count = 0
        # How many seconds in a row had so many, the present one not counted.
        self._streak = 0

    def goes_on(self, now: float) -> bool:
        second = int(now)
        if second != self._second:
            is_next = second == self._second + 1 and self._count >= self._most
            self._streak = self._streak + 1 if is_next else 0
            self._second, self._count = second, 0
        self._count += 1
        return self._streak >= self._seconds


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


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why one more connection does not fit.

    `kind` is "too_many_connections" or "rate_limited"; `name` the limit, a field of
    `DialectLimits`; `used` how much of it is.
    """

    kind: str
    name: str
    limit: int
    used: int
    retry_after_ms: int

    @property
    def reason(self) -> str:
        """Say it to a person, in as many bytes as a close frame has."""
        match self.name:
            case "connections_total":
                return f"too many connections: {self.used} of this server's {self.limit} are open"
            case "connections_per_user":
                return f"too many connections: {self.used} of your {self.limit} are open"
        seconds = -(-self.retry_after_ms // 1000)
        return (
            f"too many new connections: {self.used} of your {self.limit} a minute are used, "
            f"try again in {seconds} s"
        )


class Recent:
    """The new connections of one user within the last minute, oldest first.

    A window that slides: whoever came a minute ago makes room for one. Kept in buckets of a
    second, so that it stays small whatever the limit; a bucket leaves with its first.
    """

    __slots__ = ("_buckets",)

    def __init__(self, buckets: Iterable[tuple[float, int]] = ()) -> None:
        self._buckets = list(buckets)

    def count(self, now: float) -> int:
        while self._buckets and now - self._buckets[0][0] >= MINUTE:
            del self._buckets[0]
        return sum(number for _, number in self._buckets)

    def add(self, now: float) -> None:
        if self._buckets and now - self._buckets[-1][0] < BUCKET:
            began, number = self._buckets[-1]
            self._buckets[-1] = (began, number + 1)
        else:
            self._buckets.append((now, 1))

    def seconds_to_next(self, now: float) -> float:
        """Return when the oldest make room, in seconds; a minute when there is none."""
        return MINUTE - (now - self._buckets[0][0]) if self._buckets else MINUTE

    def ages(self, now: float) -> list[tuple[float, int]]:
        """Return the buckets by age, for a process whose clock is another one."""
        return [(round(now - began, 3), number) for began, number in self._buckets]


# One user's numbers as they travel: how many are open, and the ages of the recent ones.
UserCount = tuple[int, list[tuple[float, int]]]


class ConnectionCounts:
    """The connections of one dialect in one process: all, each user's, each one's recent ones.

    Remembers at most `MAX_KEYS` users with recent connections; those of the longest ago are
    forgotten first.
    """

    MAX_KEYS = 65_536

    def __init__(self) -> None:
        self.total = 0
        self.open: dict[str, int] = {}
        self.recent: dict[str, Recent] = {}

    def add(self, user: str, now: float) -> None:
        self.total += 1
        self.open[user] = self.open.get(user, 0) + 1
        recent = self.recent.pop(user, None) or Recent()
        recent.add(now)
        self._remember(user, recent, now)

    def remove(self, user: str) -> bool:
        """Count one less; False when there was none."""
        left = self.open.get(user, 0) - 1
        if left < 0:
            return False
        self.total -= 1
        if left:
            self.open[user] = left
        else:
            del self.open[user]
        return True

    def recent_of(self, user: str, now: float) -> int:
        recent = self.recent.get(user)
        return recent.count(now) if recent is not None else 0

    def of(self, user: str, now: float) -> UserCount:
        """Return what another process has to know of this user."""
        self.recent_of(user, now)
        recent = self.recent.get(user)
        return self.open.get(user, 0), recent.ages(now) if recent is not None else []

    def put(self, user: str, count: UserCount, now: float) -> None:
        """Take over what another process knows of its connections of this user."""
        is_open, ages = count
        self.open.pop(user, None)
        self.recent.pop(user, None)
        if is_open and len(self.open) < self.MAX_KEYS:
            self.open[user] = is_open
        if ages:
            self._remember(user, Recent((now - age, number) for age, number in ages), now)

    def forget_old(self, now: float) -> None:
        """Forget whose last new connection is a minute ago."""
        self.recent = {user: recent for user, recent in self.recent.items() if recent.count(now)}

    def _remember(self, user: str, recent: Recent, now: float) -> None:
        if len(self.recent) >= self.MAX_KEYS:
            self.forget_old(now)
        if len(self.recent) >= self.MAX_KEYS:
            del self.recent[next(iter(self.recent))]
        self.recent[user] = recent
