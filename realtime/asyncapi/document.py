"""The AsyncAPI 3 document of all dialects. Source: asyncapi.com, specification 3.0.0."""

from functools import cache
from itertools import chain
from typing import Any

from realtime.asyncapi.description import Description, Endpoint, Json, Message
from realtime.asyncapi.schemas import schemas_of
from realtime.dialects.pubsub.described import PUBSUB
from realtime.dialects.surgery.described import SURGERY
from realtime.dialects.telemetry.described import TELEMETRY

ASYNCAPI = "3.0.0"
VERSION = "1.0.0"
HOST = "localhost:8000"
BINDING = "0.1.0"
DIALECTS: tuple[Description, ...] = (SURGERY, TELEMETRY, PUBSUB)

CREDENTIALS: dict[str, Json] = {
    "query": {
        "type": "httpApiKey",
        "in": "query",
        "name": "token",
        "description": "The access token in the query: `?token=<JWT>`.",
    },
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "`Authorization: Bearer <JWT>`.",
    },
    "subprotocol": {
        "type": "httpApiKey",
        "in": "header",
        "name": "Sec-WebSocket-Protocol",
        "description": (
            "The subprotocol `access_token.<JWT>`, for browsers. It is echoed when it is the only"
            " offer; `realtime.v1` is chosen when offered beside it."
        ),
    },
}


def document(*, host: str = HOST, protocol: str = "ws") -> Json:
    """Return the document, for a server that is reached at `host` by `ws` or `wss`."""
    server = {
        "host": host,
        "protocol": protocol,
        "description": "This server. Tokens come from POST /api/v1/auth/login.",
    }
    return {**_timeless(), "servers": {"vitalwire": server}}


@cache
def _timeless() -> Json:
    """Return all of the document that is the same at every address."""
    channels: Json = {}
    operations: Json = {}
    messages: Json = {}
    schemas: Json = {}
    for dialect in DIALECTS:
        for direction in ("received", "sent"):
            told, components = _messages_of(dialect, direction)
            messages |= told
            schemas |= components
        for endpoint in dialect.endpoints:
            channels[endpoint.name] = _channel(dialect, endpoint)
            operations |= _operations(endpoint)
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "Vitalwire",
            "version": VERSION,
            "description": "\n\n".join(
                f"**{dialect.title}**: {dialect.text}" for dialect in DIALECTS
            ),
            "tags": [{"name": dialect.name, "description": dialect.title} for dialect in DIALECTS],
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {
            "schemas": schemas,
            "messages": messages,
            "securitySchemes": CREDENTIALS,
        },
    }


def _all(dialect: Description, direction: str) -> dict[str, Message]:
    """Return the messages of all its endpoints, by name."""
    lists = chain.from_iterable(getattr(each, direction) for each in dialect.endpoints)
    return {message.name: message for message in lists}


def _messages_of(dialect: Description, direction: str) -> tuple[Json, Json]:
    """Return the components that describe one direction: messages, schemas."""
    told = _all(dialect, direction)
    prefix = f"{dialect.name}.{direction}."
    schemas, components = schemas_of(told.values(), prefix)
    return {
        f"{prefix}{name}": _message(message, schema)
        for (name, message), schema in zip(told.items(), schemas, strict=True)
    }, components


def _message(message: Message, schema: Json) -> Json:
    told: Json = {
        "name": message.name,
        "title": message.title or message.name,
        "summary": message.text,
        "contentType": message.content_type,
        "payload": schema,
    }
    if message.examples:
        told["examples"] = [{"payload": example} for example in message.examples]
    return told


# --- Channels and operations ------------------------------------------------------------------


def key_of(message: Message, direction: str) -> str:
    """Return how a channel calls a message: both directions may have one of the same name."""
    return message.name if direction == "sent" else f"{message.name}.received"


def _channel(dialect: Description, endpoint: Endpoint) -> Json:
    told: Json = {
        "address": endpoint.address,
        "title": f"{dialect.title}: {endpoint.address}",
        "summary": endpoint.summary,
        "servers": [{"$ref": "#/servers/vitalwire"}],
        "messages": {
            key_of(message, direction): {
                "$ref": f"#/components/messages/{dialect.name}.{direction}.{message.name}"
            }
            for direction in ("received", "sent")
            for message in getattr(endpoint, direction)
        },
        "tags": [{"name": dialect.name}],
        "bindings": {"ws": _binding(endpoint)},
    }
    if endpoint.parameters:
        told["parameters"] = endpoint.parameters
    return told


def _binding(endpoint: Endpoint) -> Json:
    told: Json = {"method": "GET", "bindingVersion": BINDING}
    if endpoint.query:
        told["query"] = {"type": "object", "properties": endpoint.query}
    if endpoint.subprotocols:
        offers = {"type": "string", "description": " or ".join(endpoint.subprotocols)}
        told["headers"] = {"type": "object", "properties": {"Sec-WebSocket-Protocol": offers}}
    return told


def _operations(endpoint: Endpoint) -> Json:
    """Return what one may do: a client's messages one by one, the server's all at once.

    AsyncAPI calls an operation by what the described application does: the server receives.
    """
    found = {
        f"{endpoint.name}.{message.name}": _receiving(endpoint, message)
        for message in endpoint.received
    }
    if endpoint.sent:
        found[f"{endpoint.name}.hear"] = {
            "action": "send",
            "channel": _reference("channels", endpoint.name),
            "summary": "What the server says, asked and unasked.",
            "messages": [_told_by(endpoint, key_of(each, "sent")) for each in endpoint.sent],
            **_security(endpoint),
        }
    return found


def _receiving(endpoint: Endpoint, message: Message) -> Json:
    told: Json = {
        "action": "receive",
        "channel": _reference("channels", endpoint.name),
        "summary": message.text,
        "messages": [_told_by(endpoint, key_of(message, "received"))],
        **_security(endpoint),
    }
    if message.answers:
        told["reply"] = {
            "channel": _reference("channels", endpoint.name),
            "messages": [_told_by(endpoint, name) for name in message.answers],
        }
    return told


def _security(endpoint: Endpoint) -> Json:
    if not endpoint.credentials:
        return {}
    return {
        "security": [
            _reference("components/securitySchemes", name) for name in endpoint.credentials
        ]
    }


def _told_by(endpoint: Endpoint, key: str) -> Json:
    return {"$ref": f"#/channels/{endpoint.name}/messages/{key}"}


def _reference(place: str, name: str) -> dict[str, Any]:
    return {"$ref": f"#/{place}/{name}"}
