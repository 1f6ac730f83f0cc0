"""One connection from its opening to its end: greeted in time, kept alive, with its chores."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from realtime.client.connection import Socket
from realtime.client.errors import ConnectionLost, Unreachable
from realtime.core.codes import CloseCode

PING_SECONDS = 30.0
PONG_SECONDS = 10.0
WELCOME_SECONDS = 15.0


class Conversation:
    """`hear(frame)` is told what comes, `speak(socket)` sends, `ping()` asks for a pong."""

    def __init__(
        self,
        *,
        hear: Callable[[str | bytes], None],
        speak: Callable[[Socket], Coroutine[Any, Any, None]],
        ping: Callable[[], None],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._hear = hear
        self._speak = speak
        self._ping = ping
        self._sleep = sleep
        self._is_greeted = asyncio.Event()
        self._is_ponged = asyncio.Event()
        self._chores: set[asyncio.Task[None]] = set()

    async def hold(self, socket: Socket) -> None:
        """Talk until the connection ends. Raises the ClientError that says how it ended."""
        tasks = [asyncio.create_task(work) for work in (self._listen(socket), self._speak(socket))]
        tasks.append(asyncio.create_task(self._beat()))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            ending = [*tasks, *self._chores]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)

    def greeted(self) -> None:
        """The server has let us in."""
        self._is_greeted.set()

    def ponged(self) -> None:
        """It answered a ping."""
        self._is_ponged.set()

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Do something after a while, if this connection still stands then."""

        async def wait() -> None:
            await self._sleep(seconds)
            work()

        self.do(wait())

    def do(self, chore: Coroutine[Any, Any, None]) -> None:
        """Do something beside, for as long as this connection stands."""
        task = asyncio.create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _listen(self, socket: Socket) -> None:
        while True:
            self._hear(await socket.receive_frame())

    async def _beat(self) -> None:
        await _within(WELCOME_SECONDS, self._is_greeted, Unreachable("the server does not greet"))
        while True:
            await self._sleep(PING_SECONDS)
            self._is_ponged.clear()
            self._ping()
            lost = ConnectionLost(CloseCode.ABNORMAL, "no answer to a ping")
            await _within(PONG_SECONDS, self._is_ponged, lost)


async def _within(seconds: float, event: asyncio.Event, error: Exception) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        raise error from None
