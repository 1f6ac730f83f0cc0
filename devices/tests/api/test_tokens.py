"""Device tokens over REST: who may have one issued, and what it is good for."""

from collections.abc import Callable

import pytest
from rest_framework.test import APIClient

from accounts.access import principal_for_token
from accounts.models import User
from devices.access import device_of
from devices.models import Device
from devices.tests.builders import body_of

ClientOf = Callable[[User], APIClient]


def path_of(device: Device) -> str:
    return f"/api/v1/devices/{device.pk}/token"


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_token_is_the_device_s_own(client: APIClient, device: Device, slash: str) -> None:
    response = client.post(path_of(device) + slash)
    assert response.status_code == 201
    assert response["Cache-Control"] == "no-store"
    body = body_of(response)
    assert body["device_id"] == device.pk
    principal = principal_for_token(body["token"])
    assert principal.role == "ROLE_DEVICE"
    assert device_of(principal.user_id) == device


def test_only_who_manages_devices_may_have_one(
    client_of: ClientOf, device: Device, viewer: User, device_account: User
) -> None:
    assert client_of(viewer).post(path_of(device)).status_code == 403
    assert client_of(device_account).post(path_of(device)).status_code == 403


def test_a_device_that_is_not_there_has_none(client: APIClient, device: Device) -> None:
    assert client.post("/api/v1/devices/999/token").status_code == 404
