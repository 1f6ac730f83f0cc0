"""Cohorts with filters: what is narrowed, what shares a rendering, and what waits for a beat."""

import pytest

from realtime.core.events import SystemSampled
from realtime.core.filters import EVERYTHING, Filter
from realtime.hub import Hub, Member
from realtime.tests.doubles import NOW
from realtime.tests.hubs import (
    FakeClock,
    MeasuringDialect,
    joined,
    raised,
    reported,
    texts,
    transport_of,
)


@pytest.fixture
def dialect() -> MeasuringDialect:
    return MeasuringDialect()


def wanting(*metrics: str, every_ms: int = 0) -> Filter:
    return Filter(metrics=frozenset(metrics), every_ms=every_ms)


def listening(
    hub: Hub, dialect: MeasuringDialect, filter_: Filter, pattern: str = "telemetry.*"
) -> Member:
    one = joined(hub, dialect=dialect)
    hub.subscribe(one, pattern, filter_)
    return one


def sampled(id: str, node: str = "n") -> SystemSampled:
    return SystemSampled(id=id, at=NOW, node=node, metrics={"cpu_usage": 1.0})


# --- Views ---------------------------------------------------------------------------------


def test_a_filter_narrows_an_event_to_its_metrics(hub: Hub, dialect: MeasuringDialect) -> None:
    one = listening(hub, dialect, wanting("humidity"))
    hub.deliver(reported(temperature=20, humidity=45))
    hub.deliver(reported(temperature=21))
    assert texts(one) == ["1 humidity=45"]


def test_an_event_that_no_filter_narrows_is_rendered_once_whatever_the_filters(
    hub: Hub, dialect: MeasuringDialect
) -> None:
    filters = (EVERYTHING, wanting("temperature"), wanting("temperature", "humidity"))
    members = [listening(hub, dialect, filter_) for filter_ in filters]
    hub.deliver(reported(temperature=20))
    assert dialect.renders == 1
    assert len({id(transport_of(one).written[0]) for one in members}) == 1


def test_narrowed_views_with_the_same_content_share_a_rendering(
    hub: Hub, dialect: MeasuringDialect
) -> None:
    one = listening(hub, dialect, wanting("temperature"))
    other = listening(hub, dialect, wanting("temperature", "pressure"))
    whole = listening(hub, dialect, EVERYTHING)
    hub.deliver(reported(temperature=20, humidity=45))
    assert texts(one) == texts(other) == ["1 temperature=20"]
    assert texts(whole) == ["1 temperature=20 humidity=45"]
    assert dialect.renders == 2


def test_the_most_specific_subscription_that_accepts_an_event_decides_its_view(
    hub: Hub, dialect: MeasuringDialect
) -> None:
    one = listening(hub, dialect, EVERYTHING, "telemetry.**")
    hub.subscribe(one, "telemetry.1", wanting("temperature"))
    hub.deliver(reported(temperature=20, humidity=45))
    hub.deliver(reported(humidity=46))
    hub.deliver(reported(device=2, temperature=20, humidity=45))
    assert texts(one) == ["1 temperature=20", "1 humidity=46", "2 temperature=20 humidity=45"]


# --- Beats ---------------------------------------------------------------------------------


def test_a_beat_tells_the_latest_of_each_metric_with_its_window(
    hub: Hub, clock: FakeClock, dialect: MeasuringDialect
) -> None:
    one = listening(hub, dialect, wanting(every_ms=500))
    for value in (21, 19, 20):
        hub.deliver(reported(temperature=value))
    hub.deliver(reported(humidity=45))
    assert texts(one) == []
    clock.advance(0.5)
    assert texts(one) == ["1 temperature=20(19..21 x3) humidity=45(45..45 x1)"]


def test_each_device_has_a_message_of_its_own(
    hub: Hub, clock: FakeClock, dialect: MeasuringDialect
) -> None:
    one = listening(hub, dialect, wanting(every_ms=500))
    hub.deliver(reported(device=1))
    hub.deliver(reported(device=2))
    clock.advance(0.5)
    assert [text[0] for text in texts(one)] == ["1", "2"]


def test_a_window_begins_anew_after_its_beat(
    hub: Hub, clock: FakeClock, dialect: MeasuringDialect
) -> None:
    one = listening(hub, dialect, wanting(every_ms=500))
    hub.deliver(reported(temperature=30))
    clock.advance(0.5)
    hub.deliver(reported(temperature=20))
    clock.advance(0.5)
    assert texts(one)[1:] == ["1 temperature=20(20..20 x1)"]


def test_a_reading_that_comes_late_counts_but_is_not_the_latest(
    hub: Hub, clock: FakeClock, dialect: MeasuringDialect
) -> None:
    one = listening(hub, dialect, wanting(every_ms=500))
    hub.deliver(reported(after=10, temperature=20))
    hub.deliver(reported(after=5, temperature=30))
    clock.advance(0.5)
    assert texts(one) == ["1 temperature=20(20..30 x2)"]


def test_the_others_are_not_made_to_wait(
    hub: Hub, clock: FakeClock, dialect: MeasuringDialect
) -> None:
    listening(hub, dialect, wanting(every_ms=500))
    quick = listening(hub, dialect, EVERYTHING)
    hub.deliver(reported(temperature=20))
    assert texts(quick) == ["1 temperature=20"]


def test_a_value_that_crossed_passes_at_once_closes_its_window_and_is_not_repeated(
    hub: Hub, clock: FakeClock, dialect: MeasuringDialect
) -> None:
    one = listening(hub, dialect, wanting(every_ms=500))
    hub.deliver(reported(temperature=20, humidity=45))
    hub.deliver(reported(temperature=31, humidity=46, crossed="temperature"))
    assert texts(one) == ["1 temperature=31(20..31 x2)"]
    clock.advance(0.5)
    assert texts(one)[1:] == ["1 humidity=46(45..46 x2)"]
    hub.deliver(reported(temperature=32))
    clock.advance(0.5)
    assert texts(one)[2:] == ["1 temperature=32(32..32 x1)"]


def test_nothing_waits_after_a_value_that_passed_alone(
    hub: Hub, clock: FakeClock, dialect: MeasuringDialect
) -> None:
    one = listening(hub, dialect, wanting(every_ms=500))
    hub.deliver(reported(temperature=31, crossed="temperature"))
    assert len(texts(one)) == 1
    assert not clock.pending


def test_a_crossing_of_what_the_filter_leaves_out_passes_nothing(
    hub: Hub, clock: FakeClock, dialect: MeasuringDialect
) -> None:
    one = listening(hub, dialect, wanting("humidity", every_ms=500))
    hub.deliver(reported(temperature=31, humidity=45, crossed="temperature"))
    assert texts(one) == []
    clock.advance(0.5)
    assert texts(one) == ["1 humidity=45(45..45 x1)"]


def test_of_system_samples_the_latest_is_told(hub: Hub, clock: FakeClock) -> None:
    one = joined(hub)
    hub.subscribe(one, "system", wanting(every_ms=1000))
    hub.deliver(sampled("s1"))
    hub.deliver(sampled("s2"))
    clock.advance(1)
    assert texts(one) == ["s2 live"]


def test_durable_events_wait_for_no_beat(hub: Hub, clock: FakeClock) -> None:
    one = joined(hub)
    hub.subscribe(one, "alerts.*", wanting(every_ms=1000))
    hub.deliver(raised("a"), 1)
    assert texts(one) == ["a e-1"]


def test_beats_keep_to_their_grid(hub: Hub, clock: FakeClock, dialect: MeasuringDialect) -> None:
    one = listening(hub, dialect, wanting(every_ms=1000))
    for beat in range(1, 4):
        clock.advance(0.7)
        hub.deliver(reported(temperature=beat))
        clock.advance(0.3)
        assert len(texts(one)) == beat


def test_no_timer_runs_while_there_is_nothing_to_tell(
    hub: Hub, clock: FakeClock, dialect: MeasuringDialect
) -> None:
    listening(hub, dialect, wanting(every_ms=500))
    assert not clock.pending
    hub.deliver(reported())
    hub.deliver(reported())
    assert len(clock.pending) == 1
    clock.advance(0.5)
    assert not clock.pending


def test_the_last_one_to_leave_leaves_no_timer(
    hub: Hub, clock: FakeClock, dialect: MeasuringDialect
) -> None:
    one, other = (listening(hub, dialect, wanting(every_ms=500)) for _ in range(2))
    hub.deliver(reported())
    hub.leave(one)
    assert clock.pending
    hub.leave(other)
    assert not clock.pending
    clock.advance(0.5)
    assert texts(one) == texts(other) == []


def test_subscribing_again_to_the_same_loses_nothing_that_waits(
    hub: Hub, clock: FakeClock, dialect: MeasuringDialect
) -> None:
    one = listening(hub, dialect, wanting(every_ms=500))
    hub.deliver(reported(temperature=20))
    hub.subscribe(one, "telemetry.*", wanting(every_ms=500))
    assert hub.reauthorise(one) == []
    clock.advance(0.5)
    assert texts(one) == ["1 temperature=20(20..20 x1)"]


def test_a_beat_that_holds_too_much_is_told_early(
    hub: Hub,
    clock: FakeClock,
    dialect: MeasuringDialect,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("realtime.hub.HELD_MAX", 3)
    one = listening(hub, dialect, wanting(every_ms=60_000))
    for device in (1, 2):
        hub.deliver(reported(device=device))
    assert texts(one) == []
    hub.deliver(reported(device=3))
    assert len(texts(one)) == 3
    assert not clock.pending


def test_a_blocked_peer_gets_the_latest_beat_and_is_told_of_the_others(
    hub: Hub, clock: FakeClock, dialect: MeasuringDialect
) -> None:
    slow = listening(hub, dialect, wanting(every_ms=500))
    transport_of(slow).is_blocked = True
    for value in (20, 21, 22):
        hub.deliver(reported(temperature=value))
        clock.advance(0.5)
    transport_of(slow).drain()
    assert texts(slow) == ["1 temperature=22(22..22 x1)", "gap 2 telemetry"]


# --- Beats and overlapping subscriptions ---------------------------------------------------


def test_who_hears_a_device_live_gets_it_on_no_beat_as_well(
    hub: Hub, clock: FakeClock, dialect: MeasuringDialect
) -> None:
    one = listening(hub, dialect, wanting(every_ms=500))
    hub.subscribe(one, "telemetry.1", EVERYTHING)
    other = listening(hub, dialect, wanting(every_ms=500))
    hub.deliver(reported(device=1, temperature=20))
    hub.deliver(reported(device=2, temperature=30))
    clock.advance(0.5)
    assert texts(one) == ["1 temperature=20", "2 temperature=30(30..30 x1)"]
    assert texts(other) == ["1 temperature=20(20..20 x1)", "2 temperature=30(30..30 x1)"]


def test_who_wants_one_device_on_a_beat_does_not_hear_it_live_as_well(
    hub: Hub, clock: FakeClock, dialect: MeasuringDialect
) -> None:
    one = listening(hub, dialect, EVERYTHING)
    hub.subscribe(one, "telemetry.1", wanting(every_ms=500))
    hub.deliver(reported(device=1, temperature=20))
    hub.deliver(reported(device=1, temperature=31, crossed="temperature"))
    hub.deliver(reported(device=2, temperature=30))
    clock.advance(0.5)
    assert texts(one) == ["1 temperature=31(20..31 x2)", "2 temperature=30"]
