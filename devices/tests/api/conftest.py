"""Who asks in the tests of devices over REST."""

from collections.abc import Callable

import pytest
from rest_framework.test import APIClient

from accounts import roles
from accounts.models import User
from devices.models import Device
from devices.services.devices import issue_device_token
from devices.tests.builders import NOW


@pytest.fixture
def viewer(db: None) -> User:
    return User.objects.create_user("viewer", role=roles.VIEWER)


@pytest.fixture
def device_account(device: Device) -> User:
    """Return the account that `device` signs in with."""
    bound, _ = issue_device_token(device.pk, now=NOW)
    return bound.account


@pytest.fixture
def client(operator: User, client_of: Callable[[User], APIClient]) -> APIClient:
    """Return a client that may do everything with devices."""
    return client_of(operator)
