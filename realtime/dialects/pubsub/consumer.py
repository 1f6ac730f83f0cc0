"""The pubsub dialect's order of talk: greet, subscribe, deliver. Source: seed 003."""

import time
from datetime import UTC, datetime

from realtime.budgets import SharedBudget
from realtime.consumers import SocketConsumer
from realtime.core.errors import Disconnect, Forbidden, Invalid, OverBudget, PolicyViolation
from realtime.core.frames import Frame
from realtime.core.limits import DialectLimits
from realtime.core.topics import check_pattern
from realtime.dialects.pubsub import schema
from realtime.dialects.pubsub.schema import Incoming, Ping, PubsubDialect, Topics
from realtime.hub import Hub, Member

DIALECT = PubsubDialect()
SUBSCRIPTIONS_MAX = 256
FLOOD_SECONDS = 5


class PubsubConsumer(SocketConsumer):
    """`/ws/pubsub`: a wrong message gets an `Error` and never ends the connection."""

    dialect = DIALECT
    endpoint = "pubsub"

    def __init__(self, hub: Hub, limits: DialectLimits, budget: SharedBudget | None = None) -> None:
        super().__init__(hub, limits, budget)
        self._flood_since: float | None = None
        self._flooded_at = 0.0

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
            self.transport.write(Frame(schema.error(401, refusal.reason)))

    async def on_open(self) -> None:
        self._answer(schema.connected(self.member.session.id, datetime.now(UTC)))

    async def on_text(self, text: str) -> None:
        try:
            message = schema.parse(text)
            handler = HANDLERS.get(message.type)
            if handler is None:
                raise Invalid(f"unknown type {message.type}", field="type")
            handler(self, message)
        except Forbidden as refusal:
            self._answer(schema.error(403, str(refusal)))
        except Invalid as refusal:
            self._answer(schema.error(400, str(refusal), {"field": refusal.field}))

    async def on_binary(self, data: bytes) -> None:
        self._answer(schema.error(400, "this server takes text messages"))

    def on_expired(self) -> None:
        expires_at = self.member.session.principal.expires_at
        self._answer(schema.auth_status("expired", expires_at))
        super().on_expired()

    # --- Messages ----------------------------------------------------------------------

    def on_ping(self, message: Incoming) -> None:
        ping = schema.parse_data(message.data, Ping)
        self._answer(schema.pong(ping.timestamp, datetime.now(UTC)))

    def on_pong(self, message: Incoming) -> None:
        """The answer to a Ping of ours; that it came is all it says."""

    def on_subscribe(self, message: Incoming) -> None:
        wanted = schema.parse_data(message.data, Topics).topics
        for pattern in wanted:
            check_pattern(pattern)
        new = [pattern for pattern in wanted if pattern not in self.member.cohorts]
        if len(self.member.cohorts) + len(new) > SUBSCRIPTIONS_MAX:
            raise Invalid(f"at most {SUBSCRIPTIONS_MAX} subscriptions", field="data.topics")
        heard = [pattern for pattern in wanted if self._subscribe(pattern)]
        self._confirm("subscribed", heard, message.id)

    def on_unsubscribe(self, message: Incoming) -> None:
        wanted = schema.parse_data(message.data, Topics).topics
        ended = [pattern for pattern in wanted if self.hub.unsubscribe(self.member, pattern)]
        self._confirm("unsubscribed", ended, message.id)

    def _subscribe(self, pattern: str) -> bool:
        try:
            self.hub.subscribe(self.member, pattern)
        except Forbidden as refusal:
            self._answer(schema.error(403, str(refusal), {"topic": pattern}))
            return False
        return True

    def _confirm(self, name: str, topics: list[str], message_id: str | None) -> None:
        details = {"topics": topics, "active_subscriptions": len(self.member.cohorts)}
        self._answer(schema.status(name, details))
        if message_id is not None:
            self._answer(schema.ack(message_id, name))

    def _answer(self, payload: bytes) -> None:
        self.member.send(Frame(payload))

    # --- Limits ------------------------------------------------------------------------

    async def takes_early(self, wait: float) -> bool:
        """Answer 429 and drop it; a peer that goes on for `FLOOD_SECONDS` has to leave."""
        now = time.monotonic()
        if self._flood_since is None or now - self._flooded_at > FLOOD_SECONDS / 2:
            self._flood_since = now
        self._flooded_at = now
        if now - self._flood_since >= FLOOD_SECONDS:
            raise PolicyViolation("too many messages for too long", kind="flood")
        details = {
            "limit": self.limits.messages_per_second,
            "retry_after_ms": int(wait * 1000) + 1,
        }
        self._answer(schema.error(429, "too many messages", details))
        return False

    async def takes_large(self, data: str | bytes) -> bool:
        most = self.limits.message_bytes
        self._answer(schema.error(413, f"a message has at most {most} bytes", {"limit": most}))
        return False


HANDLERS = {
    "Ping": PubsubConsumer.on_ping,
    "Pong": PubsubConsumer.on_pong,
    "Subscribe": PubsubConsumer.on_subscribe,
    "Unsubscribe": PubsubConsumer.on_unsubscribe,
}


def on_narrowed(member: Member, ended: list[str]) -> None:
    """Tell a client which subscriptions its new role ended."""
    details = {
        "topics": ended,
        "active_subscriptions": len(member.cohorts),
        "reason": "your role changed",
    }
    member.send(Frame(schema.status("unsubscribed", details)))
