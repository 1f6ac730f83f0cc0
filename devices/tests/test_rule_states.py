"""Alert rules from the database, and where each stands after a restart."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from accounts.models import User
from devices.models import Alert, AlertRule, Device, Reading, Series
from devices.rules import Condition, Decision, RuleBook, RuleState, step
from devices.services.alerts import acknowledge_alert, resolve_alert
from devices.services.devices import change_status, retire_device
from devices.services.rules import (
    Restored,
    compiled,
    load_devices,
    load_rules,
    reload_rules,
    restore,
)
from devices.tests.builders import a_device, an_alert
from devices.tests.builders import a_rule as build_rule
from devices.tests.rules import LONG_AGO, at

pytestmark = pytest.mark.django_db

RAISE, CLEAR = Decision.RAISE, Decision.CLEAR


def a_rule(device: Device | None = None, *, changed: datetime = LONG_AGO, **fields: Any) -> int:
    """Add a rule that was last changed then; return its id."""
    added = build_rule(device, **({"cooldown_seconds": 0} | fields))
    AlertRule.objects.filter(pk=added.pk).update(updated_at=changed)
    return added.pk


def store(
    device: Device, *readings: tuple[float, float], metric: str = "temperature", late: float = 0
) -> None:
    """Store (second, value); each was received `late` seconds after its time."""
    series, _ = Series.objects.get_or_create(device=device, metric=metric)
    Reading.objects.bulk_create(
        Reading(series=series, at=at(second), value=value, unit="°C", received_at=at(second + late))
        for second, value in readings
    )


def restored(device: Device, *, now: float = 1_000, since: float | None = None) -> Restored:
    """Return where the device stands, seen by a process that has been there all along."""
    [found] = restore(
        load_rules(),
        [device.pk],
        since={} if since is None else {device.pk: at(since)},
        listening_since=at(-10_000),
        now=at(now),
    )
    return found


def decided(found: Restored) -> list[tuple[Decision, datetime]]:
    return [(each.decision, each.received_at) for each in found.undecided]


# --- Loading -------------------------------------------------------------------------------


def test_a_rule_is_compiled_with_what_is_empty_filled_in(device: Device) -> None:
    rule_id = a_rule(device, device_type="ignored", raise_after_seconds=2.5)
    [rule] = load_rules().rules_of(device.pk, "sensor", "temperature")
    assert (rule.id, rule.device_id, rule.device_type) == (rule_id, device.pk, "")
    assert (rule.condition, rule.threshold, rule.clear_threshold) == (Condition.GT, 30.0, 30.0)
    assert rule.raise_after.total_seconds() == 2.5
    assert rule.changed_at == LONG_AGO


def test_a_rule_that_is_not_saved_can_be_compiled_too() -> None:
    assert compiled(AlertRule(metric="x", condition="lt", threshold=1.0)).id == 0


def test_only_active_rules_are_loaded() -> None:
    a_rule(is_active=False)
    kept = a_rule(device_type="sensor")
    assert len(load_rules()) == 1
    assert reload_rules([kept, kept - 1]).keys() == {kept}


def test_a_reloaded_rule_knows_its_alerts(device: Device) -> None:
    rule_id = a_rule()
    other, third = a_device("TEMP-002"), a_device("TEMP-003")
    rule = AlertRule.objects.get(pk=rule_id)
    opened = an_alert(device, rule=rule, now=at(5))
    resolve_alert(an_alert(other, rule=rule, now=at(6)).pk, by=None, now=at(7))
    found = reload_rules([rule_id])[rule_id]
    assert found.states == {
        device.pk: RuleState(None, True, None, at(5)),
        other.pk: RuleState(None, False, None, at(6)),
    }
    assert found.open_alerts == {device.pk: opened.pk}
    assert third.pk not in found.states


def test_devices_in_service_are_listed_with_their_type(device: Device) -> None:
    retire_device(a_device("OLD-001").pk, now=at(0))
    assert load_devices() == {device.pk: "sensor"}


# --- After a restart -----------------------------------------------------------------------


def test_an_open_alert_is_not_raised_again_and_ends_as_it_should(device: Device) -> None:
    rule_id = a_rule()
    alert = an_alert(device, rule=AlertRule.objects.get(pk=rule_id), now=at(10))
    store(device, (0, 20.0), (10, 31.0), (11, 32.0))
    found = restored(device)
    assert decided(found) == []
    assert found.states[rule_id].is_raised
    assert found.open_alerts == {rule_id: alert.pk}
    store(device, (12, 29.0))
    assert decided(restored(device)) == [(CLEAR, at(12))]


def test_an_acknowledged_alert_is_open_too(device: Device, operator: User) -> None:
    rule_id = a_rule()
    alert = an_alert(device, rule=AlertRule.objects.get(pk=rule_id), now=at(10))
    acknowledge_alert(alert.pk, by=operator, now=at(11))
    assert restored(device).states[rule_id].is_raised


def test_what_was_stored_and_never_decided_is_decided_now(device: Device) -> None:
    """The process died between the commit of a reading and its alert."""
    a_rule()
    store(device, (0, 20.0), (1, 31.0))
    [undecided] = restored(device).undecided
    assert (undecided.decision, undecided.value, undecided.unit) == (RAISE, 31.0, "°C")
    assert undecided.received_at == at(1)


def test_what_was_told_already_is_not_decided_again(device: Device) -> None:
    rule_id = a_rule()
    alert = an_alert(device, rule=AlertRule.objects.get(pk=rule_id), now=at(1))
    store(device, (0, 20.0), (1, 31.0), (2, 29.0))
    resolve_alert(alert.pk, by=None, now=at(2))
    found = restored(device)
    assert decided(found) == []
    assert found.states[rule_id] == RuleState(at(2), False, None, at(1))


def test_a_reading_sent_again_ends_no_alert_that_came_later(device: Device) -> None:
    rule_id = a_rule()
    an_alert(device, rule=AlertRule.objects.get(pk=rule_id), now=at(1))
    store(device, (0, 20.0), (1, 31.0))
    state = restored(device).states[rule_id]
    [rule] = load_rules().rules_of(device.pk, "sensor", "temperature")
    assert step(rule, state, 20.0, at(0)) == (state, None)


def test_the_cooldown_goes_on(device: Device) -> None:
    rule_id = a_rule(cooldown_seconds=60)
    alert = an_alert(device, rule=AlertRule.objects.get(pk=rule_id), now=at(1))
    resolve_alert(alert.pk, by=None, now=at(2))
    store(device, (3, 31.0))
    found = restored(device)
    assert decided(found) == []
    assert found.states[rule_id] == RuleState(at(3), False, at(3), at(1))


def test_a_hold_time_goes_on(device: Device) -> None:
    rule_id = a_rule(raise_after_seconds=300)
    store(device, (0, 20.0), (100, 31.0), (200, 31.0))
    assert restored(device).states[rule_id].since == at(100)
    store(device, (400, 31.0))
    assert decided(restored(device)) == [(RAISE, at(400))]


def test_readings_from_before_the_rule_was_changed_do_not_count(device: Device) -> None:
    a_rule(changed=at(5))
    store(device, (0, 31.0), (4, 31.0))
    assert decided(restored(device)) == []
    store(device, (6, 31.0))
    assert decided(restored(device)) == [(RAISE, at(6))]


def test_readings_are_taken_in_the_order_in_which_they_came(device: Device) -> None:
    a_rule()
    store(device, (10, 29.0))
    store(device, (5, 31.0), late=20)
    assert decided(restored(device)) == []


def test_a_device_whose_clock_is_behind_is_restored_as_well(device: Device) -> None:
    a_rule()
    store(device, (0, 31.0), late=86_400)
    assert decided(restored(device, now=86_401)) == [(RAISE, at(86_400))]


def test_a_reading_from_the_future_does_not_hide_the_others(device: Device) -> None:
    a_rule()
    store(device, (1, 31.0))
    store(device, (1e7, 20.0), late=-1e7)
    assert decided(restored(device)) == [(RAISE, at(1))]


def test_a_device_whose_clock_is_at_the_beginning_of_time_is_restored_as_well(
    device: Device,
) -> None:
    a_rule()
    first = datetime.min.replace(tzinfo=UTC)
    series = Series.objects.create(device=device, metric="temperature")
    Reading.objects.create(series=series, at=first, value=31.0, received_at=at(1))
    assert decided(restored(device)) == [(RAISE, at(1))]


def test_only_the_last_seconds_are_read_unless_more_was_missed(device: Device) -> None:
    rule_id = a_rule()
    store(device, (0, 31.0), (500, 20.0))
    assert decided(restored(device)) == []
    assert decided(restored(device, since=10)) == [(RAISE, at(0)), (CLEAR, at(500))]
    assert rule_id in restored(device).states


def test_a_device_in_maintenance_is_muted_and_raises_nothing(device: Device) -> None:
    a_rule()
    change_status(device.pk, "maintenance", reason="", now=at(0))
    store(device, (1, 31.0))
    found = restored(device)
    assert found.is_muted
    assert decided(found) == []


def test_a_device_out_of_service_is_left_out(device: Device) -> None:
    retire_device(device.pk, now=at(0))
    book = RuleBook()
    assert restore(book, [device.pk], since={}, listening_since=at(0), now=at(1)) == []


def test_a_rule_that_is_switched_off_leaves_no_state(device: Device) -> None:
    rule_id = a_rule(is_active=False)
    an_alert(device, rule=AlertRule.objects.get(pk=rule_id))
    found = restored(device)
    assert found.states == found.open_alerts == {}


# --- Absence -------------------------------------------------------------------------------


def test_absence_counts_from_the_last_reading_by_our_clock(device: Device) -> None:
    rule_id = a_rule(condition="absent", threshold=60.0)
    store(device, (-86_000, 1.0), late=86_000 + 100)
    assert restored(device).states[rule_id] == RuleState(at(100))


def test_absence_of_what_never_came_counts_from_when_all_were_there() -> None:
    device = a_device(now=at(50))
    rule_id = a_rule(condition="absent", threshold=60.0, changed=at(40))
    Device.objects.filter(pk=device.pk).update(created_at=at(50))
    assert restored(device).states[rule_id] == RuleState(at(50))


def test_nothing_is_absent_for_the_time_before_we_listened(device: Device) -> None:
    rule_id = a_rule(condition="absent", threshold=60.0)
    store(device, (0, 1.0))
    [found] = restore(load_rules(), [device.pk], since={}, listening_since=at(5_000), now=at(5_001))
    assert found.states[rule_id].last_at == at(5_000)
    assert decided(found) == []


# --- Cost ----------------------------------------------------------------------------------


def test_many_devices_are_restored_with_four_statements(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    a_rule()
    devices = [a_device(f"TEMP-{number}") for number in range(40)]
    for device in devices:
        store(device, (0, 20.0), (1, 31.0))
    book = load_rules()
    with django_assert_num_queries(4):
        found = restore(
            book,
            [device.pk for device in devices],
            since={},
            listening_since=at(-10_000),
            now=at(10),
        )
    assert len(found) == 40
    assert all(decided(each) == [(RAISE, at(1))] for each in found)
    assert Alert.objects.count() == 0, "nothing is written here"
