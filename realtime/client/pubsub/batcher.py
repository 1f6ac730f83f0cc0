"""Many small messages as one `Batch`: fewer frames, each message answered for itself."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from realtime.client.errors import ClientError
from realtime.client.pubsub.outbox import Answer

if TYPE_CHECKING:
    from realtime.client.pubsub.client import RealtimeClient

ITEMS_MAX = 50


class MessageBatcher:
    """Messages wait for `batch_size - 1` others (at most 49), or `batch_timeout` seconds."""

    def __init__(
        self, client: "RealtimeClient", batch_size: int = 10, batch_timeout: float = 0.1
    ) -> None:
        self._client = client
        self._size = min(batch_size, ITEMS_MAX)
        self._timeout = batch_timeout
        self._waiting: list[tuple[Answer, str, dict[str, Any], dict[str, Any]]] = []
        self._timer: asyncio.TimerHandle | None = None

    def send(self, kind: str, data: dict[str, Any], **options: Any) -> Answer:
        """Return the future of this one message's answer: as of `RealtimeClient.request`."""
        loop = asyncio.get_running_loop()
        answer: Answer = loop.create_future()
        self._waiting.append((answer, kind, data, options))
        if len(self._waiting) >= self._size:
            self.flush_batch()
        elif self._timer is None:
            self._timer = loop.call_later(self._timeout, self.flush_batch)
        return answer

    def publish(self, topic: str, payload: Any, **options: Any) -> Answer:
        return self.send("Broadcast", {"topic": topic, "payload": payload}, **options)

    def flush_batch(self) -> None:
        """Send what waits, now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        batch = object()
        for answer, kind, data, options in waiting:
            try:
                inner = self._client.request(kind, data, batch=batch, **options)
            except ClientError as error:
                answer.set_exception(error)
            else:
                inner.add_done_callback(partial(_hand_on, answer))


def _hand_on(answer: Answer, inner: Answer) -> None:
    if answer.done():
        return
    if inner.cancelled():
        answer.cancel()
    elif (error := inner.exception()) is not None:
        answer.set_exception(error)
    else:
        answer.set_result(inner.result())
