"""Users of each kind, and an ear for what accounts announce."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from accounts import roles
from accounts.models import User
from accounts.signals import access_changed

PASSWORD = "justina2024"

Heard = list[dict[str, Any]]


@pytest.fixture
def make_user(db: None) -> Callable[..., User]:
    """Create users without a password, which takes time to hash."""

    def make(username: str = "surgeon_master", role: str = roles.SURGEON, **fields: Any) -> User:
        return User.objects.create_user(username, role=role, **fields)

    return make


@pytest.fixture
def surgeon(make_user: Callable[..., User]) -> User:
    return make_user()


@pytest.fixture
def administrator(make_user: Callable[..., User]) -> User:
    return make_user("admin", roles.ADMIN)


@pytest.fixture
def surgeon_with_password(db: None) -> User:
    return User.objects.create_user("surgeon_master", PASSWORD)


@pytest.fixture
def heard() -> Iterator[Heard]:
    """Every `access_changed` of this test: the one argument that was set."""
    announcements: Heard = []

    def listen(sender: type, signal: object, **arguments: Any) -> None:
        announcements.append({name: v for name, v in arguments.items() if v is not None})

    access_changed.connect(listen)
    yield announcements
    access_changed.disconnect(listen)
