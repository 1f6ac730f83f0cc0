"""Everything that can be refused, as one tree.

A `Failure` answers one request and leaves the connection open; a `Disconnect` ends the
connection with a close code. Texts are for the person who wrote the client: they name
what was wrong and what to do, and never hold a secret.
"""

from realtime.core.codes import CloseCode
from realtime.core.limits import Refusal


class VitalwireError(Exception):
    """The root: everything we raise on purpose."""


class Failure(VitalwireError):
    """Raised when one request cannot be answered as asked."""


class Invalid(Failure):
    """Raised when a value has the wrong type, range or shape. `field` names it."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class BadTopic(Invalid):
    """Raised when a topic or a pattern breaks the grammar of `core/topics.py`."""


class Unauthorized(Failure):
    """Raised when a token that came on an open connection is no good; the old one still counts."""


class Forbidden(Failure):
    """Raised when the principal may not do this to this object."""


class NotFound(Failure):
    """Raised when the object does not exist, or must look as if it did not."""


class Conflict(Failure):
    """Raised when the object's state does not allow this any more."""


class OverLimit(Failure):
    """Raised when something does not fit: `limit` is what may be, `used` what there is already.

    `kind` names what is counted, in one word of the dialect's: bytes, files.
    """

    def __init__(self, message: str, *, kind: str, limit: int, used: int = 0) -> None:
        super().__init__(message)
        self.kind = kind
        self.limit = limit
        self.used = used


class Unavailable(Failure):
    """Raised when a part of the system cannot answer now. Trying later may help."""


class Disconnect(VitalwireError):
    """Raised to end the connection with `code` and a reason of at most 123 bytes.

    `kind` names it where refused and cut connections are counted, in one word.
    """

    code: CloseCode = CloseCode.INTERNAL_ERROR
    kind: str = "fault"

    def __init__(self, reason: str, *, kind: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        if kind:
            self.kind = kind


class BadData(Disconnect):
    """Raised when a frame is not what the dialect's document allows."""

    code = CloseCode.BAD_DATA
    kind = "bad_data"


class PolicyViolation(Disconnect):
    """Raised when the peer is not, or no longer, allowed to be here."""

    code = CloseCode.POLICY_VIOLATION
    kind = "policy"


class TooBig(Disconnect):
    """Raised when a message is larger than the dialect's hard limit."""

    code = CloseCode.TOO_BIG
    kind = "too_big"


class ServerFault(Disconnect):
    """Raised by the funnel for every exception that nobody expected."""

    code = CloseCode.INTERNAL_ERROR


class Restarting(Disconnect):
    """Raised when this process is about to stop."""

    code = CloseCode.SERVICE_RESTART
    kind = "restarting"


class TryLater(Disconnect):
    """Raised when a budget is used up or the peer stopped reading."""

    code = CloseCode.TRY_AGAIN_LATER
    kind = "try_later"


class OverBudget(TryLater):
    """Raised when one more connection does not fit; `refusal` says into what, and until when."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason, kind=refusal.kind)
        self.refusal = refusal
