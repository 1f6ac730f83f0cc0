"""Who is told what: an application's handlers, by type of message or of news."""

import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger("vitalwire.client")

Handler = Callable[[Any], None]
# Not types of messages, which are text: nothing that comes can be taken for them.
STATE, READY, GAP, TRAFFIC = object(), object(), object(), object()


def log_fault(error: Exception) -> None:
    """Say what an application's handler raised."""
    log.error("a handler failed", exc_info=error)


class Hearing:
    """What a client lets hear. `on_fault` is told what a handler raises."""

    def __init__(self, on_fault: Callable[[Exception], None] = log_fault) -> None:
        self._on_fault = on_fault
        self._handlers: dict[Any, list[Handler]] = {}

    def on(self, kind: Any, handler: Handler) -> Callable[[], None]:
        """Call `handler(data)` for every message of this type, each once.

        Returns a function that ends it. Handlers are plain functions; what takes long belongs
        in a task. Binary frames are of the type "Binary", their data a BinaryMessage.
        """
        handlers = self._handlers.setdefault(kind, [])
        handlers.append(handler)
        return lambda: handlers.remove(handler)

    def on_state(self, handler: Handler) -> Callable[[], None]:
        """connecting, live, waiting (with the delay in the text), stopped: {state, text}."""
        return self.on(STATE, handler)

    def on_ready(self, handler: Handler) -> Callable[[], None]:
        """Each time the subscriptions hold again: {recovered}, None for nothing to recover."""
        return self.on(READY, handler)

    def on_gap(self, handler: Handler) -> Callable[[], None]:
        """When something was missed for good: {reason, topic?, from?, to?, skipped?}."""
        return self.on(GAP, handler)

    def on_traffic(self, handler: Handler) -> Callable[[], None]:
        """Every message both ways: {direction, type, size}, without its content."""
        return self.on(TRAFFIC, handler)

    def emit(self, kind: Any, data: Any) -> None:
        """Tell the handlers; a fault of theirs shall be seen, and break nothing of ours."""
        for handler in list(self._handlers.get(kind, ())):
            try:
                handler(data)
            except Exception as error:
                self._on_fault(error)

    def tell_state(self, state: str, text: str) -> None:
        self.emit(STATE, {"state": state, "text": text})

    def tell_traffic(self, direction: str, kind: str, size: int) -> None:
        if self._handlers.get(TRAFFIC):
            self.emit(TRAFFIC, {"direction": direction, "type": kind, "size": size})
