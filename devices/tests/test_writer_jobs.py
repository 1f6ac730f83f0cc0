"""Jobs of the writer, and a database that does not answer."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from accounts.models import User
from devices import writer as writer_module
from devices.models import TrajectoryChunk
from devices.tests.builders import chunks_after, start
from devices.tests.writing import held_up, outcomes_of, run, stored
from devices.writer import Writer
from realtime.core.errors import Unavailable

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the writer pause for no time between its attempts."""
    monkeypatch.setattr(writer_module, "FIRST_PAUSE_SECONDS", 0.001)


# --- jobs -----------------------------------------------------------------------------


def test_a_job_runs_in_a_transaction_and_gives_its_result(surgeon: User, writer: Writer) -> None:
    async def main() -> bool:
        return await writer.submit(lambda: connection.in_atomic_block)

    assert run(main) is True


def test_a_job_that_fails_leaves_nothing_and_hurts_nobody(surgeon: User, writer: Writer) -> None:
    recording = start(surgeon)

    def job() -> None:
        User.objects.create_user("never")
        raise KeyError("no such thing")

    async def main() -> list[Any]:
        with held_up(writer):
            work = [
                writer.put(chunks_after(recording, [3])[0]),
                writer.submit(job),
                writer.submit(lambda: "fine"),
            ]
        return await asyncio.gather(*work, return_exceptions=True)

    before, failed, after = run(main)
    assert (before, after) == (None, "fine")
    assert isinstance(failed, KeyError)
    assert not User.objects.filter(username="never").exists()


def test_rows_and_jobs_keep_their_order(surgeon: User, writer: Writer) -> None:
    recording = start(surgeon)
    chunks = chunks_after(recording, [1] * 4)

    async def main() -> list[int]:
        with held_up(writer):
            seen = []
            for chunk in chunks:
                writer.put(chunk)
                seen.append(writer.submit(TrajectoryChunk.objects.count))
        return await asyncio.gather(*seen)

    assert run(main) == [1, 2, 3, 4]


def test_nobody_waits_for_a_future_that_was_cancelled(surgeon: User, writer: Writer) -> None:
    recording = start(surgeon)
    chunks = chunks_after(recording, [1, 1])

    async def main() -> None:
        with held_up(writer):
            dropped, kept = [writer.put(chunk) for chunk in chunks]
            dropped.cancel()
        await kept

    run(main)
    assert stored(recording.surgery_id) == [0, 1]


# --- a database that does not answer --------------------------------------------------


def failing(times: int, error: Exception) -> Callable[[], str]:
    """Return a job that works after it has failed that often."""
    left = iter([error] * times)

    def job() -> str:
        if problem := next(left, None):
            raise problem
        return "done"

    return job


@pytest.mark.usefixtures("impatient")
def test_what_the_database_was_away_for_is_tried_again(surgeon: User, writer: Writer) -> None:
    async def main() -> str:
        return await writer.submit(failing(2, OperationalError("database is locked")))

    assert run(main) == "done"


@pytest.mark.usefixtures("impatient")
def test_a_database_that_stays_away_is_told_to_whoever_waits(
    surgeon: User, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = start(surgeon)
    chunks = chunks_after(recording, [1, 1])

    def fail(*_: object) -> None:
        raise OperationalError("the connection is lost")

    with monkeypatch.context() as patch:
        patch.setattr(writer._chunks, "insert", fail)
        patch.setattr(writer_module, "RETRY_SECONDS", 0.02)
        assert [type(e) for e in outcomes_of(writer, chunks)] == [Unavailable, Unavailable]
    # And when it is back, so are we: nothing was skipped, nothing is stored twice.
    assert outcomes_of(writer, chunks) == [None, None]


@pytest.mark.usefixtures("impatient")
def test_after_a_commit_whose_answer_was_lost_rows_are_written_again_and_jobs_are_not(
    surgeon: User, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = start(surgeon)
    ran: list[str] = []
    # The row's first answer is lost, its second attempt is told, the job's answer is lost.
    is_told = iter([False, True, False])
    atomic = transaction.atomic

    @contextmanager
    def forgetful(*args: Any, **kwargs: Any) -> Iterator[None]:
        with atomic(*args, **kwargs):
            yield
        if kwargs.get("durable") and not next(is_told):
            raise OperationalError("the connection was lost during COMMIT")

    async def main() -> list[Any]:
        work = [
            writer.put(chunks_after(recording, [3])[0]),
            writer.submit(lambda: ran.append("once")),
        ]
        return await asyncio.gather(*work, return_exceptions=True)

    with monkeypatch.context() as patch:
        patch.setattr(writer_module.transaction, "atomic", forgetful)
        row, job = run(main)
    assert row is None
    assert stored(recording.surgery_id) == [0]
    assert isinstance(job, Unavailable)
    assert ran == ["once"]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no sessions to end")
def test_a_session_that_the_database_ended_is_replaced(surgeon: User, writer: Writer) -> None:
    recording = start(surgeon)

    def session() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return cursor.fetchone()[0]

    async def pid() -> int:
        return await writer.submit(session)

    ended = run(pid)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [ended])
    assert outcomes_of(writer, chunks_after(recording, [3])) == [None]
    assert run(pid) != ended
