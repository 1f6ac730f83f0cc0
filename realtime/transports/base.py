"""The interface every transport keeps, and what is the same for all of them.

May import `realtime.core` only. Implementations differ by server: `asgi.py` works
everywhere, `daphne.py` and `uvicorn.py` reach the connection itself.
"""

from collections.abc import Callable
from typing import Any

from realtime.core.deflate import Agreement
from realtime.core.errors import Disconnect
from realtime.core.frames import Frame, payload_of, wire_bytes
from realtime.core.session import Session

Scope = dict[str, Any]
Message = dict[str, Any]

INBOUND_HIGH = 64
INBOUND_HIGH_BYTES = 256 * 1024
INBOUND_LOW = 16
OUTBOUND_HIGH = 256 * 1024
CLOSE_TIMEOUT_SECONDS = 2


class Closed(Exception):
    """Raised by `Transport.receive` when the peer is gone; `code` as the server saw it."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class Transport:
    """One WebSocket connection, seen by whoever talks over it.

    Guarantees: `write` and `close` never wait and never raise, whatever state the peer is
    in; nothing is written after `close`; `receive` hands over messages in order and ends
    with exactly one `Closed` or `Disconnect`. All of it belongs to the event loop's thread.
    """

    __slots__ = (
        "_packs_from",
        "_receive",
        "_send",
        "_window_bits",
        "is_blocked",
        "on_drained",
        "session",
    )

    def __init__(self, receive: Callable[[], Any], send: Callable[[Message], Any]) -> None:
        self._receive = receive
        self._send = send
        self.on_drained: Callable[[], None] | None = None
        # Whose messages are counted, and told to its tap, as they are written.
        self.session: Session | None = None
        # Whether the peer has stopped reading: more than `OUTBOUND_HIGH` bytes wait. A plain
        # attribute, looked at for every delivery.
        self.is_blocked = False
        # Frames of so many bytes on the wire are packed for this peer; 0: none is.
        self._packs_from = 0
        self._window_bits = 0

    async def accept(self, subprotocol: str | None = None) -> None:
        """Complete the handshake. Nothing may be written before."""
        raise NotImplementedError

    async def receive(self) -> str | bytes:
        """Return the peer's next message.

        Raises Closed when the peer left, or the Disconnect that `close_after_received` left.
        """
        raise NotImplementedError

    def write(self, frame: Frame) -> None:
        """Hand a frame to the connection. Look at `is_blocked` first: this does not wait."""
        raise NotImplementedError

    def close(self, code: int, reason: str) -> None:
        """Send a close frame; what still arrives is ignored."""
        raise NotImplementedError

    def close_after_received(self, error: Disconnect) -> None:
        """Raise `error` out of `receive` once what has arrived already was handed over."""
        raise NotImplementedError

    def abort(self) -> None:
        """Drop the connection without another word."""
        raise NotImplementedError

    def _pack(self, agreement: Agreement, *, least: int) -> None:
        """Pack messages of `least` bytes or more from now on, as was agreed on."""
        self._packs_from = wire_bytes(least)
        self._window_bits = agreement.window_bits

    def _note(self, frames: list[bytes]) -> None:
        """Count data frames that are written."""
        session = self.session
        if session is not None:
            session.messages_out += len(frames)
            if session.tap is not None:
                for wire in frames:
                    session.tap.sent(session, payload_of(wire))

    @property
    def is_open(self) -> bool:
        """Whether a frame written now could still reach the peer."""
        raise NotImplementedError
