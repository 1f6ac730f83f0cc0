"""An AI service's side of /ws/ai: hears of finished surgeries, scores them, posts the analysis."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Protocol
from uuid import UUID

import msgspec

from realtime.client.connection import Backoff, Link, Socket, never, socket_url
from realtime.client.errors import ClientError, NotScorable
from realtime.client.rest import RestClient
from realtime.core.movement import Movement

PATH = "/ws/ai"
AT_ONCE = 4
ATTEMPTS = 6
# How many announced surgeries may wait; past that we stop reading, and the server tells of
# what we missed when we come back.
WAITING_MAX = 1000
# The server announces again at most a day's surgeries after a reconnect.
REMEMBERED_MAX = 10_000

log = logging.getLogger("vitalwire.client")


class Assessment(Protocol):
    """What a score function answers: 0 to 100, and a text for the surgeon."""

    @property
    def score(self) -> float: ...

    @property
    def feedback(self) -> str: ...


class _Announcement(msgspec.Struct, rename="camel"):
    event: str = ""
    surgery_id: UUID | None = None


class Analyst:
    """Scores every surgery once, `at_once` at a time; what fails is tried again with back-off.

    `assess` is a plain function of the movements and runs in a thread. A surgery that cannot
    be scored is logged and left; it never keeps others waiting.
    """

    def __init__(
        self,
        rest: RestClient,
        assess: Callable[[list[Movement]], Assessment],
        *,
        at_once: int = AT_ONCE,
        attempts: int = ATTEMPTS,
        gives_up: Callable[[ClientError], bool] = never,
        on_analysed: Callable[[UUID, float], None] = lambda surgery_id, score: None,
        backoff: Backoff | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rest = rest
        self._assess = assess
        self._at_once = at_once
        self._attempts = attempts
        self._on_analysed = on_analysed
        self._backoff = backoff or Backoff()
        self._sleep = sleep
        self._link = Link(
            socket_url(rest.url, PATH),
            rest,
            gives_up=gives_up,
            backoff=backoff,
            sleep=sleep,
            clock=clock,
        )
        self._waiting: asyncio.Queue[UUID] = asyncio.Queue(WAITING_MAX)
        self._known: OrderedDict[UUID, None] = OrderedDict()

    async def run(self) -> None:
        """Work until cancelled, or until the link is told to give up: then raises its error."""
        workers = [asyncio.create_task(self._work()) for _ in range(self._at_once)]
        try:
            await self._link.converse(self._listen)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _listen(self, socket: Socket) -> None:
        while True:
            news = await socket.receive(_Announcement)
            if news.event == "NEW_SURGERY" and news.surgery_id is not None:
                await self._take(news.surgery_id)

    async def _take(self, surgery_id: UUID) -> None:
        """Queue a surgery that is neither waiting nor done."""
        if surgery_id in self._known:
            return
        self._known[surgery_id] = None
        if len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)
        await self._waiting.put(surgery_id)

    async def _work(self) -> None:
        while True:
            surgery_id = await self._waiting.get()
            if not await self._is_settled(surgery_id):
                # Forgotten, so that it is tried anew when the server announces it again.
                self._known.pop(surgery_id, None)

    async def _is_settled(self, surgery_id: UUID) -> bool:
        """Analyse one surgery and tell whether nothing is left to do for it."""
        for attempt in range(self._attempts):
            try:
                await self._analyse(surgery_id)
                return True
            except ClientError as error:
                log.warning("surgery %s: %s", surgery_id, error)
                if error.is_final:
                    return True
                delay = self._backoff.delay(attempt, at_least=error.retry_after)
            await self._sleep(delay)
        log.error("surgery %s: given up after %d attempts", surgery_id, self._attempts)
        return False

    async def _analyse(self, surgery_id: UUID) -> None:
        trajectory = await self._rest.trajectory(surgery_id)
        if trajectory.score is not None:
            return
        assessment = await self._score(trajectory.movements)
        await self._rest.post_analysis(
            surgery_id, score=assessment.score, feedback=assessment.feedback
        )
        self._on_analysed(surgery_id, assessment.score)

    async def _score(self, movements: list[Movement]) -> Assessment:
        """Score in a thread; whatever the function raises concerns this surgery only."""
        scoring = asyncio.get_running_loop().run_in_executor(None, self._assess, movements)
        await asyncio.wait([scoring])
        if error := scoring.exception():
            raise NotScorable(f"the score function failed: {error!r}") from error
        return scoring.result()
