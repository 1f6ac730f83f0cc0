"""Binary messages: a type, four bytes of length, two of the address's length, address, content."""

import base64
import struct
from typing import Any

import msgspec

from realtime.client.errors import Unreadable

TYPES = {"broadcast": 1, "direct_message": 2, "file_transfer": 3, "stream_data": 4}
_NAMES = {number: name for name, number in TYPES.items()}
_HEAD = struct.Struct("!BIH")
# The address's length counts as payload.
_COUNTED = 2


class BinaryMessage(msgspec.Struct, frozen=True):
    """`address` is a topic, user, file name or stream name, as `type` says."""

    type: str
    address: str
    content: bytes


def encode_frame(kind: str, address: str, content: bytes) -> bytes:
    """Return the frame of a type of `TYPES`. Raises KeyError for another."""
    to = address.encode()
    head = _HEAD.pack(TYPES[kind], _COUNTED + len(to) + len(content), len(to))
    return head + to + content


def decode_frame(frame: bytes) -> BinaryMessage:
    """Return what a frame says. Raises Unreadable for what is none."""
    if len(frame) < _HEAD.size:
        raise Unreadable("a binary message is too short")
    number, length, address = _HEAD.unpack_from(frame)
    end = _HEAD.size + address
    if number not in _NAMES or length != len(frame) - _HEAD.size + _COUNTED or end > len(frame):
        raise Unreadable("the head of a binary message is wrong")
    try:
        return BinaryMessage(_NAMES[number], frame[_HEAD.size : end].decode(), frame[end:])
    except UnicodeDecodeError as error:
        raise Unreadable("the address of a binary message is no text") from error


def bytes_of(payload: Any) -> bytes:
    """Return the bytes of a payload `{"base64": …}`, as a binary message is told in JSON."""
    return base64.b64decode(payload["base64"])
