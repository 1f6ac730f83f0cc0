"""Readings over REST: given back as rows, last values, history and timeseries."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from devices.models import Device
from devices.tests.api.readings import KEYS, NOON, ROOT, ClientOf, stored
from devices.tests.builders import a_device, body_of

# --- Rows -----------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"])
def test_rows_are_newest_first(
    client: APIClient, device: Device, slash: str, django_assert_num_queries: Any
) -> None:
    ids = stored(device, 1, 2, 3)
    old = stored(device, 9, start=timezone.now() - timedelta(hours=30))
    url = f"{ROOT}/devices/{device.pk}/telemetry{slash}"
    # The account, the device, its readings.
    with django_assert_num_queries(3):
        body = body_of(client.get(url))
    assert [item["id"] for item in body] == ids[::-1]
    assert list(body[0]) == KEYS
    assert [item["id"] for item in body_of(client.get(url, {"limit": 1}))] == ids[-1:]
    assert body_of(client.get(url, {"hours": 48}))[-1]["id"] == old[0]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "hours=0", "hours=169", "hours=x"])
def test_rows_out_of_range_are_refused(client: APIClient, device: Device, query: str) -> None:
    response = client.get(f"{ROOT}/devices/{device.pk}/telemetry?{query}")
    assert response.status_code == 422


def test_a_device_is_shown_with_its_latest_values(client: APIClient, device: Device) -> None:
    newest = stored(device, 1, 2)[-1]
    damp = stored(device, 40, metric="humidity")[-1]
    body = body_of(client.get(f"{ROOT}/devices/{device.pk}"))
    assert [item["id"] for item in body["latest_telemetry"]] == [damp, newest]
    assert list(body["latest_telemetry"][0]) == KEYS


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_latest_values_are_shown_by_metric(
    client: APIClient, device: Device, slash: str, django_assert_num_queries: Any
) -> None:
    newest = stored(device, 1, 2)[-1]
    stored(device, 40, metric="humidity")
    url = f"{ROOT}/telemetry/latest{slash}"
    with django_assert_num_queries(3):
        body = body_of(client.get(url, {"device_id": device.pk}))
    assert list(body) == ["device_id", "telemetry", "last_updated"]
    assert set(body["telemetry"]) == {"temperature", "humidity"}
    body = body_of(client.get(url, {"device_id": device.pk, "metrics": "temperature,none"}))
    [value] = body["telemetry"].values()
    assert (value["value"], value["unit"], value["id"]) == (2, "°C", newest)
    assert body["last_updated"] == value["timestamp"]


def test_a_device_that_measured_nothing_has_no_latest_values(
    client: APIClient, device: Device
) -> None:
    body = body_of(client.get(f"{ROOT}/telemetry/latest", {"device_id": device.pk}))
    assert body == {"device_id": device.pk, "telemetry": {}, "last_updated": None}


# --- History --------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(
    ("aggregation", "values"),
    [
        ("avg", [3, 6.5]),
        ("min", [1, 6]),
        ("max", [5, 7]),
        ("count", [5, 2]),
        ("sum", [15, 13]),
    ],
)
def test_history_is_in_steps(
    client: APIClient, device: Device, slash: str, aggregation: str, values: list[float]
) -> None:
    stored(device, 1, 2, 3, 4, 5, 6, 7, start=NOON)
    query = {
        "device_id": device.pk,
        "metric": "temperature",
        "start_time": "2026-03-05T12:00:00Z",
        "end_time": "2026-03-05T13:00:00Z",
        "interval": "5m",
        "aggregation": aggregation,
    }
    response = client.get(f"{ROOT}/telemetry/history{slash}", query)
    assert response.status_code == 200
    body = body_of(response)
    assert body["data_points"] == [
        {"timestamp": "2026-03-05T12:00:00", "value": values[0], "count": 5},
        {"timestamp": "2026-03-05T12:05:00", "value": values[1], "count": 2},
    ]
    assert body["statistics"] == {"count": 7, "min": 1, "max": 7, "avg": 4, "sum": 28}
    assert (body["interval"], body["aggregation"]) == ("5m", aggregation)


def test_history_is_a_day_of_hours_unless_asked(client: APIClient, device: Device) -> None:
    stored(device, 1, 3)
    stored(device, 9, start=timezone.now() - timedelta(hours=30))
    body = body_of(client.get(f"{ROOT}/telemetry/history?device_id={device.pk}&metric=temperature"))
    assert (body["interval"], body["aggregation"]) == ("1h", "avg")
    assert body["statistics"]["count"] == 2


def test_a_history_of_nothing_is_empty(client: APIClient, device: Device) -> None:
    body = body_of(client.get(f"{ROOT}/telemetry/history?device_id={device.pk}&metric=none"))
    assert body["data_points"] == []
    assert body["statistics"] == {"count": 0, "min": None, "max": None, "avg": None, "sum": 0}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"metric": ""}, "metric"),
        ({"interval": "2m"}, "interval"),
        ({"interval": "1m", "start_time": "2020-01-01"}, "interval"),
        ({"aggregation": "median"}, "aggregation"),
        ({"start_time": "soon"}, "start_time"),
        ({"end_time": "2020-01-01", "start_time": "2021-01-01"}, "end_time"),
        ({"device_id": "x"}, "device_id"),
    ],
)
def test_a_bad_question_is_refused(
    client: APIClient, device: Device, query: dict[str, str], field: str
) -> None:
    given = {"device_id": device.pk, "metric": "temperature", **query}
    response = client.get(f"{ROOT}/telemetry/history", given)
    assert response.status_code == 422
    [wrong] = body_of(response)["detail"]
    assert wrong["loc"] == ["query", field]


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_timeseries_is_oldest_first(client: APIClient, device: Device, slash: str) -> None:
    stored(device, 1, 2, 3)
    url = f"{ROOT}/analytics/device/{device.pk}/timeseries{slash}?metric=temperature"
    body = body_of(client.get(url))
    assert list(body) == ["device_id", "metric", "time_range_hours", "data_points", "data"]
    assert (body["time_range_hours"], body["data_points"]) == (24, 3)
    assert [item["value"] for item in body["data"]] == [1, 2, 3]
    assert list(body["data"][0]) == ["timestamp", "value", "unit"]


@pytest.mark.parametrize(("query", "code"), [("?metric=none", 404), ("", 422), ("?hours=1", 422)])
def test_a_timeseries_of_nothing_is_not_found(
    client: APIClient, device: Device, query: str, code: int
) -> None:
    response = client.get(f"{ROOT}/analytics/device/{device.pk}/timeseries{query}")
    assert response.status_code == code


# --- Who may --------------------------------------------------------------------------

READS = [
    "/devices/{}/telemetry",
    "/telemetry/latest?device_id={}",
    "/telemetry/history?device_id={}&metric=temperature",
    "/analytics/device/{}/timeseries?metric=temperature",
]


@pytest.mark.parametrize("path", READS)
def test_who_may_read(
    device: Device,
    viewer: User,
    device_account: User,
    surgeon: User,
    client_of: ClientOf,
    path: str,
) -> None:
    stored(device, 1)
    other = a_device(external_id="D-2")
    stored(other, 1)
    own, theirs = (ROOT + path.format(each.pk) for each in (device, other))
    for user in (viewer, device_account):
        assert client_of(user).get(own).status_code == 200
    assert client_of(device_account).get(theirs).status_code == 403
    assert client_of(surgeon).get(own).status_code == 403
    assert APIClient().get(own).status_code == 401
    assert client_of(viewer).get(ROOT + path.format(999)).status_code == 404
    assert client_of(viewer).get(ROOT + path.format(2**63)).status_code in (404, 422)
