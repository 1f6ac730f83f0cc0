"""Who was reached by what one user said, over all processes: asked, and waited for a little.

Every process notes whom it has delivered a message to. The one where it was said adds up what
the others answer; whoever does not answer in time makes the sum a partial one.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from realtime.core.events import DirectMessageSent, Event

# The kind of its messages between processes.
CENSUS = "census"
ANSWER_SECONDS = 0.1
# After COMMIT a message is delivered at once, unless the journal cannot be read.
DELIVERY_SECONDS = 5.0
# How many messages are remembered: those of some seconds.
REMEMBERED = 8_192

# How many sessions; for a direct message the sessions' ids.
Found = int | list[str]


class Reached(msgspec.Struct, frozen=True):
    """How many sessions got a message; `connections` names them if it was for one user."""

    sessions: int = 0
    connections: tuple[str, ...] = ()
    is_partial: bool = False


class _Tally:
    """One message of ours that is being counted."""

    __slots__ = ("connections", "future", "is_partial", "missing", "sessions", "timer")

    def __init__(self, future: "asyncio.Future[Reached]") -> None:
        self.future = future
        self.sessions = 0
        self.connections: list[str] = []
        self.missing: set[str] = set()
        self.is_partial = False
        self.timer: asyncio.TimerHandle | None = None

    def add(self, found: Found) -> None:
        if isinstance(found, int):
            self.sessions += found
        else:
            self.sessions += len(found)
            self.connections += found

    def end(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if not self.future.done():
            is_partial = self.is_partial or bool(self.missing)
            self.future.set_result(Reached(self.sessions, tuple(self.connections), is_partial))


class Census:
    """Belongs to the event loop's thread.

    `tell` speaks to the other processes; `peers` returns those that live, and of them those
    that are heard from and so can answer.
    """

    def __init__(
        self,
        node_id: str,
        *,
        tell: Callable[[str, Any], None],
        peers: Callable[[], tuple[set[str], set[str]]],
    ) -> None:
        self._node_id = node_id
        self._tell = tell
        self._peers = peers
        self._tallies: dict[str, _Tally] = {}
        # What was delivered here, for those who ask; and who asked before it was.
        self._found: OrderedDict[str, Found] = OrderedDict()
        self._asked: OrderedDict[str, str] = OrderedDict()
        self._questions: list[str] = []
        self._answers: dict[str, dict[str, Found]] = {}
        self._is_due = False

    def expect(self, event: Event) -> "asyncio.Future[Reached]":
        """Count whom this message will reach; it is about to be published here."""
        loop = asyncio.get_running_loop()
        tally = self._tallies[event.id] = _Tally(loop.create_future())
        return tally.future

    def forget(self, event: Event) -> None:
        """It will not be delivered after all, or not in time."""
        self._tallies.pop(event.id, None)

    def on_delivered(self, event: Event, sessions: Iterable[str], count: int) -> None:
        """A message was delivered here, to `count` sessions; `sessions` has their ids."""
        found: Found = list(sessions) if isinstance(event, DirectMessageSent) else count
        tally = self._tallies.get(event.id)
        if tally is not None:
            tally.add(found)
            self._ask(event.id, tally)
            return
        _remember(self._found, event.id, found)
        node = self._asked.pop(event.id, None)
        if node is not None:
            self._answer(node, event.id, found)

    def on_told(self, node: str, body: Any) -> None:
        """Another process asks, or answers: an ear of the broker."""
        for event_id in body.get("ask", ()):
            found = self._found.get(event_id)
            if found is None:
                _remember(self._asked, event_id, node)
            else:
                self._answer(node, event_id, found)
        for event_id, found in body.get("found", {}).get(self._node_id, {}).items():
            self._take(node, event_id, found)

    def _ask(self, event_id: str, tally: _Tally) -> None:
        living, hearing = self._peers()
        tally.is_partial = bool(living - hearing)
        tally.missing = set(hearing)
        if not tally.missing:
            del self._tallies[event_id]
            tally.end()
            return
        self._questions.append(event_id)
        loop = asyncio.get_running_loop()
        tally.timer = loop.call_later(ANSWER_SECONDS, self._give_up, event_id)
        self._speak_soon()

    def _take(self, node: str, event_id: str, found: Found) -> None:
        tally = self._tallies.get(event_id)
        if tally is None or node not in tally.missing:
            return
        tally.missing.discard(node)
        tally.add(found)
        if not tally.missing:
            del self._tallies[event_id]
            tally.end()

    def _give_up(self, event_id: str) -> None:
        tally = self._tallies.pop(event_id, None)
        if tally is not None:
            tally.end()

    def _answer(self, node: str, event_id: str, found: Found) -> None:
        self._answers.setdefault(node, {})[event_id] = found
        self._speak_soon()

    def _speak_soon(self) -> None:
        """Say in one message what comes up in one turn of the loop."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._speak)

    def _speak(self) -> None:
        self._is_due = False
        questions, self._questions = self._questions, []
        answers, self._answers = self._answers, {}
        body: dict[str, Any] = {}
        if questions:
            body["ask"] = questions
        if answers:
            body["found"] = answers
        self._tell(CENSUS, body)


def _remember(kept: OrderedDict[str, Any], event_id: str, value: Any) -> None:
    kept[event_id] = value
    if len(kept) > REMEMBERED:
        kept.popitem(last=False)
