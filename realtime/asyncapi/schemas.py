"""JSON schemas of structs, in the form that AsyncAPI 3 takes."""

from collections.abc import Iterable
from typing import Any

import msgspec

from realtime.asyncapi.description import Json, Message, paragraphs

SCHEMAS = "#/components/schemas/"


def schemas_of(messages: Iterable[Message], prefix: str) -> tuple[list[Json], dict[str, Json]]:
    """Return a schema for each message, and the components they refer to.

    The components' names begin with `prefix`: two dialects may each have an `Error`.
    """
    messages = list(messages)
    shapes = [message.shape for message in messages if message.shape is not None]
    template = f"{SCHEMAS}{prefix}{{name}}"
    found, components = msgspec.json.schema_components(shapes, ref_template=template)
    named = {f"{prefix}{name}": schema for name, schema in components.items()}
    tidy = _Tidying(named, prefix)
    by_shape = iter(found)
    schemas = [
        message.schema or {} if message.shape is None else tidy.schema(next(by_shape))
        for message in messages
    ]
    for name in named:
        named[name] = tidy.schema(named[name])
    for name in tidy.open:
        named[name]["additionalProperties"] = True
    return schemas, named


class _Tidying:
    """Says what msgspec says in the words of draft 7, which AsyncAPI builds on."""

    def __init__(self, named: dict[str, Json], prefix: str) -> None:
        self._named = named
        self._prefix = prefix
        self.open: set[str] = set()

    def schema(self, schema: Any) -> Any:
        if isinstance(schema, list):
            return [self.schema(item) for item in schema]
        if not isinstance(schema, dict):
            return schema
        if isinstance(schema.get("$ref"), str):
            return self._reference(schema)
        told = {
            key: self._properties(value) if key == "properties" else self.schema(value)
            for key, value in schema.items()
            # A tag says the same; and in AsyncAPI a discriminator has another form.
            if key != "discriminator"
        }
        if isinstance(told.get("description"), str):
            told["description"] = "\n\n".join(paragraphs(told["description"]))
        if len(told.get("enum", ())) == 1:
            told["const"] = told.pop("enum")[0]
        if told.get("required") == []:
            del told["required"]
        return told

    def _properties(self, properties: Json) -> Json:
        return {name: self.schema(schema) for name, schema in properties.items()}

    def _reference(self, schema: Json) -> Json:
        """Return a reference that has nothing beside it, since nothing beside it would count."""
        beside = dict(schema)
        target = beside.pop("$ref")
        if not target.startswith("#"):
            target = f"{SCHEMAS}{self._prefix}{target}"
        if beside.pop("additionalProperties", False):
            self.open.add(target.removeprefix(SCHEMAS))
        reference = {"$ref": target}
        return {"allOf": [reference], **beside} if beside else reference
