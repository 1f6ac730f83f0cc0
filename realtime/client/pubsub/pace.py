"""How fast we may send: below the limit that the server tells, not at all while it asks to wait."""

import math
from collections.abc import Callable

# Of the server's limit: its clock and ours differ, and what we sent may arrive bunched.
SHARE = 0.9


class Pace:
    """Allows `per_second` messages, 0 for as many as there are. `clock` counts seconds."""

    def __init__(self, per_second: float, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._paused_until = -math.inf
        self._level = math.inf
        self.tell(per_second)
        self.refresh()

    def tell(self, per_second: float) -> None:
        """Take over the limit that the server told us."""
        self._per_second = per_second
        self._burst = max(1.0, per_second / 2)
        self._level = min(self._level, self._burst)

    def refresh(self) -> None:
        """Begin anew, as the server does with every connection."""
        self._level = self._burst
        self._then = self._clock()

    def pause(self, seconds: float) -> None:
        """Send nothing for so long."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    def wait(self) -> float:
        """Return the seconds until the next message may leave; 0 is now."""
        now = self._clock()
        paused = max(0.0, self._paused_until - now)
        if not self._per_second:
            return paused
        self._fill(now)
        # Two clocks' rounding must not make us ask again for a millionth of a message.
        short = 0.0 if self._level > 1 - 1e-6 else (1 - self._level) / (self._per_second * SHARE)
        return max(paused, short)

    def count(self, number: int = 1) -> None:
        """Count messages that left, of those too that could not wait: pings, subscriptions."""
        self._fill(self._clock())
        self._level -= number

    def _fill(self, now: float) -> None:
        gained = (now - self._then) * self._per_second * SHARE
        self._level = min(self._burst, self._level + gained)
        self._then = now
