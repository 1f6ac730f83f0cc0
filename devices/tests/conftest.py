"""Fixtures of the devices tests: people, and an ear for what is announced."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts import roles
from accounts.models import User
from accounts.tokens import issue_access
from devices import signals
from devices.models import Device
from devices.tests.builders import a_device
from devices.writer import Writer


@pytest.fixture
def surgeon(db: None) -> User:
    return User.objects.create_user("dr grey", role=roles.SURGEON)


@pytest.fixture
def other_surgeon(db: None) -> User:
    return User.objects.create_user("dr house", role=roles.SURGEON)


@pytest.fixture
def ai(db: None) -> User:
    return User.objects.create_user("analyst", role=roles.AI)


@pytest.fixture
def operator(db: None) -> User:
    return User.objects.create_user("operator", role=roles.OPERATOR)


@pytest.fixture
def viewer(db: None) -> User:
    return User.objects.create_user("viewer", role=roles.VIEWER)


@pytest.fixture
def member(db: None) -> User:
    return User.objects.create_user("member", role=roles.MEMBER)


@pytest.fixture
def administrator(db: None) -> User:
    return User.objects.create_user("boss", role=roles.ADMIN)


@pytest.fixture
def device(db: None) -> Device:
    return a_device()


@pytest.fixture
def client_of() -> Callable[[User], APIClient]:
    """Return a function that gives a REST client with the user's token."""

    def client(user: User) -> APIClient:
        return APIClient(headers={"Authorization": f"Bearer {issue_access(user)}"})

    return client


@pytest.fixture
def announced() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Collect (name of the signal, its arguments) of everything that is announced."""
    heard: list[tuple[str, dict[str, Any]]] = []
    ears = {}
    for name in (
        "surgery_started",
        "surgery_completed",
        "surgery_interrupted",
        "surgery_analysed",
        "recording_claimed",
        "device_changed",
        "device_status_changed",
        "command_issued",
        "command_ended",
        "alert_raised",
        "alert_updated",
        "rules_changed",
    ):

        def ear(sender: type, signal: Any, name: str = name, **kwargs: Any) -> None:
            heard.append((name, kwargs))

        ears[name] = ear
        getattr(signals, name).connect(ear)
    yield heard
    for name, ear in ears.items():
        getattr(signals, name).disconnect(ear)


@pytest.fixture
def writer() -> Iterator[Writer]:
    writer = Writer()
    writer.start()
    yield writer
    writer.stop()
