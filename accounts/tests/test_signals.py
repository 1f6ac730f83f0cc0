"""`access_changed`: on the transition only, inside the transaction, never after a rollback."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.utils import timezone

from accounts import roles, services, tokens
from accounts.access import principal_for_token
from accounts.models import Role, User
from accounts.signals import access_changed
from accounts.tests.conftest import Heard


class Undone(Exception):
    """Raised by a test to roll back."""


@pytest.fixture
def receive() -> Iterator[Callable[[Callable[..., Any]], None]]:
    """Connect receivers for the length of a test."""
    connected: list[Callable[..., Any]] = []

    def connect(receiver: Callable[..., Any]) -> None:
        access_changed.connect(receiver)
        connected.append(receiver)

    yield connect
    for receiver in connected:
        access_changed.disconnect(receiver)


def test_new_user_changes_nothing(make_user: Callable[..., User], heard: Heard) -> None:
    make_user()
    assert heard == []


def test_saving_an_unchanged_user_says_nothing(surgeon: User, heard: Heard) -> None:
    surgeon.save()
    User.objects.get(pk=surgeon.pk).save()
    surgeon.email = "surgeon@example.org"
    surgeon.save()
    surgeon.last_login = timezone.now()
    surgeon.save(update_fields=["last_login"])
    assert heard == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("is_active", False), ("role_id", roles.MEMBER), ("username", "another name")],
)
def test_transition_is_announced_once(
    surgeon: User, heard: Heard, field: str, value: object
) -> None:
    user = User.objects.get(pk=surgeon.pk)
    setattr(user, field, value)
    user.save()
    user.save()
    assert heard == [{"user_id": surgeon.pk}]


def test_transition_of_the_instance_that_created_the_row_is_announced(
    surgeon: User, heard: Heard
) -> None:
    surgeon.is_active = False
    surgeon.save()
    assert heard == [{"user_id": surgeon.pk}]


def test_there_and_back_are_two_transitions(surgeon: User, heard: Heard) -> None:
    for is_active in (False, True):
        surgeon.is_active = is_active
        surgeon.save(update_fields=["is_active"])
    assert len(heard) == 2


def test_change_that_was_not_saved_is_announced_when_it_is(surgeon: User, heard: Heard) -> None:
    surgeon.is_active = False
    surgeon.email = "surgeon@example.org"
    surgeon.save(update_fields=["email"])
    assert heard == []
    surgeon.save(update_fields=["is_active"])
    assert heard == [{"user_id": surgeon.pk}]


def test_refreshed_instance_has_changed_nothing(surgeon: User, heard: Heard) -> None:
    services.deactivate_user(surgeon)
    heard.clear()
    surgeon.refresh_from_db()
    surgeon.save()
    assert heard == []


def test_instance_with_deferred_fields_can_be_saved(surgeon: User, heard: Heard) -> None:
    user = User.objects.only("email").get(pk=surgeon.pk)
    user.email = "surgeon@example.org"
    user.save(update_fields=["email"])
    assert heard == []


def test_services_announce_what_they_do(surgeon: User, heard: Heard) -> None:
    services.deactivate_user(surgeon)
    services.change_role(surgeon, roles.MEMBER)
    services.revoke_all_tokens(surgeon)
    assert heard == [{"user_id": surgeon.pk}] * 3


def test_doing_it_twice_announces_once(surgeon: User, heard: Heard) -> None:
    for _ in range(2):
        services.deactivate_user(surgeon)
        services.change_role(surgeon, roles.MEMBER)
    assert len(heard) == 2


def test_new_password_is_announced(surgeon: User, heard: Heard) -> None:
    surgeon.set_password("another one")
    surgeon.save()
    assert heard == [{"user_id": surgeon.pk}]


def test_revoked_token_is_announced_by_its_id_once(surgeon: User, heard: Heard) -> None:
    principal = principal_for_token(tokens.issue_access(surgeon))
    for _ in range(2):
        services.revoke_token(principal.token_id, user=surgeon, expires_at=principal.expires_at)
    assert heard == [{"token_id": principal.token_id}]


def test_deleted_user_is_announced(surgeon: User, heard: Heard) -> None:
    user_id = surgeon.pk
    User.objects.filter(pk=user_id).delete()
    assert heard == [{"user_id": user_id}]


@pytest.mark.parametrize("field", ["endpoints", "subscribe", "publish"])
def test_role_that_may_do_something_else_is_announced(db: None, heard: Heard, field: str) -> None:
    role = Role.objects.get(name=roles.MEMBER)
    getattr(role, field).pop()
    role.save()
    role.save()
    assert heard == [{"role": roles.MEMBER}]


def test_new_and_unchanged_roles_are_not_announced(db: None, heard: Heard) -> None:
    Role.objects.create(name="ROLE_TRAINEE", endpoints=["pubsub"])
    role = Role.objects.get(name="ROLE_TRAINEE")
    role.is_staff = True
    role.save()
    assert heard == []


# --- transactions ---------------------------------------------------------------------

CHANGES: list[Callable[[User], object]] = [
    services.deactivate_user,
    services.revoke_all_tokens,
    lambda user: services.change_role(user, roles.MEMBER),
    lambda user: services.revoke_token("id", user=user, expires_at=timezone.now()),
    lambda user: (setattr(user, "is_active", False), user.save()),
    lambda user: (user.role.endpoints.clear(), user.role.save()),
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", CHANGES)
def test_receivers_are_called_inside_the_transaction(
    change: Callable[[User], object], receive: Callable[..., None]
) -> None:
    user = User.objects.create_user("surgeon_master")
    inside: list[bool] = []

    def look(**arguments: object) -> None:
        inside.append(connection.in_atomic_block)

    receive(look)
    change(user)
    assert inside == [True]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", CHANGES)
def test_receiver_that_raises_undoes_the_change(
    change: Callable[[User], object], receive: Callable[..., None]
) -> None:
    user = User.objects.create_user("surgeon_master")
    before = User.objects.values().get(pk=user.pk), Role.objects.values().get(pk=user.role_id)

    def refuse(**arguments: object) -> None:
        raise Undone

    receive(refuse)
    with pytest.raises(Undone):
        change(user)
    assert before == (
        User.objects.values().get(pk=user.pk),
        Role.objects.values().get(pk=user.role_id),
    )
    assert not user.revoked_tokens.exists()


@pytest.mark.django_db(transaction=True)
def test_rollback_leaves_nothing_of_what_receivers_wrote(receive: Callable[..., None]) -> None:
    user = User.objects.create_user("surgeon_master")
    committed: list[bool] = []

    def write(**arguments: object) -> None:
        Group.objects.create(name="written by a receiver")
        transaction.on_commit(lambda: committed.append(True))

    receive(write)

    @transaction.atomic
    def deactivate_and_think_again() -> None:
        services.deactivate_user(user)
        raise Undone

    with pytest.raises(Undone):
        deactivate_and_think_again()
    assert not Group.objects.filter(name="written by a receiver").exists()
    assert committed == []
    assert User.objects.get(pk=user.pk).is_active
    services.deactivate_user(user)
    assert committed == [True]
