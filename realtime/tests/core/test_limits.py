"""Limits: what fits, what does not, and when it would. Time is a number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.core.limits import (
    ConnectionBudget,
    ConnectionCounts,
    Flood,
    Recent,
    Refusal,
    TokenBucket,
)

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


# --- What is counted of a dialect -----------------------------------------------------------


@pytest.mark.parametrize("name", ["connections_total", "connections_per_user", "other"])
def test_a_refusal_fits_into_a_close_frame_and_says_limit_and_use(name: str) -> None:
    refusal = Refusal(kind="k", name=name, limit=10**9, used=10**9 + 1, retry_after_ms=59_001)
    assert len(refusal.reason.encode()) <= 123
    assert str(10**9) in refusal.reason
    assert str(10**9 + 1) in refusal.reason


def test_a_minute_slides_and_says_when_there_is_room() -> None:
    recent = Recent()
    for moment in (0.0, 10.0, 10.5, 30.0):
        recent.add(moment)
    assert recent.count(59.9) == 4
    assert recent.seconds_to_next(59.0) == pytest.approx(1.0)
    assert recent.count(60.0) == 3
    assert recent.count(70.0) == 1, "who came within a second leaves together"
    assert recent.count(90.0) == 0
    assert recent.seconds_to_next(90.0) == 60.0


def test_however_many_came_a_minute_stays_small() -> None:
    recent = Recent()
    for number in range(100_000):
        recent.add(number / 2_000)
    assert recent.count(50.0) == 100_000
    assert len(recent.ages(50.0)) <= 61


def test_counts_travel_by_age_to_another_clock() -> None:
    here, there = ConnectionCounts(), ConnectionCounts()
    for moment in (100.0, 120.0):
        here.add("ana", moment)
    here.remove("ana")
    there.put("ana", here.of("ana", 130.0), 5_000.0)
    assert there.open == {"ana": 1}
    assert there.recent_of("ana", 5_000.0) == 2
    assert there.recent_of("ana", 5_030.0) == 1
    assert there.recent_of("ana", 5_050.0) == 0


def test_what_another_process_no_longer_has_is_taken_back() -> None:
    counts = ConnectionCounts()
    counts.put("ana", (3, [(1.0, 3)]), 10.0)
    counts.put("ana", (0, []), 10.0)
    assert (counts.open, counts.recent) == ({}, {})


def test_handing_back_what_was_not_counted_is_no_credit() -> None:
    counts = ConnectionCounts()
    assert not counts.remove("ana")
    counts.add("ana", 0.0)
    assert counts.remove("ana")
    assert (counts.total, counts.open) == (0, {})


def test_of_the_recent_no_more_are_remembered_than_promised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ConnectionCounts, "MAX_KEYS", 10)
    counts = ConnectionCounts()
    for number in range(100):
        counts.add(str(number), 0.0)
        counts.remove(str(number))
        counts.put(f"other {number}", (1, [(0.0, 1)]), 0.0)
    assert len(counts.recent) == len(counts.open) == 10
    counts.forget_old(60.0)
    assert counts.recent == {}


# --- Floods --------------------------------------------------------------------------------


def goes_on_after(flood: Flood, *, per_second: int, seconds: float, start: float = 100.0) -> bool:
    """Tell whether so many a second, for so long, are taken for a flood at their end."""
    number = int(per_second * seconds)
    return [flood.goes_on(start + n / per_second) for n in range(number)][-1]


def test_what_goes_on_for_so_many_seconds_is_a_flood() -> None:
    flood = Flood(10, seconds=5)
    assert not goes_on_after(flood, per_second=10, seconds=5)
    assert flood.goes_on(105.0)


def test_one_below_the_number_is_no_flood() -> None:
    assert not goes_on_after(Flood(10, seconds=5), per_second=9, seconds=60)


def test_a_quiet_second_begins_anew() -> None:
    flood = Flood(10, seconds=5)
    assert not goes_on_after(flood, per_second=20, seconds=4.9)
    assert not goes_on_after(flood, per_second=20, seconds=4.9, start=106.0)
    assert goes_on_after(flood, per_second=20, seconds=5.1, start=200.0)
