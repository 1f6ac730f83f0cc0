"""The devices in memory: evaluated, missed, muted, and told what others did."""

import pytest

from devices import rules as engine
from devices.rules import FRESH, Decision, Rule, RuleBook, RuleState
from devices.services.rules import Reloaded
from devices.tests.rules import at, rule
from realtime.alarms import watched as module
from realtime.alarms.shares import Heard
from realtime.alarms.watched import Watched, Watching
from realtime.core.events import Measured

SENSOR = 7


def watching(*rules: Rule, **states: RuleState) -> tuple[Watching, Watched]:
    """Return what watches one sensor by these rules."""
    watching = Watching()
    watching.book = RuleBook(rules)
    device = Watched(SENSOR, "sensor", False, {}, {})
    device.states.update((int(name.removeprefix("rule_")), state) for name, state in states.items())
    watching.add(device)
    return watching, device


def heard(value: float, second: float = 0, *, late: float = 0) -> Heard:
    measured = Measured(value, "°C", at(second - late))
    return Heard(SENSOR, {"temperature": measured, "humidity": measured}, at(second))


def decided(verdicts: list[module.Verdict]) -> list[tuple[int, Decision]]:
    return [(verdict.rule.id, verdict.decision) for verdict in verdicts]


def test_a_reading_is_judged_by_each_of_its_rules() -> None:
    hot, dry = rule(id=1), rule("lt", 40.0, id=2, metric="humidity")
    watch, device = watching(hot, dry, rule(id=3, device_type="gateway"))
    verdicts = watch.evaluate(device, heard(31.0, 5))
    assert decided(verdicts) == [(1, Decision.RAISE), (2, Decision.RAISE)]
    assert verdicts[0] == (SENSOR, hot, Decision.RAISE, 31.0, "°C", at(5))


def test_only_its_own_rules_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []
    monkeypatch.setattr(
        module, "step", lambda rule, *args: looked_at.append(rule.id) or engine.step(rule, *args)
    )
    others = [rule(id=n, device_id=n, metric=f"metric-{n % 50}") for n in range(100, 10_100)]
    watch, device = watching(rule(id=1), rule(id=2, device_id=SENSOR), *others)
    watch.evaluate(device, heard(31.0))
    assert sorted(looked_at) == [1, 2]


def test_states_are_kept_for_rules_that_there_are() -> None:
    watch, device = watching(rule(id=1))
    for second in range(100):
        watch.evaluate(device, heard(20.0 + second % 20, second))
    assert device.states.keys() == {1}
    watch.change(1, None)
    assert device.states == {}
    assert watch.evaluate(device, heard(31.0, 200)) == []


def test_a_muted_device_raises_nothing_but_its_alert_still_ends() -> None:
    watch, device = watching(rule(id=1, raise_after=10))
    watch.evaluate(device, heard(31.0, 0))
    device.is_muted = True
    assert watch.evaluate(device, heard(31.0, 20)) == []
    device.is_muted = False
    assert watch.evaluate(device, heard(31.0, 21)) == [], "it waits anew"
    assert decided(watch.evaluate(device, heard(31.0, 31))) == [(1, Decision.RAISE)]
    device.is_muted = True
    assert decided(watch.evaluate(device, heard(29.0, 32))) == [(1, Decision.CLEAR)]


# --- Absence -------------------------------------------------------------------------------


def test_absence_is_due_at_its_time_and_found_once() -> None:
    silence = rule("absent", 60.0)
    watch, device = watching(silence, rule_1=RuleState(at(0)))
    assert list(watch.due(at(59))) == []
    assert list(watch.due(at(60))) == [(device, silence)]
    assert list(watch.due(at(61))) == []


def test_a_reading_puts_absence_off_however_late_the_device_s_clock() -> None:
    silence = rule("absent", 60.0)
    watch, device = watching(silence, rule_1=RuleState(at(0)))
    watch.evaluate(device, heard(1.0, 50, late=86_400))
    assert list(watch.due(at(109))) == []
    assert list(watch.due(at(110))) == [(device, silence)]


def test_what_is_due_is_decided_by_a_state_that_is_up_to_date() -> None:
    watch, device = watching(rule("absent", 60.0), rule_1=RuleState(at(0)))
    assert watch.miss(device, at(59)) == []
    verdicts = watch.miss(device, at(75))
    assert decided(verdicts) == [(1, Decision.RAISE)]
    assert (verdicts[0].value, verdicts[0].at) == (None, at(75))
    assert watch.miss(device, at(80)) == []
    assert decided(watch.evaluate(device, heard(1.0, 90))) == [(1, Decision.CLEAR)]
    assert [each.device_id for each, _ in watch.due(at(150))] == [SENSOR], "awaited again"


def test_the_absence_of_a_muted_device_counts_from_when_it_is_back() -> None:
    silence = rule("absent", 60.0)
    watch, device = watching(silence, rule_1=RuleState(at(0)))
    device.is_muted = True
    assert list(watch.due(at(100))) == []
    assert watch.miss(device, at(100)) == []
    device.is_muted = False
    assert list(watch.due(at(159))) == []
    assert list(watch.due(at(160))) == [(device, silence)]


def test_a_shorter_silence_is_found_at_its_own_time() -> None:
    watch, device = watching(rule("absent", 3_600.0), rule_1=RuleState(at(0)))
    shorter = rule("absent", 10.0)
    watch.change(1, Reloaded(shorter, {SENSOR: RuleState(at(0))}, {}))
    watch.add(device)
    assert list(watch.due(at(10))) == [(device, shorter)]


def test_a_thousand_readings_leave_one_absence_to_look_for() -> None:
    watch, device = watching(rule("absent", 60.0), rule_1=RuleState(at(0)))
    for second in range(1_000):
        watch.evaluate(device, heard(1.0, second))
        list(watch.due(at(second)))
    assert len(watch._dues) == 1


# --- What others did -----------------------------------------------------------------------


def test_an_alert_raised_elsewhere_is_not_raised_again() -> None:
    watch, device = watching(rule(id=1))
    watch.on_raised(SENSOR, 1, alert_id=50, at=at(0))
    assert watch.evaluate(device, heard(31.0, 1)) == []
    assert decided(watch.evaluate(device, heard(29.0, 2))) == [(1, Decision.CLEAR)]


def test_an_alert_resolved_by_hand_may_be_raised_again() -> None:
    watch, device = watching(rule(id=1))
    watch.evaluate(device, heard(31.0, 1))
    watch.note(SENSOR, 1, alert_id=50)
    assert watch.evaluate(device, heard(31.0, 2)) == []
    watch.on_resolved(SENSOR, 1, alert_id=50)
    assert decided(watch.evaluate(device, heard(31.0, 3))) == [(1, Decision.RAISE)]


def test_news_of_an_earlier_alert_changes_nothing() -> None:
    watch, device = watching(rule(id=1))
    watch.evaluate(device, heard(31.0, 1))
    watch.note(SENSOR, 1, alert_id=50)
    watch.on_resolved(SENSOR, 1, alert_id=49)
    assert device.states[1].is_raised
    watch.evaluate(device, heard(29.0, 2))
    watch.on_raised(SENSOR, 1, alert_id=50, at=at(1))
    assert not device.states[1].is_raised


def test_news_of_devices_that_others_watch_is_passed_over() -> None:
    watch, _ = watching(rule(id=1))
    watch.on_raised(8, 1, alert_id=50, at=at(0))
    watch.on_resolved(8, 1, alert_id=50)
    watch.note(8, 1, alert_id=50)
    assert watch.devices.keys() == {SENSOR}


def test_a_changed_rule_takes_the_state_that_its_alerts_tell() -> None:
    watch, device = watching(rule(id=1), rule_1=RuleState(at(0), False, at(0)))
    now = Reloaded(rule(threshold=40.0), {SENSOR: RuleState(None, True, None, at(0))}, {SENSOR: 5})
    watch.change(1, now)
    assert device.alerts == {1: 5}
    assert decided(watch.evaluate(device, heard(35.0, 1))) == [(1, Decision.CLEAR)]
    watch.change(1, Reloaded(rule(threshold=50.0), {}, {}))
    assert device.states.get(1, FRESH) == FRESH
