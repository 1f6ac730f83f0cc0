"""The same messages in MessagePack: the subprotocol vitalwire.msgpack.

What one decodes is what the other's JSON says: times are texts, and nothing may come that JSON
has no word for.
"""

from math import isfinite
from typing import Any

import msgspec

from realtime.core.errors import Invalid
from realtime.core.problems import place_of, problem_of
from realtime.dialects.telemetry.schema.codes import Code, Rejection
from realtime.dialects.telemetry.schema.incoming import (
    AnyIncoming,
    Batch,
    Parts,
    Telemetry,
    Value,
    check_texts,
    first_wrong,
    rejection_of,
)

Source = bytes | msgspec.Raw

ENDLESS = "NaN and Infinity are no numbers"
_WORDS = (str, int, float, list, dict, type(None))

_decode = msgspec.msgpack.Decoder(AnyIncoming).decode
_decode_value = msgspec.msgpack.Decoder(Value).decode
_decode_parts = msgspec.msgpack.Decoder(Parts).decode
_encode = msgspec.msgpack.Encoder().encode


def encode_packed(message: Any) -> bytes:
    """Return a message with its times as texts, as in JSON."""
    return _encode(msgspec.to_builtins(message))


def parse_packed(source: Source) -> AnyIncoming:
    """Return the message. Raises what `parse` does, for the same reasons."""
    try:
        message = _decode(source)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _unreadable(error, source) from None
    if type(message) is Telemetry:
        for name, value in message.telemetry.items():
            if not isfinite(value.value):
                raise _not_in_json(f"telemetry.{name}.value", ENDLESS)
    elif type(message) is not Batch:
        _check_words(message)
        check_texts(message)
    return message


def _check_words(message: AnyIncoming) -> None:
    """Raises Rejection where a field that may be anything holds what JSON cannot say."""
    for name in message.__struct_fields__:
        value = getattr(message, name)
        if place := place_of(value, _is_endless, name):
            raise _not_in_json(place, ENDLESS)
        if name in ("result", "message") and (place := place_of(value, _is_foreign, name)):
            raise Invalid(f"{place}: nothing that JSON could not say", field=place)


def _is_endless(value: Any) -> bool:
    return isinstance(value, float) and not isfinite(value)


def _is_foreign(value: Any) -> bool:
    """Tell bytes, times, extensions, and objects whose keys are no texts."""
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        return True
    return not isinstance(value, _WORDS)


def _not_in_json(place: str, text: str) -> Rejection:
    return Rejection(Code.INVALID_FIELD, f"{place}: {text}", field=place)


def _unreadable(error: Exception, source: Source) -> Rejection:
    if not isinstance(error, msgspec.ValidationError):
        return Rejection(Code.NOT_MSGPACK, "the message is not MessagePack")
    return rejection_of(problem_of(error, b"", lambda: _bad_metric(source)))


def _bad_metric(source: Source) -> str:
    return first_wrong(_decode_parts(source), _decode_value)
