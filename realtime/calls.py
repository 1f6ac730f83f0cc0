"""From a coroutine to the database and back, on a thread pool of our own.

asgiref's single thread would let one slow query freeze every socket. A service called
through here must not wait for another thread while it holds a transaction.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import Error as DatabaseProblem
from django.db import connections

P = ParamSpec("P")
T = TypeVar("T")

STOP_SECONDS = 10.0
AWAY_SECONDS = 1.0

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


async def call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `function` in a pool thread and return its result, or raise what it raised.

    Cancelling the caller does not stop the function: what it commits stays committed.
    """
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_ensure_pool(), lambda: _run(function, args, kwargs))


async def call_patiently(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Like `call`, but wait out a database that is away: ask again every `AWAY_SECONDS`."""
    while True:
        try:
            return await call(function, *args, **kwargs)
        except DatabaseProblem:
            await asyncio.sleep(AWAY_SECONDS)


def stop_calls() -> None:
    """Wait for the calls that run, close the threads' connections; a new call starts anew.

    A call that hangs is waited for `STOP_SECONDS`, then left behind.
    """
    global _pool
    with _lock:
        pool, _pool = _pool, None
    if pool is not None:
        # A connection can only be closed in its own thread: the barrier makes each take one turn.
        everyone = threading.Barrier(settings.CALL_THREADS)
        turns = [pool.submit(_close_connections, everyone) for _ in range(settings.CALL_THREADS)]
        _, hanging = wait(turns, timeout=STOP_SECONDS)
        pool.shutdown(wait=not hanging, cancel_futures=True)


def _ensure_pool() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(settings.CALL_THREADS, thread_name_prefix="call")
        return _pool


def _close_connections(everyone: threading.Barrier) -> None:
    with contextlib.suppress(threading.BrokenBarrierError):
        everyone.wait(timeout=STOP_SECONDS)
    connections.close_all()


def _run(function: Callable[..., T], args: tuple, kwargs: dict) -> T:
    try:
        return function(*args, **kwargs)
    finally:
        give_back_connections()


def give_back_connections() -> None:
    """Return this thread's PostgreSQL connection to the pool; keep an SQLite file open."""
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            continue
        if connection.vendor != "sqlite" or connection.errors_occurred:
            connection.close()
