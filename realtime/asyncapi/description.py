"""How a dialect describes itself: its messages, by their structs, and its endpoints."""

from dataclasses import dataclass, field
from inspect import cleandoc
from typing import Any

JSON_TEXT = "application/json"
BYTES = "application/octet-stream"
Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message on the wire.

    `shape` is the struct of the whole of it; `schema` says the same by hand of what is no
    JSON. `answers` names what may be answered to it, for messages of clients.
    """

    name: str
    shape: Any = None
    schema: Json | None = None
    summary: str = ""
    title: str = ""
    examples: tuple[Json, ...] = ()
    answers: tuple[str, ...] = ()
    content_type: str = JSON_TEXT

    @property
    def text(self) -> str:
        """Return what is to be said of it, in one paragraph."""
        return self.summary or paragraphs(self.shape.__doc__)[0]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One address. `query` names the fields of the handshake's query.

    `credentials` are the names of the ways to say in the handshake who one is.
    """

    name: str
    address: str
    summary: str
    received: tuple[Message, ...]
    sent: tuple[Message, ...]
    query: dict[str, Json] = field(default_factory=dict)
    parameters: dict[str, Json] = field(default_factory=dict)
    credentials: tuple[str, ...] = ()
    subprotocols: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Description:
    """One dialect."""

    name: str
    title: str
    text: str
    endpoints: tuple[Endpoint, ...]


def paragraphs(doc: str | None) -> list[str]:
    """Return a docstring's paragraphs, each on one line."""
    parts = cleandoc(doc or "").split("\n\n")
    return [" ".join(part.split()) for part in parts]
