"""What the tests of conversations share: serving processes, and an end to their threads."""

import sys
from collections.abc import AsyncIterator, Iterator

import pytest
from channels.layers import get_channel_layer

from realtime.calls import stop_calls
from realtime.hub import Hub
from realtime.runtime import Runtime
from realtime.tests.hubs import FakeClock, History


@pytest.fixture(autouse=True)
def _no_call_outlives_its_test() -> Iterator[None]:
    """No thread of ours keeps a connection after its test."""
    yield
    stop_calls()


@pytest.fixture
async def runtime() -> AsyncIterator[Runtime]:
    """Return what one serving process has, not started yet."""
    interval = sys.getswitchinterval()
    runtime = Runtime()
    yield runtime
    await runtime.stop()
    await get_channel_layer().flush()
    sys.setswitchinterval(interval)


@pytest.fixture
async def serving(runtime: Runtime) -> Runtime:
    """Return a serving process."""
    await runtime.start()
    return runtime


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that stands still."""
    return FakeClock()


@pytest.fixture
def hub(clock: FakeClock) -> Hub:
    """Return a hub that nobody has joined."""
    return Hub(epoch="e", clock=clock)


@pytest.fixture
def history(hub: Hub) -> History:
    """Return the journal that the hub reads."""
    return History(hub)
