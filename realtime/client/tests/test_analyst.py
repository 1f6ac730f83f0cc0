"""The analyst scores every announced surgery once and outlives whatever goes wrong."""

import asyncio
import json
import threading
from types import SimpleNamespace
from uuid import UUID, uuid4

import httpx
import pytest

from realtime.client.analyst import Analyst
from realtime.client.tests.doubles import PROMPT, Time, body_of, closing, rest_answering, serving
from realtime.core.movement import Movement

MOVEMENTS = [{"coordinates": [0.0, 0.0], "event": "FINISH", "timestamp": 1}]


class Records:
    """The REST side: every surgery exists; `failures` are answered before the good answer."""

    def __init__(self) -> None:
        self.scores: dict[UUID, float] = {}
        self.posts: list[UUID] = []
        self.failures: dict[UUID, list[int]] = {}
        self.asked: list[UUID] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        _, kind = request.url.path.rsplit("/", 1)
        surgery_id = UUID(request.url.path.split("/")[4])
        if kind == "analysis":
            self.posts.append(surgery_id)
            self.scores[surgery_id] = body_of(request)["score"]
            return httpx.Response(204)
        self.asked.append(surgery_id)
        if self.failures.get(surgery_id):
            return httpx.Response(self.failures[surgery_id].pop(0), json={"error": "no"})
        trajectory = {
            "surgeryId": str(surgery_id),
            "startTime": "2026-03-05T10:30:00",
            "endTime": "2026-03-05T10:31:00",
            "movements": MOVEMENTS,
            "score": self.scores.get(surgery_id),
            "feedback": None,
        }
        return httpx.Response(200, json=trajectory)


class Desk:
    """An analyst at work against `records`, and a way to wait for what it did."""

    def __init__(self, records: Records, *, expected: int) -> None:
        self.records = records
        self.done: list[UUID] = []
        self._expected = expected
        self._enough = asyncio.Event()
        self.first_is_done = asyncio.Event()

    def note(self, surgery_id: UUID, score: float) -> None:
        self.done.append(surgery_id)
        self.first_is_done.set()
        if len(self.done) >= self._expected:
            self._enough.set()

    async def work(self, url, assess=None, **options) -> None:
        """Run until as many analyses as expected are posted."""
        clock = Time()
        async with rest_answering(url, self.records) as rest:
            analyst = Analyst(
                rest,
                assess or _assess,
                backoff=PROMPT,
                on_analysed=self.note,
                sleep=clock.sleep,
                clock=clock,
                **options,
            )
            running = asyncio.create_task(analyst.run())
            await self._enough.wait()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def _assess(movements):
    assert movements == [Movement([0.0, 0.0], "FINISH", 1)]
    return SimpleNamespace(score=77.5, feedback="bien")


def _announcement(surgery_id: UUID) -> str:
    return json.dumps({"event": "NEW_SURGERY", "surgeryId": str(surgery_id)})


def _announcing(*surgeries: UUID, then=None):
    async def handle(connection):
        await connection.send('{"status":"connected","message":"IA conectada exitosamente"}')
        for surgery_id in surgeries:
            await connection.send(
                json.dumps({"event": "NEW_SURGERY", "surgeryId": str(surgery_id)})
            )
        if then is not None:
            await then(connection)
        await connection.wait_closed()

    return handle


@pytest.fixture
def records() -> Records:
    return Records()


async def test_an_announced_surgery_is_scored_and_posted(records):
    surgery = uuid4()
    async with serving(_announcing(surgery)) as url:
        await Desk(records, expected=1).work(url)
    assert records.scores == {surgery: 77.5}


async def test_a_surgery_announced_again_is_analysed_once(records):
    first, second = uuid4(), uuid4()
    again = _announcing(first, first, then=closing(1012))
    async with serving(again, _announcing(first, second)) as url:
        await Desk(records, expected=2).work(url)
    assert sorted(records.posts) == sorted([first, second])


async def test_a_surgery_scored_by_another_is_left_alone(records):
    scored, fresh = uuid4(), uuid4()
    records.scores[scored] = 12.0
    async with serving(_announcing(scored, fresh)) as url:
        await Desk(records, expected=1).work(url, at_once=1)
    assert records.posts == [fresh]


async def test_a_failing_request_is_tried_again(records):
    surgery = uuid4()
    records.failures[surgery] = [503, 500]
    async with serving(_announcing(surgery)) as url:
        await Desk(records, expected=1).work(url)
    assert records.asked == [surgery] * 3


async def test_a_surgery_that_does_not_exist_is_asked_for_once(records):
    missing, fresh = uuid4(), uuid4()
    records.failures[missing] = [404] * 9
    async with serving(_announcing(missing, fresh)) as url:
        await Desk(records, expected=1).work(url, at_once=1)
    assert records.asked == [missing, fresh]


async def test_a_surgery_that_cannot_be_scored_stops_nothing(records):
    bad, good = uuid4(), uuid4()
    calls = []

    def assess(movements):
        calls.append(movements)
        if len(calls) == 1:
            raise ValueError("an empty trajectory")
        return _assess(movements)

    async with serving(_announcing(bad, good)) as url:
        await Desk(records, expected=1).work(url, assess, at_once=1)
    assert records.posts == [good]


async def test_what_failed_too_often_is_tried_anew_when_announced_again(records):
    failing, other = uuid4(), uuid4()
    records.failures[failing] = [503, 503]
    desk = Desk(records, expected=2)

    async def announce_again_after_the_other(connection):
        await desk.first_is_done.wait()
        await connection.send(_announcement(failing))

    handler = _announcing(failing, other, then=announce_again_after_the_other)
    async with serving(handler) as url:
        await desk.work(url, at_once=1, attempts=2)
    assert records.posts == [other, failing]


async def test_as_many_as_allowed_are_analysed_at_once_and_no_more(records):
    surgeries = [uuid4() for _ in range(12)]
    three = threading.Barrier(3, timeout=10)
    running, most = set(), []

    def assess(movements):
        running.add(threading.get_ident())
        most.append(len(running))
        three.wait()
        running.discard(threading.get_ident())
        three.wait()
        return _assess(movements)

    async with serving(_announcing(*surgeries)) as url:
        await Desk(records, expected=12).work(url, assess, at_once=3)
    assert max(most) == 3
    assert sorted(records.posts) == sorted(surgeries)
