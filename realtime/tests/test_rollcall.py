"""The roll call: what each process answers, who did not, and connections that are ended."""

import asyncio
from typing import Any

import pytest

from realtime import rollcall
from realtime.core.errors import Unavailable
from realtime.core.events import ConnectionEnded
from realtime.core.frames import Frame
from realtime.hub import Hub
from realtime.rollcall import ANSWER, ASK, Answer, Question, RollCall, end_connections
from realtime.tests.doubles import NOW, PlainDialect, principal, user_id_of
from realtime.tests.hubs import joined, transport_of


class Wires:
    """Carries what processes tell each other; who is `deaf` hears nothing."""

    def __init__(self) -> None:
        self.deaf: set[str] = set()
        self.told: list[tuple[str, str]] = []
        self._calls: dict[str, RollCall] = {}

    def add(self, node: str, hub: Hub) -> RollCall:
        def tell(kind: str, body: Any) -> None:
            self.told.append((node, kind))
            for name, other in self._calls.items():
                if name != node and name not in self.deaf:
                    {ASK: other.on_asked, ANSWER: other.on_answered}[kind](node, body)

        self._calls[node] = call = RollCall(hub)
        call.connect(tell)
        return call


def names(answer: Answer) -> list[str]:
    return [line.username for line in answer.lines]


async def test_everybody_answers_with_what_they_have() -> None:
    wires = Wires()
    here, there = Hub(epoch="e"), Hub(epoch="e")
    call = wires.add("here", here)
    wires.add("there", there)
    joined(here, who=principal("ana"))
    bea = joined(there, "chat.general", who=principal("bea"), dialect=PlainDialect("pubsub"))
    bea.session.messages_in = 3
    bea.send(Frame(b"hello"))
    roll = await call.call(Question(), own="here", others={"here", "there"})
    assert (roll.total, roll.shown, roll.silent) == (2, 2, [])
    assert names(roll.answers["here"]) == ["ana"]
    [line] = roll.answers["there"].lines
    assert (line.id, line.user_id) == (bea.session.id, str(user_id_of("bea")))
    assert (line.dialect, line.endpoint, line.role) == ("pubsub", "pubsub", "ROLE_OPERATOR")
    assert (line.patterns, line.subscriptions, line.is_blocked) == (["chat.general"], 1, False)
    assert (line.messages_in, line.messages_out, line.opened_at) == (3, 1, NOW.timestamp())


async def test_who_does_not_answer_in_time_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollcall, "ANSWER_SECONDS", 0.01)
    wires = Wires()
    wires.deaf.add("dead")
    call = wires.add("here", Hub(epoch="e"))
    wires.add("dead", Hub(epoch="e"))
    roll = await call.call(Question(), own="here", others={"here", "dead"})
    assert roll.silent == ["dead"]
    assert not call._calls


async def test_alone_nobody_is_asked() -> None:
    wires = Wires()
    call = wires.add("here", Hub(epoch="e"))
    roll = await call.call(Question(), own="here", others={"here"})
    assert (roll.total, roll.silent, wires.told) == (0, [], [])


async def test_an_answer_to_somebody_else_is_passed_over() -> None:
    wires = Wires()
    for node in ("one", "two", "three"):
        wires.add(node, Hub(epoch="e"))
    call = wires._calls["one"]
    await call.call(Question(), own="one", others={"two", "three"})
    call.on_answered("two", {"call": "unknown", "answer": {"total": 0, "lines": []}})


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (Question(), ["ana", "bea"]),
        (Question(search="AN"), ["ana"]),
        (Question(search="bea-1"), ["bea"]),
        (Question(search="nobody"), []),
        (Question(endpoint="ai"), ["bea"]),
        (Question(endpoint="ai", search="ana"), []),
        (Question(user_id=str(user_id_of("bea"))), ["bea"]),
        (Question(ids=["bea-1", "x"]), ["bea"]),
    ],
)
def test_a_question_names_whom_it_is_about(question: Question, expected: list[str]) -> None:
    hub = Hub(epoch="e")
    joined(hub, who=principal("ana"))
    joined(hub, who=principal("bea"), endpoint="ai", id="bea-1")
    assert names(RollCall(hub).answer(question)) == expected


def test_an_answer_is_bounded_and_says_how_many_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rollcall, "SHOWN_MAX", 3)
    hub = Hub(epoch="e")
    for number in range(5):
        joined(hub, who=principal(f"user {number}"))
    many = [f"chat.{'x' * 100}{number}" for number in range(20)]
    joined(hub, *many, who=principal("zoe"))
    assert RollCall(hub).answer(Question()).total == 6
    assert len(RollCall(hub).answer(Question()).lines) == 3
    [line] = RollCall(hub).answer(Question(search="zoe")).lines
    assert line.subscriptions == 20
    assert len(line.patterns) == rollcall.PATTERNS_SHOWN
    assert max(map(len, line.patterns)) == rollcall.PATTERN_CHARACTERS


async def test_a_thread_may_ask() -> None:
    hub = Hub(epoch="e")
    joined(hub, who=principal("ana"))
    call = RollCall(hub)
    with pytest.raises(Unavailable, match="serves no connections"):
        await asyncio.to_thread(call.ask, Question(), own="here", others=[])
    call.connect(lambda kind, body: None)
    roll = await asyncio.to_thread(call.ask, Question(), own="here", others=[])
    assert roll.total == 1


# --- Ending --------------------------------------------------------------------------------


def ended(**whom: Any) -> ConnectionEnded:
    return ConnectionEnded(id="x", at=NOW, by="root", **whom)


def test_one_connection_is_ended_with_1008() -> None:
    hub = Hub(epoch="e")
    ana, also_ana = (joined(hub, who=principal("ana")) for _ in range(2))
    assert end_connections(hub, ended(connection_id=ana.session.id)) == 1
    ending = transport_of(ana).ending
    assert ending is not None
    assert (ending.code, ending.reason) == (1008, "an operator ended this connection")
    assert transport_of(also_ana).ending is None


def test_all_connections_of_a_user_are_ended() -> None:
    hub = Hub(epoch="e")
    anas = [joined(hub, who=principal("ana")) for _ in range(3)]
    bea = joined(hub, who=principal("bea"))
    assert end_connections(hub, ended(user_id=user_id_of("ana"))) == 3
    assert all(transport_of(each).ending for each in anas)
    assert transport_of(bea).ending is None


def test_an_event_that_names_nobody_ends_nothing() -> None:
    hub = Hub(epoch="e")
    joined(hub)
    assert end_connections(hub, ended()) == 0
