"""Old readings become hours, and nothing is counted twice or lost."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from devices import retention
from devices.history import newest_of, points
from devices.models import Device, Reading, Rollup
from devices.retention import delete_rollups, prune, roll_up
from devices.tests.builders import NOW, a_device
from devices.tests.reports import a_report, store_reports, store_values

pytestmark = pytest.mark.django_db

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
SHARP = NOW.replace(minute=0, second=0, microsecond=0)
EVER = SHARP + timedelta(days=1)


def hours() -> list[tuple[timedelta, int, float, float, float]]:
    rows = Rollup.objects.order_by("series", "hour")
    return [
        (hour - SHARP, count, mean, low, high)
        for hour, count, mean, low, high in rows.values_list("hour", "count", "mean", "low", "high")
    ]


@pytest.fixture
def sums(device: Device) -> Callable[[], list[tuple[float, int]]]:
    """Return a function that says what history says, by the hour."""

    def ask() -> list[tuple[float, int]]:
        found = points(
            device.pk, "temperature", interval="1h", aggregation="sum", since=SHARP, until=EVER
        )
        return [(round(point.value, 6), point.count) for point in found]

    return ask


def test_an_hour_keeps_lowest_highest_mean_and_number(device: Device) -> None:
    store_values(device, [1, 2, 6], every=MINUTE, at=SHARP)
    store_values(device, [7, 9], every=MINUTE, at=SHARP + HOUR)
    assert roll_up(before=SHARP + HOUR) == 3
    assert hours() == [(timedelta(0), 3, 3, 1, 6)]
    assert Reading.objects.count() == 2


def test_doing_it_again_changes_nothing(
    device: Device, sums: Callable[[], list[tuple[float, int]]]
) -> None:
    store_values(device, [1, 2, 6, 3, 4], every=MINUTE, at=SHARP)
    before = sums()
    for _ in range(3):
        roll_up(before=SHARP + 3 * MINUTE)
        assert sums() == before == [(16, 5)]
    assert hours() == [(timedelta(0), 3, 3, 1, 6)]


def test_what_comes_late_is_added_to_its_hour(
    device: Device, sums: Callable[[], list[tuple[float, int]]]
) -> None:
    store_values(device, [1, 2, 6], every=MINUTE, at=SHARP)
    store_values(device, [5], every=MINUTE, at=SHARP + 2 * HOUR)
    roll_up(before=SHARP + HOUR)
    store_values(device, [11, -3], every=MINUTE, at=SHARP + 30 * MINUTE)
    assert sums() == [(17, 5), (5, 1)]
    assert roll_up(before=SHARP + HOUR) == 2
    assert hours() == [(timedelta(0), 5, 3.4, -3, 11)]
    assert sums() == [(17, 5), (5, 1)]


def test_a_long_series_is_moved_in_short_transactions(
    device: Device, monkeypatch: pytest.MonkeyPatch, sums: Callable[[], list[tuple[float, int]]]
) -> None:
    monkeypatch.setattr(retention, "DELETED_AT_ONCE", 7)
    store_values(device, range(50), every=5 * MINUTE, at=SHARP)
    store_values(a_device("TEMP-002"), range(20), every=5 * MINUTE, at=SHARP)
    before = sums()
    assert roll_up(before=EVER) == 49 + 19
    assert sums() == before
    assert Reading.objects.count() == 2, "the newest of each"


def test_the_last_known_value_is_kept_however_old(device: Device) -> None:
    store_values(device, [1, 2], every=MINUTE, at=SHARP)
    roll_up(before=EVER)
    assert newest_of(device.pk, now=EVER)["temperature"].value == 2
    store_values(device, [3], every=MINUTE, at=EVER)
    assert roll_up(before=EVER) == 1
    assert hours() == [(timedelta(0), 2, 1.5, 1, 2)]


def test_the_largest_values_do_not_stop_it(device: Device) -> None:
    largest = 1.7976931348623157e308
    store_values(device, [largest] * 7 + [0.0], every=MINUTE, at=SHARP)
    assert roll_up(before=EVER) == 7
    ((_, count, mean, low, high),) = hours()
    assert (count, low, high) == (7, largest, largest)
    assert mean == pytest.approx(largest)
    store_reports([a_report(device, at=SHARP + SECOND, temperature=largest)])
    assert roll_up(before=EVER) == 1
    assert hours()[0][1] == 8


def test_roll_ups_go_when_their_time_has_come(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "DELETED_AT_ONCE", 2)
    store_values(device, range(6), every=HOUR, at=SHARP)
    roll_up(before=EVER)
    assert delete_rollups(before=SHARP + 3 * HOUR + MINUTE) == 3
    assert [began for began, *_ in hours()] == [3 * HOUR, 4 * HOUR]


def test_pruning_does_both(device: Device) -> None:
    store_values(device, [1, 2, 3], every=timedelta(days=1), at=SHARP)
    now = SHARP + timedelta(days=32)
    pruned = prune(now=now, keep_readings=timedelta(days=30), keep_rollups=timedelta(days=31))
    assert pruned == (2, 1)
    assert [began for began, *_ in hours()] == [timedelta(days=1)]
    again = prune(now=now, keep_readings=timedelta(days=30), keep_rollups=timedelta(days=31))
    assert again == (0, 0)
