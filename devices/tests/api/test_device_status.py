"""A device's status over REST: by query or by body, told by a person or by the device."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from devices.models import Device, StatusChange
from devices.tests.builders import Announced, a_device, body_of, names

ROOT = "/api/v1/devices"
INVALID_STATUS = {
    "detail": "Invalid status. Must be: online, offline, warning, error, or maintenance"
}


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("status", Device.Status.values[:1] + Device.Status.values[2:])
def test_a_status_is_set_by_query_or_by_body(
    client: APIClient, announced: Announced, status: str, slash: str
) -> None:
    by_query, by_body = a_device(external_id="D-1"), a_device(external_id="D-2")
    announced.clear()
    answers = [
        client.patch(f"{ROOT}/{by_query.pk}/status{slash}?status={status}"),
        client.patch(f"{ROOT}/{by_body.pk}/status{slash}", {"status": status}, format="json"),
    ]
    for answer in answers:
        assert answer.status_code == 200
        body = body_of(answer)
        assert body["status"] == status
        assert body["last_seen"] is not None
    assert names(announced) == ["device_status_changed"] * 2


def test_a_status_may_say_why(client: APIClient, device: Device) -> None:
    given = {"status": "warning", "reason": "Low battery", "metadata": {}}
    assert client.put(f"{ROOT}/{device.pk}/status", given, format="json").status_code == 200
    client.patch(f"{ROOT}/{device.pk}/status?status=error")
    reasons = StatusChange.objects.filter(device=device).order_by("id")
    assert list(reasons.values_list("reason", flat=True)) == ["Low battery", "set by operator"]


@pytest.mark.parametrize("status", ["asleep", "ONLINE", "x" * 19])
def test_a_status_that_there_is_not_is_refused(
    client: APIClient, device: Device, status: str
) -> None:
    url = f"{ROOT}/{device.pk}/status"
    for answer in (
        client.patch(f"{url}?status={status}"),
        client.patch(url, {"status": status}, format="json"),
    ):
        assert answer.status_code == 400
        assert body_of(answer) == INVALID_STATUS


@pytest.mark.parametrize("given", [None, {}, {"status": 5}, {"status": None}, {"status": ["on"]}])
def test_a_status_has_to_be_given(client: APIClient, device: Device, given: Any) -> None:
    response = client.patch(f"{ROOT}/{device.pk}/status", given, format="json")
    assert response.status_code == 422
    assert body_of(response)["detail"][0]["loc"][1] == "status"
