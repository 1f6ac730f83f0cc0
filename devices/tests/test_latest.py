"""The last known values: what replaces what."""

from datetime import timedelta

import pytest

from devices.clocks import SKEW
from devices.latest import Latest, is_newer
from devices.readings import METRICS_MAX
from devices.tests.builders import NOW
from devices.tests.reports import measured
from realtime.core.errors import Invalid

SECOND = timedelta(seconds=1)


def put(latest: Latest, device_id: int, **values: float) -> None:
    metrics = {metric: measured(value) for metric, value in values.items()}
    latest.values_of(device_id, metrics).update(metrics)


def test_of_an_unknown_device_nothing_is_known() -> None:
    assert Latest().of(1) == {}
    assert Latest().devices() == []


def test_what_is_given_away_is_a_copy() -> None:
    latest = Latest()
    put(latest, 1, a=1)
    latest.of(1).clear()
    assert latest.of(1) == {"a": measured(1)}


def test_a_later_value_replaces_an_earlier_one_only() -> None:
    before = measured(1, at=NOW)
    assert is_newer(measured(2, at=NOW + SECOND), before, NOW)
    assert not is_newer(measured(2, at=NOW), before, NOW)
    assert not is_newer(measured(2, at=NOW - SECOND), before, NOW)
    assert is_newer(measured(2), None, NOW)


def test_a_time_in_the_future_does_not_outlast_the_present() -> None:
    from_the_future = measured(1, at=NOW + SKEW + SECOND)
    assert is_newer(measured(2, at=NOW), from_the_future, NOW)
    assert not is_newer(from_the_future, from_the_future, NOW), "the same once more"
    within_bounds = measured(1, at=NOW + SKEW)
    assert not is_newer(measured(2, at=NOW), within_bounds, NOW)


def test_one_metric_too_many_is_refused_by_name() -> None:
    latest = Latest()
    put(latest, 1, **{f"m{n:03}": 1 for n in range(METRICS_MAX)})
    with pytest.raises(Invalid) as caught:
        latest.values_of(1, {"m000": measured(1), "zz": measured(1)})
    assert caught.value.field == "zz"
    assert latest.values_of(1, {"m000": measured(1)})
    put(latest, 2, zz=1)


def test_what_the_database_knows_does_not_replace_what_came_since() -> None:
    latest = Latest()
    put(latest, 1, a=2)
    old, new = measured(1, at=NOW - SECOND), measured(3, at=NOW + SECOND)
    latest.fill({1: {"a": old, "b": old}, 2: {"a": old}})
    assert latest.of(1) == {"a": measured(2), "b": old}
    latest.fill({1: {"a": new}})
    assert latest.of(1)["a"] == new
    assert latest.devices() == [1, 2]


def test_devices_are_forgotten() -> None:
    latest = Latest()
    for device_id in (1, 2, 3):
        put(latest, device_id, a=1)
    latest.drop(1)
    latest.drop(1)
    latest.keep_only([3, 4])
    assert latest.devices() == [3]
