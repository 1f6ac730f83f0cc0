"""Turns saved rows into `access_changed`, on the transition only, and keeps the shipped roles.

Django gives a new permission to nobody. After each migration (and each flush of a test database)
every permission that ROLE_ADMIN's group does not have yet is new: that group gets it, and if it
is one to view something, so do the operators' and the viewers'. Operators get those besides that
an application names in its `operator_permissions`. What an administrator has taken from those
two since stays taken.
"""

from typing import Any

from django.apps import AppConfig
from django.apps import apps as global_apps
from django.db.models.signals import post_delete, post_migrate, post_save
from django.dispatch import receiver

from accounts import roles
from accounts.models import Role, User
from accounts.signals import announce_access_changed

# Sessions, failed logins and the like: for administrators only.
_NOT_FOR_VIEWING = frozenset({"admin", "auth", "axes", "contenttypes", "sessions"})


@receiver(post_save, sender=User)
def announce_account_change(
    instance: User, created: bool, update_fields: frozenset[str] | None, **kwargs: Any
) -> None:
    if instance.take_changes(created=created, update_fields=update_fields):
        announce_access_changed(User, user_id=instance.pk)


@receiver(post_delete, sender=User)
def announce_account_end(instance: User, **kwargs: Any) -> None:
    announce_access_changed(User, user_id=instance.pk)


@receiver(post_save, sender=Role)
def announce_role_change(
    instance: Role, created: bool, update_fields: frozenset[str] | None, **kwargs: Any
) -> None:
    if instance.take_changes(created=created, update_fields=update_fields):
        announce_access_changed(Role, role=instance.name)


@receiver(post_delete, sender=Role)
def delete_group_of_role(instance: Role, **kwargs: Any) -> None:
    instance.group.delete()


@receiver(post_migrate)
def keep_shipped_roles(
    sender: AppConfig, using: str, apps: Any = global_apps, **kwargs: Any
) -> None:
    """Called once per application, after Django has created its permissions."""
    try:
        group_of = apps.get_model("accounts", "Role").objects.using(using)
        permissions = apps.get_model("auth", "Permission").objects.using(using)
    except LookupError:  # migrated to before there were roles
        return
    roles.create_missing(apps, using)
    admins = group_of.get(name=roles.ADMIN).group
    new = list(
        permissions.filter(content_type__app_label=sender.label).exclude(group__pk=admins.pk)
    )
    admins.permissions.add(*new)
    views = [permission for permission in new if permission.codename.startswith("view_")]
    if sender.label in _NOT_FOR_VIEWING:
        views = []
    private = getattr(sender, "administrator_permissions", frozenset())
    views = [permission for permission in views if permission.codename not in private]
    named = getattr(sender, "operator_permissions", frozenset())
    work = [permission for permission in new if permission.codename in named]
    group_of.get(name=roles.VIEWER).group.permissions.add(*views)
    group_of.get(name=roles.OPERATOR).group.permissions.add(*views, *work)
