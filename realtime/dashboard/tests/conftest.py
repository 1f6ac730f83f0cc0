"""People, signed-in browsers and operations for the tests of the pages."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from accounts import roles
from accounts.models import User
from devices.models import Surgery

STARTED_AT = datetime(2026, 3, 5, 10, 30, tzinfo=UTC)


@pytest.fixture
def make_user(db: None) -> Callable[..., User]:
    """Create users without a password, which takes time to hash."""

    def make(username: str = "surgeon_master", role: str = roles.SURGEON) -> User:
        return User.objects.create_user(username, role=role)

    return make


@pytest.fixture
def surgeon(make_user: Callable[..., User]) -> User:
    return make_user()


@pytest.fixture
def browser_of() -> Callable[..., Client]:
    """Return a function that gives the browser of somebody who is signed in."""

    def browser(user: User, **options: Any) -> Client:
        client = Client(**options)
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return browser


@pytest.fixture
def operator(make_user: Callable[..., User], browser_of: Callable[..., Client]) -> Client:
    """The browser of somebody who may see everything."""
    return browser_of(make_user("operator", roles.OPERATOR))


@pytest.fixture
def make_surgery(db: None) -> Callable[..., Surgery]:
    """Create operations that are completed unless the test says otherwise."""

    def make(surgeon: User, **fields: Any) -> Surgery:
        defaults = {
            "status": Surgery.Status.COMPLETED,
            "started_at": STARTED_AT,
            "ended_at": STARTED_AT,
            "duration_seconds": 75,
            "movements": 4500,
        }
        return Surgery.objects.create(surgeon=surgeon, **{**defaults, **fields})

    return make
