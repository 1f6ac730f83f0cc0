"""Several connections for one that publishes more than one connection may."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from realtime.client.pubsub.outbox import Answer

if TYPE_CHECKING:
    from realtime.client.pubsub.client import RealtimeClient


class ConnectionPool:
    """`open_client` returns a new client that was started; there are at most so many."""

    def __init__(
        self, open_client: Callable[[], "RealtimeClient"], max_connections: int = 5
    ) -> None:
        self._open = open_client
        self._max = max_connections
        self._index = 0
        self.connections: list[RealtimeClient] = []

    def get_connection(self) -> "RealtimeClient":
        """Return a new client while there are few, then one after the other.

        Order holds within one connection only.
        """
        if len(self.connections) < self._max:
            self.connections.append(self._open())
            return self.connections[-1]
        client = self.connections[self._index]
        self._index = (self._index + 1) % len(self.connections)
        return client

    def publish(self, topic: str, payload: Any, **options: Any) -> Answer:
        return self.get_connection().publish(topic, payload, **options)

    async def close(self) -> None:
        """End them all."""
        while self.connections:
            await self.connections.pop().close()
        self._index = 0
