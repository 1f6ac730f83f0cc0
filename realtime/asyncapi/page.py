"""The same document as a page for people: endpoints, messages, their fields, examples."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from realtime.asyncapi.description import Description, Json, Message
from realtime.asyncapi.document import DIALECTS, document

DIRECTIONS = (("received", "From clients"), ("sent", "From the server"))
DEEPEST = 6


@dataclass(frozen=True)
class Piece:
    """Part of a sentence: words, or a name in code."""

    text: str
    is_code: bool


@dataclass(frozen=True)
class Row:
    """One field of a message; `form` names the one it belongs to, where there are several."""

    path: str
    type: str
    is_required: bool
    text: list[Piece]
    form: str


@dataclass(frozen=True)
class Shown:
    """One message; `where` lists addresses if it is not heard at all of the dialect's."""

    anchor: str
    title: str
    text: list[Piece]
    where: list[str]
    rows: list[Row]
    examples: list[str]


def shown_dialects() -> list[Json]:
    """Return what the page shows, dialect by dialect."""
    told = document()
    return [
        {
            "name": dialect.name,
            "title": dialect.title,
            "text": dialect.text,
            "endpoints": dialect.endpoints,
            "directions": [
                {"title": title, "messages": list(_shown(told, dialect, direction))}
                for direction, title in DIRECTIONS
            ],
        }
        for dialect in DIALECTS
    ]


def _shown(told: Json, dialect: Description, direction: str) -> Iterator[Shown]:
    found: dict[str, tuple[Message, list[str]]] = {}
    for endpoint in dialect.endpoints:
        for message in getattr(endpoint, direction):
            found.setdefault(message.name, (message, []))[1].append(endpoint.address)
    for name, (message, where) in found.items():
        component = told["components"]["messages"][f"{dialect.name}.{direction}.{name}"]
        yield Shown(
            anchor=f"{dialect.name}-{direction}-{name}",
            title=component["title"],
            text=pieces(message.text),
            where=[] if len(where) == len(dialect.endpoints) else where,
            rows=list(rows_of(told, component["payload"])),
            examples=[written(example) for example in message.examples],
        )


def pieces(text: str) -> list[Piece]:
    """Return a sentence in which names stand between backticks, in parts."""
    parts = text.split("`")
    return [Piece(part, n % 2 == 1) for n, part in enumerate(parts) if part]


def written(example: Json) -> str:
    return json.dumps(example, ensure_ascii=False, indent=2)


# --- Fields -----------------------------------------------------------------------------------


def rows_of(
    told: Json, schema: Json, path: str = "", form: str = "", depth: int = 0
) -> Iterator[Row]:
    """Yield a row for each field, those of objects in objects as `outer.inner`.

    An object of which there is nothing to say has no row, only its fields have.
    """
    schema = resolved(told, schema)
    if depth > DEEPEST:
        return
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        place = f"{path}.{name}" if path else name
        inner = resolved(told, field)
        text = field.get("description") or inner.get("description", "")
        within = list(_inside(told, inner, place, form, depth))
        if text or not within:
            yield Row(place, type_of(told, field), name in required, pieces(text), form)
        yield from within


def _inside(told: Json, inner: Json, place: str, form: str, depth: int) -> Iterator[Row]:
    """Yield the fields of an object, of an array's items, or of one form after the other."""
    if inner.get("type") == "array":
        place = f"{place}[]"
        inner = resolved(told, inner.get("items", {}))
    elif isinstance(inner.get("additionalProperties"), dict):
        place = f"{place}.*"
        inner = resolved(told, inner["additionalProperties"])
    yield from rows_of(told, inner, place, form, depth + 1)
    for one in (resolved(told, each) for each in inner.get("anyOf", ())):
        if "properties" in one:
            yield from rows_of(told, one, place, kind_of(one) or form, depth + 1)


def kind_of(form: Json) -> str:
    """Return the word that tells a form from the others."""
    consts = (field["const"] for field in form["properties"].values() if "const" in field)
    return str(next(consts, ""))


def type_of(told: Json, schema: Json) -> str:
    """Return in a few words what may stand there."""
    schema = resolved(told, schema)
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(type_of(told, form) for form in schema["anyOf"]))
    kind: Any = schema.get("type", "any JSON")
    if isinstance(kind, list):
        return " | ".join(kind)
    if kind == "array":
        return f"array of {type_of(told, schema.get('items', {}))}"
    bounds = [f"{word} {schema[key]}" for key, word in BOUNDS.items() if key in schema]
    return " ".join([str(schema.get("format", kind)), *bounds])


BOUNDS = {
    "minimum": "≥",
    "maximum": "≤",
    "minLength": "length ≥",
    "maxLength": "length ≤",
    "pattern": "like",
}


def resolved(told: Json, schema: Json) -> Json:
    """Return what a schema refers to."""
    if "allOf" in schema:
        schema = schema["allOf"][0]
    while "$ref" in schema:
        found: Any = told
        for name in schema["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        schema = found
    return schema
