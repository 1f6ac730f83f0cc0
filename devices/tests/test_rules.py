"""The engine of alert rules: hysteresis, hold times, cooldown, absence, and finding the rules."""

import itertools
import math
import pickle
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.rules import (
    FRESH,
    LONGEST,
    Condition,
    Decision,
    Rule,
    RuleBook,
    RuleState,
    absent,
    advance,
    crosses,
    due_at,
    message_of,
    moment_of,
    raised,
    resolved,
    silenced,
    span,
    step,
    title_of,
)
from devices.tests.rules import NOW, at, decisions, rule

RAISE, CLEAR = Decision.RAISE, Decision.CLEAR


# --- Conditions ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "good", "bad"),
    [
        ("gt", 30.0, 30.1),
        ("gte", 29.9, 30.0),
        ("lt", 30.0, 29.9),
        ("lte", 30.1, 30.0),
        ("eq", 30.1, 30.0),
        ("ne", 30.0, 30.1),
    ],
)
def test_each_condition_raises_on_what_it_says_and_clears_on_the_rest(
    condition: str, good: float, bad: float
) -> None:
    readings = (0, good), (1, bad), (2, bad), (3, good)
    assert decisions(rule(condition), *readings) == [(1, RAISE), (3, CLEAR)]


def test_hysteresis_keeps_the_alert_until_the_value_is_back_past_the_clear_threshold() -> None:
    readings = (0, 31.0), (1, 29.0), (2, 31.0), (3, 25.1), (4, 25.0)
    assert decisions(rule(clear=25.0), *readings) == [(0, RAISE), (4, CLEAR)]


def test_hysteresis_of_a_lower_limit_lies_above_it() -> None:
    readings = (0, 9.0), (1, 11.0), (2, 12.0)
    assert decisions(rule("lt", 10.0, clear=12.0), *readings) == [(0, RAISE), (2, CLEAR)]


# --- Hold times and cooldown ---------------------------------------------------------------


def test_an_alert_is_raised_when_the_condition_held_for_long_enough() -> None:
    readings = (0, 31.0), (5, 32.0), (9.9, 31.0), (10, 31.0)
    assert decisions(rule(raise_after=10), *readings) == [(10, RAISE)]


def test_a_good_value_begins_the_waiting_anew() -> None:
    readings = (0, 31.0), (9, 30.0), (10, 31.0), (19, 31.0), (20, 31.0)
    assert decisions(rule(raise_after=10), *readings) == [(20, RAISE)]


def test_an_alert_is_cleared_when_the_condition_was_gone_for_long_enough() -> None:
    readings = (0, 31.0), (1, 29.0), (5, 31.0), (6, 29.0), (15, 29.0), (16, 29.0)
    assert decisions(rule(clear_after=10), *readings) == [(0, RAISE), (16, CLEAR)]


def test_no_new_alert_is_raised_during_the_cooldown_but_after_it() -> None:
    readings = (0, 31.0), (1, 29.0), (2, 31.0), (59, 31.0), (60, 31.0)
    assert decisions(rule(cooldown=60), *readings) == [(0, RAISE), (1, CLEAR), (60, RAISE)]


def test_a_late_reading_changes_nothing() -> None:
    state = step(rule(), FRESH, 29.0, at(10))[0]
    assert step(rule(), state, 99.0, at(9)) == (state, None)
    assert step(rule(), state, 99.0, at(10)) == (state, None), "nor does the same one again"


def test_an_alert_that_does_not_resolve_itself_stays_until_somebody_does() -> None:
    stubborn = rule(resolves_itself=False)
    state = step(stubborn, FRESH, 31.0, at(0))[0]
    state, decision = step(stubborn, state, 20.0, at(1))
    assert decision is None
    assert state.is_raised
    state, decision = step(stubborn, resolved(state), 31.0, at(2))
    assert decision is RAISE


def test_a_resolution_by_hand_begins_the_waiting_anew() -> None:
    patient = rule(raise_after=10, cooldown=0)
    state = RuleState(at(100), True, None, at(50))
    state, decision = step(patient, resolved(state), 31.0, at(101))
    assert decision is None
    assert step(patient, state, 31.0, at(111))[1] is RAISE


def test_an_alert_that_another_process_raised_is_not_raised_again() -> None:
    state = raised(FRESH, at(5))
    assert step(rule(), state, 31.0, at(6))[1] is None
    assert step(rule(), state, 29.0, at(6))[1] is CLEAR


def test_what_was_waited_for_is_forgotten_in_maintenance() -> None:
    patient = rule(raise_after=10)
    state = step(patient, FRESH, 31.0, at(0))[0]
    state = silenced(state, at(60))
    assert step(patient, state, 31.0, at(61))[1] is None


# --- Absence -------------------------------------------------------------------------------


def test_absence_raises_once_when_nothing_came_for_so_long() -> None:
    silence = rule("absent", 60.0)
    state = step(silence, FRESH, 1.0, at(0))[0]
    assert absent(silence, state, at(59)) == (state, None)
    assert due_at(silence, state) == at(60)
    state, decision = absent(silence, state, at(63))
    assert decision is RAISE
    assert absent(silence, state, at(200)) == (state, None)


def test_absence_clears_with_the_next_reading_whatever_its_value() -> None:
    silence = rule("absent", 60.0)
    state = absent(silence, RuleState(at(0)), at(60))[0]
    assert step(silence, state, math.pi, at(300))[1] is CLEAR


def test_absence_clears_after_readings_came_for_long_enough() -> None:
    silence = rule("absent", 60.0, clear_after=30)
    state = absent(silence, RuleState(at(0)), at(60))[0]
    readings = [(100, 1.0), (120, 1.0), (190, 1.0), (210, 1.0), (220, 1.0)]
    found = decisions(silence, *readings, state=state)
    assert found == [(220, CLEAR)], "the silence from 120 to 190 began it anew"


def test_absence_waits_for_its_cooldown() -> None:
    silence = rule("absent", 10.0, cooldown=60)
    state = RuleState(at(5), False, None, at(0))
    assert absent(silence, state, at(59))[1] is None
    assert absent(silence, state, at(60))[1] is RAISE


def test_nothing_is_absent_of_what_was_never_heard() -> None:
    assert absent(rule("absent", 60.0), FRESH, at(1e6)) == (FRESH, None)
    assert absent(rule("gt"), RuleState(at(0)), at(1e6))[1] is None


def test_a_stored_reading_tells_of_the_silence_before_it() -> None:
    silence = rule("absent", 60.0)
    state, turns = advance(silence, RuleState(at(0)), 1.0, at(100))
    assert [(turn.decision, turn.at) for turn in turns] == [(RAISE, at(60)), (CLEAR, at(100))]
    assert not state.is_raised


# --- Times ---------------------------------------------------------------------------------


def test_a_time_in_the_future_is_replaced_by_ours() -> None:
    assert moment_of(at(61), NOW) == NOW
    assert moment_of(at(60), NOW) == at(60)
    assert moment_of(at(-3_600), NOW) == at(-3_600), "late is not wrong"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(1.5, timedelta(seconds=1.5)), (-1.0, timedelta(0)), (math.nan, timedelta(0))],
)
def test_a_time_to_wait_is_never_negative(seconds: float, expected: timedelta) -> None:
    assert span(seconds) == expected


@pytest.mark.parametrize("seconds", [1e308, math.inf])
def test_a_time_to_wait_can_be_added_to_a_date(seconds: float) -> None:
    assert span(seconds) == LONGEST
    assert due_at(rule("absent", seconds), RuleState(NOW)) == NOW + LONGEST


# --- Thresholds crossed --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "value", "expected"),
    [
        (29.0, 31.0, True),
        (31.0, 29.0, True),
        (29.0, 29.9, False),
        (29.0, 30.0, True),
        (30.0, 31.0, True),
        (30.0, 30.0, False),
        (None, 31.0, False),
    ],
)
def test_a_threshold_is_crossed_in_either_direction(
    before: float | None, value: float, expected: bool
) -> None:
    assert crosses(before, value, (10.0, 30.0)) is expected


@given(st.integers(0, 9), st.integers(0, 9), st.sets(st.integers(0, 9)))
def test_a_crossing_is_a_change_of_side(before: int, value: int, thresholds: set[int]) -> None:
    def sides(of: int) -> list[int]:
        return [(of > threshold) - (of < threshold) for threshold in sorted(thresholds)]

    assert crosses(before, value, sorted(thresholds)) is (sides(before) != sides(value))


def test_the_book_knows_the_thresholds_of_a_device() -> None:
    book = RuleBook([rule(clear=25.0), rule("lt", 5.0, id=2, device_id=7), rule("absent", id=3)])
    assert book.crossed(1, "sensor", "temperature", 24.0, 26.0)
    assert book.crossed(7, "sensor", "temperature", 6.0, 4.0)
    assert not book.crossed(1, "sensor", "temperature", 6.0, 4.0)
    assert not book.crossed(1, "sensor", "humidity", 24.0, 26.0)


# --- Finding them --------------------------------------------------------------------------


def ids(rules: tuple[Rule, ...]) -> list[int]:
    return sorted(rule.id for rule in rules)


def test_rules_are_found_for_the_device_its_type_and_all() -> None:
    book = RuleBook(
        [
            rule(id=1, device_id=7),
            rule(id=2, device_type="sensor"),
            rule(id=3),
            rule(id=4, device_id=8),
            rule(id=5, device_type="gateway"),
            rule(id=6, metric="humidity"),
        ]
    )
    assert ids(book.rules_of(7, "sensor", "temperature")) == [1, 2, 3]
    assert ids(book.rules_of(9, "", "temperature")) == [3]
    assert ids(book.rules_of(9, "gateway", "humidity")) == [6]
    assert book.rules_of(7, "sensor", "pressure") == ()
    assert book.metrics_of(7, "sensor") == {"temperature", "humidity"}
    assert book.concerns({"pressure": 1, "humidity": 2})
    assert not book.concerns({"pressure": 1})


def test_a_rule_is_replaced_and_forgotten() -> None:
    book = RuleBook([rule(id=1), rule(id=2)])
    book.put(rule(id=1, metric="humidity"))
    assert ids(book.rules_of(7, "sensor", "temperature")) == [2]
    assert ids(book.rules_of(7, "sensor", "humidity")) == [1]
    book.remove(1)
    book.remove(1)
    assert not book.concerns({"humidity": 1})
    assert book.metrics_of(7, "sensor") == {"temperature"}
    assert len(book) == 1
    assert book.get(1) is None


def test_ten_thousand_rules_cost_a_reading_no_more_than_its_own() -> None:
    rules = [rule(id=n, device_id=n, metric=f"metric-{n % 10}") for n in range(1, 9_001)]
    rules += [rule(id=n, device_type=f"type-{n}") for n in range(9_001, 10_000)]
    book = RuleBook([*rules, rule(id=10_000)])
    assert len(book) == 10_000
    assert ids(book.rules_of(3, "sensor", "metric-3")) == [3]
    assert ids(book.rules_of(3, "type-9500", "temperature")) == [9_500, 10_000]


# --- Words ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "title"),
    [
        (rule(), "Warning: temperature above 30"),
        (rule("lte", 0.5, severity="critical"), "Critical: temperature at or below 0.5"),
        (rule("ne", 1e6), "Warning: temperature other than 1000000"),
        (rule("absent", 90.0), "Warning: temperature absent for 90 s"),
    ],
)
def test_a_title_says_what_is_wrong(of: Rule, title: str) -> None:
    assert title_of(of) == title


def test_a_message_says_the_value_and_its_unit() -> None:
    assert message_of(rule(), 32.5, "°C") == "temperature is 32.5 °C, above 30 °C"
    held = rule(raise_after=60)
    assert message_of(held, 32.5, "") == "temperature is 32.5, above 30 for 60 s"
    assert message_of(rule("absent", 90.0), None, "") == "No reading of temperature for 90 s"


# --- Whatever comes ------------------------------------------------------------------------

seconds = st.floats(0, 100, allow_nan=False).map(lambda s: round(s, 1))
values = st.floats(-5, 5, allow_nan=False)
rules = st.builds(
    rule,
    st.sampled_from(list(Condition)),
    st.floats(-3, 3),
    clear=st.none() | st.floats(-3, 3),
    raise_after=st.sampled_from([0, 1, 5]),
    clear_after=st.sampled_from([0, 1, 5]),
    cooldown=st.sampled_from([0, 2, 20]),
    resolves_itself=st.booleans(),
)
histories = st.lists(st.tuples(seconds, values), max_size=50)
actions = st.lists(st.one_of(st.tuples(seconds, values), st.just("resolve"), seconds), max_size=50)


@given(rules, actions)
def test_no_alert_is_raised_twice_without_an_end_between(
    of: Rule, happenings: list[tuple[float, float] | float | str]
) -> None:
    state, is_open = FRESH, False
    for each in happenings:
        if each == "resolve":
            state, is_open = resolved(state), False
            continue
        if isinstance(each, tuple):
            state, decision = step(of, state, each[1], at(each[0]))
        else:
            state, decision = absent(of, state, at(each))
        if decision is not None:
            assert (decision is RAISE) is not is_open
            is_open = decision is RAISE
        assert state.is_raised is is_open


@given(rules, st.lists(seconds, max_size=50))
def test_a_constant_good_value_never_raises(of: Rule, times: list[float]) -> None:
    good = {"lt": 4.0, "lte": 4.0, "ne": of.threshold}.get(of.condition, -4.0)
    assert decisions(of, *((second, good) for second in times)) == []


@given(rules, histories)
def test_alerts_keep_the_distance_of_the_cooldown(
    of: Rule, history: list[tuple[float, float]]
) -> None:
    times = [second for second, decision in decisions(of, *sorted(history)) if decision is RAISE]
    pairs = itertools.pairwise(times)
    assert all(at(later) - at(earlier) >= of.cooldown for earlier, later in pairs)


@given(rules, histories)
def test_readings_that_come_twice_or_late_decide_nothing_more(
    of: Rule, history: list[tuple[float, float]]
) -> None:
    in_order = sorted(dict(history).items())
    twice = [reading for i, _ in enumerate(in_order) for reading in in_order[: i + 1]]
    assert decisions(of, *twice) == decisions(of, *in_order)


@given(rules)
def test_what_a_child_process_gets_is_what_was_sent(of: Rule) -> None:
    state = step(of, FRESH, 1.0, NOW)[0]
    assert pickle.loads(pickle.dumps((of, state))) == (of, state)
