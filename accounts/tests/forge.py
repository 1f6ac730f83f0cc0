"""Hand-made tokens, good and bad, without the library under test."""

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings

from accounts.models import User


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def sign(signing_input: str, key: str | None = None, digest: str = "sha256") -> str:
    secret = (key or settings.JWT_SECRET_KEY).encode()
    return b64(hmac.new(secret, signing_input.encode(), digest).digest())


def forge(
    claims: dict[str, Any] | bytes,
    *,
    header: dict[str, Any] | bytes | None = None,
    key: str | None = None,
    digest: str = "sha256",
) -> str:
    """Return a token with any header and payload, signed as told; bytes go in as they are."""
    if header is None:
        header = {"alg": "HS256", "typ": "JWT"}
    parts = [p if isinstance(p, bytes) else json.dumps(p).encode() for p in (header, claims)]
    signing_input = ".".join(b64(part) for part in parts)
    return f"{signing_input}.{sign(signing_input, key, digest)}"


def document_claims(user: User, now: datetime | None = None, **changes: Any) -> dict[str, Any]:
    """Return the claims of the surgery document, and no others; a value of `...` is left out."""
    now = now or datetime.now(UTC)
    claims = {
        "iss": "Justina_Backend",
        "sub": user.username,
        "userId": str(user.pk),
        "role": user.role_id,
        "iat": int(now.timestamp()),
        "exp": int((now + timedelta(days=1)).timestamp()),
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not ...}
