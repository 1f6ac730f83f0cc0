"""Starting and draining the runtime, whatever the server offers for it.

uvicorn speaks ASGI's lifespan; daphne has hooks of ours (`transports/daphne_server.py`); under
any other server the first connection starts it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from realtime.core.codes import CloseCode
from realtime.runtime import Runtime
from realtime.transports.uvicorn import hide_queries

START_SECONDS = 5.0

App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


class Lifespan:
    """The ASGI lifespan protocol."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        hide_queries()
        await receive()
        await self._runtime.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._runtime.drain()
        await send({"type": "lifespan.shutdown.complete"})


class StartsFirst:
    """Sees to it that the runtime runs before a socket is served; a late one gets 1013."""

    def __init__(self, inner: App, runtime: Runtime) -> None:
        self._inner = inner
        self._runtime = runtime

    def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Awaitable[None]:
        if self._runtime.is_started or self._runtime.is_draining:
            return self._inner(scope, receive, send)
        return self._start_and_serve(scope, receive, send)

    async def _start_and_serve(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._runtime.start()
        except TimeoutError:
            await _try_later(receive, send)
            return
        await self._inner(scope, receive, send)


async def _try_later(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    reason = "the server is not ready: try again later"
    await send({"type": "websocket.close", "code": CloseCode.TRY_AGAIN_LATER, "reason": reason})
