"""accounts/models.py: what follows from saving a user or a role."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import IntegrityError
from django.test import RequestFactory
from django.utils import timezone

from accounts import roles, tokens
from accounts.access import principal_for_token
from accounts.models import Role, User, check_username, resolve_role_name
from accounts.tokens import BadToken

MakeUser = Callable[..., User]


@pytest.mark.parametrize(
    ("role", "is_staff", "is_superuser"),
    [
        (roles.ADMIN, True, True),
        (roles.OPERATOR, True, False),
        (roles.VIEWER, True, False),
        (roles.SURGEON, False, False),
        (roles.AI, False, False),
        (roles.DEVICE, False, False),
        (roles.MEMBER, False, False),
    ],
)
def test_admin_rights_follow_the_role(
    make_user: MakeUser, role: str, is_staff: bool, is_superuser: bool
) -> None:
    user = make_user("somebody", role)
    assert (user.is_staff, user.is_superuser) == (is_staff, is_superuser)
    assert [group.name for group in user.groups.all()] == [role]


@pytest.mark.parametrize("update_fields", [None, ["role"], ["role_id"], ["email", "role"]])
def test_admin_rights_change_with_the_role(surgeon: User, update_fields: list[str] | None) -> None:
    surgeon.role_id = roles.ADMIN
    surgeon.save(update_fields=update_fields)
    saved = User.objects.get(pk=surgeon.pk)
    assert saved.is_staff
    assert saved.is_superuser
    assert [group.name for group in saved.groups.all()] == [roles.ADMIN]
    saved.role_id = roles.MEMBER
    saved.save()
    saved.refresh_from_db()
    assert not saved.is_staff
    assert not saved.is_superuser
    assert [group.name for group in saved.groups.all()] == [roles.MEMBER]


def test_role_that_is_not_saved_changes_no_rights(surgeon: User) -> None:
    surgeon.role_id = roles.ADMIN
    surgeon.email = "surgeon@example.org"
    surgeon.save(update_fields=["email"])
    saved = User.objects.get(pk=surgeon.pk)
    assert saved.role_id == roles.SURGEON
    assert not saved.is_superuser


def test_users_follow_their_role_into_the_admin_and_out(make_user: MakeUser) -> None:
    member = make_user("member", roles.MEMBER)
    role = Role.objects.get(name=roles.MEMBER)
    for is_staff in (True, False):
        role.is_staff = is_staff
        role.save()
        member.refresh_from_db()
        assert member.is_staff == is_staff


def test_new_role_gets_a_group_that_goes_with_it(db: None) -> None:
    role = Role.objects.create(name="ROLE_TRAINEE")
    assert role.group.name == "ROLE_TRAINEE"
    group = role.group
    role.delete()
    assert not type(group).objects.filter(pk=group.pk).exists()


def test_permissions_of_the_group_reach_the_user(make_user: MakeUser) -> None:
    operator = make_user("operator", roles.OPERATOR)
    assert operator.has_perm("accounts.view_user")
    assert not operator.has_perm("accounts.change_user")
    assert not make_user("member", roles.MEMBER).has_perm("accounts.view_user")


def test_createsuperuser_makes_an_administrator(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "long enough to be one")
    call_command("createsuperuser", username="root", interactive=False, verbosity=0)
    root = User.objects.get(username="root")
    assert root.role_id == roles.ADMIN
    assert root.is_superuser
    assert root.check_password("long enough to be one")


def test_password_is_hashed_with_argon2(surgeon_with_password: User) -> None:
    assert surgeon_with_password.password.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")


# --- names ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Dr. Ana María Núñez", "外科医", "a.b+c@d", "root", "👩"])
def test_printable_names_are_good(name: str) -> None:
    check_username(name)


@pytest.mark.parametrize(
    "name", [" ana", "ana ", "a\nb", "a\0b", "\ud800", "a\u200bb", "\u202eana", "ﬁona", "ana\u0301"]
)
def test_names_that_a_form_would_change_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        check_username(name)


def test_names_differ_by_case(surgeon: User, make_user: MakeUser) -> None:
    assert make_user("Surgeon_Master").pk != surgeon.pk
    with pytest.raises(IntegrityError):
        make_user("surgeon_master")


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("ROLE_CIRUJANO", roles.SURGEON),
        ("ROLE_IA", roles.AI),
        (roles.ADMIN, roles.ADMIN),
        ("role_ia", "role_ia"),
    ],
)
def test_role_aliases(written: str, stored: str) -> None:
    assert resolve_role_name(written) == stored


def test_user_can_be_created_with_an_alias(make_user: MakeUser) -> None:
    assert make_user("ia_justina", "ROLE_IA").role_id == roles.AI


# --- tokens and passwords -------------------------------------------------------------


def test_new_user_accepts_tokens_from_this_second_on(surgeon: User) -> None:
    assert surgeon.tokens_valid_from.microsecond == 0
    assert timezone.now() - surgeon.tokens_valid_from < timedelta(seconds=30)


@pytest.mark.parametrize("update_fields", [None, ["password"]])
def test_new_password_ends_every_older_token(
    surgeon: User, update_fields: list[str] | None
) -> None:
    old = tokens.issue_access(surgeon)
    surgeon.set_password("another one")
    surgeon.save(update_fields=update_fields)
    with pytest.raises(BadToken, match="revoked"):
        principal_for_token(old)
    assert principal_for_token(tokens.issue_access(surgeon))


def test_upgraded_hash_is_not_a_new_password(surgeon: User) -> None:
    surgeon.password = make_password("justina2024", hasher="pbkdf2_sha256")
    surgeon.save()
    token = tokens.issue_access(surgeon)
    request = RequestFactory().post("/")
    assert authenticate(request, username=surgeon.username, password="justina2024") == surgeon
    surgeon.refresh_from_db()
    assert surgeon.password.startswith("argon2$")
    assert principal_for_token(token)


def test_expiring_twice_in_a_second_moves_on_twice(surgeon: User) -> None:
    now = surgeon.tokens_valid_from
    surgeon.expire_tokens(now)
    assert surgeon.tokens_valid_from == now + timedelta(seconds=1)
    surgeon.expire_tokens(now)
    assert surgeon.tokens_valid_from == now + timedelta(seconds=2)


# --- what a role can be given ---------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "surgeon"},
        {"name": "ROLE_IA"},
        {"endpoints": ["simulation", "root"]},
        {"subscribe": ["**"]},
        {"subscribe": ["users.**"]},
        {"subscribe": ["own:users.*"]},
        {"subscribe": ["control.access"]},
        {"subscribe": ["chat..x"]},
        {"publish": ["surgeries.**"]},
        {"publish": ["chat.x*"]},
        {"publish": ["alerts.7"]},
    ],
)
def test_role_cannot_be_given_what_nobody_may(db: None, fields: dict) -> None:
    role = Role(**{"name": "ROLE_TRAINEE", **fields})
    with pytest.raises(ValidationError):
        role.full_clean(exclude=["group"])


def test_role_of_administrators_keeps_the_admin(db: None) -> None:
    role = Role.objects.get(name=roles.ADMIN)
    role.is_staff = False
    with pytest.raises(ValidationError, match="sign in"):
        role.full_clean()


@pytest.mark.parametrize("name", sorted(roles.SHIPPED_NAMES))
def test_shipped_roles_are_valid(db: None, name: str) -> None:
    Role.objects.get(name=name).full_clean()


# --- what was changed -----------------------------------------------------------------


def test_changes_are_told_with_the_values_before_and_once(surgeon: User) -> None:
    user = User.objects.get(pk=surgeon.pk)
    user.username, user.is_active, user.email = "ana", False, "ana@example.org"
    assert user.take_changes(created=False, update_fields=None) == {
        "username": "surgeon_master",
        "is_active": True,
    }
    assert user.take_changes(created=False, update_fields=None) == {}


def test_a_change_that_was_not_saved_is_told_when_it_is(surgeon: User) -> None:
    user = User.objects.get(pk=surgeon.pk)
    user.username, user.is_active = "ana", False
    assert user.take_changes(created=False, update_fields=["username"]) == {
        "username": "surgeon_master"
    }
    assert user.take_changes(created=False, update_fields=["is_active"]) == {"is_active": True}


def test_a_foreign_key_is_told_by_its_value_whatever_it_is_called(surgeon: User) -> None:
    for name in ("role", "role_id"):
        user = User.objects.get(pk=surgeon.pk)
        user.role_id = roles.MEMBER
        changes = user.take_changes(created=False, update_fields=[name])
        assert changes == {"role_id": roles.SURGEON}


def test_a_list_that_was_changed_in_place_is_told(db: None) -> None:
    role = Role.objects.get(pk=roles.MEMBER)
    before = list(role.subscribe)
    role.subscribe.append("streams.**")
    assert role.take_changes(created=False, update_fields=None) == {"subscribe": before}


def test_a_new_row_has_changed_nothing() -> None:
    user = User(username="ana", role_id=roles.MEMBER)
    assert user.take_changes(created=True, update_fields=None) == {}
    user.username = "bea"
    assert user.take_changes(created=False, update_fields=None) == {"username": "ana"}
