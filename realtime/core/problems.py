"""What is wrong with a JSON message, and where: msgspec's complaints with the field named."""

import json
from collections.abc import Callable
from contextlib import suppress
from math import isfinite
from typing import Any

import msgspec

Source = str | bytes | msgspec.Raw


class Problem(msgspec.Struct, frozen=True):
    """`field` is a path like "filters.device_id[2]", "" for the message as a whole.

    `missing` says that the field is not there, `is_json` that the message could be read at all.
    """

    field: str
    text: str
    missing: bool = False
    is_json: bool = True


def problem_of(error: Exception, source: Source, find_key: Callable[[], str]) -> Problem:
    """Return why msgspec could not decode `source`.

    `find_key` names the key of an object's item, for which msgspec writes `[...]`.
    """
    if not isinstance(error, msgspec.ValidationError):
        return _no_json(source)
    text, _, place = str(error).partition(" - at `")
    # Of a key that is no text, which only MessagePack has: where the object is.
    place = place.partition(" in `")[2] or place
    what, _, missing = text.partition(" missing required field `")
    field = place.rstrip("`").removeprefix("$").removeprefix(".")
    if "[...]" in field:
        field = field.replace("[...]", f".{find_key()}", 1)
    if missing:
        name = missing.rstrip("`")
        return Problem(joined(field, name), "is missing", missing=True)
    return Problem(field, what[:1].lower() + what[1:])


def _no_json(source: Source) -> Problem:
    """Tell NaN and Infinity, which some writers take for JSON, from other nonsense."""
    field = ""
    with suppress(ValueError, RecursionError):
        value = json.loads(bytes(source) if isinstance(source, msgspec.Raw) else source)
        field = place_of(value, _is_endless)
    if field:
        return Problem(field, "NaN and Infinity are no numbers")
    return Problem("", "the message is not JSON", is_json=False)


def _is_endless(value: Any) -> bool:
    return isinstance(value, float) and not isfinite(value)


def place_of(value: Any, is_wrong: Callable[[Any], bool], place: str = "") -> str:
    """Return where in the JSON `value` something is wrong: "a.b[2]"; "" when nothing is.

    Keys are asked about too: an object with a wrong key is the place.
    """
    todo = [(value, place)]
    while todo:
        value, place = todo.pop()
        if is_wrong(value):
            return place
        if isinstance(value, dict):
            if any(map(is_wrong, value)):
                return place
            todo += [(item, joined(place, key)) for key, item in value.items()]
        elif isinstance(value, list):
            todo += [(item, f"{place}[{n}]") for n, item in enumerate(value)]
    return ""


def joined(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
