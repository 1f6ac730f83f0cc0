"""A surgeon's side of /ws/simulation: one operation streamed to its SAVED, cuts survived."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID, uuid4

import msgspec

from realtime.client.connection import Backoff, Link, Socket, socket_url, when_final
from realtime.client.errors import ClientError, RequestFailed
from realtime.client.rest import RestClient
from realtime.core.movement import Movement

PATH = "/ws/simulation"
# FINISH is repeated when SAVED does not come within this time; repeating it is harmless.
ANSWER_SECONDS = 10.0
# An operation is going on, and the server keeps it open for a minute: never wait long.
BACKOFF = Backoff(most_seconds=5.0)
NOT_FOUND = 404

log = logging.getLogger("vitalwire.client")


class _Reply(msgspec.Struct, rename="camel"):
    status: str = ""
    surgery_id: UUID | None = None


async def operate(
    rest: RestClient,
    movements: Sequence[Movement],
    *,
    rate: float = 60.0,
    surgery_id: UUID | None = None,
    gives_up: Callable[[ClientError], bool] = when_final,
    backoff: Backoff = BACKOFF,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
    answer_seconds: float = ANSWER_SECONDS,
) -> UUID:
    """Stream `movements`, the last of them a FINISH; return the id once all is SAVED.

    `rate` is frames a second, 0 for as fast as the server takes them. The id is ours from
    the start, so that no cut can lose it. Raises the ClientError `gives_up` said yes to.
    """
    operation = _Operation(
        rest,
        movements,
        surgery_id=surgery_id or uuid4(),
        rate=rate,
        sleep=sleep,
        clock=clock,
        answer_seconds=answer_seconds,
    )
    link = Link(
        socket_url(rest.url, PATH, surgery=str(operation.surgery_id)),
        rest,
        gives_up=gives_up,
        backoff=backoff,
        sleep=sleep,
        clock=clock,
    )
    return await link.converse(operation.stream)


class _Operation:
    """What is to be sent, and when each movement is due."""

    def __init__(
        self,
        rest: RestClient,
        movements: Sequence[Movement],
        *,
        surgery_id: UUID,
        rate: float,
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], float],
        answer_seconds: float,
    ) -> None:
        self.surgery_id = surgery_id
        self._rest = rest
        self._movements = movements
        self._rate = rate
        self._sleep = sleep
        self._clock = clock
        self._answer_seconds = answer_seconds
        self._began: float | None = None

    async def stream(self, socket: Socket) -> UUID:
        """Send what is not stored yet, then FINISH until it is answered."""
        last = len(self._movements) - 1
        first = await self._first_unsent()
        for index in range(min(first, last), last):
            await self._wait_for(index)
            await socket.send(self._movements[index])
        await self._wait_for(last)
        return await self._finish(socket, self._movements[last])

    async def _first_unsent(self) -> int:
        """Return how many movements need no sending: none at first, what is stored after a cut.

        Asked when the new socket is open: it has taken over by then, and the old one's last
        frames are stored.
        """
        if self._began is None:
            self._began = self._clock()
            return 0
        stored = await self._stored()
        log.info("surgery %s goes on after movement %d", self.surgery_id, stored)
        return stored

    async def _stored(self) -> int:
        try:
            return (await self._rest.surgery(self.surgery_id)).movements
        except RequestFailed as error:
            if error.status == NOT_FOUND:
                return 0
            raise

    async def _wait_for(self, index: int) -> None:
        """Wait until the movement is due; what a cut delayed goes out at once."""
        if not self._rate or self._began is None:
            return
        wait = self._began + index / self._rate - self._clock()
        if wait > 0:
            await self._sleep(wait)

    async def _finish(self, socket: Socket, finish: Movement) -> UUID:
        while True:
            await socket.send(finish)
            try:
                async with asyncio.timeout(self._answer_seconds):
                    return await self._saved(socket)
            except TimeoutError:
                log.info("surgery %s: no SAVED yet, FINISH again", self.surgery_id)

    async def _saved(self, socket: Socket) -> UUID:
        while True:
            reply = await socket.receive(_Reply)
            if reply.status == "SAVED" and reply.surgery_id is not None:
                return reply.surgery_id
