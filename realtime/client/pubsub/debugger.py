"""What a client does, line by line, in a log: no payloads, and never a token."""

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realtime.client.pubsub.client import RealtimeClient


class ConnectionDebugger:
    """Messages of every kind at debug, states at info, gaps at warning, refusals at error."""

    def __init__(
        self,
        client: "RealtimeClient",
        *,
        log_level: str = "info",
        log: logging.Logger | None = None,
    ) -> None:
        self._log = log or logging.getLogger("vitalwire.client.debugger")
        self._is_enabled = True
        self.set_log_level(log_level)
        client.on_traffic(self._on_traffic)
        client.on_state(lambda told: self.log("info", told["state"], told["text"]))
        client.on_gap(lambda gap: self.log("warning", "gap", gap))
        client.on(
            "Error", lambda data: self.log("error", f"refused {data['code']}", data["message"])
        )

    def log(self, level: str, message: str, data: Any = None) -> None:
        if self._is_enabled and self.should_log(level):
            self._log.log(_number_of(level), "%s %s", message, "" if data is None else data)

    def should_log(self, level: str) -> bool:
        return _number_of(level) >= self._least

    def enable(self) -> None:
        self._is_enabled = True

    def disable(self) -> None:
        self._is_enabled = False

    def set_log_level(self, level: str) -> None:
        """debug, info, warning or error. Raises KeyError for another."""
        self._least = _number_of(level)

    def _on_traffic(self, traffic: dict[str, Any]) -> None:
        size = f"{traffic['size']} bytes"
        self.log("debug", f"{traffic['direction']} {traffic['type']}", size)


def _number_of(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]
