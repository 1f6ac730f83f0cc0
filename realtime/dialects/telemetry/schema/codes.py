"""What an `error` frame calls what is wrong with a message."""

from enum import StrEnum
from typing import Any

from realtime.core.errors import Conflict, Failure, Forbidden, Invalid, NotFound, Unavailable

TEXT_MAX = 300
# How long to wait before asking again for what cannot be done now.
UNAVAILABLE_MS = 1_000


class Code(StrEnum):
    """The `code` of an `error` frame."""

    NOT_AUTHENTICATED = "not_authenticated"
    TOKEN_EXPIRED = "token_expired"
    BINARY = "binary_not_supported"
    TEXT = "text_not_supported"
    NOT_JSON = "invalid_json"
    NOT_MSGPACK = "invalid_msgpack"
    NO_MESSAGE = "invalid_message"
    UNKNOWN_TYPE = "unknown_type"
    MISSING_FIELD = "missing_field"
    INVALID_FIELD = "invalid_field"
    UNKNOWN_CHANNEL = "unknown_channel"
    UNKNOWN_DEVICE = "unknown_device"
    WRONG_ENDPOINT = "wrong_endpoint"
    NOT_SUBSCRIBED = "not_subscribed"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    UNAVAILABLE = "unavailable"
    RATE_LIMITED = "rate_limited"
    MESSAGE_TOO_LARGE = "message_too_large"
    BATCH_TOO_LARGE = "batch_too_large"
    NESTED_BATCH = "nested_batch"
    TOO_MANY_SUBSCRIPTIONS = "too_many_subscriptions"


class Rejection(Failure):
    """Raised for a message that is answered with an `error` frame.

    `more` are the frame's further fields: field, limit, retry_after_ms, id, device_id.
    """

    def __init__(self, code: Code, message: str, **more: Any) -> None:
        super().__init__(message[:TEXT_MAX])
        self.code = code
        self.more = more


_CODES: list[tuple[type[Failure], Code]] = [
    (Invalid, Code.INVALID_FIELD),
    (Forbidden, Code.FORBIDDEN),
    (NotFound, Code.NOT_FOUND),
    (Conflict, Code.CONFLICT),
    (Unavailable, Code.UNAVAILABLE),
]


def rejection_for(failure: Failure, **more: Any) -> Rejection:
    """Return any failure in this dialect's words; `more` says what it was about."""
    if isinstance(failure, Rejection):
        failure.more = {**more, **failure.more}
        return failure
    code = next((code for kind, code in _CODES if isinstance(failure, kind)), Code.NO_MESSAGE)
    if isinstance(failure, Invalid) and failure.field:
        more["field"] = failure.field
    if code is Code.UNAVAILABLE:
        more["retry_after_ms"] = UNAVAILABLE_MS
    return Rejection(code, str(failure), **more)
