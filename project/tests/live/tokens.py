"""JWTs of any kind, the forged ones above all. Uses no JWT library, so that nothing is refused."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

from django.conf import settings

from accounts.models import User

DIGESTS = {"HS256": hashlib.sha256, "HS512": hashlib.sha512}
# As a claim's value: leave the claim out.
ABSENT = object()


def claims_of(username: str, **changes: Any) -> dict[str, Any]:
    """Return the claims the surgery document names for this user, with `changes`."""
    user = User.objects.select_related("role").get(username=username)
    now = int(time.time())
    claims = {
        "iss": settings.JWT_ISSUER,
        "sub": user.username,
        "userId": str(user.pk),
        "role": user.role.name,
        "iat": now,
        "exp": now + 3600,
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not ABSENT}


def sign(
    claims: Any, *, algorithm: str = "HS256", header: Any = None, key: str | None = None
) -> str:
    """Return the token of `claims`, signed with our key; `header` says what it pretends to be."""
    head = {"alg": algorithm, "typ": "JWT"} if header is None else header
    body = f"{_base64(head)}.{_base64(claims)}"
    secret = (settings.JWT_SECRET_KEY if key is None else key).encode()
    signature = hmac.new(secret, body.encode(), DIGESTS[algorithm]).digest()
    return f"{body}.{_base64(signature)}"


def _base64(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
