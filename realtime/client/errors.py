"""What can go wrong between this client and the server, as one tree.

Texts name what happened; none ever holds a token or a password.
"""

from typing import Any

from realtime.core.codes import CloseCode
from realtime.core.errors import VitalwireError

# The server's one text for a token that was good until it ran out.
TOKEN_EXPIRED = "token expired"


class ClientError(VitalwireError):
    """The root of what this package raises.

    `is_final` tells that trying the same again cannot help; `retry_after` is the least
    number of seconds the server asked us to wait.
    """

    is_final: bool = False
    retry_after: float = 0.0


class Unreachable(ClientError):
    """Raised when the server does not answer, or not in time."""


class Unreadable(ClientError):
    """Raised when the server says something that this client does not understand."""


class NotScorable(ClientError):
    """Raised when the score function fails on a surgery."""

    is_final = True


class LoginRefused(ClientError):
    """Raised when the server does not take this username and password."""

    is_final = True


class RequestFailed(ClientError):
    """Raised when a REST request was answered with an error status."""

    def __init__(self, status: int, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(f"HTTP {status}: {message}")
        self.status = status
        self.retry_after = retry_after
        self.is_final = 400 <= status < 500 and status not in {401, 408, 429}


class Refused(ClientError):
    """Raised when one message of ours was answered with an `Error`.

    `is_queued` tells that a direct message is kept for somebody who is not there.
    """

    is_final = True

    def __init__(self, code: int, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.details = details or {}
        self.is_queued = self.details.get("queued") is True
        self.retry_after = self.details.get("retry_after_ms", 0) / 1000


class QueueFull(ClientError):
    """Raised when more waits to be sent than this client keeps."""


class TooLarge(ClientError):
    """Raised for a message that is larger than the server takes; it was not sent."""

    is_final = True


class Stopped(ClientError):
    """Raised for what was not answered when the client was ended."""

    is_final = True


class HandshakeRefused(ClientError):
    """Raised when the upgrade to WebSocket was answered with an HTTP error status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the handshake was answered with HTTP {status}")
        self.status = status


class ConnectionEnded(ClientError):
    """Raised when the WebSocket is closed by the server or lost. The base of the ones below."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"closed with {code}{': ' if reason else ''}{reason}")
        self.code = code
        self.reason = reason


class ConnectionLost(ConnectionEnded):
    """Raised when the connection ends without a reason that concerns us."""


class FrameRefused(ConnectionEnded):
    """Raised when the server calls what we sent malformed or too big."""

    is_final = True


class NotAllowed(ConnectionEnded):
    """Raised when we are not, or no longer, allowed to be on this endpoint."""

    is_final = True


class TokenExpired(NotAllowed):
    """Raised when our token ran out: a new login helps."""

    is_final = False


class ServerFault(ConnectionEnded):
    """Raised when the server failed on its side."""


class ServerRestarting(ConnectionEnded):
    """Raised when the server stops on purpose and will be back."""


class ServerBusy(ConnectionEnded):
    """Raised when a budget of the server is used up."""


_ERRORS: dict[int, type[ConnectionEnded]] = {
    CloseCode.PROTOCOL_ERROR: FrameRefused,
    CloseCode.BAD_DATA: FrameRefused,
    CloseCode.INVALID_UTF8: FrameRefused,
    CloseCode.TOO_BIG: FrameRefused,
    CloseCode.POLICY_VIOLATION: NotAllowed,
    CloseCode.INTERNAL_ERROR: ServerFault,
    CloseCode.SERVICE_RESTART: ServerRestarting,
    CloseCode.TRY_AGAIN_LATER: ServerBusy,
}


def error_for_close(code: int, reason: str) -> ConnectionEnded:
    """Return the error that stands for a close frame; ConnectionLost for codes without one."""
    if code == CloseCode.POLICY_VIOLATION and reason == TOKEN_EXPIRED:
        return TokenExpired(code, reason)
    return _ERRORS.get(code, ConnectionLost)(code, reason)
