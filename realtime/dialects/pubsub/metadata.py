"""`metadata` at a frame's top level: the keys we act on, checked; the others carried in bounds.

Source: seed 003, "Metadata Headers".
"""

import binascii
import zlib
from base64 import b64decode
from datetime import datetime, timedelta
from typing import Any, Final, Literal, get_args

import msgspec

from realtime.core.errors import Invalid
from realtime.core.events.messages import Priority
from realtime.core.texts import check_free, check_text
from realtime.dialects.pubsub.schema.incoming import Incoming

METADATA_BYTES: Final = 4 * 1024
KEYS_MAX: Final = 32
KEY_LENGTH: Final = 64
# Longer than anything is kept by default.
TTL_SECONDS_MAX: Final = 30 * 86_400
UNPACKED_BYTES: Final = 1024 * 1024
UNPACKED_RATIO: Final = 50
STEP_BYTES: Final = 64 * 1024
GZIP: Final = 16 + zlib.MAX_WBITS
GZIP_MAGIC: Final = b"\x1f\x8b"

# What the server itself says in a delivered message's metadata: nobody else may.
OURS: Final = frozenset({"sent_at", "message_id", "position", "recover_from"})

Unpacked = Literal["whole", "too much", "broken"]


class Carried(msgspec.Struct, frozen=True):
    """What a message's metadata asks for, and all of it as it will be delivered."""

    priority: Priority = "normal"
    # After that the message is neither delivered nor kept.
    expires_at: datetime | None = None
    metadata: dict[str, Any] = {}


class _Base64(msgspec.Struct):
    base64: Any = None


PLAIN: Final = Carried()


def read_metadata(message: Incoming, payload: msgspec.Raw, now: datetime) -> Carried:
    """Return what travels with a message. Raises Invalid with the key that is wrong."""
    given = message.metadata
    if not given:
        return PLAIN
    _check_bounds(given)
    if "compression" in given:
        _check_compression(given, payload)
    return Carried(_priority(given), _expiry(given, now), given)


def _check_bounds(given: dict[str, Any]) -> None:
    if len(given) > KEYS_MAX:
        raise Invalid(f"metadata has at most {KEYS_MAX} keys", field="metadata")
    for key in given:
        if not 0 < len(key) <= KEY_LENGTH:
            raise Invalid(f"a key has 1 to {KEY_LENGTH} characters", field="metadata")
        check_text(key, "metadata")
        if key in OURS:
            raise Invalid(f"{key} is the server's own word", field=f"metadata.{key}")
    check_free(given, "metadata")
    try:
        size = len(msgspec.json.encode(given))
    except (OverflowError, ValueError):
        raise Invalid("metadata cannot be written as JSON again", field="metadata") from None
    if size > METADATA_BYTES:
        raise Invalid(f"metadata has at most {METADATA_BYTES} bytes as JSON", field="metadata")


def _priority(given: dict[str, Any]) -> Priority:
    value = given.get("priority", "normal")
    if value not in get_args(Priority):
        raise Invalid("priority is low, normal or high", field="metadata.priority")
    priority: Priority = value
    return priority


def _expiry(given: dict[str, Any], now: datetime) -> datetime | None:
    ttl = given.get("ttl")
    if ttl is None:
        return None
    is_number = isinstance(ttl, int | float) and not isinstance(ttl, bool)
    if not is_number or not 0 < ttl <= TTL_SECONDS_MAX:
        raise Invalid(
            f"ttl is a number of seconds, above 0 and at most {TTL_SECONDS_MAX}",
            field="metadata.ttl",
        )
    return now + timedelta(seconds=ttl)


# --- Compression -----------------------------------------------------------------------------


def _check_compression(given: dict[str, Any], payload: msgspec.Raw) -> None:
    """Look into what was compressed, so that no receiver unpacks a bomb; deliver it as it came.

    A payload that is no text is what it is: the document's example names a compression for
    one. What is encrypted as well only its receivers can unpack, unless it is gzip after all.
    """
    if given["compression"] != "gzip":
        raise Invalid("the only compression is gzip", field="metadata.compression")
    text = _text_of(payload)
    if text is None:
        return
    try:
        packed = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        packed = b""
    if given.get("encryption") is not None and not packed.startswith(GZIP_MAGIC):
        return
    match unpack(packed):
        case "too much":
            raise Invalid(
                f"unpacked, a payload has at most {UNPACKED_BYTES} bytes and "
                f"{UNPACKED_RATIO} times its packed size",
                field="data.payload",
            )
        case "broken":
            raise Invalid("the payload is not base64 of one whole gzip", field="data.payload")


def _text_of(payload: msgspec.Raw) -> str | None:
    """Return the payload if it is text, alone or as `{"base64": …}`."""
    raw = bytes(payload)
    start = raw.lstrip()[:1]
    if start == b'"':
        return str(msgspec.json.decode(raw))
    if start == b"{":
        text = msgspec.json.decode(raw, type=_Base64).base64
        return text if isinstance(text, str) else None
    return None


def unpack(packed: bytes) -> Unpacked:
    """Unpack a gzip step by step, keep nothing, and stop where it becomes too much."""
    most = min(UNPACKED_BYTES, UNPACKED_RATIO * len(packed))
    unpacker = zlib.decompressobj(GZIP)
    size, rest = 0, packed
    try:
        while not unpacker.eof:
            piece = unpacker.decompress(rest, min(STEP_BYTES, most - size + 1))
            size += len(piece)
            if size > most:
                return "too much"
            rest = unpacker.unconsumed_tail
            if not piece and not rest and not unpacker.eof:
                return "broken"
    except zlib.error:
        return "broken"
    return "broken" if unpacker.unused_data else "whole"
