"""Limits: what fits, what does not, and when it would. Time is a number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.core.limits import ConnectionBudget, TokenBucket

seconds = st.floats(0, 3, allow_nan=False, allow_subnormal=False)


def test_a_second_s_worth_may_come_at_once_and_no_more() -> None:
    bucket = TokenBucket(3, now=10.0)
    assert [bucket.take(10.0) for _ in range(3)] == [0.0] * 3
    assert bucket.take(10.0) == pytest.approx(1 / 3)


def test_a_refusal_says_when_to_try_again() -> None:
    bucket = TokenBucket(4, now=0.0)
    for _ in range(4):
        bucket.take(0.0)
    wait = bucket.take(0.0)
    assert bucket.take(wait - 0.01) > 0
    assert bucket.take(wait + 0.001) == 0.0


def test_a_refused_event_costs_nothing() -> None:
    bucket = TokenBucket(1, now=0.0)
    bucket.take(0.0)
    waits = [bucket.take(0.0) for _ in range(5)]
    assert waits == [1.0] * 5


def test_an_event_may_weigh_more_than_one() -> None:
    bucket = TokenBucket(10, now=0.0)
    assert bucket.take(0.0, 8) == 0.0
    assert bucket.take(0.0, 4) == pytest.approx(0.2)


def test_a_rate_of_nothing_is_no_limit() -> None:
    bucket = TokenBucket(0, now=0.0)
    assert not any(bucket.take(0.0, 1_000) for _ in range(100))


@given(st.integers(1, 20), st.lists(seconds, max_size=80))
def test_never_more_than_the_rate_and_one_burst_in_any_time(rate: int, steps: list[float]) -> None:
    now, admitted = 0.0, []
    bucket = TokenBucket(rate, now=now)
    for step in steps:
        now += step
        if not bucket.take(now):
            admitted.append(now)
    for index, begin in enumerate(admitted):
        for count, end in enumerate(admitted[index:], start=1):
            assert count <= rate * (end - begin) + rate + 1e-6


# --- Connections ----------------------------------------------------------------------------


def test_a_key_has_so_many_connections_open_and_no_more() -> None:
    budget = ConnectionBudget(connections=2, per_minute=0)
    assert [budget.admit("a", 0.0) for _ in range(3)] == [True, True, False]
    assert budget.admit("b", 0.0)
    budget.release("a")
    assert budget.admit("a", 0.0)


def test_a_key_has_so_many_new_connections_a_minute() -> None:
    budget = ConnectionBudget(connections=0, per_minute=2)
    for _ in range(2):
        assert budget.admit("a", 0.0)
        budget.release("a")
    assert not budget.admit("a", 59.9)
    assert budget.admit("a", 60.0)


def test_a_refused_connection_is_not_counted() -> None:
    budget = ConnectionBudget(connections=1, per_minute=2)
    assert budget.admit("a", 0.0)
    assert not budget.admit("a", 0.0)
    budget.release("a")
    assert budget.admit("a", 0.0)


def test_nothing_is_limited_by_nothing() -> None:
    budget = ConnectionBudget(connections=0, per_minute=0)
    assert all(budget.admit("a", 0.0) for _ in range(100))


def test_releasing_too_often_gives_no_credit() -> None:
    budget = ConnectionBudget(connections=1, per_minute=0)
    budget.release("a")
    assert budget.admit("a", 0.0)
    assert not budget.admit("a", 0.0)


def test_no_more_keys_are_remembered_than_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConnectionBudget, "MAX_KEYS", 10)
    budget = ConnectionBudget(connections=0, per_minute=1)
    for number in range(100):
        address = f"2001:db8::{number:x}"
        assert budget.admit(address, 0.0)
        budget.release(address)
    assert len(budget._recent) <= 10
    assert not budget.admit("2001:db8::63", 1.0), "the latest must still be known"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_open_connections_are_counted_rightly_in_any_order(
    steps: list[tuple[str, bool]],
) -> None:
    budget = ConnectionBudget(connections=2, per_minute=0)
    expected = {"a": 0, "b": 0, "c": 0}
    for address, arrives in steps:
        if arrives:
            assert budget.admit(address, 0.0) == (expected[address] < 2)
            expected[address] = min(2, expected[address] + 1)
        elif expected[address]:
            budget.release(address)
            expected[address] -= 1
