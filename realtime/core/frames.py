"""Ready-made WebSocket frames: built once, written to any number of connections."""

import struct

FIN_TEXT = 0x81
FIN_CLOSE = 0x88
REASON_BYTES = 123
# By the length in the second byte: 126 and 127 stand for one in the next two or eight.
HEAD_BYTES = {126: 4, 127: 10}


class Frame:
    """One unfragmented text message: its payload, and the bytes of the frame on the wire."""

    __slots__ = ("wire",)

    def __init__(self, payload: bytes) -> None:
        self.wire = _header(FIN_TEXT, len(payload)) + payload

    @property
    def payload(self) -> bytes:
        return payload_of(self.wire)


def payload_of(wire: bytes) -> bytes:
    """Return what one unmasked frame carries."""
    return wire[HEAD_BYTES.get(wire[1], 2) :]


def close_wire(code: int, reason: str) -> bytes:
    """Return a close frame's bytes; the reason is cut at a character's end if too long."""
    payload = struct.pack("!H", code) + cut_reason(reason)
    return _header(FIN_CLOSE, len(payload)) + payload


def cut_reason(reason: str) -> bytes:
    """Return at most 123 bytes of UTF-8, what a close frame has room for (RFC 6455, 5.5)."""
    raw = reason.encode("utf-8", "replace")
    return raw[:REASON_BYTES].decode("utf-8", "ignore").encode()


def _header(first: int, length: int) -> bytes:
    """Source: RFC 6455, 5.2; frames of a server carry no mask."""
    if length < 126:
        return bytes((first, length))
    if length < 65_536:
        return struct.pack("!BBH", first, 126, length)
    return struct.pack("!BBQ", first, 127, length)
