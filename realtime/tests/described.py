"""What a server says, held against the AsyncAPI document: every word of it has to be there.

The document leaves room for fields to come; here a field that it does not name is a fault.
"""

import struct
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
from jsonschema import Draft7Validator

from realtime.asyncapi.description import BYTES, JSON_TEXT
from realtime.asyncapi.document import document

Json = dict[str, Any]
# Where a message says what it is: surgery's have no `type`.
KINDS = ("type", "status", "event")
# Whose values matter, and not their types alone.
JUDGES_VALUES = (
    *("const", "enum", "pattern", "minLength", "maxLength"),
    *("minimum", "maximum", "minItems", "maxItems"),
)
# Those that are delivered: files are not.
KINDS_OF_BYTES = (1, 2, 4)
MSGPACK = "vitalwire.msgpack"
KNOWN_MAX = 10_000
TOLD_MAX = 2000


class Undescribed(AssertionError):
    """Raised when a server says what the document does not describe."""


def assert_described(channel: str, payload: bytes | str) -> None:
    """Assert that the document describes this text message of the server's on its channel.

    Tests hear hundreds of thousands: one of a form that was found right is not judged again.
    """
    message = msgspec.json.decode(payload)
    form = channel, _form_of(message, "", _judged_names(channel))
    if form in _right:
        return
    _judge(channel, message)
    if len(_right) >= KNOWN_MAX:
        _right.clear()
    _right.add(form)


def assert_bytes_described(channel: str, data: bytes) -> None:
    """Assert the same of a binary message: MessagePack, or pubsub's own form."""
    told = document()["channels"][channel]
    if BYTES in {_resolved(document(), one["$ref"])["contentType"] for one in _sent_in(told)}:
        kind, length, address = struct.unpack_from("!BIH", data)
        if kind not in KINDS_OF_BYTES or length != len(data) - 5 or address > length - 2:
            raise Undescribed(f"{channel}: no binary message: {data[:50]!r}")
    elif MSGPACK in str(told["bindings"]):
        assert_described(channel, msgspec.json.encode(msgspec.msgpack.decode(data)))
    else:
        raise Undescribed(f"{channel}: binary messages are not described")


_right: set[Any] = set()


def _judge(channel: str, message: Any) -> None:
    problems = ["no message of this kind"]
    for validator in _validators(channel)[_kind_of(message)]:
        problems = [_said(error) for error in validator.iter_errors(message)]
        if not problems:
            return
    told = msgspec.json.encode(message).decode()[:TOLD_MAX]
    raise Undescribed(f"{channel}: {'; '.join(problems)}: {told}")


def _form_of(value: Any, name: str, judged: frozenset[str]) -> Any:
    """Return what decides whether a value is described: names, types, and words of a choice."""
    kind = type(value)
    if kind is dict:
        return tuple([(key, _form_of(inner, key, judged)) for key, inner in value.items()])
    if kind is list:
        return list, frozenset([_form_of(inner, name, judged) for inner in value])
    return (kind, value) if name in judged else kind


@cache
def channel_of(path: str) -> str | None:
    """Return the document's name for an endpoint; None for a path that is none of ours.

    `/ws` is telemetry's; with a credential it is what `/ws/pubsub` is.
    """
    for name, channel in document()["channels"].items():
        places = channel.get("parameters", {}).get("channel", {}).get("enum", [""])
        if path in [channel["address"].format(channel=place) for place in places]:
            return str(name)
    return None


@cache
def _schemas(channel: str) -> list[Json]:
    """Return what the server may say in text on a channel."""
    told = document()
    found = []
    for reference in _sent_in(told["channels"][channel]):
        message = _resolved(told, reference["$ref"])
        if message["contentType"] == JSON_TEXT:
            found.append(strict(told, message["payload"]))
    return found


def _sent_in(channel: Json) -> list[Json]:
    """Return references to what the server says on a channel."""
    return [one for one in channel["messages"].values() if ".sent." in one["$ref"]]


@cache
def _validators(channel: str) -> dict[str, list[Draft7Validator]]:
    """Return by what the messages say they are how to look at them."""
    found: dict[str, list[Draft7Validator]] = defaultdict(list)
    for schema in _schemas(channel):
        found[_kind_in(schema)].append(Draft7Validator(schema))
    return found


@cache
def _judged_names(channel: str) -> frozenset[str]:
    """Return the names of all fields of which more is asked than a type."""
    return frozenset(name for schema in _schemas(channel) for name in _judged_in(schema, ""))


def _judged_in(schema: Any, name: str) -> Iterator[str]:
    if isinstance(schema, list):
        for one in schema:
            yield from _judged_in(one, name)
    elif isinstance(schema, dict):
        if any(word in schema for word in JUDGES_VALUES):
            yield name
        for key, inner in schema.items():
            if key == "properties":
                for field, told in inner.items():
                    yield from _judged_in(told, field)
            else:
                yield from _judged_in(inner, name)


def strict(told: Json, schema: Any) -> Any:
    """Return the schema without references, in which no object has more than it names."""
    if isinstance(schema, list):
        return [strict(told, item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return strict(told, _resolved(told, schema["$ref"]))
    whole = {key: strict(told, value) for key, value in schema.items()}
    if "properties" in whole:
        whole.setdefault("additionalProperties", False)
    return whole


def _resolved(told: Json, reference: str) -> Json:
    found: Any = told
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found


def _kind_in(schema: Json) -> str:
    for name in KINDS:
        if "const" in schema["properties"].get(name, {}):
            return str(schema["properties"][name]["const"])
    return "X-"


def _kind_of(message: Any) -> str:
    if not isinstance(message, dict):
        return ""
    kind = str(next((message[name] for name in KINDS if name in message), ""))
    return "X-" if kind.startswith("X-") else kind


def _said(error: Any) -> str:
    """Return where and why, and of several forms the one that comes nearest."""
    if error.context:
        error = min(error.context, key=lambda each: (-len(each.absolute_path), len(each.message)))
    return f"{error.json_path}: {error.message[:300]}"
