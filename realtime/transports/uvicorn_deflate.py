"""permessage-deflate on uvicorn: agreed on by us, what the peer packs unpacked within bounds.

Works around, each guarded by a test in `project/tests/live/test_deflate.py`:
* uvicorn 0.54 agrees on permessage-deflate by itself, with context takeover and windows of 12
  bits, before an application is asked: `install` puts our extension in the place of its own;
* websockets 17.4 goes through all that was read, and a little can unpack to very much: the
  parser waits before the next frame while what was unpacked is not taken.
With `--ws-per-message-deflate false` uvicorn agrees on nothing, and so do we.
"""

import contextlib
import importlib
from collections.abc import Generator, Sequence
from typing import Any

from websockets.exceptions import NegotiationError, PayloadTooBig, ProtocolError
from websockets.extensions import Extension, ServerExtensionFactory
from websockets.frames import Frame, Opcode
from websockets.typing import ExtensionName, ExtensionParameter

from realtime.core.deflate import (
    NAME,
    UNPACKED_MAX,
    Agreement,
    Corrupt,
    TooLong,
    Unpacking,
    answer_to,
)
from realtime.transports.base import INBOUND_HIGH_BYTES

HEADER = "Sec-WebSocket-Extensions"
IMPLEMENTATION = "uvicorn.protocols.websockets.websockets_sansio_impl"


def install() -> None:
    """Agree in the place of uvicorn, in its implementation that `UvicornTransport` knows."""
    with contextlib.suppress(ImportError):
        implementation = importlib.import_module(IMPLEMENTATION)
        implementation.ServerPerMessageDeflateFactory = DeflateFactory  # type: ignore[attr-defined]


class Deflate(Extension):
    """Unpacks what the peer has packed; what we send passes it by."""

    name = ExtensionName(NAME)

    def __init__(self, agreement: Agreement) -> None:
        self.agreement = agreement
        # So many bytes were unpacked since the application last had nothing to take.
        self.waiting = 0
        self._is_open = False
        self._message: Unpacking | None = None

    def open(self, connection: Any) -> None:
        """Take packed messages from now on, and hold the parser back while enough is waiting."""
        self._is_open = True
        reader = connection.reader
        at_eof = reader.at_eof

        def before_a_frame() -> Generator[None, None, bool]:
            while self.is_full:
                yield
            is_over: bool = yield from at_eof()
            return is_over

        reader.at_eof = before_a_frame

    def close(self) -> None:
        """Pass over what still comes."""
        self._is_open = False
        self.waiting = 0

    @property
    def is_full(self) -> bool:
        return self.waiting >= INBOUND_HIGH_BYTES

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return frame
        if frame.opcode is not Opcode.CONT:
            self._message = Unpacking(max_size or UNPACKED_MAX) if frame.rsv1 else None
        elif frame.rsv1:
            raise ProtocolError("RSV1 bit set in continuation frame")
        message = self._message
        if message is None:
            return frame
        if frame.fin:
            self._message = None
        data = self._unpack(message, frame, max_size) if self._is_open else b""
        return Frame(frame.opcode, data, frame.fin, False, frame.rsv2, frame.rsv3)

    def _unpack(self, message: Unpacking, frame: Frame, max_size: int | None) -> bytes:
        try:
            data = message.take(frame.data)
            if frame.fin:
                message.end()
        except TooLong:
            raise PayloadTooBig(None, max_size or UNPACKED_MAX) from None
        except Corrupt as problem:
            raise ProtocolError(f"a message cannot be unpacked: {problem}") from None
        self.waiting += len(data)
        return data

    def encode(self, frame: Frame) -> Frame:
        return frame


class DeflateFactory(ServerExtensionFactory):
    """Answers the first offer that can be kept."""

    name = ExtensionName(NAME)

    def __init__(self, **settings: Any) -> None:
        """Take the settings that uvicorn has for its own, and leave them."""

    def process_request_params(
        self,
        params: Sequence[ExtensionParameter],
        accepted_extensions: Sequence[Extension],
    ) -> tuple[list[ExtensionParameter], Extension]:
        agreement = answer_to(params)
        if agreement is None or accepted_extensions:
            raise NegotiationError("this offer is declined")
        return list(agreement.parameters), Deflate(agreement)


def extension_of(protocol: Any) -> Deflate | None:
    """Return what this connection has agreed on, if it has."""
    return next((each for each in protocol.conn.extensions if isinstance(each, Deflate)), None)


def decline(protocol: Any) -> None:
    """Take back what was agreed on, before the peer is told."""
    protocol.conn.extensions = []
    protocol.response.headers.pop(HEADER, None)
