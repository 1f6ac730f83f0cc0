"""Which path speaks which dialect.

Between the server and a consumer nothing awaits that need not: every coroutine that waits for
another stays in memory for as long as the socket is open.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings

from realtime.auth import TokenAuth
from realtime.consumers import SocketConsumer, address_of
from realtime.core.limits import ConnectionBudget
from realtime.dialects.pubsub import backing as pubsub_backing
from realtime.dialects.pubsub.binary import BINARY_DIALECT
from realtime.dialects.pubsub.consumer import PubsubConsumer
from realtime.dialects.surgery.consumer import AiConsumer, SimulationConsumer
from realtime.dialects.telemetry.consumer import Backing, TelemetryConsumer
from realtime.dialects.telemetry.schema import Channel
from realtime.lobby import LobbyConsumer
from realtime.negotiation import PRIMARY, Gate, deny, endpoint_of, path_of, pubsub_answer
from realtime.runtime import Runtime

# Where refused attempts are counted that asked for nothing we have.
UNKNOWN = "unknown"

App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


def websocket_application(runtime: Runtime) -> App:
    """Return everything that answers a WebSocket handshake."""
    hub, limits = runtime.hub, settings.DIALECT_LIMITS
    budgets, attempts = runtime.oversight.budgets, runtime.oversight.attempts

    def simulation() -> SimulationConsumer:
        return SimulationConsumer(
            hub,
            limits["surgery"],
            budgets["surgery"],
            node_id=runtime.node_id,
            writer=runtime.writer,
            recordings=runtime.recordings,
            publish_live=runtime.publish_live,
        )

    def ai() -> AiConsumer:
        return AiConsumer(hub, limits["surgery"], budgets["surgery"])

    stands_behind = pubsub_backing.Backing(
        publisher=runtime.publisher,
        census=runtime.census,
        mailbox=runtime.mailbox,
        presence=runtime.oversight.presence,
        binary_dialect=BINARY_DIALECT,
        publish_live=runtime.publish_live,
    )

    def pubsub() -> PubsubConsumer:
        return PubsubConsumer(hub, limits["pubsub"], budgets["pubsub"], backing=stands_behind)

    backing = Backing(
        intake=runtime.intake,
        connected=runtime.connected,
        lobby=runtime.lobby,
        latest_sample=lambda: runtime.oversight.sampler.latest,
    )

    def telemetry(channel: Channel | None = None) -> TelemetryConsumer:
        return TelemetryConsumer(
            hub, limits["telemetry"], budgets["telemetry"], backing=backing, channel=channel
        )

    def primary() -> TelemetryConsumer:
        consumer = telemetry()
        consumer.foreign = pubsub_answer
        return consumer

    consumers: dict[str, Callable[[], SocketConsumer]] = {
        PRIMARY: primary,
        "/ws/device": telemetry,
        "/ws/telemetry": lambda: telemetry("telemetry"),
        "/ws/alerts": lambda: telemetry("alerts"),
        "/ws/devices": lambda: telemetry("devices"),
        "/ws/system": lambda: telemetry("system"),
        "/ws/simulation": simulation,
        "/ws/ai": ai,
        "/ws/pubsub": pubsub,
    }

    def note_refusal(reason: str, scope: dict[str, Any], detail: str) -> None:
        """Keep who was denied before accept. The path it asked for is no endpoint's name."""
        is_known = path_of(scope) in consumers
        endpoint = path_of(scope).removeprefix("/ws/") if is_known else UNKNOWN
        attempts.note(
            reason, username="", address=address_of(scope), endpoint=endpoint, detail=detail
        )

    def route(scope: dict[str, Any], receive: Any, send: Any) -> Awaitable[None]:
        make = consumers.get(endpoint_of(path_of(scope), scope))
        if make is None:
            note_refusal("unknown_path", scope, scope["path"])
            return deny(scope, receive, send)
        consumer = make()
        consumer.attempts = attempts
        scope["access_changes"] = consumer.hub.access_changes
        if isinstance(consumer, LobbyConsumer):
            # It reads the token itself: it may come after the handshake.
            return consumer(scope, receive, send)
        return TokenAuth(consumer, hub)(scope, receive, send)

    return Gate(
        route,
        origins=[origin.lower() for origin in settings.ALLOWED_ORIGINS],
        budget=ConnectionBudget(
            connections=settings.CONNECTIONS_PER_ADDRESS,
            per_minute=settings.HANDSHAKES_PER_ADDRESS_PER_MINUTE,
        ),
        is_draining=lambda: runtime.is_draining,
        note_refusal=note_refusal,
    )
