"""From a token to what its owner may do now, and from a role to a right."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from enum import StrEnum, auto
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.db.models import Exists

from accounts import roles, tokens
from accounts.models import RevokedToken, User
from accounts.tokens import BadToken, Claims, TokenProblem
from realtime.core.session import Principal

logger = logging.getLogger("vitalwire.accounts")

# The endpoints whose dialects have direct messages.
MESSAGING = frozenset({"pubsub", "jwebsocket"})


class Right(StrEnum):
    """What can be asked for over REST and on the pages."""

    READ_ALL_SURGERIES = auto()
    READ_OWN_SURGERIES = auto()
    POST_ANALYSIS = auto()
    MANAGE_SURGERIES = auto()
    SEE_DASHBOARD = auto()
    OPERATE_SIMULATOR = auto()
    MANAGE_USERS = auto()
    READ_DEVICES = auto()
    MANAGE_DEVICES = auto()
    REPORT_OWN_READINGS = auto()


# These two come with the endpoint, whatever the role is called.
_ENDPOINT_OF = {
    Right.OPERATE_SIMULATOR: "simulation",
    Right.READ_OWN_SURGERIES: "simulation",
}
_ROLES_WITH = {
    Right.READ_ALL_SURGERIES: {roles.AI, roles.OPERATOR, roles.VIEWER, roles.ADMIN},
    Right.POST_ANALYSIS: {roles.AI, roles.ADMIN},
    Right.MANAGE_SURGERIES: {roles.ADMIN},
    Right.SEE_DASHBOARD: {roles.SURGEON, roles.OPERATOR, roles.VIEWER, roles.ADMIN},
    Right.MANAGE_USERS: {roles.ADMIN},
    Right.READ_DEVICES: {roles.OPERATOR, roles.VIEWER, roles.ADMIN},
    Right.MANAGE_DEVICES: {roles.OPERATOR, roles.ADMIN},
    Right.REPORT_OWN_READINGS: {roles.DEVICE},
}


def may(who: Principal | User | AnonymousUser, right: Right) -> bool:
    """Tell whether the account's role gives this right. Nobody in particular has none."""
    if isinstance(who, Principal):
        role, endpoints = who.role, who.endpoints
    elif isinstance(who, User) and who.is_active:
        role, endpoints = who.role_id, who.role.endpoints
    else:
        return False
    if right in _ENDPOINT_OF:
        return _ENDPOINT_OF[right] in endpoints
    return role in _ROLES_WITH[right]


def principal_for_token(token: str, *, now: datetime | None = None) -> Principal:
    """Return whom an access token stands for, with the rights of the account's role.

    Raises BadToken; the reason goes to the log, the token does not.
    """
    return account_for_token(token, now=now)[1]


def account_for_token(token: str, *, now: datetime | None = None) -> tuple[User, Principal]:
    """The same, with the row it was read from."""
    with _refusal_logged():
        claims = tokens.read_access(token, now=now)
        user = _admitted(claims)
        return user, _principal(user, claims)


def account_for_refresh(token: str, *, now: datetime | None = None) -> tuple[User, Claims]:
    """Return whom a refresh token stands for, and its claims. Raises BadToken."""
    with _refusal_logged():
        claims = tokens.read_refresh(token, now=now)
        return _admitted(claims), claims


def principal_again(principal: Principal) -> Principal:
    """Return an open connection's principal with what its account may do now.

    Raises BadToken when the account is gone or inactive, or the token was taken back. Another
    role is no reason: whether it may stay open is for the connection to ask.
    """
    with _refusal_logged():
        user = _account(principal.user_id, principal.token_id, principal.issued_at)
        return _principal(user, principal)


@contextmanager
def _refusal_logged() -> Iterator[None]:
    try:
        yield
    except BadToken as error:
        logger.warning("token refused: %s", error.problem)
        raise


def _admitted(claims: Claims) -> User:
    """Return the account a handshake is for. Raises BadToken."""
    user = _account(claims.user_id, claims.token_id, claims.issued_at)
    if user.username != claims.username:
        raise BadToken(TokenProblem.UNKNOWN_USER)
    if user.role_id != claims.role:
        raise BadToken(TokenProblem.ROLE_MISMATCH)
    return user


def _account(user_id: UUID, token_id: str, issued_at: datetime) -> User:
    taken_back = RevokedToken.objects.filter(token_id=token_id)
    user = (
        User.objects.select_related("role")
        .annotate(token_is_revoked=Exists(taken_back))
        .filter(pk=user_id)
        .first()
    )
    if user is None:
        raise BadToken(TokenProblem.UNKNOWN_USER)
    if not user.is_active:
        raise BadToken(TokenProblem.INACTIVE_USER)
    # Tokens are dated in whole seconds.
    too_old = int(issued_at.timestamp()) < int(user.tokens_valid_from.timestamp())
    if user.token_is_revoked or too_old:
        raise BadToken(TokenProblem.REVOKED)
    return user


def _principal(user: User, token: Claims | Principal) -> Principal:
    return Principal(
        user_id=user.pk,
        username=user.username,
        role=user.role_id,
        endpoints=frozenset(user.role.endpoints),
        subscribe=tuple(user.role.subscribe),
        publish=tuple(user.role.publish),
        token_id=token.token_id,
        issued_at=token.issued_at,
        expires_at=token.expires_at,
    )


def find_recipient(target: str) -> UUID | None:
    """Return whom a direct message to `target`, an id or a username, is for.

    None where there is no such account, or one that could never read it.
    """
    if not target.isprintable():
        return None  # Nobody is called that, and PostgreSQL refuses to look for NUL.
    active = User.objects.filter(is_active=True).select_related("role")
    user = None
    # An id first: nobody gets what is another's by calling themselves so.
    with suppress(ValueError):
        user = active.filter(pk=UUID(target)).first()
    user = user or active.filter(username=target).first()
    return user.pk if user is not None and MESSAGING & set(user.role.endpoints) else None
