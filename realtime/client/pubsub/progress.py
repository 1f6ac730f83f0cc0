"""How far we have heard, and what we have had already: where to recover from, what to drop."""

from typing import Any

# More than a server writes out of order at once, and about a megabyte.
REMEMBERED = 10_000


class Seen:
    """The last so many message ids."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._ids: dict[str, None] = {}

    def add(self, message_id: str) -> bool:
        """Remember an id; False when it was known."""
        if message_id in self._ids:
            return False
        self._ids[message_id] = None
        if len(self._ids) > self._most:
            # A dict keeps the order of arrival: the first is the oldest.
            del self._ids[next(iter(self._ids))]
        return True


class Progress:
    """Up to where everything was heard; `position` is where an earlier client had got to."""

    def __init__(self, position: str | None = None, *, seen: Seen | None = None) -> None:
        self.position = position
        self._seen = seen or Seen()
        # What `position` will be once all of several subscriptions have recovered.
        self._held: str | None = None

    def take(self, metadata: dict[str, Any]) -> bool:
        """Take note of a message with this metadata; False when we had it already."""
        position = metadata.get("position")
        # What was not stored never comes twice, and would push out the ids of what may.
        if position is None:
            return True
        message_id = metadata.get("message_id")
        is_new = message_id is None or self._seen.add(message_id)
        # What overtook others says up to where everything has come; before the first
        # subscription is confirmed there is nothing yet to be complete about.
        if self.position is not None:
            self._advance(metadata.get("recover_from") or position)
        return is_new

    def anchor(self, position: str | None) -> None:
        """Begin at the position at which the first subscription was confirmed."""
        if self.position is None:
            self.position = position

    def restart(self, position: str) -> None:
        """A recovery begins: everything after this follows, or what there is of it."""
        if self._held is not None:
            self._held = position
        else:
            self.position = position

    def hold(self) -> None:
        """Until `release` the position stays: several subscriptions recover one by one."""
        self._held = self.position

    def release(self) -> None:
        """All of them have recovered."""
        if self._held is not None:
            self.position = self._held
        self._held = None

    def abandon(self) -> None:
        """Forget what came while it was held: it was not all."""
        self._held = None

    def _advance(self, position: str) -> None:
        if self._held is not None:
            self._held = _later(self._held, position)
        elif self.position is not None:
            self.position = _later(self.position, position)


def _later(one: str, other: str) -> str:
    """Return the later of two "<epoch>-<n>"; of different epochs the one that came last."""
    epoch, _, n = one.rpartition("-")
    its_epoch, _, its_n = other.rpartition("-")
    return one if epoch == its_epoch and int(its_n) <= int(n) else other
