"""Which path speaks which dialect."""

from collections.abc import Awaitable, Callable
from typing import Any

from channels.routing import URLRouter
from django.conf import settings
from django.urls import re_path

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

    router = URLRouter(
        [
            re_path(r"^ws/simulation/?$", _each(simulation)),
            re_path(r"^ws/ai/?$", _each(ai)),
            re_path(r"^ws/pubsub/?$", _each(pubsub)),
            # Channels' router raises for a path it does not know, which would be a 500.
            re_path(r"", deny),
        ]
    )
    return Gate(
        router,
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


def _each(make: Callable[[], SocketConsumer]) -> App:
    """Return an application that makes a consumer of its own for each connection."""

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        consumer = make()
        scope["access_changes"] = consumer.hub.access_changes
        await TokenAuth(consumer)(scope, receive, send)

    return application
