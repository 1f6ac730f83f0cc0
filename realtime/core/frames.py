"""Ready-made WebSocket frames: built once, written to any number of connections."""

import struct

from realtime.core.deflate import PACKED_MAX, packed, unpacked, window_for

FIN_TEXT = 0x81
FIN_BINARY = 0x82
FIN_CLOSE = 0x88
# On the first frame of a message: it is packed (RFC 7692, 6).
PACKED = 0x40
OPCODE = 0x0F
BINARY = 0x02
REASON_BYTES = 123
# By the length in the second byte: 126 and 127 stand for one in the next two or eight.
HEAD_BYTES = {126: 4, 127: 10}


class Frame:
    """One unfragmented message, text or binary: its payload, and the frame's bytes on the wire.

    Its packed form is made for the first connection that has agreed on one, and kept.
    """

    __slots__ = ("_packed", "wire")

    def __init__(self, payload: bytes, *, binary: bool = False) -> None:
        self.wire = _header(FIN_BINARY if binary else FIN_TEXT, len(payload)) + payload
        # By the bits of the window: a peer may ask for a narrower one.
        self._packed: dict[int, bytes] | None = None

    @property
    def payload(self) -> bytes:
        return payload_of(self.wire)

    @property
    def is_binary(self) -> bool:
        return self.wire[0] & OPCODE == BINARY

    def packed(self, window_bits: int) -> bytes:
        """Return the bytes on the wire for a peer with such a window; plain if they are fewer."""
        window_bits = window_for(len(self.wire), window_bits)
        if self._packed is None:
            self._packed = {}
        wire = self._packed.get(window_bits)
        if wire is None:
            wire = self._packed[window_bits] = self._pack(window_bits)
        return wire

    def _pack(self, window_bits: int) -> bytes:
        payload = self.payload
        if len(payload) > PACKED_MAX:
            return self.wire
        data = packed(payload, window_bits)
        wire = _header(self.wire[0] | PACKED, len(data)) + data
        return wire if len(wire) < len(self.wire) else self.wire


def payload_of(wire: bytes) -> bytes:
    """Return what one unmasked frame of ours carries, packed or not."""
    data = wire[HEAD_BYTES.get(wire[1], 2) :]
    return unpacked(data) if wire[0] & PACKED else data


def wire_bytes(length: int) -> int:
    """Return how many bytes a frame with so many in its payload has, unmasked."""
    return len(_header(FIN_TEXT, length)) + length


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
