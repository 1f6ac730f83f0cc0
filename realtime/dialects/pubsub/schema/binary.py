"""Binary messages, both ways; imports `realtime.core` only. Source: seed 003, "Binary".

    1 byte   kind
    4 bytes  length of all that follows, big-endian
    2 bytes  length of the address, big-endian
    …        the address: UTF-8
    …        the content

The address is a topic, a user, a file's name or a stream's name, by kind. The document leaves
open where it stands.
"""

import hashlib
import struct
from enum import IntEnum
from typing import Any

import msgspec

from realtime.core.errors import Invalid
from realtime.core.events import (
    DirectMessageSent,
    Event,
    Message,
    Published,
    StreamChunkSent,
)
from realtime.dialects.pubsub.schema.rendering import PubsubDialect

_HEAD = struct.Struct("!BI")
_ADDRESS_LENGTH = struct.Struct("!H")


class Kind(IntEnum):
    """What a binary message is; `wire_name` is what its answer calls it."""

    BROADCAST = 0x01
    DIRECT_MESSAGE = 0x02
    FILE_TRANSFER = 0x03
    STREAM_DATA = 0x04

    @property
    def wire_name(self) -> str:
        return self.name.lower()


class BinaryMessage(msgspec.Struct, frozen=True):
    """One binary message, read or yet to be written."""

    kind: Kind
    address: str
    content: bytes

    @property
    def details(self) -> dict[str, Any]:
        """Return what its answer tells of it."""
        return {
            "size": len(self.content),
            "type": self.kind.wire_name,
            "checksum": f"sha256:{hashlib.sha256(self.content).hexdigest()}",
        }


def parse_binary(data: bytes) -> BinaryMessage:
    """Return the message. Raises Invalid, with a text that names the part that is wrong."""
    kind, payload = _split_head(data)
    if len(payload) < _ADDRESS_LENGTH.size:
        raise Invalid(
            f"a payload has {_ADDRESS_LENGTH.size} bytes for the address's length first, "
            f"this one has {len(payload)} bytes",
            field="address_length",
        )
    (length,) = _ADDRESS_LENGTH.unpack_from(payload)
    rest = payload[_ADDRESS_LENGTH.size :]
    if length > len(rest):
        raise Invalid(
            f"the address shall have {length} bytes, {len(rest)} are left in the payload",
            field="address_length",
        )
    if not length:
        raise Invalid("the address is empty", field="address")
    try:
        address = rest[:length].decode()
    except UnicodeDecodeError:
        raise Invalid("the address is not UTF-8", field="address") from None
    return BinaryMessage(kind, address, rest[length:])


def _split_head(data: bytes) -> tuple[Kind, bytes]:
    if len(data) < _HEAD.size:
        raise Invalid(
            f"a binary message begins with {_HEAD.size} bytes: type and payload length; "
            f"this one has {len(data)} bytes",
            field="header",
        )
    number, length = _HEAD.unpack_from(data)
    try:
        kind = Kind(number)
    except ValueError:
        raise Invalid(f"there is no type 0x{number:02x}: use 0x01 to 0x04", field="type") from None
    payload = data[_HEAD.size :]
    if length != len(payload):
        raise Invalid(
            f"the header says that {length} bytes of payload follow, but {len(payload)} do",
            field="length",
        )
    return kind, payload


def encode_binary(message: BinaryMessage) -> bytes:
    """Return the message's bytes."""
    address = message.address.encode()
    length = _ADDRESS_LENGTH.size + len(address) + len(message.content)
    return b"".join(
        (
            _HEAD.pack(message.kind, length),
            _ADDRESS_LENGTH.pack(len(address)),
            address,
            message.content,
        )
    )


# --- What is delivered -----------------------------------------------------------------------


def payload_of_content(content: bytes) -> msgspec.Raw:
    """Return binary content as a `Message` carries it: a JSON string, base64."""
    return msgspec.Raw(msgspec.json.encode(content))


def content_of(event: Message) -> bytes:
    """Return the content of a binary message."""
    return msgspec.json.decode(event.payload, type=bytes)


class PubsubBinaryDialect(PubsubDialect):
    """For who subscribed with `binary: true`: what came as binary messages leaves as such.

    There is no room for a position in them, and none for metadata.
    """

    name = "pubsub.binary"

    def render(self, event: Event, position: str | None, **more: Any) -> bytes | None:
        message = _binary_of(event)
        if message is None:
            return super().render(event, position, **more)
        return encode_binary(message)

    def is_binary(self, event: Event) -> bool:
        return isinstance(event, StreamChunkSent) or (
            isinstance(event, Message) and event.is_binary
        )


def _binary_of(event: Event) -> BinaryMessage | None:
    """Return the message as it came in; the address of a direct message is its sender."""
    match event:
        case StreamChunkSent():
            return BinaryMessage(Kind.STREAM_DATA, event.stream, event.content)
        case Published(is_binary=True):
            return BinaryMessage(Kind.BROADCAST, event.to, content_of(event))
        case DirectMessageSent(is_binary=True):
            return BinaryMessage(Kind.DIRECT_MESSAGE, event.sender, content_of(event))
    return None
