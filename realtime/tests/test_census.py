"""The census: who was reached, over all processes that answer in time."""

import asyncio
from typing import Any

import pytest

from realtime import census as module
from realtime.census import CENSUS, Census, Reached
from realtime.tests.message_events import direct_message, published
from realtime.tests.wire import turns


class Deployment:
    """Processes that hear each other at once, but for those that are deaf."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)
        self.deaf: set[str] = set()
        self.silent: set[str] = set()
        self.told = 0
        self.processes = {name: self._process(name) for name in names}

    def _process(self, name: str) -> Census:
        def tell(kind: str, body: Any) -> None:
            assert kind == CENSUS
            self.told += 1
            for other in self.names - self.deaf - {name}:
                self.processes[other].on_told(name, body)

        def peers() -> tuple[set[str], set[str]]:
            others = self.names - {name}
            return others, others - self.silent

        return Census(name, tell=tell, peers=peers)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.02)


async def test_alone_the_count_is_known_at_delivery() -> None:
    alone = Deployment("a").processes["a"]
    reached = alone.expect(published("p"))
    assert not reached.done()
    alone.on_delivered(published("p"), ["s1", "s2"], 2)
    assert reached.result() == Reached(2)


async def test_others_are_asked_and_added() -> None:
    deployment = Deployment("a", "b", "c")
    a, b, c = deployment.processes.values()
    reached = a.expect(published("p"))
    b.on_delivered(published("p"), ["s1"], 1)
    a.on_delivered(published("p"), ["s2", "s3"], 2)
    # It is asked before it has delivered.
    await turns()
    assert not reached.done()
    c.on_delivered(published("p"), ["s4"], 1)
    assert await reached == Reached(4)


async def test_of_a_direct_message_the_connections_are_named() -> None:
    deployment = Deployment("a", "b")
    a, b = deployment.processes.values()
    reached = a.expect(direct_message("d"))
    b.on_delivered(direct_message("d"), ["s1"], 1)
    a.on_delivered(direct_message("d"), ["s2"], 1)
    assert (await reached).connections == ("s2", "s1")


async def test_who_does_not_answer_in_time_makes_it_partial() -> None:
    deployment = Deployment("a", "b", "c")
    deployment.deaf = {"c"}
    a, b, _ = deployment.processes.values()
    b.on_delivered(published("p"), [], 5)
    reached = a.expect(published("p"))
    a.on_delivered(published("p"), [], 1)
    assert await reached == Reached(6, (), is_partial=True)


async def test_who_cannot_be_asked_is_not_waited_for() -> None:
    deployment = Deployment("a", "b")
    deployment.silent = {"b"}
    a = deployment.processes["a"]
    reached = a.expect(published("p"))
    a.on_delivered(published("p"), [], 1)
    assert reached.result() == Reached(1, (), is_partial=True)


async def test_many_are_asked_for_in_one_message() -> None:
    deployment = Deployment("a", "b")
    a, b = deployment.processes.values()
    counts = []
    for number in range(100):
        event = published(f"p{number}")
        counts.append(a.expect(event))
        b.on_delivered(event, [], 1)
        a.on_delivered(event, [], 1)
    assert await asyncio.gather(*counts) == [Reached(2)] * 100
    assert deployment.told == 2


async def test_an_answer_counts_once() -> None:
    deployment = Deployment("a", "b", "c")
    deployment.deaf = {"b", "c"}
    a = deployment.processes["a"]
    reached = a.expect(published("p"))
    a.on_delivered(published("p"), [], 0)
    for _ in range(2):
        a.on_told("b", {"found": {"a": {"p": 7}}})
    a.on_told("stranger", {"found": {"a": {"p": 7}}})
    assert await reached == Reached(7, (), is_partial=True)
    a.on_told("c", {"found": {"a": {"p": 7}}})


async def test_what_is_forgotten_is_not_counted() -> None:
    alone = Deployment("a").processes["a"]
    reached = alone.expect(published("p"))
    alone.forget(published("p"))
    alone.on_delivered(published("p"), [], 1)
    assert not reached.done()


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 10)
    deployment = Deployment("a", "b")
    deployment.deaf = {"a"}
    b = deployment.processes["b"]
    for number in range(50):
        b.on_delivered(published(f"p{number}"), [], 1)
        b.on_told("a", {"ask": [f"q{number}"]})
    assert len(b._found) == len(b._asked) == 10
