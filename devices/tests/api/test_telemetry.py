"""Readings over REST: stored once, told to everyone, and given back in every shape."""

from collections.abc import Iterator
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from devices import signals
from devices.models import Device, Reading
from devices.readings import METRICS_MAX, Report
from devices.tests.api.readings import KEYS, ROOT, ClientOf
from devices.tests.builders import a_device, body_of

WARM = {"metric_name": "temperature", "metric_value": 23.5, "unit": "°C"}


@pytest.fixture
def told() -> Iterator[list[Report]]:
    """Collect the reports that were announced after their commit."""
    heard: list[Report] = []

    def ear(sender: type, readings: list[Report], **_: Any) -> None:
        heard.extend(readings)

    signals.readings_recorded.connect(ear)
    yield heard
    signals.readings_recorded.disconnect(ear)


# --- Storing one ----------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("extra", [{}, {"device_id": 999}, {"device_id": None}])
def test_a_reading_is_stored_and_told(
    client: APIClient,
    device: Device,
    told: list[Report],
    django_capture_on_commit_callbacks: Any,
    extra: dict[str, Any],
    slash: str,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        response = client.post(
            f"{ROOT}/devices/{device.pk}/telemetry{slash}", {**WARM, **extra}, format="json"
        )
    assert response.status_code == 201
    body = body_of(response)
    assert list(body) == KEYS
    assert {name: body[name] for name in WARM} == WARM
    assert body["device_id"] == device.pk
    assert Reading.objects.get().pk == body["id"]
    [report] = told
    assert report.metrics["temperature"].value == 23.5


def test_a_reading_is_a_sign_of_life(client: APIClient, device: Device) -> None:
    client.post(f"{ROOT}/devices/{device.pk}/telemetry", WARM, format="json")
    device.refresh_from_db()
    assert (device.status, device.last_seen is not None) == ("online", True)


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_reading_may_name_its_device_itself(
    client: APIClient, device: Device, slash: str
) -> None:
    given = {**WARM, "device_id": device.pk, "metadata": {"ignored": True}}
    response = client.post(f"{ROOT}/telemetry{slash}", given, format="json")
    assert response.status_code == 201
    assert (list(body_of(response)), body_of(response)["device_id"]) == (KEYS, device.pk)
    response = client.post(f"{ROOT}/telemetry{slash}", WARM, format="json")
    assert response.status_code == 422
    assert body_of(response)["detail"][0]["loc"] == ["body", "device_id"]


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("2024-01-01T12:00:00Z", "2024-01-01T12:00:00"),
        ("2024-01-01T12:00:00.123456", "2024-01-01T12:00:00.123456"),
        ("2024-01-01T14:00:00+02:00", "2024-01-01T12:00:00"),
        (1704110400, "2024-01-01T12:00:00"),
        (1704110400500, "2024-01-01T12:00:00.500000"),
        ("2100-01-01", "2100-01-01T00:00:00"),
    ],
)
def test_a_reading_may_say_when_it_was_taken(
    client: APIClient, device: Device, given: Any, written: str
) -> None:
    body = body_of(
        client.post(
            f"{ROOT}/devices/{device.pk}/telemetry", {**WARM, "timestamp": given}, format="json"
        )
    )
    assert body["timestamp"] == written


def test_a_reading_sent_again_is_stored_once(client: APIClient, device: Device) -> None:
    given = {**WARM, "timestamp": "2024-01-01T12:00:00Z"}
    url = f"{ROOT}/devices/{device.pk}/telemetry"
    first, second = (client.post(url, given, format="json") for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert body_of(first) == body_of(second)
    assert Reading.objects.count() == 1


@pytest.mark.parametrize(
    ("given", "value"),
    [(0, 0), (-1.5, -1.5), ("23.5", 23.5), (" 1e3 ", 1000), (1e308, 1e308), (5e-324, 5e-324)],
)
def test_every_finite_number_is_kept(
    client: APIClient, device: Device, given: Any, value: float
) -> None:
    url = f"{ROOT}/devices/{device.pk}/telemetry"
    body = body_of(client.post(url, {**WARM, "metric_value": given}, format="json"))
    assert body["metric_value"] == value


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"metric_name": None}, "string_type"),
        ({"metric_name": ""}, "string_too_short"),
        ({"metric_name": "x" * 101}, "string_too_long"),
        ({"metric_name": "a\0"}, "string_control_characters"),
        ({"metric_value": None}, "float_type"),
        ({"metric_value": True}, "float_type"),
        ({"metric_value": []}, "float_type"),
        ({"metric_value": "warm"}, "float_parsing"),
        ({"metric_value": "1_0"}, "float_parsing"),
        ({"metric_value": "9" * 101}, "float_parsing"),
        ({"metric_value": "NaN"}, "finite_number"),
        ({"metric_value": "-inf"}, "finite_number"),
        ({"metric_value": "1e999"}, "finite_number"),
        ({"metric_value": 10**400}, "finite_number"),
        ({"unit": "x" * 21}, "string_too_long"),
        ({"unit": "\x00"}, "string_control_characters"),
        ({"unit": 5}, "string_type"),
        ({"timestamp": "yesterday"}, "datetime_parsing"),
        ({"timestamp": "1969-12-31"}, "datetime_range"),
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, "datetime_parsing"),
        ({"timestamp": 10**400}, "datetime_parsing"),
        ({"timestamp": True}, "datetime_parsing"),
        ({"timestamp": []}, "datetime_parsing"),
        ({"device_id": 2**63}, "less_than_equal"),
    ],
)
def test_a_bad_reading_is_refused(
    client: APIClient, device: Device, given: dict[str, Any], kind: str
) -> None:
    url = f"{ROOT}/devices/{device.pk}/telemetry"
    response = client.post(url, {**WARM, **given}, format="json")
    assert response.status_code == 422
    [wrong] = body_of(response)["detail"]
    assert (wrong["type"], wrong["loc"]) == (kind, ["body", next(iter(given))])
    assert not Reading.objects.exists()


@pytest.mark.parametrize("raw", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_json_has_no_word_for_is_refused(client: APIClient, device: Device, raw: str) -> None:
    body = f'{{"metric_name": "temperature", "metric_value": {raw}}}'
    response = client.post(
        f"{ROOT}/devices/{device.pk}/telemetry", body, content_type="application/json"
    )
    assert response.status_code == 422


def test_one_metric_too_many_is_refused(client: APIClient, device: Device) -> None:
    url = f"{ROOT}/devices/{device.pk}/telemetry"
    many = [{"metric_name": f"m{n}", "metric_value": n} for n in range(METRICS_MAX)]
    assert client.post(f"{url}/batch", many, format="json").status_code == 201
    response = client.post(url, WARM, format="json")
    assert response.status_code == 422
    assert body_of(response)["detail"][0]["loc"] == ["body", "metric_name"]


# --- Storing many ---------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_bare_array_is_stored(client: APIClient, device: Device, slash: str) -> None:
    items = [WARM, {**WARM, "metric_value": 24}, {"metric_name": "humidity", "metric_value": 40}]
    response = client.post(
        f"{ROOT}/devices/{device.pk}/telemetry/batch{slash}", items, format="json"
    )
    assert response.status_code == 201
    body = body_of(response)
    assert [list(item) for item in body] == [KEYS] * 3
    # Two of one metric that say no time are two readings.
    assert [item["metric_value"] for item in body] == [23.5, 24, 40]
    assert len({item["id"] for item in body}) == 3


def test_one_bad_item_and_nothing_is_stored(client: APIClient, device: Device) -> None:
    items = [WARM, {**WARM, "metric_value": "NaN"}, {"metric_value": 5}]
    url = f"{ROOT}/devices/{device.pk}/telemetry/batch"
    response = client.post(url, items, format="json")
    assert response.status_code == 422
    assert [(wrong["type"], wrong["loc"]) for wrong in body_of(response)["detail"]] == [
        ("finite_number", ["body", 1, "metric_value"]),
        ("missing", ["body", 2, "metric_name"]),
    ]
    assert not Reading.objects.exists()


@pytest.mark.parametrize(
    ("items", "kind"),
    [
        ({}, "list_type"),
        ("x", "list_type"),
        ([], "too_short"),
        ([WARM] * 1001, "too_long"),
        ([5], "model_attributes_type"),
        ([[WARM]], "model_attributes_type"),
        ([None], "model_attributes_type"),
    ],
)
def test_what_is_no_batch_is_refused(
    client: APIClient, device: Device, items: Any, kind: str
) -> None:
    url = f"{ROOT}/devices/{device.pk}/telemetry/batch"
    response = client.post(url, items, format="json")
    assert response.status_code == 422
    assert body_of(response)["detail"][0]["type"] == kind


def test_the_mistakes_of_a_large_batch_are_told_in_part(client: APIClient, device: Device) -> None:
    url = f"{ROOT}/devices/{device.pk}/telemetry/batch"
    response = client.post(url, [{}] * 1000, format="json")
    assert len(body_of(response)["detail"]) == 100


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("is_bare", [True, False])
def test_a_batch_may_be_of_several_devices(
    client: APIClient, device: Device, slash: str, is_bare: bool, django_assert_max_num_queries: Any
) -> None:
    other = a_device(external_id="D-2")
    items = [{**WARM, "device_id": number} for number in (device.pk, 999, other.pk)]
    given = items if is_bare else {"telemetry_data": items}
    response = client.post(f"{ROOT}/telemetry/batch{slash}", given, format="json")
    assert response.status_code == 201
    body = body_of(response)
    assert body == {
        "submitted": 2,
        "failed": 1,
        "ids": list(Reading.objects.order_by("id").values_list("id", flat=True)),
        "errors": [{"index": 1, "detail": "Device not found"}],
    }


@pytest.mark.parametrize("given", [{}, {"telemetry_data": 5}, {"telemetry_data": []}, 5])
def test_a_batch_without_items_is_refused(client: APIClient, given: Any) -> None:
    assert client.post(f"{ROOT}/telemetry/batch", given, format="json").status_code == 422


# --- Who may --------------------------------------------------------------------------

WRITES: list[tuple[str, Any]] = [
    ("/devices/{}/telemetry", WARM),
    ("/devices/{}/telemetry/batch", [WARM]),
]


@pytest.mark.parametrize(("path", "given"), WRITES)
def test_who_may_write(
    device: Device,
    viewer: User,
    device_account: User,
    client_of: ClientOf,
    path: str,
    given: Any,
) -> None:
    other = a_device(external_id="D-2")

    def status_for(user: User, number: int) -> int:
        url = ROOT + path.format(number)
        return client_of(user).post(url, given, format="json").status_code

    assert status_for(device_account, device.pk) == 201
    assert status_for(device_account, other.pk) == 403
    assert status_for(viewer, device.pk) == 403
    assert status_for(device_account, 999) == 404


def test_a_device_names_nobody_but_itself(
    device: Device, device_account: User, client_of: ClientOf
) -> None:
    other = a_device(external_id="D-2")
    client = client_of(device_account)
    response = client.post(f"{ROOT}/telemetry", {**WARM, "device_id": other.pk}, format="json")
    assert response.status_code == 403
    items = [{**WARM, "device_id": number} for number in (other.pk, device.pk)]
    body = body_of(client.post(f"{ROOT}/telemetry/batch", items, format="json"))
    assert (body["submitted"], body["failed"], body["errors"][0]["index"]) == (1, 1, 0)
    assert Reading.objects.get().series.device_id == device.pk
