"""Who somebody is: users, the roles that say what they may do, and tokens taken back."""

import unicodedata
import uuid
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from django.contrib.auth.models import (
    AbstractBaseUser,
    BaseUserManager,
    Group,
    PermissionsMixin,
)
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models, transaction
from django.utils import timezone

from accounts import roles
from accounts.roles import resolve_role_name
from realtime.core.errors import BadTopic
from realtime.core.filters import OWN
from realtime.core.topics import NEVER_HEARD, RESERVED, check_pattern, root_of


class Remembering(models.Model):
    """A row that knows how its `watched` fields differ from what was loaded."""

    watched: ClassVar[tuple[str, ...]] = ()

    _remembered: dict[str, Any] = {}

    class Meta:
        abstract = True

    @classmethod
    def from_db(cls, db: str | None, field_names: Collection[str], values: Collection[Any]) -> Self:
        instance = super().from_db(db, field_names, values)
        instance._remember()
        return instance

    def refresh_from_db(self, *args: Any, **kwargs: Any) -> None:
        super().refresh_from_db(*args, **kwargs)
        self._remember()

    def _remember(self) -> None:
        self._remembered = {
            name: list(value) if isinstance(value, list) else value
            for name, value in self.__dict__.items()
            if name in self.watched
        }

    def take_changes(
        self, *, created: bool, update_fields: Collection[str] | None
    ) -> dict[str, Any]:
        """Return the watched fields whose change was just saved, with their values before.

        They count as loaded now. A new row has changed nothing.
        """
        before = self._remembered
        self._remember()
        if created:
            return {}
        changed = {
            name: value for name, value in before.items() if value != self._remembered.get(name)
        }
        if update_fields is not None:
            saved = {self._meta.get_field(name).attname for name in update_fields}
            unsaved = {name: changed.pop(name) for name in changed.keys() - saved}
            self._remembered.update(unsaved)
        return changed


def check_subscribe_pattern(pattern: str) -> None:
    """Raise ValidationError unless a role may hear `pattern`; `own:` may stand before it."""
    _check_pattern(pattern.removeprefix(OWN), refused=NEVER_HEARD)


def check_publish_pattern(pattern: str) -> None:
    """Raise ValidationError unless a role may publish to `pattern`."""
    _check_pattern(pattern, refused=RESERVED)


def _check_pattern(pattern: str, *, refused: frozenset[str]) -> None:
    try:
        check_pattern(pattern)
    except BadTopic as error:
        raise ValidationError(f"“{pattern}”: {error}.") from error
    if root_of(pattern) in refused:
        raise ValidationError(f"“{pattern}”: {root_of(pattern)} cannot be given to a role.")


class Role(Remembering):
    """What a kind of user may connect to, hear, say, and do in the admin."""

    watched = ("endpoints", "subscribe", "publish")

    name = models.CharField(
        primary_key=True,
        max_length=50,
        validators=[
            RegexValidator(r"\AROLE_[A-Z][A-Z0-9_]*\Z", "Write it like ROLE_SURGEON."),
        ],
    )
    endpoints = models.JSONField(
        default=list, blank=True, help_text="The dialect endpoints that it may open."
    )
    subscribe = models.JSONField(
        default=list,
        blank=True,
        help_text="Topic patterns that it may hear; own:surgeries.** hears only what it owns.",
    )
    publish = models.JSONField(
        default=list, blank=True, help_text="Topic patterns that it may publish to."
    )
    is_staff = models.BooleanField(
        "may sign in to the admin",
        default=False,
        help_text="What it sees there is ruled by the permissions below.",
    )
    group = models.OneToOneField(
        Group, on_delete=models.PROTECT, related_name="role", editable=False
    )

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def save(self, **kwargs: Any) -> None:
        """Save, and keep the role's group and its users' admin flag in step."""
        with transaction.atomic(using=kwargs.get("using")):
            if self.group_id is None:
                self.group, _ = Group.objects.get_or_create(name=self.name)
            super().save(**kwargs)
            if kwargs.get("update_fields") is None or "is_staff" in kwargs["update_fields"]:
                self.users.update(is_staff=self.is_staff)

    @property
    def is_shipped(self) -> bool:
        return self.name in roles.SHIPPED_NAMES

    def clean(self) -> None:
        if resolve_role_name(self.name) != self.name:
            raise ValidationError({"name": f"It is another name of {resolve_role_name(self.name)}"})
        if self.name == roles.ADMIN and not self.is_staff:
            raise ValidationError({"is_staff": "Somebody has to be able to sign in to the admin."})
        unknown = set(self.endpoints) - set(roles.ENDPOINTS)
        if unknown:
            raise ValidationError({"endpoints": f"There is no endpoint {sorted(unknown)[0]}."})
        for pattern in self.subscribe:
            check_subscribe_pattern(pattern)
        for pattern in self.publish:
            check_publish_pattern(pattern)


def check_username(name: str) -> None:
    """Raise ValidationError for a name that could not be typed, shown or found again.

    Forms strip names and normalise them to NFKC, a token or a JSON body does not: a name that
    these steps would change could never sign in to a page.
    """
    if (
        not name.isprintable()
        or name != name.strip()
        or unicodedata.normalize("NFKC", name) != name
    ):
        raise ValidationError("A name has printable characters only and no space around it.")


class UserManager(BaseUserManager["User"]):
    """Creates users with a hashed password; without one nobody can log in as them."""

    def create_user(
        self,
        username: str,
        password: str | None = None,
        *,
        role: Role | str = roles.SURGEON,
        **fields: Any,
    ) -> "User":
        role_name = role.name if isinstance(role, Role) else resolve_role_name(role)
        user = self.model(username=username, role_id=role_name, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, username: str, password: str | None = None, **fields: Any) -> "User":
        """Create an administrator: what `createsuperuser` calls."""
        return self.create_user(username, password, role=roles.ADMIN, **fields)


def this_second() -> datetime:
    return timezone.now().replace(microsecond=0)


class User(Remembering, AbstractBaseUser, PermissionsMixin):
    """Somebody who can log in: a person, an AI service, a device."""

    watched = ("username", "role_id", "is_active", "tokens_valid_from")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    username = models.CharField(
        unique=True,
        max_length=150,
        validators=[check_username],
        error_messages={"unique": "This name is taken."},
    )
    email = models.EmailField(blank=True)
    role = models.ForeignKey(Role, on_delete=models.PROTECT, related_name="users")
    is_active = models.BooleanField(
        "active",
        default=True,
        help_text="Switch off instead of deleting: it ends every connection and token.",
    )
    is_staff = models.BooleanField("may sign in to the admin", default=False, editable=False)
    tokens_valid_from = models.DateTimeField(default=this_second, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = UserManager()

    USERNAME_FIELD = "username"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        ordering = ("username",)

    def __str__(self) -> str:
        return self.username

    def save(self, **kwargs: Any) -> None:
        """Save, with what follows from it: admin rights from the role, no old tokens after a
        change of password.
        """
        asked: Collection[str] | None = kwargs.get("update_fields")
        also: set[str] = set()
        follows_role = asked is None or not {"role", "role_id"}.isdisjoint(asked)
        if follows_role:
            self.is_staff = self.role.is_staff
            self.is_superuser = self.role_id == roles.ADMIN
            also |= {"is_staff", "is_superuser"}
        password_changed = self._password is not None and not self._state.adding
        if password_changed and (asked is None or "password" in asked):
            self.expire_tokens(timezone.now())
            also.add("tokens_valid_from")
        if asked is not None:
            kwargs["update_fields"] = {*asked, *also}
        # post_save is sent after the row's own transaction: this one holds the receivers too.
        with transaction.atomic(using=kwargs.get("using")):
            super().save(**kwargs)
            if follows_role:
                self.groups.set([self.role.group_id])

    @classmethod
    def normalize_username(cls, username: str) -> str:
        """Names are exact: see `check_username`."""
        return username

    def expire_tokens(self, now: datetime) -> None:
        """Make every token issued so far too old; the caller saves `tokens_valid_from`.

        Tokens are dated in whole seconds, so the first good one is dated in the next second.
        """
        second = now.replace(microsecond=0)
        self.tokens_valid_from = max(second, self.tokens_valid_from) + timedelta(seconds=1)


class RevokedToken(models.Model):
    """A token that was taken back before its time; forgotten once it would have expired."""

    token_id = models.CharField(max_length=128, unique=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="revoked_tokens")
    expires_at = models.DateTimeField(db_index=True)
    revoked_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-revoked_at",)

    def __str__(self) -> str:
        return self.token_id
