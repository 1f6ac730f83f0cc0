"""The pubsub dialect's order of talk: greet, hand each message to its handler, deliver.

Source: seed 003. What the messages do is in the modules beside this one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from realtime.auth import query_values
from realtime.budgets import SharedBudget
from realtime.consumers import Receive, Send, SocketConsumer
from realtime.core.errors import (
    Disconnect,
    Failure,
    Forbidden,
    Invalid,
    NotFound,
    OverBudget,
    OverLimit,
    PolicyViolation,
    Unauthorized,
    Unavailable,
)
from realtime.core.frames import Frame
from realtime.core.limits import DialectLimits
from realtime.core.session import Principal
from realtime.dialects.pubsub import (
    batch,
    binary,
    history,
    mail,
    presence,
    publishing,
    renewal,
    schema,
    subscriptions,
)
from realtime.dialects.pubsub.answers import Answers
from realtime.dialects.pubsub.backing import Backing
from realtime.dialects.pubsub.publishing import Said
from realtime.dialects.pubsub.schema import Incoming, Ping, PubsubDialect
from realtime.hub import Hub

DIALECT = PubsubDialect()
FLOOD_SECONDS = 5
# Types of the application's own begin so.
OWN_TYPE = "X-"
CLIENT_ID_MAX = 128
# When a database that is away will answer nobody knows: asking again so soon costs little.
RETRY_MS = 1_000


class BadQuery(PolicyViolation):
    """Raised when a query field of the handshake cannot be used as it is."""

    kind = "bad_query"


class PubsubConsumer(SocketConsumer):
    """`/ws/pubsub`: a wrong message gets an `Error` and never ends the connection."""

    dialect = DIALECT
    endpoint = "pubsub"

    def __init__(
        self,
        hub: Hub,
        limits: DialectLimits,
        budget: SharedBudget | None = None,
        *,
        backing: Backing,
    ) -> None:
        super().__init__(hub, limits, budget)
        self.backing = backing
        # What the client calls itself, over all its connections.
        self.client_id: str | None = None
        self.answers = Answers(self.answer)
        self.said = Said()
        self._refused_query: str | None = None
        # What the query tells of the user, unread.
        self.told_metadata: list[str] = []
        # When it was last shown everybody who is present.
        self.shown_present_at = float("-inf")
        self._flood_since: float | None = None
        self._flooded_at = 0.0
        self._warning: asyncio.TimerHandle | None = None

    def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> Awaitable[None]:
        try:
            self.client_id = client_id_in(scope)
        except Invalid as refusal:
            self._refused_query = str(refusal)
        self.told_metadata = query_values(scope, "metadata")
        return super().__call__(scope, receive, send)

    async def on_handshake(self, principal: Principal) -> None:
        if self._refused_query is not None:
            raise BadQuery(self._refused_query)

    async def on_refused(self, refusal: Disconnect) -> None:
        if isinstance(refusal, OverBudget):
            budget = refusal.refusal
            details = {
                "limit": budget.limit,
                "used": budget.used,
                "retry_after_ms": budget.retry_after_ms,
            }
            self.transport.write(Frame(schema.error(429, refusal.reason, details)))
        else:
            code = 400 if isinstance(refusal, BadQuery) else 401
            self.transport.write(Frame(schema.error(code, refusal.reason)))

    async def on_open(self) -> None:
        limits = schema.Limits(
            messages_per_second=self.limits.messages_per_second,
            message_bytes=self.limits.message_bytes,
        )
        self.answer(schema.connected(self.member.session.id, datetime.now(UTC), limits))
        presence.on_open(self)
        await mail.open_mailbox(self)

    async def on_text(self, text: str) -> None:
        message_id = None
        try:
            message = schema.parse(text)
            message_id = message.id
            await self.handle(message)
        except Failure as refusal:
            self.answers.put(self.refusal(refusal, message_id or schema.id_of(text)))

    async def next_message(self) -> str | bytes:
        while True:
            data = await super().next_message()
            # What had come before its end is not done for whoever may not be here any more.
            if not self.member.is_shut_out:
                return data

    async def handle(self, message: Incoming) -> None:
        """Do what one message asks for. Raises Failure."""
        handler = HANDLERS.get(message.type)
        if handler is None and message.type.startswith(OWN_TYPE) and message.type != OWN_TYPE:
            handler = publishing.on_own_type
        if handler is None:
            raise Invalid(f"unknown type {message.type}", field="type")
        await handler(self, message)

    def refusal(self, failure: Failure | None, message_id: str | None, **details: Any) -> bytes:
        """Return the `Error` about the message that its client calls `message_id`.

        Without a failure of the client's it is a fault of ours.
        """
        if message_id is not None:
            details["message_id"] = message_id
        if failure is None:
            return schema.error(500, "internal error", details)
        return refused(failure, **details)

    def spend(self, messages: int) -> float:
        """Count so many more against the rate; return the seconds until they would fit, or 0."""
        most = self.limits.messages_per_second
        return self._rate.take(time.monotonic(), min(messages, most)) if most else 0.0

    async def on_binary(self, data: bytes) -> None:
        try:
            await binary.on_binary(self, data)
        except Failure as refusal:
            self.answers.put(self.refusal(refusal, None))

    # --- The token ---------------------------------------------------------------------

    def watch_expiry(self) -> None:
        super().watch_expiry()
        principal = self.member.session.principal
        left = (principal.expires_at - datetime.now(UTC)).total_seconds()
        if left > 0:
            wait = max(0.0, left - renewal.warning_of(principal))
            self._warning = asyncio.get_running_loop().call_later(wait, self.on_expiring)

    def on_expiring(self) -> None:
        """The token will run out soon."""
        expires_at = self.member.session.principal.expires_at
        self.answer(schema.auth_status("token_expiring", expires_at))

    def on_expired(self) -> None:
        expires_at = self.member.session.principal.expires_at
        self.answer(schema.auth_status("expired", expires_at))
        super().on_expired()

    def _stop_expiry(self) -> None:
        super()._stop_expiry()
        if self._warning is not None:
            self._warning.cancel()
            self._warning = None

    # --- Small messages ----------------------------------------------------------------

    async def on_ping(self, message: Incoming) -> None:
        ping = schema.parse_data(message.data, Ping)
        self.answer(schema.pong(ping.timestamp, datetime.now(UTC)))

    async def on_pong(self, message: Incoming) -> None:
        """The answer to a Ping of ours; that it came is all it says."""

    def answer(self, payload: bytes) -> None:
        """Write one text message to this peer alone."""
        self.member.send(Frame(payload))

    # --- Limits ------------------------------------------------------------------------

    async def takes_early(self, wait: float, data: str | bytes) -> bool:
        """Answer 429 and drop it; a peer that goes on for `FLOOD_SECONDS` has to leave."""
        now = time.monotonic()
        if self._flood_since is None or now - self._flooded_at > FLOOD_SECONDS / 2:
            self._flood_since = now
        self._flooded_at = now
        if now - self._flood_since >= FLOOD_SECONDS:
            raise PolicyViolation("too many messages for too long", kind="flood")
        self.refuse_early(wait, id_of(data))
        return False

    def refuse_early(self, wait: float, message_id: str | None) -> None:
        """Say that messages come faster than they may, and when to try again."""
        details: dict[str, Any] = {
            "limit": self.limits.messages_per_second,
            "retry_after_ms": int(wait * 1000) + 1,
        }
        if message_id is not None:
            details["message_id"] = message_id
        self.answers.put(schema.error(429, "too many messages", details))

    async def takes_large(self, data: str | bytes) -> bool:
        most = self.limits.message_bytes
        details: dict[str, Any] = {"limit": most}
        if (message_id := id_of(data)) is not None:
            details["message_id"] = message_id
        self.answers.put(schema.error(413, f"a message has at most {most} bytes", details))
        return False


def id_of(data: str | bytes) -> str | None:
    """Return what the client calls a message that is not read; a binary one has no name."""
    return schema.id_of(data) if isinstance(data, str) else None


def client_id_in(scope: dict[str, Any]) -> str | None:
    """Return what the client calls itself in the handshake's query. Raises Invalid."""
    given = set(query_values(scope, "client_id"))
    if not given:
        return None
    client_id = given.pop()
    if given or not 1 <= len(client_id) <= CLIENT_ID_MAX or not client_id.isprintable():
        raise Invalid(f"client_id is one of 1 to {CLIENT_ID_MAX} printable characters")
    return client_id


Handler = Callable[[PubsubConsumer, Incoming], Awaitable[None]]

HANDLERS: dict[str, Handler] = {
    "Ping": PubsubConsumer.on_ping,
    "Pong": PubsubConsumer.on_pong,
    "Presence": presence.on_presence,
    "Subscribe": subscriptions.on_subscribe,
    "Unsubscribe": subscriptions.on_unsubscribe,
    "History": history.on_history,
    "Auth": renewal.on_auth,
    "Broadcast": publishing.on_broadcast,
    "DirectMessage": publishing.on_direct_message,
    "Batch": batch.on_batch,
}


def refused(refusal: Failure, **details: Any) -> bytes:
    """Return the `Error` that says why one message cannot be answered as asked."""
    match refusal:
        case Unauthorized():
            code = 401
        case Forbidden():
            code = 403
        case NotFound():
            code = 404
        case OverLimit():
            code = 413
            details = {"limit": refusal.limit, "used": refusal.used, **details}
        case Unavailable():
            code = 503
            details = {"retry_after_ms": RETRY_MS, **details}
        case _:
            code = 400
    if isinstance(refusal, Invalid):
        details = {"field": refusal.field, **details}
    # What a refusal itself has to say beside its text.
    details = {**getattr(refusal, "details", {}), **details}
    return schema.error(code, str(refusal), details)
