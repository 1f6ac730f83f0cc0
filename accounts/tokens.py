"""Signed tokens: issue one, read one, say why one is no good.

The only importer of a JWT library. Whether the account behind a token still has these rights is
asked in `accounts/access.py`.
"""

import re
import uuid
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec
from django.conf import settings
from jwt import (
    InvalidAlgorithmError,
    InvalidSignatureError,
    InvalidTokenError,
    PyJWS,
)

from accounts import roles
from realtime.core.errors import VitalwireError

if TYPE_CHECKING:
    from accounts.models import User

# Ours, never the token's.
ALGORITHM = "HS256"
ACCESS = "access"
REFRESH = "refresh"
LENGTH_MAX = 4096
TOKEN_ID_MAX = 128
# The issuer's clock may be ahead of ours by this much.
AHEAD = timedelta(seconds=30)

# Exactly one spelling for each token: the library would also take padding, and a revoked token
# without an id would pass again with a "=" behind it.
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_jws = PyJWS(
    algorithms=[ALGORITHM],
    options={"verify_signature": True, "enforce_minimum_key_length": True},
)


class TokenProblem(StrEnum):
    """Why a token is refused: for our log, not for its owner."""

    MISSING = "missing"
    MALFORMED = "malformed"
    BAD_SIGNATURE = "bad_signature"
    BAD_ALGORITHM = "bad_algorithm"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_KIND = "wrong_kind"
    MISSING_CLAIM = "missing_claim"
    UNKNOWN_USER = "unknown_user"
    INACTIVE_USER = "inactive_user"
    ROLE_MISMATCH = "role_mismatch"
    REVOKED = "revoked"


class BadToken(VitalwireError):
    """Raised when a token does not open anything. Never holds the token."""

    def __init__(self, problem: TokenProblem) -> None:
        super().__init__(problem.value)
        self.problem = problem

    @property
    def public_text(self) -> str:
        """All that the peer is told: only expiry is told apart."""
        return "token expired" if self.problem is TokenProblem.EXPIRED else "invalid token"


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a good token says. `token_id` names it without being it."""

    username: str
    user_id: uuid.UUID
    role: str
    issued_at: datetime
    expires_at: datetime
    token_id: str


def lifetime_of(role: str) -> timedelta:
    """Return how long an access token of this role is good."""
    return settings.JWT_DEVICE_LIFETIME if role == roles.DEVICE else settings.JWT_LIFETIME


def issue_access(
    user: "User", *, lifetime: timedelta | None = None, now: datetime | None = None
) -> str:
    """Return a token that opens what the user's role may open."""
    return _issue(user, lifetime or lifetime_of(user.role_id), now, {})


def issue_refresh(
    user: "User", *, lifetime: timedelta | None = None, now: datetime | None = None
) -> str:
    """Return a token that is good for new tokens only, once."""
    lifetime = lifetime or settings.JWT_REFRESH_LIFETIME
    return _issue(user, lifetime, now, {"token_type": REFRESH})


def read_access(token: str, *, now: datetime | None = None) -> Claims:
    """Return the claims of an access token. Raises BadToken, whatever the text is."""
    return _read(token, ACCESS, now)


def read_refresh(token: str, *, now: datetime | None = None) -> Claims:
    """Return the claims of a refresh token. Raises BadToken, whatever the text is."""
    return _read(token, REFRESH, now)


def _issue(
    user: "User", lifetime: timedelta, now: datetime | None, extra: dict[str, object]
) -> str:
    issued_at = _issue_second(user, now or datetime.now(UTC))
    claims = {
        "iss": settings.JWT_ISSUER,
        "sub": user.username,
        "userId": str(user.pk),
        "role": user.role_id,
        "iat": issued_at,
        "exp": issued_at + int(lifetime.total_seconds()),
        "jti": uuid.uuid4().hex,
        **extra,
    }
    return _jws.encode(msgspec.json.encode(claims), settings.JWT_SECRET_KEY, ALGORITHM)


def _issue_second(user: "User", now: datetime) -> int:
    """Return the second a token made now is dated.

    After a revocation the rest of that second counts as before it: a token made in it is dated
    a moment ahead, which readers allow.
    """
    ahead = user.tokens_valid_from - now
    dated = user.tokens_valid_from if timedelta() < ahead < AHEAD else now
    return int(dated.timestamp())


def _read(token: str, kind: str, now: datetime | None) -> Claims:
    now = now or datetime.now(UTC)
    claims = _verified(token)
    if claims.get("iss") != settings.JWT_ISSUER:
        raise BadToken(TokenProblem.WRONG_ISSUER)
    if claims.get("token_type", ACCESS) != kind:
        raise BadToken(TokenProblem.WRONG_KIND)
    issued_at, expires_at = _moment(claims, "iat"), _moment(claims, "exp")
    not_before = _moment(claims, "nbf") if "nbf" in claims else issued_at
    if expires_at <= now:
        raise BadToken(TokenProblem.EXPIRED)
    if max(issued_at, not_before) > now + AHEAD:
        raise BadToken(TokenProblem.NOT_YET_VALID)
    return Claims(
        username=_text(claims, "sub"),
        user_id=_user_id(claims),
        role=roles.resolve_role_name(_text(claims, "role")),
        issued_at=issued_at,
        expires_at=expires_at,
        token_id=_token_id(claims, token),
    )


def _verified(token: str) -> dict[str, Any]:
    """Return the payload of a token that we signed, unread."""
    if not token:
        raise BadToken(TokenProblem.MISSING)
    if len(token) > LENGTH_MAX or not _SHAPE.fullmatch(token):
        raise BadToken(TokenProblem.MALFORMED)
    try:
        payload = _jws.decode(token, settings.JWT_SECRET_KEY, algorithms=[ALGORITHM])
        return msgspec.json.decode(payload, type=dict[str, Any])
    except InvalidAlgorithmError:
        raise BadToken(TokenProblem.BAD_ALGORITHM) from None
    except InvalidSignatureError:
        raise BadToken(TokenProblem.BAD_SIGNATURE) from None
    except (InvalidTokenError, msgspec.DecodeError, RecursionError):
        raise BadToken(TokenProblem.MALFORMED) from None


def _present(claims: dict[str, Any], name: str) -> object:
    value: object = claims.get(name)
    if value is None:
        raise BadToken(TokenProblem.MISSING_CLAIM)
    return value


def _text(claims: dict[str, Any], name: str) -> str:
    value = _present(claims, name)
    if not isinstance(value, str):
        raise BadToken(TokenProblem.MALFORMED)
    if not value:
        raise BadToken(TokenProblem.MISSING_CLAIM)
    return value


def _moment(claims: dict[str, Any], name: str) -> datetime:
    value = _present(claims, name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadToken(TokenProblem.MALFORMED)
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError):
        raise BadToken(TokenProblem.MALFORMED) from None


def _user_id(claims: dict[str, Any]) -> uuid.UUID:
    try:
        return msgspec.convert(_text(claims, "userId"), uuid.UUID)
    except msgspec.ValidationError:
        raise BadToken(TokenProblem.MALFORMED) from None


def _token_id(claims: dict[str, Any], token: str) -> str:
    """Return the `jti`, or a fingerprint for the documents' tokens, which have none."""
    if "jti" not in claims:
        return f"sha256:{sha256(token.encode()).hexdigest()}"
    token_id = _text(claims, "jti")
    if len(token_id) > TOKEN_ID_MAX or not token_id.isprintable():
        raise BadToken(TokenProblem.MALFORMED)
    return token_id
