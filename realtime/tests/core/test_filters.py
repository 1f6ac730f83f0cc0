"""Scopes and filters: the right to hear and the wish to, and when two are the same."""

from uuid import UUID

import pytest

from realtime.core.events import AccessChanged, Event, SurgeryStarted
from realtime.core.filters import EVERYTHING, Filter, Scope
from realtime.tests.device_events import (
    alert_raised,
    alert_updated,
    command_issued,
    sampled,
    status_changed,
    telemetry,
)
from realtime.tests.doubles import NOW, completed, moved, started, user_id_of

ANA, BEA = user_id_of("ana"), user_id_of("bea")


def test_an_empty_filter_takes_all_kinds() -> None:
    assert EVERYTHING.view(started()) == started()
    assert EVERYTHING.view(moved()) == moved()


def test_a_filter_takes_the_kinds_it_names() -> None:
    only_starts = Filter(kinds=frozenset({SurgeryStarted.__name__}))
    assert only_starts.view(started())
    assert not only_starts.view(completed())


def test_a_filter_takes_some_metrics_of_a_report_and_leaves_the_event_as_it_was() -> None:
    event = telemetry(temperature=23.5, humidity=45.2, pressure=1013.0)
    seen = Filter(metrics=frozenset({"humidity", "pressure"})).view(event)
    assert seen == telemetry(humidity=45.2, pressure=1013.0)
    assert event.metrics.keys() == {"temperature", "humidity", "pressure"}


def test_a_report_of_which_everything_is_wanted_is_not_copied() -> None:
    event = telemetry(temperature=23.5)
    assert EVERYTHING.view(event) is event
    assert Filter(metrics=frozenset({"temperature", "humidity"})).view(event) is event


def test_a_report_of_which_nothing_is_wanted_is_not_heard() -> None:
    assert Filter(metrics=frozenset({"vibration"})).view(telemetry()) is None


def test_a_filter_takes_some_metrics_of_a_system_sample() -> None:
    wish = Filter(metrics=frozenset({"cpu_usage", "vibration"}))
    assert wish.view(sampled(cpu_usage=45.2, memory_usage=67.8)) == sampled(cpu_usage=45.2)
    assert wish.view(sampled(memory_usage=67.8)) is None


CRITICAL = Filter(severities=frozenset({"critical"}))
THRESHOLD = Filter(alert_types=frozenset({"threshold", "device"}))
BOTH = Filter(severities=frozenset({"critical"}), alert_types=frozenset({"threshold"}))
OFFLINE = Filter(statuses=frozenset({"offline", "error"}))


@pytest.mark.parametrize(
    ("wish", "event", "is_wanted"),
    [
        (CRITICAL, alert_raised(severity="critical"), True),
        (CRITICAL, alert_raised(severity="info"), False),
        (CRITICAL, alert_updated(severity="critical"), True),
        (CRITICAL, alert_updated(severity="info"), False),
        (THRESHOLD, alert_raised(alert_type="device"), True),
        (THRESHOLD, alert_raised(alert_type="system"), False),
        (BOTH, alert_raised(severity="critical", alert_type="threshold"), True),
        (BOTH, alert_raised(severity="critical", alert_type="system"), False),
        (BOTH, alert_raised(severity="info", alert_type="threshold"), False),
        (OFFLINE, status_changed(new_status="offline"), True),
        (OFFLINE, status_changed(new_status="online"), False),
    ],
)
def test_a_filter_takes_the_alerts_and_the_new_statuses_it_names(
    wish: Filter, event: Event, is_wanted: bool
) -> None:
    assert wish.view(event) == (event if is_wanted else None)


def test_a_wish_about_one_kind_says_nothing_about_another() -> None:
    wish = Filter(
        metrics=frozenset({"vibration"}),
        severities=frozenset({"info"}),
        alert_types=frozenset({"system"}),
        statuses=frozenset({"online"}),
    )
    assert wish.view(command_issued())
    assert wish.view(started())
    assert CRITICAL.view(telemetry())
    assert OFFLINE.view(alert_raised())


def test_a_device_hears_its_own_commands_and_no_other_s() -> None:
    patterns = ("own:devices.*", "own:commands.*")
    probe = Scope.of(patterns, user_id_of("probe"))
    assert probe.admits(command_issued())
    assert probe.admits(status_changed())
    assert not probe.admits(command_issued(account="other"))
    assert not probe.admits(alert_raised())
    assert not probe.admits(telemetry())


def test_own_things_are_heard_by_their_owner_only() -> None:
    patterns = ("own:surgeries.**",)
    assert Scope.of(patterns, ANA).admits(started(surgeon="ana"))
    assert not Scope.of(patterns, BEA).admits(started(surgeon="ana"))


def test_a_completed_operation_is_its_surgeon_s_as_well() -> None:
    scope = Scope.of(("own:surgeries.**",), ANA)
    assert scope.admits(completed(surgeon="ana"))
    assert not scope.admits(completed(surgeon="bea"))


def test_what_anyone_may_hear_is_heard_whoever_owns_it() -> None:
    scope = Scope.of(("surgeries.**",), BEA)
    assert scope.admits(started(surgeon="ana"))


def test_a_thing_without_an_owner_is_nobody_s_own() -> None:
    scope = Scope.of(("own:control.**",), ANA)
    assert not scope.admits(AccessChanged(id="e", at=NOW, user_id=ANA))


def test_a_topic_outside_the_patterns_is_not_heard() -> None:
    assert not Scope.of(("chat.**", "own:chat.**"), ANA).admits(started(surgeon="ana"))


def test_two_operators_have_the_same_scope_and_two_surgeons_do_not() -> None:
    assert Scope.of(("surgeries.**",), ANA) == Scope.of(("surgeries.**",), BEA)
    own = ("own:surgeries.**",)
    assert Scope.of(own, ANA) != Scope.of(own, BEA)


def test_narrowing_forgets_the_owner_where_nothing_own_can_matter() -> None:
    patterns = ("own:surgeries.**", "chat.**")
    ana, bea = (Scope.of(patterns, user) for user in (ANA, BEA))
    assert ana.narrowed("chat.*") == bea.narrowed("chat.*")
    assert ana.narrowed("surgeries.*") != bea.narrowed("surgeries.*")


def test_narrowing_admits_what_was_admitted_within_the_pattern() -> None:
    scope = Scope.of(("own:surgeries.**", "chat.**"), ANA)
    assert scope.narrowed("surgeries.completed").admits(completed(surgeon="ana"))
    assert not scope.narrowed("surgeries.completed").admits(completed(surgeon="bea"))


def test_a_pattern_of_which_nothing_may_be_heard_leaves_an_empty_scope() -> None:
    scope = Scope.of(("chat.**",), ANA)
    assert scope.narrowed("surgeries.*").is_empty
    assert not scope.narrowed("chat.general").is_empty


def test_everyone_hears_the_own_private_topic_and_no_other() -> None:
    scope = Scope.of((f"users.{ANA}",), ANA)
    assert scope.narrowed("users.*").anyone == (f"users.{ANA}",)
    assert scope.narrowed(f"users.{BEA}").is_empty


def test_an_owner_is_compared_as_a_uuid() -> None:
    again = UUID(str(ANA))
    assert Scope.of(("own:surgeries.**",), again).admits(started(surgeon="ana"))
