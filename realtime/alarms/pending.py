"""Devices whose state has to be read again, and what came in for them meanwhile. No I/O."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import islice

from realtime.alarms.shares import Heard

# A few seconds of a full load.
WAITING_MAX = 65_536
# The writer stores a reading within four seconds or refuses it.
STORED_AFTER = timedelta(seconds=5)


class Pending:
    """Marks devices with the time from when on something of theirs may not have been looked at.

    Bounded: by the devices, and by `most` values that wait for theirs.
    """

    def __init__(self, most: int = WAITING_MAX) -> None:
        self._most = most
        self._marks: dict[int, datetime] = {}
        self._later: dict[int, datetime] = {}
        self._in_hand: dict[int, datetime] = {}
        self._waiting: dict[int, list[Heard]] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._marks) + len(self._later) + len(self._in_hand)

    def __contains__(self, device_id: int) -> bool:
        """Whether a device is marked: what is being read of it will not do."""
        return device_id in self._marks

    @property
    def has_marks(self) -> bool:
        return bool(self._marks)

    def mark(self, device_id: int, since: datetime) -> None:
        self._marks[device_id] = min(since, self._marks.get(device_id, since))

    def mark_later(self, device_id: int, since: datetime) -> None:
        """Mark a device when what came in since then is certainly stored."""
        self._later[device_id] = min(since, self._later.get(device_id, since))

    def ripen(self, now: datetime) -> None:
        """Mark those whose time has come."""
        ripe = [each for each, since in self._later.items() if since < now - STORED_AFTER]
        for device_id in ripe:
            self.mark(device_id, self._later.pop(device_id))

    def wait(self, heard: Heard) -> None:
        """Keep a value until its device is there; what does not fit will be read when stored."""
        device_id = heard.device_id
        if device_id not in self._in_hand:
            self.mark(device_id, heard.received_at)
        if self._count >= self._most:
            self.mark_later(device_id, heard.received_at)
            return
        self._waiting.setdefault(device_id, []).append(heard)
        self._count += 1

    def take_batch(self, most: int) -> dict[int, datetime]:
        """Return marked devices with their times, those first for which something waits.

        They are in hand until `put_back` or `done`.
        """
        first = [device_id for device_id in self._waiting if device_id in self._marks]
        batch = list(islice(first or self._marks, most))
        self._in_hand = {device_id: self._marks.pop(device_id) for device_id in batch}
        return self._in_hand

    @property
    def in_hand(self) -> Iterable[int]:
        """The devices that are being read."""
        return tuple(self._in_hand)

    def is_in_hand(self, device_id: int) -> bool:
        return device_id in self._in_hand

    def done(self) -> None:
        """Say that what is in hand was read."""
        self._in_hand = {}

    def put_back(self) -> None:
        """Say that what is in hand was not read."""
        for device_id, since in self._in_hand.items():
            self.mark(device_id, since)
        self._in_hand = {}

    def take_waiting(self, device_id: int) -> Iterable[Heard]:
        """Return what waited for a device, in order, and forget it."""
        waiting = self._waiting.pop(device_id, [])
        self._count -= len(waiting)
        return waiting
