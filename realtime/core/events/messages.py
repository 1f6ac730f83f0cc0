"""What people and applications tell each other: broadcasts, direct messages, presence."""

from datetime import datetime
from typing import Any, ClassVar, Literal
from urllib.parse import quote
from uuid import UUID

import msgspec

from realtime.core.events.base import Event

# The root of every user's private topic, and where the system speaks to people.
USERS = "users"
NOTIFICATIONS = "notifications"

Priority = Literal["low", "normal", "high"]
Presence = Literal["online", "away", "offline"]
Level = Literal["info", "success", "warning", "error"]


def presence_topic(username: str) -> str:
    """Return where one user's coming and going is told: one segment, whatever the name."""
    return f"presence.{quote(username, safe='@+-_').replace('.', '%2E')}"


def private_topic(user_id: UUID) -> str:
    """Return where direct messages and notifications of one user are heard."""
    return f"{USERS}.{user_id}"


class Message(Event, frozen=True, kw_only=True):
    """Base of what one user says. `sender` is the account's name, `name` the wire's type.

    `payload` is JSON as it came; of a binary message (`is_binary`) it is a JSON string, the
    content in base64. `metadata` travels with it: what the sender gave, checked.
    """

    sender: str
    sender_id: UUID
    name: str
    payload: msgspec.Raw
    is_binary: bool = False
    priority: Priority = "normal"
    # After that it is neither delivered nor kept.
    expires_at: datetime | None = None
    metadata: dict[str, Any] = {}
    # What the sender called it, for the sender's own sake.
    message_id: str | None = None


class Published(Message, frozen=True, kw_only=True):
    """Somebody said something on a topic: `Broadcast`, or a type of the application's own."""

    to: str
    # Of what is relayed: the session that said it.
    not_to: str | None = None

    @property
    def topic(self) -> str:
        return self.to

    @property
    def spared(self) -> str | None:
        return self.not_to


class DirectMessageSent(Message, frozen=True, kw_only=True):
    """Somebody said something to one user."""

    recipient_id: UUID

    @property
    def topic(self) -> str:
        return private_topic(self.recipient_id)


# The order in which they are told to whoever is behind.
RANKS: dict[Priority, int] = {"high": 0, "normal": 1, "low": 2}


def rank_of(event: Event) -> int:
    """Return how early the event is told to a reader that is behind: 0 before 1 before 2."""
    return RANKS[event.priority] if isinstance(event, Message) else RANKS["normal"]


def expiry_of(event: Event) -> datetime | None:
    """Return when the event is no longer told or kept; None for never."""
    return event.expires_at if isinstance(event, Message) else None


class StreamChunkSent(Event, frozen=True, kw_only=True):
    """A piece of a stream, for whoever hears it now. `content` is base64 in the journal's JSON."""

    durable: ClassVar[bool] = False

    stream: str
    sender: str
    content: bytes

    @property
    def topic(self) -> str:
        return f"streams.{self.stream}"

    @property
    def conflation_key(self) -> str:
        # No piece stands for another.
        return self.id


class Action(msgspec.Struct, frozen=True):
    """Something a notification offers to do."""

    label: str
    url: str


class Notified(Event, frozen=True, kw_only=True):
    """The system tells people something: one user, the users of a role, or everybody."""

    level: Level
    title: str
    message: str
    actions: tuple[Action, ...] = ()
    recipient_id: UUID | None = None
    role: str | None = None
    # The recipient's name and the account that had it sent, for those who look it up: no client
    # is told.
    recipient: str | None = None
    by: str = ""

    @property
    def topic(self) -> str:
        return NOTIFICATIONS if self.recipient_id is None else private_topic(self.recipient_id)

    @property
    def audience(self) -> str | None:
        return self.role


class PresenceChanged(Event, frozen=True, kw_only=True):
    """A user came, went away from the keyboard, or left the last of their connections."""

    username: str
    user_id: UUID
    status: Presence
    last_seen: datetime
    metadata: dict[str, Any] = {}

    @property
    def topic(self) -> str:
        return presence_topic(self.username)
