"""Users and roles in the admin: who may do what, the actions, the password forms."""

import re
from collections.abc import Callable

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from accounts import roles, tokens
from accounts.access import principal_for_token
from accounts.models import Role, User
from accounts.tests.conftest import Heard
from accounts.tokens import BadToken

USERS = "/admin/accounts/user/"
ROLES = "/admin/accounts/role/"

MakeUser = Callable[..., User]

pytestmark = pytest.mark.django_db


@pytest.fixture
def as_admin(client: Client, administrator: User) -> Client:
    client.force_login(administrator)
    return client


@pytest.fixture
def as_operator(client: Client, make_user: MakeUser) -> Client:
    client.force_login(make_user("operator", roles.OPERATOR))
    return client


def act(client: Client, action: str, *users: User) -> HttpResponse:
    form = {"action": action, "_selected_action": [str(user.pk) for user in users]}
    return client.post(USERS, form, follow=True)


def user_form(user: User, **changes: str) -> dict[str, str]:
    form = {"username": user.username, "email": user.email, "role": user.role_id}
    if user.is_active:
        form["is_active"] = "on"
    form |= changes
    return {name: value for name, value in form.items() if value is not None}


# --- who may ---------------------------------------------------------------------------


def test_surgeon_cannot_enter_the_admin(client: Client, surgeon: User) -> None:
    client.force_login(surgeon)
    assert client.get(USERS).status_code == 302


@pytest.mark.parametrize("path", [USERS, ROLES])
def test_operator_may_look_at_users_and_roles(as_operator: Client, path: str) -> None:
    assert as_operator.get(path).status_code == 200


def test_operator_sees_no_password_hash(as_operator: Client, surgeon: User) -> None:
    surgeon.set_password("secret one")
    surgeon.save()
    page = as_operator.get(f"{USERS}{surgeon.pk}/change/")
    assert page.status_code == 200
    assert "argon2" not in page.content.decode()


def test_operator_may_not_change_users_whatever_the_permissions_say(
    as_operator: Client, surgeon: User
) -> None:
    group = Role.objects.get(name=roles.OPERATOR).group
    group.permissions.set(Permission.objects.all())
    assert as_operator.get(USERS + "add/").status_code == 403
    assert as_operator.post(f"{USERS}{surgeon.pk}/change/", user_form(surgeon)).status_code == 403
    assert as_operator.post(f"{USERS}{surgeon.pk}/delete/", {"post": "yes"}).status_code == 403
    assert as_operator.get(f"{USERS}{surgeon.pk}/password/").status_code == 403
    assert as_operator.post(f"{ROLES}{roles.MEMBER}/change/", {}).status_code == 403
    assert as_operator.get(ROLES + "add/").status_code == 403


@pytest.mark.parametrize("action", ["issue_token", "revoke_tokens"])
def test_operator_has_no_actions(
    as_operator: Client, surgeon: User, heard: Heard, action: str
) -> None:
    answer = act(as_operator, action, surgeon)
    assert "eyJ" not in answer.content.decode()
    assert heard == []


# --- users ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", [USERS, USERS + "add/", USERS + "?q=surgeon&role__name=x"])
def test_pages_of_users_open(as_admin: Client, surgeon: User, path: str) -> None:
    assert as_admin.get(path, follow=True).status_code == 200


def test_adding_a_user(as_admin: Client) -> None:
    form = {
        "username": "Ana María",
        "email": "ana@example.org",
        "role": roles.OPERATOR,
        "password1": "a good one 2024",
        "password2": "a good one 2024",
    }
    assert as_admin.post(USERS + "add/", form).status_code == 302
    ana = User.objects.get(username="Ana María")
    assert ana.check_password("a good one 2024")
    assert ana.role_id == roles.OPERATOR
    assert ana.is_staff
    assert list(ana.groups.values_list("name", flat=True)) == [roles.OPERATOR]


def test_passwords_that_differ_are_refused(as_admin: Client) -> None:
    form = {"username": "ana", "role": roles.MEMBER, "password1": "one", "password2": "other"}
    assert as_admin.post(USERS + "add/", form).status_code == 200
    assert not User.objects.filter(username="ana").exists()


def test_changing_a_role_changes_rights_and_is_announced(
    as_admin: Client, surgeon: User, heard: Heard
) -> None:
    form = user_form(surgeon, role=roles.VIEWER)
    assert as_admin.post(f"{USERS}{surgeon.pk}/change/", form).status_code == 302
    surgeon.refresh_from_db()
    assert surgeon.role_id == roles.VIEWER
    assert surgeon.is_staff
    assert heard == [{"user_id": surgeon.pk}]


def test_deactivating_is_announced_once(as_admin: Client, surgeon: User, heard: Heard) -> None:
    form = user_form(surgeon)
    del form["is_active"]
    for _ in range(2):
        assert as_admin.post(f"{USERS}{surgeon.pk}/change/", form).status_code == 302
    assert not User.objects.get(pk=surgeon.pk).is_active
    assert heard == [{"user_id": surgeon.pk}]


def test_form_saves_only_what_it_changed(
    as_admin: Client, surgeon: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[object] = []
    original = User.save

    def save(self: User, **kwargs: object) -> None:
        saved.append(kwargs.get("update_fields"))
        original(self, **kwargs)

    monkeypatch.setattr(User, "save", save)
    form = user_form(surgeon, email="surgeon@example.org")
    as_admin.post(f"{USERS}{surgeon.pk}/change/", form)
    assert saved == [["email"]]


@pytest.mark.parametrize("hidden", ["is_superuser", "is_staff", "groups", "user_permissions"])
def test_rights_come_from_the_role_only(as_admin: Client, surgeon: User, hidden: str) -> None:
    form = user_form(surgeon, **{hidden: "1"})
    as_admin.post(f"{USERS}{surgeon.pk}/change/", form)
    surgeon.refresh_from_db()
    assert not surgeon.is_superuser
    assert not surgeon.is_staff
    assert not surgeon.user_permissions.exists()


def test_changing_a_password_ends_the_tokens(as_admin: Client, surgeon: User, heard: Heard) -> None:
    token = tokens.issue_access(surgeon)
    path = reverse("admin:auth_user_password_change", args=[surgeon.pk])
    assert as_admin.get(path).status_code == 200
    form = {
        "usable_password": "true",
        "password1": "another 2024",
        "password2": "another 2024",
        "set-password": "",
    }
    assert as_admin.post(path, form).status_code == 302
    surgeon.refresh_from_db()
    assert surgeon.check_password("another 2024")
    with pytest.raises(BadToken, match="revoked"):
        principal_for_token(token)
    assert heard == [{"user_id": surgeon.pk}]


def test_own_password_form_opens(as_admin: Client) -> None:
    assert as_admin.get(reverse("admin:password_change")).status_code == 200


# --- actions --------------------------------------------------------------------------


def test_issued_token_is_shown_once_and_good(as_admin: Client, surgeon: User) -> None:
    answer = act(as_admin, "issue_token", surgeon)
    assert answer.status_code == 200
    assert "no-store" in answer.headers["Cache-Control"]
    (token,) = re.findall(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", answer.content.decode())
    assert principal_for_token(token).user_id == surgeon.pk
    assert "eyJ" not in as_admin.get(USERS).content.decode()
    assert LogEntry.objects.get(object_id=str(surgeon.pk)).change_message == "Issued a token."


def test_inactive_user_gets_no_token(as_admin: Client, surgeon: User, make_user: MakeUser) -> None:
    away = make_user("<b>away</b>", is_active=False)
    page = act(as_admin, "issue_token", surgeon, away).content.decode()
    assert len(re.findall(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", page)) == 1
    assert "&lt;b&gt;away&lt;/b&gt; is not active" in page


def test_revoking_ends_tokens_and_is_announced(
    as_admin: Client, surgeon: User, make_user: MakeUser, heard: Heard
) -> None:
    other = make_user("other")
    one, two = tokens.issue_access(surgeon), tokens.issue_access(other)
    answer = act(as_admin, "revoke_tokens", surgeon)
    assert "connections closed: 1" in answer.content.decode()
    assert heard == [{"user_id": surgeon.pk}]
    with pytest.raises(BadToken, match="revoked"):
        principal_for_token(one)
    assert principal_for_token(two)


def test_actions_are_not_done_by_a_get(as_admin: Client, surgeon: User, heard: Heard) -> None:
    as_admin.get(USERS, {"action": "revoke_tokens", "_selected_action": str(surgeon.pk)})
    assert heard == []


# --- roles ----------------------------------------------------------------------------


def role_form(**changes: object) -> dict[str, object]:
    return {
        "name": "ROLE_TRAINEE",
        "endpoints": ["simulation", "pubsub"],
        "subscribe": "own:surgeries.**\n\n chat.** \n",
        "publish": "",
        **changes,
    }


def test_adding_a_role(as_admin: Client) -> None:
    view_user = Permission.objects.get(codename="view_user")
    form = role_form(is_staff="on", permissions=[str(view_user.pk)])
    answer = as_admin.post(ROLES + "add/", form)
    assert answer.status_code == 302
    role = Role.objects.get(name="ROLE_TRAINEE")
    assert role.endpoints == ["simulation", "pubsub"]
    assert role.subscribe == ["own:surgeries.**", "chat.**"]
    assert role.publish == []
    assert role.is_staff
    assert list(role.group.permissions.all()) == [view_user]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "trainee"},
        {"name": "ROLE_IA"},
        {"endpoints": ["root"]},
        {"subscribe": "users.**"},
        {"subscribe": "**"},
        {"publish": "surgeries.**"},
    ],
)
def test_role_that_nobody_may_have_is_refused(as_admin: Client, changes: dict) -> None:
    assert as_admin.post(ROLES + "add/", role_form(**changes)).status_code == 200
    assert Role.objects.count() == len(roles.SHIPPED)


def test_page_of_a_role_shows_what_it_has(as_admin: Client) -> None:
    page = as_admin.get(f"{ROLES}{roles.SURGEON}/change/")
    assert page.status_code == 200
    assert "own:surgeries.**\nchat.**" in page.content.decode()


def test_saving_an_unchanged_role_announces_nothing(as_admin: Client, heard: Heard) -> None:
    role = Role.objects.get(name=roles.MEMBER)
    form = role_form(
        endpoints=role.endpoints,
        subscribe="\r\n".join(role.subscribe),
        publish="\r\n".join(role.publish),
    )
    assert as_admin.post(f"{ROLES}{roles.MEMBER}/change/", form).status_code == 302
    assert heard == []
    assert Role.objects.count() == len(roles.SHIPPED)


def test_changed_role_is_announced(as_admin: Client, heard: Heard) -> None:
    form = role_form(endpoints=["pubsub"])
    assert as_admin.post(f"{ROLES}{roles.MEMBER}/change/", form).status_code == 302
    assert Role.objects.get(name=roles.MEMBER).endpoints == ["pubsub"]
    assert heard == [{"role": roles.MEMBER}]


def test_permissions_of_a_role_can_be_taken(as_admin: Client) -> None:
    role = Role.objects.get(name=roles.VIEWER)
    form = role_form(
        endpoints=role.endpoints,
        subscribe="\n".join(role.subscribe),
        is_staff="on",
        permissions=[],
    )
    assert as_admin.post(f"{ROLES}{roles.VIEWER}/change/", form).status_code == 302
    assert not role.group.permissions.exists()


def test_shipped_role_cannot_be_deleted_and_another_can(as_admin: Client) -> None:
    Role.objects.create(name="ROLE_TRAINEE")
    for name, code in ((roles.MEMBER, 403), ("ROLE_TRAINEE", 302)):
        assert as_admin.post(f"{ROLES}{name}/delete/", {"post": "yes"}).status_code == code
    assert set(Role.objects.values_list("name", flat=True)) == roles.SHIPPED_NAMES


def test_role_that_somebody_has_cannot_be_deleted(as_admin: Client, make_user: MakeUser) -> None:
    Role.objects.create(name="ROLE_TRAINEE")
    make_user("trainee", "ROLE_TRAINEE")
    as_admin.post(f"{ROLES}ROLE_TRAINEE/delete/", {"post": "yes"})
    assert Role.objects.filter(name="ROLE_TRAINEE").exists()


def test_groups_are_not_edited_beside_their_roles(as_admin: Client) -> None:
    assert as_admin.get("/admin/auth/group/").status_code == 404
