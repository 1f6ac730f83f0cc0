"""A child process for what computes: results, errors, limits, and a child that dies."""

import asyncio
import math
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from realtime.core import apart as module
from realtime.core.apart import apart, run_apart, stop_apart
from realtime.core.errors import Unavailable


@pytest.fixture(autouse=True, scope="module")
def _no_child_outlives_these_tests() -> Iterator[None]:
    yield
    stop_apart()


def test_it_runs_in_another_process() -> None:
    assert run_apart(os.getpid) != os.getpid()


def test_it_yields_the_processor_to_the_server() -> None:
    assert run_apart(os.nice, 0) >= os.nice(0) + module.NICENESS


def test_what_the_function_raises_is_raised_here() -> None:
    with pytest.raises(ValueError, match="not defined for negative"):
        run_apart(math.factorial, -1)


async def test_a_coroutine_waits_without_a_thread() -> None:
    assert await apart(math.factorial, 5) == 120


async def test_many_coroutines_share_the_child() -> None:
    results = await asyncio.gather(*(apart(math.factorial, n) for n in range(10)))
    assert results == [math.factorial(n) for n in range(10)]


def test_more_than_may_wait_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_waiting", module.threading.BoundedSemaphore(1))
    module._waiting.acquire()
    with pytest.raises(Unavailable, match="later"):
        run_apart(os.getpid)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_child_that_dies_is_told_and_the_next_call_has_a_new_one(is_async: bool) -> None:
    with pytest.raises(Unavailable, match="cut short"):
        _run(os._exit, 3, is_async=is_async)
    assert run_apart(math.factorial, 4) == 24


def test_a_child_that_was_killed_while_idle_is_replaced() -> None:
    """The system kills a child that took too much memory; nobody waits for it then."""
    child = run_apart(os.getpid)
    os.kill(child, 9)
    _wait_for_the_end_of(child)
    results = []
    for _ in range(2):
        try:
            results.append(run_apart(math.factorial, 4))
        except Unavailable:
            continue
    assert results[-1:] == [24]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_computation_without_an_end_does_not_hold_up_the_next(is_async: bool) -> None:
    run_apart(os.getpid)
    with pytest.raises(Unavailable, match="too long"):
        _run(time.sleep, 3600, timeout_seconds=0.05, is_async=is_async)
    assert run_apart(math.factorial, 4, timeout_seconds=20) == 24


def _run(function: Callable[..., Any], *args: Any, is_async: bool, **options: float) -> Any:
    if is_async:
        return asyncio.run(apart(function, *args, **options))
    return run_apart(function, *args, **options)


def _wait_for_the_end_of(child: int) -> None:
    """Return once the pool has noticed and reaped its child."""
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{child}") and time.monotonic() < deadline:
        os.sched_yield()
