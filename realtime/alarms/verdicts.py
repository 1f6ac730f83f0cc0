"""Decisions on their way to the database: one bounded queue, in order, and none is lost in it."""

import asyncio
from collections import Counter
from collections.abc import Callable

from devices.rules import Decision
from devices.services.verdicts import Outdated, carry_out
from realtime.alarms.watched import Verdict
from realtime.calls import call_patiently

# Half a minute of work for the database.
VERDICTS_MAX = 10_000


class Verdicts:
    """Carries out decisions one after the other, however long the database is away.

    `on_raised` hears of every alert that came of one; `on_outdated` of a decision that somebody
    else had come to before, or after an alert that we do not know of.
    """

    def __init__(
        self,
        *,
        on_raised: Callable[[Verdict, int], None],
        on_outdated: Callable[[Verdict], None],
        most: int = VERDICTS_MAX,
    ) -> None:
        self._on_raised = on_raised
        self._on_outdated = on_outdated
        self._queue: asyncio.Queue[Verdict] = asyncio.Queue(most)
        self._has_room = asyncio.Event()
        self._undone: Counter[tuple[int, int]] = Counter()

    def __len__(self) -> int:
        return self._undone.total()

    def put(self, verdict: Verdict) -> bool:
        """Take a decision; False when the queue is full."""
        if self._queue.full():
            return False
        self._queue.put_nowait(verdict)
        self._undone[verdict.device_id, verdict.rule.id] += 1
        return True

    def has(self, device_id: int, rule_id: int) -> bool:
        """Whether a decision of this rule on this device is not carried out yet."""
        return (device_id, rule_id) in self._undone

    async def wait_for_room(self) -> None:
        while self._queue.full():
            self._has_room.clear()
            await self._has_room.wait()

    async def run(self) -> None:
        """Carry out until cancelled."""
        while True:
            verdict = await self._queue.get()
            self._has_room.set()
            try:
                await self._carry_out(verdict)
            finally:
                pair = verdict.device_id, verdict.rule.id
                self._undone[pair] -= 1
                if not self._undone[pair]:
                    del self._undone[pair]

    async def _carry_out(self, verdict: Verdict) -> None:
        try:
            alert_id = await call_patiently(
                carry_out,
                verdict.rule,
                verdict.device_id,
                verdict.decision,
                value=verdict.value,
                unit=verdict.unit,
                at=verdict.at,
            )
        except Outdated:
            self._on_outdated(verdict)
            return
        if verdict.decision is Decision.RAISE and alert_id is not None:
            self._on_raised(verdict, alert_id)
