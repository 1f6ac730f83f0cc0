"""Every write to accounts: one verb per function, one transaction each."""

import logging
from datetime import datetime, timedelta

import msgspec
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.sessions.models import Session
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import access, roles, tokens
from accounts.models import RevokedToken, Role, User, resolve_role_name
from accounts.signals import announce_access_changed
from accounts.tokens import BadToken, TokenProblem
from realtime.core.errors import Conflict, NotFound

logger = logging.getLogger("vitalwire.accounts")

LOGINS_KEPT = timedelta(days=90)


class LoginTokens(msgspec.Struct, frozen=True, kw_only=True):
    """What a login gives: the token to use, and the one to renew it with."""

    access: str
    refresh: str
    lifetime: timedelta

    def __repr__(self) -> str:
        return f"LoginTokens(lifetime={self.lifetime})"


def register_user(username: str, password: str, *, role: str = roles.SURGEON) -> User:
    """Create an account. Raises Conflict when the name is taken.

    How long name and password must be is the registration form's rule, not this function's.
    """
    user = User(username=username, role_id=resolve_role_name(role))
    # Before the transaction: a hash waits for its turn, and nobody may wait for us meanwhile.
    user.set_password(password)
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError as error:
        if User.objects.filter(username=username).exists():
            raise Conflict("this name is taken: choose another") from error
        raise
    logger.info("user %s registered", user.pk)
    return user


def login_tokens(user: User, *, now: datetime | None = None) -> LoginTokens:
    """Return a new pair of tokens for a user who has just proven who they are."""
    return LoginTokens(
        access=tokens.issue_access(user, now=now),
        refresh=tokens.issue_refresh(user, now=now),
        lifetime=tokens.lifetime_of(user.role_id),
    )


@transaction.atomic
def rotate_refresh(refresh: str, *, now: datetime | None = None) -> tuple[User, LoginTokens]:
    """Spend a refresh token for a new pair. Raises BadToken, also when it was spent before."""
    user, claims = access.account_for_refresh(refresh, now=now)
    if not revoke_token(claims.token_id, user=user, expires_at=claims.expires_at):
        # Two requests with the same token at the same time: one of them wins.
        raise BadToken(TokenProblem.REVOKED)
    return user, login_tokens(user, now=now)


@transaction.atomic
def revoke_token(token_id: str, *, user: User, expires_at: datetime) -> bool:
    """Take one token back until it would have expired; False when it was taken back before."""
    now = timezone.now()
    _, is_new = RevokedToken.objects.get_or_create(
        token_id=token_id,
        defaults={"user": user, "expires_at": expires_at, "revoked_at": now},
    )
    if is_new:
        announce_access_changed(RevokedToken, token_id=token_id)
        logger.info("one token of user %s revoked", user.pk)
    return is_new


def revoke_refresh(refresh: str, *, user: User) -> None:
    """Take back the user's own refresh token; a bad or foreign one is left alone."""
    try:
        owner, claims = access.account_for_refresh(refresh)
    except BadToken:
        return
    if owner.pk == user.pk:
        revoke_token(claims.token_id, user=user, expires_at=claims.expires_at)


@transaction.atomic
def revoke_all_tokens(user: User, *, now: datetime | None = None) -> User:
    """Take back every token the user was ever given, and end the connections they opened."""
    account = _locked(user)
    account.expire_tokens(now or timezone.now())
    account.save(update_fields=["tokens_valid_from"])
    logger.info("all tokens of user %s revoked", account.pk)
    return account


def prune(*, now: datetime) -> None:
    """Delete what no longer matters: expired revocations and sessions, logins long past."""
    RevokedToken.objects.filter(expires_at__lt=now).delete()
    Session.objects.filter(expire_date__lt=now).delete()
    long_past = now - LOGINS_KEPT
    for log in (AccessLog, AccessFailureLog, AccessAttempt):
        log.objects.filter(attempt_time__lt=long_past).delete()


@transaction.atomic
def change_role(user: User, role: str) -> User:
    """Give the user another role, by name or alias. Raises NotFound for a role there is not."""
    account = _locked(user)
    try:
        account.role = Role.objects.get(name=resolve_role_name(role))
    except Role.DoesNotExist as error:
        raise NotFound(f"there is no role {role}") from error
    account.save(update_fields=["role"])
    logger.info("user %s is now %s", account.pk, account.role_id)
    return account


@transaction.atomic
def deactivate_user(user: User) -> User:
    """Refuse the user from now on, and end their connections."""
    account = _locked(user)
    account.is_active = False
    account.save(update_fields=["is_active"])
    logger.info("user %s deactivated", account.pk)
    return account


def _locked(user: User) -> User:
    return User.objects.select_for_update().get(pk=user.pk)
