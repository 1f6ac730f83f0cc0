"""JSON objects from outside: bounded, and such as every database can hold. Imports core only."""

import json
from typing import Any

from realtime.core.errors import Invalid

BYTES_MAX = 8 * 1024


def check_object(value: Any, field: str) -> None:
    """Raise Invalid, naming `field`, for what a JSON column cannot hold, or should not."""
    if not isinstance(value, dict):
        raise Invalid(f"{field} must be an object", field=field)
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        raise Invalid(f"{field} must be JSON with finite numbers", field=field) from None
    if len(text) > BYTES_MAX:
        raise Invalid(f"{field} must have at most {BYTES_MAX} bytes as JSON", field=field)
    # PostgreSQL has no NUL in texts.
    if b"\\u0000" in text:
        raise Invalid(f"{field} must not contain NUL characters", field=field)
