"""permessage-deflate on daphne: agreed on by us, and what the peer packs unpacked within bounds.

Works around, each guarded by a test in `project/tests/live/test_deflate.py`:
* autobahn 26.10 fails a handshake for an offer that it should only decline, and takes headers
  that are none (RFC 7692, 5.1; RFC 6455, 9.1): it gets to see no offer;
* its own unpacking keeps a window for every connection between messages, passes over what is
  left in zlib when a message is as long as it may be, and stays within a message that it has
  refused, so that the peer's close frame is not read.
"""

from typing import Any

from autobahn.exception import PayloadCorruptError, PayloadExceededError
from autobahn.websocket.types import ConnectionDeny

from realtime.core.deflate import (
    NAME,
    UNPACKED_MAX,
    Agreement,
    BadHeader,
    Corrupt,
    TooLong,
    Unpacking,
    agreement_on,
)

HEADER = "Sec-WebSocket-Extensions"
BAD_REQUEST = 400


def agreement_with(request: Any) -> Agreement | None:
    """Return what the handshake may lead to. Raises ConnectionDeny for a malformed header."""
    header = request.headers.get(HEADER.lower())
    if header is None:
        return None
    try:
        return agreement_on(header)
    except BadHeader as problem:
        raise ConnectionDeny(BAD_REQUEST, str(problem)) from None


class Deflate:
    """Takes the place of autobahn's `PerMessageDeflate`; what we send passes it by."""

    EXTENSION_NAME = NAME

    def __init__(self, most: int) -> None:
        self._most = most or UNPACKED_MAX
        # None between messages, and when one was refused: the rest of it is passed over.
        self._message: Unpacking | None = None

    def start_decompress_message(self) -> None:
        self._message = Unpacking(self._most)

    def decompress_message_data(self, data: bytes, max_output_len: int | None = None) -> bytes:
        """Called for each part that arrives; autobahn's bound is the same as ours, or too low."""
        if self._message is None:
            return b""
        try:
            return self._message.take(data)
        except TooLong:
            self._message = None
            raise PayloadExceededError(f"unpacks to more than {self._most} bytes") from None
        except Corrupt as problem:
            self._message = None
            raise PayloadCorruptError(str(problem)) from None

    def end_decompress_message(self) -> None:
        message, self._message = self._message, None
        if message is None:
            return
        try:
            message.end()
        except Corrupt as problem:
            raise PayloadCorruptError(str(problem)) from None
