"""Which path speaks which dialect.

Between the server and a consumer nothing awaits that need not: every coroutine that waits for
another stays in memory for as long as the socket is open.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings

from realtime.auth import TokenAuth
from realtime.consumers import SocketConsumer
from realtime.core.limits import ConnectionBudget, DialectLimits
from realtime.dialects.pubsub.consumer import PubsubConsumer
from realtime.dialects.surgery.consumer import AiConsumer, SimulationConsumer
from realtime.negotiation import Gate, deny
from realtime.runtime import Runtime

App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


def websocket_application(runtime: Runtime) -> App:
    """Return everything that answers a WebSocket handshake."""
    hub, limits = runtime.hub, settings.DIALECT_LIMITS
    users = {dialect: _user_budget(limits[dialect]) for dialect in limits}

    def simulation() -> SimulationConsumer:
        return SimulationConsumer(
            hub,
            limits["surgery"],
            users["surgery"],
            node_id=runtime.node_id,
            writer=runtime.writer,
            recordings=runtime.recordings,
            publish_live=runtime.publish_live,
        )

    def ai() -> AiConsumer:
        return AiConsumer(hub, limits["surgery"], users["surgery"])

    def pubsub() -> PubsubConsumer:
        return PubsubConsumer(hub, limits["pubsub"], users["pubsub"])

    consumers: dict[str, Callable[[], SocketConsumer]] = {
        "/ws/simulation": simulation,
        "/ws/ai": ai,
        "/ws/pubsub": pubsub,
    }

    def route(scope: dict[str, Any], receive: Any, send: Any) -> Awaitable[None]:
        make = consumers.get(_path_of(scope))
        if make is None:
            return deny(scope, receive, send)
        consumer = make()
        scope["access_changes"] = consumer.hub.access_changes
        return TokenAuth(consumer, hub)(scope, receive, send)

    return Gate(
        route,
        origins=[origin.lower() for origin in settings.ALLOWED_ORIGINS],
        budget=ConnectionBudget(
            connections=settings.CONNECTIONS_PER_ADDRESS,
            per_minute=settings.HANDSHAKES_PER_ADDRESS_PER_MINUTE,
        ),
        is_draining=lambda: runtime.is_draining,
    )


def _user_budget(limits: DialectLimits) -> ConnectionBudget | None:
    if not limits.connections_per_user and not limits.connections_per_minute:
        return None
    return ConnectionBudget(
        connections=limits.connections_per_user, per_minute=limits.connections_per_minute
    )


def _path_of(scope: dict[str, Any]) -> str:
    """Return the path below the root path, without a slash at its end."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path") or "").rstrip("/")
