"""accounts/roles.py and the permissions that migrating hands out."""

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.models.signals import post_migrate

from accounts import roles
from accounts.models import Role, User

ROOTS = {
    "telemetry.**",
    "alerts.**",
    "devices.**",
    "system.**",
    "surgeries.**",
    "presence.*",
    "chat.**",
    "updates.**",
    "notifications",
    "commands.**",
    "streams.**",
}
TABLE = [
    (
        "ROLE_SURGEON",
        {"simulation", "pubsub", "jwebsocket"},
        {"own:surgeries.**", "chat.**", "updates.**", "notifications", "presence.*"},
        {"chat.**", "updates.broadcast"},
    ),
    (
        "ROLE_AI",
        {"ai", "pubsub", "jwebsocket"},
        {"surgeries.**", "chat.**", "updates.**", "notifications"},
        {"chat.**", "updates.**"},
    ),
    (
        "ROLE_OPERATOR",
        {"telemetry", "pubsub", "jwebsocket"},
        ROOTS,
        {"chat.**", "updates.**", "notifications"},
    ),
    ("ROLE_DEVICE", {"telemetry"}, {"own:devices.*", "own:commands.*"}, set()),
    (
        "ROLE_MEMBER",
        {"pubsub", "jwebsocket"},
        {"chat.**", "updates.**", "notifications", "presence.*"},
        {"chat.**", "updates.**"},
    ),
    ("ROLE_VIEWER", {"telemetry", "pubsub", "jwebsocket"}, ROOTS, set()),
    (
        "ROLE_ADMIN",
        {"telemetry", "pubsub", "jwebsocket"},
        ROOTS,
        {"chat.**", "updates.**", "notifications", "streams.**"},
    ),
]


def permissions_of(role: str) -> set[str]:
    held = Permission.objects.filter(group__role__name=role)
    return set(held.values_list("codename", flat=True))


def migrate_again() -> None:
    """Send what Django sends after a migration of this application."""
    config = apps.get_app_config("accounts")
    post_migrate.send(
        config, app_config=config, using="default", verbosity=0, interactive=False, plan=[]
    )


@pytest.mark.parametrize(("name", "endpoints", "subscribe", "publish"), TABLE)
def test_migrating_creates_the_roles_of_the_table(
    db: None, name: str, endpoints: set[str], subscribe: set[str], publish: set[str]
) -> None:
    role = Role.objects.get(name=name)
    assert set(role.endpoints) == endpoints
    assert set(role.subscribe) == subscribe
    assert set(role.publish) == publish
    assert role.group.name == name


def test_there_are_no_other_roles(db: None) -> None:
    assert set(Role.objects.values_list("name", flat=True)) == {row[0] for row in TABLE}


def test_administrators_have_every_permission(db: None) -> None:
    missing = Permission.objects.exclude(group__role__name=roles.ADMIN)
    assert not missing.exists()


@pytest.mark.parametrize("role", [roles.OPERATOR, roles.VIEWER])
def test_operators_and_viewers_may_look(db: None, role: str) -> None:
    held = permissions_of(role)
    assert {"view_user", "view_role", "view_device", "view_reading"} <= held
    assert held.isdisjoint({"view_session", "view_accesslog", "view_logentry"})


def test_viewers_may_do_nothing_else(db: None) -> None:
    assert all(codename.startswith("view_") for codename in permissions_of(roles.VIEWER))


def test_operators_may_do_what_an_application_says_they_do(db: None) -> None:
    named = {
        name
        for config in apps.get_app_configs()
        for name in getattr(config, "operator_permissions", ())
    }
    held = permissions_of(roles.OPERATOR)
    assert {codename for codename in held if not codename.startswith("view_")} == named
    existing = set(Permission.objects.values_list("codename", flat=True))
    assert named <= existing
    assert not any(name.endswith(("_user", "_role", "_reading")) for name in named)


@pytest.mark.parametrize("role", [roles.SURGEON, roles.AI, roles.DEVICE, roles.MEMBER])
def test_nobody_else_has_any(db: None, role: str) -> None:
    assert permissions_of(role) == set()


def test_permission_taken_away_stays_away(db: None) -> None:
    viewers = Group.objects.get(role__name=roles.VIEWER)
    viewers.permissions.remove(Permission.objects.get(codename="view_user"))
    migrate_again()
    assert "view_user" not in permissions_of(roles.VIEWER)
    assert "view_user" in permissions_of(roles.OPERATOR)


def test_permission_of_a_new_model_is_handed_out(db: None) -> None:
    some = Permission.objects.get(codename="view_user")
    Permission.objects.create(codename="view_ward", content_type=some.content_type)
    Permission.objects.create(codename="add_ward", content_type=some.content_type)
    migrate_again()
    assert {"view_ward", "add_ward"} <= permissions_of(roles.ADMIN)
    assert "view_ward" in permissions_of(roles.VIEWER)
    assert "add_ward" not in permissions_of(roles.OPERATOR)


def test_migrating_again_leaves_an_edited_role_alone(db: None) -> None:
    Role.objects.filter(name=roles.MEMBER).update(subscribe=["chat.**"])
    migrate_again()
    assert Role.objects.get(name=roles.MEMBER).subscribe == ["chat.**"]


@pytest.mark.django_db(transaction=True)
def test_flushed_database_has_the_roles_and_permissions_again() -> None:
    User.objects.create_user("surgeon_master")
    call_command("flush", interactive=False, verbosity=0)
    assert set(Role.objects.values_list("name", flat=True)) == roles.SHIPPED_NAMES
    assert "view_user" in permissions_of(roles.OPERATOR)
    assert "delete_session" in permissions_of(roles.ADMIN)
    assert not User.objects.exists()


def test_missing_role_is_created_with_the_models_of_its_migration(db: None) -> None:
    Role.objects.get(name=roles.MEMBER).delete()
    loader = MigrationLoader(connection)
    historical = loader.project_state(("accounts", "0002_shipped_roles")).apps
    roles.create_missing(historical, "default")
    assert Role.objects.get(name=roles.MEMBER).publish == ["chat.**", "updates.**"]
    assert Role.objects.count() == len(roles.SHIPPED)
