"""What was measured, asked for in every way."""

from datetime import timedelta

import pytest

from devices.clocks import SKEW
from devices.history import (
    INTERVALS,
    POINTS_MAX,
    Aggregation,
    metrics_of,
    newest_of,
    newest_rows,
    newest_values,
    points,
    stored_of,
)
from devices.models import Device, Rollup, Series
from devices.tests.builders import NOW, a_device
from devices.tests.reports import a_report, measured, store_reports, store_values
from realtime.core.errors import Invalid

pytestmark = pytest.mark.django_db

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
# A whole hour, and a whole day.
SHARP = NOW.replace(minute=0, second=0, microsecond=0)
MIDNIGHT = SHARP.replace(hour=0)


# --- newest ---------------------------------------------------------------------------


def test_the_newest_value_is_by_the_devices_time(device: Device) -> None:
    other = a_device("TEMP-002")
    store_reports(
        [
            a_report(device, at=NOW, a=1, b=2),
            a_report(device, at=NOW - HOUR, a=3, received_at=NOW + HOUR),
            a_report(other, at=NOW - HOUR, a=4),
        ]
    )
    of_device = {"a": measured(1), "b": measured(2)}
    assert newest_of(device.pk, now=NOW) == of_device
    assert newest_values(now=NOW) == {
        device.pk: of_device,
        other.pk: {"a": measured(4, at=NOW - HOUR)},
    }
    assert newest_of(other.pk + 999, now=NOW) == {}


def test_a_clock_in_the_future_does_not_hide_what_came_since(device: Device) -> None:
    ahead = NOW + SKEW + SECOND
    store_reports([a_report(device, at=ahead, a=1), a_report(device, at=NOW, a=2)])
    assert newest_of(device.pk, now=NOW)["a"].value == 2
    assert newest_of(device.pk, now=ahead)["a"].value == 1


def test_where_there_is_only_the_future_it_is_told(device: Device) -> None:
    store_reports([a_report(device, at=NOW + HOUR * n, received_at=NOW, a=n) for n in (1, 2)])
    assert newest_of(device.pk, now=NOW)["a"].value == 2


# --- rows -----------------------------------------------------------------------------


def test_rows_come_newest_first_over_all_metrics(device: Device) -> None:
    store_reports([a_report(device, at=NOW + SECOND * n, a=n, b=-n) for n in range(1, 6)])
    store_reports([a_report(a_device("TEMP-002"), at=NOW + HOUR, a=99)])
    rows = newest_rows(device.pk, limit=3)
    assert sorted((row.metric, row.value) for row in rows[:2]) == [("a", 5), ("b", -5)]
    assert [row.at for row in rows] == [NOW + SECOND * 5, NOW + SECOND * 5, NOW + SECOND * 4]
    assert {row.device_id for row in rows} == {device.pk}
    assert len(newest_rows(device.pk, limit=100)) == 10
    assert newest_rows(device.pk + 999, limit=100) == []


def test_rows_are_cut_by_time_and_metric(device: Device) -> None:
    store_reports([a_report(device, at=NOW + SECOND * n, a=n, b=-n) for n in range(5)])

    def values(**how: object) -> list[float]:
        return [row.value for row in newest_rows(device.pk, limit=100, metric="a", **how)]

    assert values() == [4, 3, 2, 1, 0]
    assert values(since=NOW + SECOND * 3) == [4, 3]
    assert values(until=NOW + SECOND) == [1, 0]
    assert values(since=NOW + SECOND, until=NOW + SECOND * 2) == [2, 1]
    assert newest_rows(device.pk, limit=1, metric="b")[0].value == -4


def test_a_row_has_everything_that_is_stored(device: Device) -> None:
    ahead = NOW + HOUR
    store_reports([a_report(device, at=ahead, received_at=NOW, message_id="m", unit="K", a=1)])
    (row,) = newest_rows(device.pk, limit=1)
    assert (row.at, row.received_at, row.is_skewed) == (ahead, NOW, True)
    assert (row.message_id, row.unit) == ("m", "K")


def test_the_stored_readings_of_reports_come_in_their_order(device: Device) -> None:
    store_reports([a_report(device, at=NOW - SECOND, message_id="m", b=9)])
    reports = [
        a_report(device, at=NOW + SECOND, a=1, c=2),
        a_report(device, at=NOW, message_id="m", b=3),
    ]
    store_reports(reports)
    found = stored_of(reports)
    assert [(row.metric, row.value) for row in found] == [("a", 1), ("c", 2), ("b", 9)]
    assert found[2].at == NOW - SECOND, "the message was sent before"
    assert stored_of([]) == []


# --- series by interval ---------------------------------------------------------------


def of(device: Device, **how: object) -> list[tuple[timedelta, float, int]]:
    given = {"interval": "1m", "aggregation": "avg", "since": SHARP, "until": SHARP + HOUR, **how}
    return [
        (point.at - SHARP, point.value, point.count)
        for point in points(device.pk, "temperature", **given)
    ]


def test_a_point_stands_for_all_readings_of_its_interval(device: Device) -> None:
    store_values(device, [1, 2, 6, 4], every=20 * SECOND, at=SHARP)
    assert of(device) == [(timedelta(0), 3, 3), (MINUTE, 4, 1)]
    for aggregation, value in {"min": 1, "max": 6, "avg": 3, "sum": 9, "count": 3}.items():
        assert of(device, aggregation=aggregation)[0] == (timedelta(0), value, 3)


@pytest.mark.parametrize("interval", INTERVALS)
def test_intervals_begin_at_whole_multiples_of_their_length(device: Device, interval: str) -> None:
    length = INTERVALS[interval]
    values = [1.0, 2.0]
    store_values(device, values, every=length, at=MIDNIGHT)
    found = points(
        device.pk,
        "temperature",
        interval=interval,
        aggregation="avg",
        since=MIDNIGHT + SECOND,
        until=MIDNIGHT + 2 * length,
    )
    assert [(point.at, point.value) for point in found] == [(MIDNIGHT, 1), (MIDNIGHT + length, 2)]


def test_other_devices_and_metrics_are_not_counted(device: Device) -> None:
    store_values(device, [1], every=SECOND, at=SHARP)
    store_reports([a_report(device, at=SHARP + SECOND, other=9)])
    store_values(a_device("TEMP-002"), [9], every=SECOND, at=SHARP)
    assert of(device) == [(timedelta(0), 1, 1)]
    assert points(device.pk, "none", interval="1d", aggregation="avg", since=SHARP, until=NOW) == []


def test_what_retention_took_is_there_by_the_hour(device: Device) -> None:
    store_values(device, [10, 20], every=SECOND, at=SHARP + HOUR)
    series = Series.objects.get()
    Rollup.objects.create(series=series, hour=SHARP, count=2, mean=2, low=1, high=3)
    Rollup.objects.create(series=series, hour=SHARP + HOUR, count=2, mean=30, low=25, high=35)
    until = SHARP + 2 * HOUR
    assert of(device, interval="1h", until=until) == [(timedelta(0), 2, 2), (HOUR, 22.5, 4)]
    assert of(device, interval="1h", aggregation="max", until=until)[1] == (HOUR, 35, 4)
    assert of(device, interval="1h", aggregation="sum", until=until)[1] == (HOUR, 90, 4)
    by_day = of(device, interval="1d", aggregation="count", until=until)
    assert by_day == [(MIDNIGHT - SHARP, 6, 6)]


@pytest.mark.parametrize("aggregation", Aggregation)
def test_the_largest_values_do_not_overflow(device: Device, aggregation: str) -> None:
    store_values(device, [1.7e308, 1.7e308, 1.5e308], every=SECOND, at=SHARP)
    series = Series.objects.get()
    Rollup.objects.create(series=series, hour=SHARP, count=9, mean=1e308, low=1e308, high=1e308)
    ((_, value, count),) = of(device, aggregation=aggregation, interval="1h")
    assert count == 12
    assert value == {"count": 12, "min": 1e308, "max": 1.7e308}.get(aggregation, value)
    assert 0 < value < float("inf")


def test_an_unknown_interval_or_aggregation_is_named(device: Device) -> None:
    for field, value in (("interval", "2m"), ("aggregation", "median")):
        with pytest.raises(Invalid) as caught:
            of(device, **{field: value})
        assert caught.value.field == field


def test_too_many_points_are_refused(device: Device) -> None:
    with pytest.raises(Invalid) as caught:
        of(device, until=SHARP + MINUTE * (POINTS_MAX + 1))
    assert caught.value.field == "interval"
    assert of(device, until=SHARP + MINUTE * POINTS_MAX) == []


def test_metrics_come_with_their_units(device: Device) -> None:
    store_reports([a_report(device, unit="%", humidity=1), a_report(device, unit="K", heat=1)])
    assert metrics_of(device.pk) == {"heat": "K", "humidity": "%"}
