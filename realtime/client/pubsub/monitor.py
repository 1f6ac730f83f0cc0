"""Counts of what goes over some clients' connections."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realtime.client.pubsub.client import RealtimeClient


@dataclass(slots=True)
class Watched:
    """One client's counts, since when, and how to stop counting."""

    connected_at: float
    messages: dict[str, int] = field(default_factory=lambda: {"sent": 0, "received": 0})
    forget: Callable[[], None] = lambda: None


class ConnectionMonitor:
    """`clock` is monotonic, in seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.connections: dict[str, Watched] = {}
        self._total = 0
        self._ended_seconds = 0.0
        self._messages = {"sent": 0, "received": 0}
        self._bytes = {"sent": 0, "received": 0}

    def add_connection(self, connection_id: str, client: "RealtimeClient") -> None:
        """Count this client from now on."""
        watched = self.connections[connection_id] = Watched(self._clock())
        self._total += 1

        def count(traffic: dict[str, Any]) -> None:
            way = traffic["direction"]
            watched.messages[way] += 1
            self._messages[way] += 1
            self._bytes[way] += traffic["size"]

        watched.forget = client.on_traffic(count)

    def remove_connection(self, connection_id: str) -> None:
        """Count it no longer; what was counted stays."""
        watched = self.connections.pop(connection_id, None)
        if watched is not None:
            watched.forget()
            self._ended_seconds += self._clock() - watched.connected_at

    def get_stats(self) -> dict[str, float]:
        """Return the counts, with averages: the duration in seconds, messages both ways."""
        now = self._clock()
        seconds = self._ended_seconds + sum(
            now - watched.connected_at for watched in self.connections.values()
        )
        total = max(1, self._total)
        return {
            "total_connections": self._total,
            "active_connections": len(self.connections),
            **{f"messages_{way}": number for way, number in self._messages.items()},
            **{f"bytes_{way}": number for way, number in self._bytes.items()},
            "average_connection_duration": seconds / total,
            "messages_per_connection": sum(self._messages.values()) / total,
        }
