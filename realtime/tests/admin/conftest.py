"""People in the admin."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.models import Role, User


@pytest.fixture
def administrator() -> User:
    return User.objects.create_superuser("root of all", password="long enough 2024")


@pytest.fixture
def client(administrator: User) -> Client:
    """Return an administrator's browser."""
    return signed_in(administrator)


@pytest.fixture
def as_viewer() -> Callable[..., Client]:
    """Return a function that signs in somebody with these permissions and no others."""

    def sign_in(*permissions: str) -> Client:
        # A role of its own: the shipped ones may look at everything.
        role = Role(name="ROLE_DESK", is_staff=True)
        role.save()
        viewer = User.objects.create_user("vera", role=role)
        viewer.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        assert viewer.user_permissions.count() == len(permissions)
        return signed_in(viewer)

    return sign_in


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client
