"""Which process of several evaluates a device, and what was left to another until it heard it.

Pure: no Django, no loop.
"""

from collections import deque
from collections.abc import Iterable, Set
from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from realtime.core.events import Measured

# What is left to others is confirmed within two or three seconds; this is at least as much of a
# full load, and some 30 MB.
LEFT_MAX = 65_536
OWNERS_REMEMBERED = 100_000


class Heard(msgspec.Struct, frozen=True, gc=False):
    """Values of one device, and when they came in: what is evaluated."""

    device_id: int
    metrics: dict[str, Measured]
    received_at: datetime


def owner_of(device_id: int, nodes: Iterable[str]) -> str:
    """Return the node that evaluates a device; when one comes or goes, only its devices move."""
    return max(nodes, key=lambda node: (_weight(device_id, node), node))


def _weight(device_id: int, node: str) -> bytes:
    return blake2b(f"{device_id}\0{node}".encode(), digest_size=8).digest()


class Shares:
    """The living processes as this one sees them, itself always among them."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._owners: dict[int, str] = {}
        self.nodes: frozenset[str] = frozenset((node_id,))

    def change(self, nodes: Set[str]) -> bool:
        """Take note of who lives; tells whether anything changed."""
        living = frozenset((*nodes, self._node_id))
        if living == self.nodes:
            return False
        self.nodes = living
        self._owners.clear()
        return True

    @property
    def is_alone(self) -> bool:
        return len(self.nodes) == 1

    def owner(self, device_id: int) -> str:
        if self.is_alone:
            return self._node_id
        owner = self._owners.get(device_id)
        if owner is None:
            if len(self._owners) >= OWNERS_REMEMBERED:
                self._owners.clear()
            owner = self._owners[device_id] = owner_of(device_id, self.nodes)
        return owner

    def owns(self, device_id: int) -> bool:
        return self.owner(device_id) == self._node_id


class _Left(NamedTuple):
    beacon: int
    heard: Heard


class Leftovers:
    """Values that other processes shall evaluate, kept until they have certainly heard them.

    They were published before our beacon of that number. Bounded: what has to make room is
    returned, to be treated like something lost.
    """

    def __init__(self, most: int = LEFT_MAX) -> None:
        self._most = most
        self._by_owner: dict[str, deque[_Left]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def leave(self, owner: str, heard: Heard, *, beacon: int) -> Heard | None:
        """Keep a value left to `owner`; return the one that had to make room, if any."""
        self._by_owner.setdefault(owner, deque()).append(_Left(beacon, heard))
        self._count += 1
        if self._count <= self._most:
            return None
        longest = max(self._by_owner, key=lambda each: len(self._by_owner[each]))
        return self._take(longest, 1)[0]

    def confirm(self, owner: str, *, since: int, upto: int) -> list[Heard]:
        """Forget what `owner` heard whole: after our beacon `since`, before our beacon `upto`.

        Returns what came before that and was never confirmed: it may have been lost.
        """
        waiting = self._by_owner.get(owner)
        if waiting is None:
            return []
        count = next((i for i, left in enumerate(waiting) if left.beacon > upto), len(waiting))
        never = next((i for i, left in enumerate(waiting) if left.beacon > since), len(waiting))
        return self._take(owner, count)[:never]

    def overdue(self, before: datetime) -> list[Heard]:
        """Take out what came in before that moment and is still not confirmed."""
        found: list[Heard] = []
        for owner, waiting in list(self._by_owner.items()):
            count = next(
                (i for i, left in enumerate(waiting) if left.heard.received_at >= before),
                len(waiting),
            )
            found.extend(self._take(owner, count))
        return found

    def take_all(self) -> list[Heard]:
        """Take out everything, each owner's in its order."""
        found: list[Heard] = []
        for owner, waiting in list(self._by_owner.items()):
            found.extend(self._take(owner, len(waiting)))
        return found

    def _take(self, owner: str, count: int) -> list[Heard]:
        waiting = self._by_owner[owner]
        taken = [waiting.popleft().heard for _ in range(count)]
        self._count -= count
        if not waiting:
            del self._by_owner[owner]
        return taken
