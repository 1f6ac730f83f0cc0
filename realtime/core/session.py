"""Who is connected and what they hear: the state of one conversation, without its I/O."""

from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

import msgspec

from realtime.core.events import private_topic
from realtime.core.filters import Scope
from realtime.core.topics import RESERVED, matches, root_of

# Streams are for whoever may hear what people talk about.
STREAMS = "streams"
EVERY_STREAM = f"{STREAMS}.**"
TALK = "chat.**"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody whose token was read and whose account was looked up.

    `subscribe` and `publish` are the role's topic patterns (`own:` allowed in the first);
    `endpoints` its dialect endpoints: simulation, ai, telemetry, pubsub, jwebsocket.
    """

    user_id: UUID
    username: str
    role: str
    endpoints: frozenset[str]
    subscribe: tuple[str, ...]
    publish: tuple[str, ...]
    token_id: str
    issued_at: datetime
    expires_at: datetime

    def may_open(self, endpoint: str) -> bool:
        return endpoint in self.endpoints

    def may_publish(self, topic: str) -> bool:
        """Tell whether they may say something on `topic`, which is a good one."""
        root = root_of(topic)
        if root in RESERVED:
            return False
        if root == STREAMS and self.may_stream:
            return True
        return any(matches(pattern, topic) for pattern in self.publish)

    @property
    def hears_streams(self) -> bool:
        return TALK in self.subscribe

    @property
    def may_stream(self) -> bool:
        """Whether they may send to the streams that they hear: who only reads may not."""
        return self.hears_streams and self.may_message

    @property
    def may_message(self) -> bool:
        """Whether they may write to other users: whoever may say nothing may not."""
        return bool(self.publish)

    @property
    def scope(self) -> Scope:
        """What this principal may hear, the private topic and streams included."""
        also = [private_topic(self.user_id)]
        if self.hears_streams and EVERY_STREAM not in self.subscribe:
            also.append(EVERY_STREAM)
        return Scope.of((*self.subscribe, *also), self.user_id, self.role)


class Tap(Protocol):
    """Who is told of every message of a session, while somebody wants to know."""

    def received(self, session: "Session", data: str | bytes) -> None: ...

    def sent(self, session: "Session", data: str | bytes) -> None: ...


class Session:
    """One open conversation. `opened_at` is aware UTC; counters count messages.

    Whoever reads from the peer or writes to it tells `tap`, unless that is None.
    """

    __slots__ = (
        "address",
        "endpoint",
        "id",
        "messages_in",
        "messages_out",
        "opened_at",
        "principal",
        "tap",
    )

    def __init__(
        self, *, id: str, principal: Principal, endpoint: str, address: str, opened_at: datetime
    ) -> None:
        self.id = id
        self.principal = principal
        self.endpoint = endpoint
        self.address = address
        self.opened_at = opened_at
        self.messages_in = 0
        self.messages_out = 0
        self.tap: Tap | None = None


class Gap(msgspec.Struct, frozen=True):
    """Events that a session did not get, because its peer did not read: `skipped` of them.

    One for each `root`, the first segment of their topics; the times are those of the first
    and the last event skipped. For durable events that the journal no longer holds nobody
    knows more than their number: the root is empty then, and the times are None.
    """

    root: str
    skipped: int
    first_at: datetime | None = None
    last_at: datetime | None = None

    @property
    def reason(self) -> Literal["slow_reader", "no_longer_kept"]:
        return "slow_reader" if self.root else "no_longer_kept"

    def widened(self, at: datetime) -> "Gap":
        """Count one more event, of time `at`."""
        first, last = self.first_at or at, self.last_at or at
        return Gap(self.root, self.skipped + 1, min(first, at), max(last, at))
