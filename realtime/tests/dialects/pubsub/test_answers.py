"""Answers keep the order of the questions, and so many may be open."""

import asyncio

import pytest

from realtime.dialects.pubsub import answers as module
from realtime.dialects.pubsub.answers import Answers
from realtime.tests.wire import turns


class Asked:
    """Questions whose answers the test gives."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.answers = Answers(self.written.append)

    def ask(self) -> "asyncio.Future[bytes | None]":
        future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

        async def work() -> bytes | None:
            return await future

        self.answers.expect(work())
        return future


@pytest.fixture
def asked() -> Asked:
    return Asked()


async def test_answers_keep_the_order_of_the_questions(asked: Asked) -> None:
    first, second, third = asked.ask(), asked.ask(), asked.ask()
    third.set_result(b"3")
    second.set_result(b"2")
    await turns()
    assert asked.written == []
    first.set_result(b"1")
    await turns()
    assert asked.written == [b"1", b"2", b"3"]


async def test_what_is_known_at_once_waits_for_what_was_asked_before(asked: Asked) -> None:
    asked.answers.put(b"0")
    first = asked.ask()
    asked.answers.put(b"2")
    assert asked.written == [b"0"]
    first.set_result(b"1")
    await turns()
    assert asked.written == [b"0", b"1", b"2"]


async def test_no_answer_is_no_message(asked: Asked) -> None:
    asked.ask().set_result(None)
    await turns()
    assert (asked.written, len(asked.answers)) == ([], 0)


async def test_who_wants_all_answers_waits_for_them(asked: Asked) -> None:
    first, second = asked.ask(), asked.ask()
    waiting = asyncio.ensure_future(asked.answers.until_all())
    first.set_result(b"1")
    await turns()
    assert not waiting.done()
    second.set_result(b"2")
    await waiting
    assert asked.written == [b"1", b"2"]


async def test_so_many_may_be_open(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPEN_MAX", 2)
    first, _ = asked.ask(), asked.ask()
    waiting = asyncio.ensure_future(asked.answers.until_room())
    await turns()
    assert not waiting.done()
    first.set_result(b"1")
    await waiting
