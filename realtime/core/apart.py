"""A child process for what computes: a busy thread in the server would slow every socket.

A function handed over here must be importable by name without Django; its arguments and
result are pickled.
"""

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from realtime.core.errors import Unavailable

T = TypeVar("T")

WORKERS = 1
WAITING_MAX = 64
NICENESS = 10

_lock = threading.Lock()
_pool: ProcessPoolExecutor | None = None
_waiting = threading.BoundedSemaphore(WAITING_MAX)


def run_apart(function: Callable[..., T], *args: Any, timeout_seconds: float = 60) -> T:
    """Return `function(*args)`, computed in a child process; blocks the calling thread.

    Raises what the function raised, or Unavailable when `WAITING_MAX` calls wait already,
    the child died, or no answer came in time.
    """
    pool, future = _submit(function, args)
    try:
        result: T = future.result(timeout=timeout_seconds)
        return result
    except FutureTimeout:
        _give_up(pool, future)
        raise Unavailable("the computation took too long: try again later") from None
    except BrokenProcessPool as error:
        raise Unavailable("the computation was cut short: try again") from error


async def apart(function: Callable[..., T], *args: Any, timeout_seconds: float = 60) -> T:
    """The same for a coroutine: waits without holding a thread."""
    pool, future = _submit(function, args)
    try:
        result: T = await asyncio.wait_for(asyncio.wrap_future(future), timeout_seconds)
        return result
    except TimeoutError:
        _give_up(pool, future)
        raise Unavailable("the computation took too long: try again later") from None
    except BrokenProcessPool as error:
        raise Unavailable("the computation was cut short: try again") from error


def stop_apart() -> None:
    """End the child process, if there is one; called once when the server drains."""
    pool = _pool
    if pool is not None:
        _forget_pool(pool)
        pool.shutdown(wait=False, cancel_futures=True)


def _submit(
    function: Callable[..., Any], args: tuple[Any, ...]
) -> tuple[ProcessPoolExecutor, Future[Any]]:
    if not _waiting.acquire(blocking=False):
        raise Unavailable(f"{WAITING_MAX} computations are waiting already: try again later")
    try:
        pool, future = _hand_over(function, args)
    except BaseException:
        _waiting.release()
        raise
    future.add_done_callback(lambda _: _waiting.release())
    return pool, future


def _hand_over(
    function: Callable[..., Any], args: tuple[Any, ...]
) -> tuple[ProcessPoolExecutor, Future[Any]]:
    pool = _ensure_pool()
    try:
        return pool, pool.submit(function, *args)
    except BrokenProcessPool:
        # Its child has died; whoever waited for it was told.
        _forget_pool(pool)
        pool = _ensure_pool()
        return pool, pool.submit(function, *args)


def _give_up(pool: ProcessPoolExecutor, future: Future[Any]) -> None:
    """Withdraw a call, or end the child that would compute on and let nobody else in."""
    if not future.cancel() and not future.done():
        _forget_pool(pool)
        for child in list(pool._processes.values()):
            child.kill()


def _ensure_pool() -> ProcessPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            # spawn: a forked copy of a threaded server may hold locks that nobody releases.
            context = multiprocessing.get_context("spawn")
            _pool = ProcessPoolExecutor(WORKERS, mp_context=context, initializer=_be_modest)
        return _pool


def _forget_pool(pool: ProcessPoolExecutor | None) -> None:
    """The next call makes a new pool, unless somebody made one already."""
    global _pool
    with _lock:
        if _pool is pool:
            _pool = None


def _be_modest() -> None:
    """Yield the processor to the server that asked."""
    os.nice(NICENESS)
