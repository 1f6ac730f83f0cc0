"""Starting and draining, whatever the server offers for it."""

import asyncio
from typing import Any

import pytest

from realtime import lifespan as module
from realtime.lifespan import Lifespan, StartsFirst
from realtime.tests.wire import Wire, turns


class FakeRuntime:
    """Counts; starts when it is let."""

    def __init__(self) -> None:
        self.is_started = False
        self.is_draining = False
        self.calls: list[str] = []
        self.may_start = asyncio.Event()
        self.may_start.set()

    async def start(self) -> None:
        self.calls.append("start")
        await self.may_start.wait()
        self.is_started = True

    async def drain(self) -> None:
        self.calls.append("drain")


async def served(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})


async def test_the_server_s_start_and_end_are_ours() -> None:
    runtime, wire = FakeRuntime(), Wire()
    wire.open(Lifespan(runtime))  # type: ignore[arg-type]
    assert (await wire.next())["type"] == "lifespan.startup.complete"
    await turns()
    assert runtime.calls == ["start"]
    wire.inbound.put_nowait({"type": "lifespan.shutdown"})
    assert (await wire.next())["type"] == "lifespan.shutdown.complete"
    assert runtime.calls == ["start", "drain"]


async def test_the_first_connection_starts_what_nobody_started() -> None:
    runtime = FakeRuntime()
    application = StartsFirst(served, runtime)  # type: ignore[arg-type]
    for _ in range(2):
        await Wire().opened(application)
    assert runtime.calls == ["start"]


async def test_while_draining_nothing_is_started() -> None:
    runtime = FakeRuntime()
    runtime.is_draining = True
    await Wire().opened(StartsFirst(served, runtime))  # type: ignore[arg-type]
    assert runtime.calls == []


async def test_a_socket_that_comes_before_the_database_is_told_to_try_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "START_SECONDS", 0)
    runtime, wire = FakeRuntime(), Wire()
    runtime.may_start.clear()
    await wire.opened(StartsFirst(served, runtime))  # type: ignore[arg-type]
    code, reason = await wire.ending()
    assert code == 1013
    assert "later" in reason
