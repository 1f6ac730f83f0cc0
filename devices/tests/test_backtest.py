"""The past judged by the live engine: the same decisions, whatever the batching."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from devices.backtest import (
    Case,
    Episode,
    Pair,
    back_test,
    compare,
    episodes_of,
    replay,
)
from devices.export import database_address
from devices.models import AlertRule, Device, Reading, Series
from devices.rules import FRESH, Rule, RuleState
from devices.services.previews import preview_rule
from devices.tests.builders import a_device, a_rule
from devices.tests.rules import NOW, at, decisions, rule
from devices.tests.test_rules import histories, rules
from realtime.core.apart import run_apart, stop_apart
from realtime.core.errors import Invalid


def readings(*pairs: tuple[float, float]) -> list[tuple[Any, Any, float]]:
    """Return readings that came at once: (second, value)."""
    return [(at(second), at(second), value) for second, value in pairs]


def episodes(of: Rule, *pairs: tuple[float, float], until: float = 1_000) -> list[Episode]:
    return episodes_of(of, 7, readings(*pairs), since=at(0), until=at(until))


# --- The engine over the past --------------------------------------------------------------


@given(rules, histories, st.integers(1, 10))
def test_a_back_test_equals_stepping_one_by_one_whatever_the_batching(
    of: Rule, history: list[tuple[float, float]], size: int
) -> None:
    taken = readings(*history)
    whole = replay(of, FRESH, taken)
    state, turns = FRESH, []
    for first in range(0, len(taken), size):
        state, found = replay(of, state, taken[first : first + size])
        turns += found
    assert (state, turns) == whole
    if not of.is_absence:
        stepped = [(at(second), decision) for second, decision in decisions(of, *history)]
        assert [(turn.at, turn.decision) for turn in turns] == stepped


def test_an_alert_is_told_with_its_value_and_its_end() -> None:
    found = episodes(rule(), (0, 20.0), (1, 31.0), (2, 32.0), (3, 29.0), (4, 33.0))
    assert found == [Episode(7, at(1), 31.0, at(3)), Episode(7, at(4), 33.0)]


def test_a_silence_is_found_between_readings_and_at_the_end() -> None:
    found = episodes(rule("absent", 60.0), (10, 1.0), (100, 1.0), until=170)
    assert found == [Episode(7, at(70), None, at(100)), Episode(7, at(160), None)]


# --- Comparing -----------------------------------------------------------------------------


def episode(first: float, last: float | None = None, *, device: int = 7) -> Episode:
    return Episode(device, at(first), 31.0, None if last is None else at(last))


def test_alerts_that_overlap_are_the_same_one() -> None:
    early, late = episode(0, 10), episode(5, 20)
    assert compare([early], [late]) == [Pair(early, late)]


def test_alerts_that_only_one_rule_raises_stand_alone_in_order_of_time() -> None:
    today, changed = [episode(0, 10), episode(50)], [episode(20, 30), episode(60)]
    assert compare(today, changed) == [
        Pair(today[0], None),
        Pair(None, changed[0]),
        Pair(today[1], changed[1]),
    ]


def test_alerts_of_two_devices_are_never_the_same() -> None:
    assert len(compare([episode(0)], [episode(0, device=8)])) == 2


# --- Over the table ------------------------------------------------------------------------


@pytest.fixture
def warm(transactional_db: None) -> Device:
    """Return a device that was at 31, then 29, then 33 degrees within the last hour."""
    device = a_device()
    store(device, (0, 31.0), (60, 29.0), (120, 33.0), (180, 20.0))
    return device


def store(device: Device, *pairs: tuple[float, float]) -> None:
    series, _ = Series.objects.get_or_create(device=device, metric="temperature")
    Reading.objects.bulk_create(
        Reading(series=series, at=moment, value=value, received_at=received_at)
        for moment, received_at, value in readings(*pairs)
    )


def here(function: Any, *args: Any) -> Any:
    """Compute in this process."""
    return function(*args)


def test_the_table_is_read_in_a_child_process(warm: Device) -> None:
    series = Series.objects.get()
    case = Case(rule(), [(warm.pk, series.pk)])
    try:
        [outcome] = run_apart(back_test, database_address(), [case], at(-10), at(1_000))
    finally:
        stop_apart()
    assert [each.value for each in outcome.alerts] == [31.0, 33.0]
    assert (outcome.count, outcome.readings) == (2, 4)
    assert outcome.open_time == timedelta(seconds=120)


def test_a_changed_rule_is_compared_with_today_s(warm: Device) -> None:
    stored = a_rule(warm, cooldown_seconds=0)
    stored.threshold = 32.0
    preview = preview_rule(stored, now=at(1_000), run=here)
    assert preview.title == "Warning: temperature above 32"
    assert [each.value for each in preview.changed.alerts] == [33.0]
    assert preview.today is not None
    assert preview.today.count == 2
    assert [(pair.today is None, pair.changed is None) for pair in preview.lines] == [
        (False, True),
        (False, False),
    ]
    assert preview.devices == {warm.pk: warm.name}
    assert AlertRule.objects.get().threshold == 30.0


def test_an_unchanged_rule_and_a_new_one_stand_alone(warm: Device) -> None:
    stored = a_rule(device_type="sensor", cooldown_seconds=0)
    new = AlertRule(metric="temperature", condition="gt", threshold=30.0, cooldown_seconds=0)
    for each in (stored, new):
        preview = preview_rule(each, now=at(1_000), run=here)
        assert preview.today is None
        assert preview.changed.count == 2


def test_other_devices_and_other_times_are_left_out(warm: Device) -> None:
    other = a_rule(a_device("TEMP-002"))
    assert preview_rule(other, now=at(1_000), run=here).changed.readings == 0
    every = a_rule()
    assert preview_rule(every, now=at(150), hours=100 / 3600, run=here).changed.readings == 2
    gateways = a_rule(device_type="gateway")
    assert preview_rule(gateways, now=at(1_000), run=here).changed.readings == 0


@pytest.mark.parametrize("hours", [0, -1, 1e9, float("nan")])
def test_the_past_to_look_at_has_its_limits(db: None, hours: float) -> None:
    with pytest.raises(Invalid) as refused:
        preview_rule(AlertRule(), now=NOW, hours=hours, run=here)
    assert refused.value.field == "hours"


# --- manage.py backtest_rule ---------------------------------------------------------------


@pytest.fixture
def _at_that_time(monkeypatch: pytest.MonkeyPatch) -> None:
    command = "devices.management.commands.backtest_rule"
    monkeypatch.setattr(f"{command}.timezone.now", lambda: at(1_000))


@pytest.mark.usefixtures("_at_that_time")
def test_the_command_prints_what_would_have_been_raised(
    warm: Device, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = a_rule(warm, name="Too warm", cooldown_seconds=0)
    call_command("backtest_rule", "Too warm")
    assert capsys.readouterr().out.splitlines() == [
        "device           raised               value  until",
        "Sensor TEMP-001  2026-03-05 10:30:00  31     2026-03-05 10:31:00",
        "Sensor TEMP-001  2026-03-05 10:32:00  33     2026-03-05 10:33:00",
        "",
        "Warning: temperature above 30: alerts: 2, open for 0:02:00 in all; readings: 4.",
    ]
    call_command("backtest_rule", str(stored.pk), "--threshold", "32")
    assert capsys.readouterr().out.splitlines() == [
        "device           raised               value  until                today",
        "Sensor TEMP-001  2026-03-05 10:30:00  31     2026-03-05 10:31:00  only today",
        "Sensor TEMP-001  2026-03-05 10:32:00  33     2026-03-05 10:33:00  at 2026-03-05 10:32:00",
        "",
        "Warning: temperature above 32: alerts: 1, open for 0:01:00 in all; readings: 4.",
        "Today: alerts: 2, open for 0:02:00 in all; readings: 4.",
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["99"], "There are no rules '99'"),
        (["Too warm", "--hours", "0"], "look back more than 0"),
        (["Too warm", "--clear-threshold", "40"], "side where the value is good"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str], problem: str) -> None:
    a_rule(name="Too warm")
    with pytest.raises(CommandError, match=problem):
        call_command("backtest_rule", *arguments)


def test_nothing_is_absent_before_the_time_that_is_looked_at() -> None:
    assert episodes(rule("absent", 60.0), until=59) == []
    assert episodes(rule("absent", 60.0), until=61) == [Episode(7, at(60), None)]
    assert replay(rule("absent", 60.0), RuleState(at(0)), []) == (RuleState(at(0)), [])
