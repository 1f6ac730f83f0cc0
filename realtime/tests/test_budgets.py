"""Budgets: what one user, and a dialect, may have open in all processes together."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime import budgets as module
from realtime.budgets import COUNTS, Budgets, SharedBudget
from realtime.core.limits import DialectLimits

LIMITS = {
    "telemetry": DialectLimits(
        connections_per_user=2, connections_total=3, connections_per_minute=4
    ),
    "surgery": DialectLimits(),
}


class Net:
    """Processes that hear each other; what is said waits until it is delivered, or lost."""

    def __init__(self, *names: str) -> None:
        self.said: list[tuple[str, str, Any]] = []
        self.budgets: dict[str, Budgets] = {}
        for name in names:
            self.start(name)

    def start(self, name: str) -> Budgets:
        budgets = self.budgets[name] = Budgets(LIMITS)
        budgets.connect(lambda kind, body: self.said.append((name, kind, body)))
        return budgets

    def speak(self, now: float = 0.0) -> None:
        """Have everyone say what is due, and everyone else hear it, until nothing is."""
        for budgets in self.budgets.values():
            budgets.flush(now)
        self.deliver(now)
        if any(budgets._is_due for budgets in self.budgets.values()):
            self.speak(now)

    def deliver(self, now: float = 0.0) -> None:
        while self.said:
            speaker, kind, body = self.said.pop(0)
            assert kind == COUNTS
            for name, budgets in self.budgets.items():
                if name != speaker:
                    budgets.on_told(speaker, body, now)

    def lose(self) -> None:
        for budgets in self.budgets.values():
            budgets.flush(0.0)
        self.said.clear()

    def telemetry(self, name: str) -> SharedBudget:
        return self.budgets[name]["telemetry"]


@pytest.fixture(autouse=True)
def _no_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests say themselves when it is time."""

    class Loop:
        def call_later(self, *_: Any) -> None: ...

    monkeypatch.setattr(module.asyncio, "get_running_loop", Loop)


@pytest.fixture
def net() -> Net:
    net = Net("a", "b")
    net.speak()
    return net


# --- In one process ------------------------------------------------------------------------


def test_a_user_has_so_many_open_and_is_told_the_limit_and_the_use() -> None:
    budget = SharedBudget(DialectLimits(connections_per_user=2))
    assert [budget.admit("ana", 0.0) for _ in range(2)] == [None, None]
    refusal = budget.admit("ana", 0.0)
    assert refusal is not None
    assert (refusal.kind, refusal.name) == ("too_many_connections", "connections_per_user")
    assert (refusal.limit, refusal.used) == (2, 2)
    assert refusal.retry_after_ms > 0
    assert budget.admit("eva", 0.0) is None
    budget.release("ana")
    assert budget.admit("ana", 0.0) is None


def test_a_dialect_has_so_many_open() -> None:
    budget = SharedBudget(DialectLimits(connections_total=1))
    assert budget.admit("ana", 0.0) is None
    refusal = budget.admit("eva", 0.0)
    assert refusal is not None
    assert (refusal.kind, refusal.name) == ("too_many_connections", "connections_total")


def test_a_user_has_so_many_new_ones_a_minute_and_is_told_when_the_next_fits() -> None:
    budget = SharedBudget(DialectLimits(connections_per_minute=2))
    for moment in (0.0, 20.0):
        assert budget.admit("ana", moment) is None
        budget.release("ana")
    refusal = budget.admit("ana", 50.0)
    assert refusal is not None
    assert (refusal.kind, refusal.limit, refusal.used) == ("rate_limited", 2, 2)
    assert refusal.retry_after_ms == 10_001
    assert budget.admit("ana", 60.1) is None
    assert budget.admit("ana", 60.2) is not None


def test_a_refused_connection_is_not_counted() -> None:
    budget = SharedBudget(DialectLimits(connections_per_user=1, connections_per_minute=2))
    assert budget.admit("ana", 0.0) is None
    assert budget.admit("ana", 0.0) is not None
    budget.release("ana")
    assert budget.admit("ana", 0.0) is None


def test_nothing_is_limited_or_counted_by_nothing() -> None:
    budget = SharedBudget(DialectLimits())
    assert not any(budget.admit("ana", 0.0) for _ in range(100))
    assert budget.own.open == {}
    budget.release("ana")
    assert budget.total == 0


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.booleans())))
def test_processes_that_hear_each_other_count_as_one(
    steps: list[tuple[str, str, bool]],
) -> None:
    net = Net("a", "b")
    limits = {"telemetry": DialectLimits(connections_per_user=2, connections_total=3)}
    for name in net.budgets:
        net.telemetry(name).limits = limits["telemetry"]
    net.speak()
    holds: list[tuple[str, str]] = []
    for process, user, arrives in steps:
        if arrives:
            fits = len(holds) < 3 and sum(held == user for _, held in holds) < 2
            assert (net.telemetry(process).admit(user, 0.0) is None) == fits
            if fits:
                holds.append((process, user))
        elif (process, user) in holds:
            holds.remove((process, user))
            net.telemetry(process).release(user)
        net.speak()
        assert net.telemetry("a").total == net.telemetry("b").total == len(holds)


# --- Between processes ---------------------------------------------------------------------


def test_what_is_open_elsewhere_counts_here(net: Net) -> None:
    for name in ("a", "b"):
        assert net.telemetry(name).admit("ana", 0.0) is None
    net.speak()
    refusal = net.telemetry("b").admit("ana", 0.0)
    assert refusal is not None
    assert (refusal.name, refusal.used) == ("connections_per_user", 2)
    net.telemetry("a").release("ana")
    net.speak()
    assert net.telemetry("b").admit("ana", 0.0) is None


def test_the_total_of_all_counts(net: Net) -> None:
    for user in ("ana", "eva", "ida"):
        assert net.telemetry("a").admit(user, 0.0) is None
    net.speak()
    refusal = net.telemetry("b").admit("uma", 0.0)
    assert refusal is not None
    assert (refusal.name, refusal.used) == ("connections_total", 3)


def test_new_ones_elsewhere_count_here_and_say_when_the_next_fits(net: Net) -> None:
    for moment in (10.0, 11.0, 12.0, 13.0):
        net.telemetry("a").admit("ana", moment)
        net.telemetry("a").release("ana")
    net.speak(13.0)
    refusal = net.telemetry("b").admit("ana", 20.0)
    assert refusal is not None
    assert (refusal.kind, refusal.used, refusal.retry_after_ms) == ("rate_limited", 4, 50_001)
    assert net.telemetry("b").admit("ana", 70.1) is None


def test_only_what_changed_is_told(net: Net) -> None:
    net.telemetry("a").admit("ana", 0.0)
    net.speak()
    net.telemetry("a").admit("eva", 0.0)
    net.budgets["a"].flush(0.0)
    (_, _, body) = net.said.pop()
    total, users = body["dialects"]["telemetry"]
    assert (total, list(users), body["everything"]) == (2, ["eva"], False)


def test_many_changes_are_told_at_once_and_a_flood_in_pieces(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "USERS_AT_ONCE", 10)
    net.telemetry("a").limits = DialectLimits(connections_per_user=1)
    for number in range(25):
        net.telemetry("a").admit(str(number), 0.0)
    net.budgets["a"].flush(0.0)
    assert [len(body["dialects"]["telemetry"][1]) for _, _, body in net.said] == [10, 10, 5]
    net.deliver()
    assert net.telemetry("b").total == 25
    assert len(net.telemetry("b").peers["a"].open) == 25


def test_who_starts_asks_for_everything(net: Net) -> None:
    net.telemetry("a").admit("ana", 0.0)
    net.telemetry("b").admit("ana", 0.0)
    net.speak()
    net.start("c").on_joined()
    net.speak()
    assert net.telemetry("c").total == 2
    assert net.telemetry("c").admit("ana", 0.0) is not None


def test_who_missed_a_message_asks_for_everything(net: Net) -> None:
    net.telemetry("a").admit("ana", 0.0)
    net.lose()
    net.telemetry("a").admit("eva", 0.0)
    net.speak(now=10.0)
    assert net.telemetry("b").peers["a"].open == {"ana": 1, "eva": 1}


def test_a_loss_shows_at_the_next_heartbeat(net: Net) -> None:
    net.telemetry("a").admit("ana", 0.0)
    net.lose()
    assert net.telemetry("b").total == 0
    net.budgets["a"].beat({"a", "b"}, 10.0)
    net.speak(now=10.0)
    assert net.telemetry("b").total == 1


def test_an_answer_that_is_lost_is_asked_for_again_later_not_at_once(net: Net) -> None:
    net.telemetry("a").admit("ana", 0.0)
    net.lose()
    asks = 0
    for moment in (10.0, 10.1, 10.2, 11.5):
        net.budgets["a"].beat({"a", "b"}, moment)
        net.deliver(moment)
        net.budgets["b"].flush(moment)
        asks += sum(body["asks"] for _, _, body in net.said)
        net.said.clear()
    assert asks == 2


@pytest.mark.parametrize(
    ("living", "silence"),
    [
        pytest.param({"b"}, 1.0, id="its heartbeat is old"),
        pytest.param({"a", "b"}, module.SILENT_SECONDS + 1, id="it says nothing"),
    ],
)
def test_who_died_is_not_counted_any_more(net: Net, living: set[str], silence: float) -> None:
    net.telemetry("a").admit("ana", 0.0)
    net.speak()
    assert net.telemetry("b").total == 1
    net.budgets["b"].beat(living, silence)
    assert net.telemetry("b").total == 0
    assert net.telemetry("b").peers == {}


def test_who_was_forgotten_and_speaks_again_tells_everything(net: Net) -> None:
    net.telemetry("a").admit("ana", 0.0)
    net.speak()
    net.budgets["b"].beat({"b"}, 5.0)
    net.deliver(5.0)
    net.telemetry("a").admit("eva", 6.0)
    net.speak(6.0)
    assert net.telemetry("b").peers["a"].open == {"ana": 1, "eva": 1}


def test_whose_last_new_connection_is_a_minute_ago_is_forgotten(net: Net) -> None:
    net.telemetry("a").admit("ana", 0.0)
    net.telemetry("a").release("ana")
    net.speak()
    for budgets in net.budgets.values():
        budgets.beat({"a", "b"}, 61.0)
    for name in net.budgets:
        assert all(counts.recent == {} for counts in net.telemetry(name)._all())


def test_a_dialect_that_this_build_does_not_know_is_passed_over(net: Net) -> None:
    body = {"seq": 2, "everything": True, "asks": False, "dialects": {"semaphore": (1, {})}}
    net.budgets["b"].on_told("a", body, 0.0)


def test_processes_beyond_all_reason_are_not_remembered(net: Net) -> None:
    for number in range(module.PEERS_MAX * 2):
        body = {"seq": 1, "everything": True, "asks": False, "dialects": {"telemetry": (1, {})}}
        net.budgets["b"].on_told(f"node {number}", body, 0.0)
    assert len(net.telemetry("b").peers) <= module.PEERS_MAX


def test_nothing_is_told_when_nobody_is_to_be() -> None:
    budgets = Budgets(LIMITS)
    assert budgets["telemetry"].admit("ana", 0.0) is None
    budgets.flush(0.0)


async def test_changes_are_gathered_for_a_few_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    said: list[Any] = []
    budgets = Budgets(LIMITS)
    budgets.connect(lambda kind, body: said.append(body))
    for user in ("ana", "eva", "ida"):
        budgets["telemetry"].admit(user, 0.0)
    assert said == []
    await asyncio.sleep(module.GATHER_SECONDS * 4)
    (body,) = said
    assert list(body["dialects"]["telemetry"][1]) == ["ana", "eva", "ida"]
