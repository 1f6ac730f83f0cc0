"""Crossing to the database and back: on threads of our own, which keep no connection for long."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
from django.db import DatabaseError, connection
from pytest_django import Settings

from realtime.calls import call, stop_calls
from realtime.models import Node


async def test_a_function_runs_in_a_thread_of_ours() -> None:
    name = await call(lambda: threading.current_thread().name)
    assert name.startswith("call")


async def test_arguments_go_in_and_the_result_comes_out() -> None:
    assert await call(divmod, 17, 5) == (3, 2)
    assert await call(sorted, [1, 3, 2], reverse=True) == [3, 2, 1]


async def test_what_the_function_raises_is_raised_here() -> None:
    with pytest.raises(ZeroDivisionError):
        await call(divmod, 1, 0)


async def test_one_slow_call_does_not_hold_up_another() -> None:
    may_go_on = threading.Event()
    slow = asyncio.ensure_future(call(may_go_on.wait, 10))
    assert await call(divmod, 7, 2) == (3, 1)
    assert not slow.done()
    may_go_on.set()
    assert await slow


async def test_cancelling_the_caller_does_not_stop_the_function() -> None:
    has_begun, may_go_on, is_done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        has_begun.set()
        may_go_on.wait(10)
        is_done.set()

    calling = asyncio.ensure_future(call(work))
    await call(has_begun.wait, 10)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    may_go_on.set()
    assert await call(is_done.wait, 10)


async def test_after_stopping_a_new_call_starts_anew() -> None:
    before = await call(threading.current_thread)
    await asyncio.to_thread(stop_calls)
    assert not before.is_alive()
    assert await call(divmod, 7, 2) == (3, 1)


def test_stopping_what_never_started_does_nothing() -> None:
    stop_calls()
    stop_calls()


@pytest.fixture
def threads(settings: Settings) -> Iterator[Callable[[int], None]]:
    """Return what sets the number of threads; they are stopped while it still holds."""

    def limit(count: int) -> None:
        settings.CALL_THREADS = count

    yield limit
    stop_calls()


def _connection_left_open() -> object:
    """Return what is left of the last call's connection, then use the database."""
    left = connection.connection
    assert Node.objects.count() == 0
    return left


@pytest.mark.django_db(transaction=True)
async def test_a_thread_keeps_an_sqlite_file_open_and_gives_a_postgresql_connection_back(
    threads: Callable[[int], None],
) -> None:
    threads(1)
    assert await call(_connection_left_open) is None
    left = await call(_connection_left_open)
    assert (left is not None) == (connection.vendor == "sqlite")


@pytest.mark.django_db(transaction=True)
async def test_a_connection_that_made_trouble_is_not_kept(threads: Callable[[int], None]) -> None:
    threads(1)

    def break_it() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nonsense FROM nowhere")

    with pytest.raises(DatabaseError):
        await call(break_it)
    assert await call(_connection_left_open) is None


@pytest.mark.django_db(transaction=True)
async def test_stopping_closes_every_thread_s_connection(
    threads: Callable[[int], None],
) -> None:
    threads(3)
    together = threading.Barrier(3)

    def use() -> object:
        together.wait(10)
        Node.objects.count()
        return connection

    used = await asyncio.gather(*(call(use) for _ in range(3)))
    await asyncio.to_thread(stop_calls)
    assert all(each.connection is None for each in used)
