"""What a client wants to hear: asked for on every connection, recovered, and who waits for it."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from realtime.client.errors import Refused, Stopped
from realtime.client.pubsub.progress import Progress

# More topics than this a server takes as several messages only.
AT_ONCE = 128


@dataclass(eq=False, slots=True)
class Request:
    """A `Subscribe` that is not answered; `since` is the position it recovers from."""

    topics: list[str]
    since: str | None = None
    is_first: bool = False
    details: dict[str, Any] | None = None


@dataclass(eq=False, slots=True)
class Waiter:
    """Somebody who waits for the answers to some topics."""

    left: set[str]
    answer: asyncio.Future["Subscribed"]
    topics: list[str] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Subscribed:
    """What became of a subscription: the topics that are heard, and why the others are not."""

    topics: list[str]
    refused: list[Refused]


class Subscriptions:
    """`subscribe(data, key)` sends the message, `later(seconds, work)` does something by then.

    Told are `on_held(recovered)` when all holds again after a (re)connect, and `on_gap(gap)`.
    """

    def __init__(
        self,
        *,
        progress: Progress,
        recovers: bool,
        new_key: Callable[[], str],
        subscribe: Callable[[dict[str, Any], str], None],
        later: Callable[[float, Callable[[], None]], None],
        on_held: Callable[[bool | None], None],
        on_gap: Callable[[dict[str, Any]], None],
    ) -> None:
        self._progress = progress
        self._recovers = recovers
        self._new_key = new_key
        self._subscribe = subscribe
        self._later = later
        self._on_held = on_held
        self._on_gap = on_gap
        # An ordered set: they are asked for in the order in which they were wanted.
        self.wanted: dict[str, None] = {}
        self._is_open = False
        # Wanted, and to be asked for with whatever else is in this turn of the event loop.
        self._unasked: dict[str, None] = {}
        self._asked: dict[str, Request] = {}
        self._waiters: list[Waiter] = []
        self._recovered: bool | None = None

    def add(self, topics: Iterable[str]) -> "asyncio.Future[Subscribed]":
        """Want these; the future is done once all of them are answered."""
        loop = asyncio.get_running_loop()
        new = dict.fromkeys(topics)
        self.wanted |= new
        self._unasked |= new
        loop.call_soon(self._ask_unasked)
        waiter = Waiter(set(new), loop.create_future())
        self._waiters.append(waiter)
        self._settle(waiter)
        return waiter.answer

    def remove(self, topics: Iterable[str]) -> None:
        """Want these no longer."""
        for topic in topics:
            self.wanted.pop(topic, None)
            self._unasked.pop(topic, None)
            self._answered(topic, lambda waiter: None)

    def open(self, own: str | None) -> None:
        """A connection is there: ask for everything, from where we had got to.

        Our own topic, too: what the server wrote to a connection that was lost it does not
        send again by itself.
        """
        self._is_open = True
        self._recovered = None
        self._unasked.clear()
        since = self._progress.position if self._recovers else None
        recovered = [own] if own is not None and self._recovers else []
        pieces = _in_pieces(dict.fromkeys([*self.wanted, *recovered]))
        if since is not None:
            # What is told before they are answered, as mail is, does not count: it is not all.
            self._progress.hold()
        for topics in pieces:
            self._ask(Request(topics, since, is_first=True))
        self._tell_when_held()

    def on_lost(self) -> None:
        """The connection is gone, and with it what was asked over it."""
        self._is_open = False
        self._asked.clear()
        self._progress.abandon()

    def on_confirmed(self, details: dict[str, Any]) -> None:
        """The confirmation belongs to the oldest that has none, since they come in order."""
        for request in self._asked.values():
            if request.details is None:
                request.details = details
                return

    def on_ack(self, key: str) -> bool:
        """Whatever in it was not refused is heard. Tells whether the message is ours."""
        request = self._asked.pop(key, None)
        if request is None:
            return False
        for topic in request.topics:
            self._answered(topic, partial(_heard, topic))
        self._take_position(request)
        if request.is_first:
            self._tell_when_held()
        return True

    def on_refused(self, key: str, refusal: Refused) -> bool:
        """The `Error` to a message, or to one topic of it. Tells whether it is ours."""
        request = self._asked.get(key)
        if request is None:
            return False
        topic = refusal.details.get("topic")
        if topic is not None:
            self._refuse(request, topic, refusal)
        elif refusal.retry_after:
            self._later(refusal.retry_after, partial(self._ask_again, key))
        elif len(request.topics) > 1:
            # One of them is wrong, and shall not take the others with it.
            del self._asked[key]
            for each in request.topics:
                self._ask(replace(request, topics=[each]))
        else:
            for each in request.topics:
                self._refuse(request, each, refusal)
            self.on_ack(key)
        return True

    def on_too_fast(self, wait: float) -> None:
        """One message was dropped, nobody knows which: ask again for what is unanswered then."""
        for key in self._asked:
            self._later(wait, partial(self._ask_again, key))

    def stop(self, text: str) -> None:
        """Nobody needs to wait any longer."""
        for waiter in self._waiters:
            if not waiter.answer.done():
                waiter.answer.set_exception(Stopped(text))
                # Whoever does not look at it shall not be troubled by it.
                waiter.answer.exception()
        self._waiters.clear()

    def _ask_unasked(self) -> None:
        if self._is_open:
            for topics in _in_pieces(self._unasked):
                self._ask(Request(topics))
            self._unasked.clear()

    def _ask(self, request: Request) -> None:
        key = self._new_key()
        self._asked[key] = replace(request, details=None)
        data: dict[str, Any] = {"topics": request.topics}
        if request.since is not None:
            data["recover"] = {"position": request.since}
        self._subscribe(data, key)

    def _ask_again(self, key: str) -> None:
        request = self._asked.pop(key, None)
        if request is not None:
            self._ask(request)

    def _refuse(self, request: Request, topic: str, refusal: Refused) -> None:
        request.topics = [each for each in request.topics if each != topic]
        self.wanted.pop(topic, None)
        self._answered(topic, lambda waiter: waiter.refused.append(refusal))

    def _take_position(self, request: Request) -> None:
        if request.details is None:
            return
        position, recovered = request.details.get("position"), request.details.get("recovered")
        if request.since is None:
            self._progress.anchor(position)
        elif recovered is not None:
            self._recovered = recovered and self._recovered is not False
            self._progress.restart(position or request.since)
            if not recovered:
                gap = {"reason": "not_recovered", "from": request.since, "to": position}
                self._on_gap(gap)

    def _tell_when_held(self) -> None:
        if not any(request.is_first for request in self._asked.values()):
            self._progress.release()
            self._on_held(self._recovered)

    def _answered(self, topic: str, note: Callable[[Waiter], None]) -> None:
        for waiter in list(self._waiters):
            if topic in waiter.left:
                waiter.left.remove(topic)
                note(waiter)
                self._settle(waiter)

    def _settle(self, waiter: Waiter) -> None:
        if not waiter.left:
            self._waiters.remove(waiter)
            if not waiter.answer.done():
                waiter.answer.set_result(Subscribed(waiter.topics, waiter.refused))


def _heard(topic: str, waiter: Waiter) -> None:
    waiter.topics.append(topic)


def _in_pieces(topics: Iterable[str]) -> list[list[str]]:
    every = list(topics)
    return [every[start : start + AT_ONCE] for start in range(0, len(every), AT_ONCE)]
