"""Between processes, on the Channels group layer: wake-up calls that may be lost.

A process joins groups, a socket never does. Nothing that matters lives only here: durable
events are in the journal, and a lost message costs the reader one poll. Only the broker's
own task talks to the layer, each call under a time limit, because a hung Redis would
otherwise block everyone.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from channels.layers import get_channel_layer
from redis.exceptions import RedisError

from realtime.core.events import Event, decode, encode
from realtime.core.topics import root_of
from realtime.journal import Numbered

logger = logging.getLogger("vitalwire.broker")

LAYER_SECONDS = 1.0
BEACON_SECONDS = 1.0
DEAF_AFTER_SECONDS = 2.5
GATHER_SECONDS = 0.005
# Whoever lives sends a beacon each second: after so long without one there is nobody else.
ALONE_AFTER_SECONDS = 5.0
LAYER_PROBLEMS = (OSError, TimeoutError, RedisError)
OUTBOX_MAX = 1_024
MESSAGE_BYTES_MAX = 256 * 1024
JOURNAL_GROUP = "vitalwire.journal"
LIVE_ROOTS = ("surgeries", "telemetry", "system", "streams")
# Of live events that wait for the layer: a piece of a stream is as large as a message may be.
LIVE_BYTES_MAX = 8 * 1024 * 1024
# A process that has not been heard for so long has died; its successor has another name.
PEER_SECONDS = 60.0

# What another process said of itself: its node, and what it said.
Ear = Callable[[str, Any], None]


def groups_for(topic: str) -> str:
    """Return the group that carries live events of `topic`: one for each root."""
    return f"vitalwire.live.{root_of(topic)}"


class Hearing(msgspec.Struct):
    """What was heard of another process: everything between its beacons `since` and `upto`.

    It numbers its messages: where one is missing, what was heard whole begins anew, with its
    next beacon. Until that comes both are 0.
    """

    number: int
    heard_at: float
    since: int = 0
    upto: int = 0


class Broker:
    """This process's ear and voice on the layer. Belongs to the event loop's thread."""

    def __init__(
        self,
        node_id: str,
        *,
        on_journal: Callable[[list[Numbered]], None],
        on_nudge: Callable[[], None],
        on_live: Callable[[Event], None],
        on_joined: Callable[[], None] = lambda: None,
        on_heard: Callable[[str, int, int], None] = lambda node, since, upto: None,
        on_missed: Callable[[], None] = lambda: None,
        ears: Mapping[str, Ear] | None = None,
    ) -> None:
        self._node_id = node_id
        self._on_journal = on_journal
        self._on_nudge = on_nudge
        self._on_live = on_live
        self._on_joined = on_joined
        self._on_heard = on_heard
        self._on_missed = on_missed
        self._ears = ears or {}
        # Bounded: when the layer is away, the oldest wake-up calls are worth the least.
        self._outbox: deque[tuple[str, dict[str, Any]]] = deque(maxlen=OUTBOX_MAX)
        self._live: dict[str, list[bytes]] = {}
        self._live_bytes = 0
        # The number of the last message, and of the next beacon.
        self._number = 0
        self.next_beacon = 1
        self._is_beacon_due = False
        self._hearings: dict[str, Hearing] = {}
        self._has_work = asyncio.Event()
        self._heard_at = time.monotonic()
        self._heard_others_at = time.monotonic()
        self._told_deaf = False

    @property
    def is_deaf(self) -> bool:
        """Whether our own beacon has not come back for `DEAF_AFTER_SECONDS`."""
        return time.monotonic() - self._heard_at > DEAF_AFTER_SECONDS

    def publish_journal(self, entries: list[Numbered]) -> None:
        """Tell the other processes of numbered events; large ones by position alone."""
        message: dict[str, Any] = {"type": "journal", "node": self._node_id}
        is_small = sum(len(entry.payload) for entry in entries) <= MESSAGE_BYTES_MAX
        # A layer that hangs must not make us keep what the journal keeps already.
        if is_small and not self.is_deaf:
            message["entries"] = [[entry.n, entry.topic, entry.payload] for entry in entries]
        self._outbox.append((JOURNAL_GROUP, message))
        self._has_work.set()

    def publish_live(self, event: Event) -> None:
        """Send a live event to the other processes, gathered for a few milliseconds.

        Where there are none it is not even encoded. What goes out does so before the beacon
        `next_beacon`: `on_heard` tells who heard that one and everything since the one before it.
        """
        if self.is_alone:
            self.pass_over()
            return
        batch = self._live.setdefault(groups_for(event.topic), [])
        payload = encode(event)
        if len(batch) < OUTBOX_MAX and self._live_bytes + len(payload) <= LIVE_BYTES_MAX:
            batch.append(payload)
            self._live_bytes += len(payload)
        else:
            self._number += 1
        self._has_work.set()

    @property
    def is_alone(self) -> bool:
        """Whether there is no other process. One that has just started may miss what is said
        before its first beacon.
        """
        return time.monotonic() - self._heard_others_at > ALONE_AFTER_SECONDS

    def heard(self) -> set[str]:
        """Return the other processes that can be asked something; none while we are deaf."""
        if self.is_deaf:
            return set()
        lately = time.monotonic() - DEAF_AFTER_SECONDS
        return {node for node, each in self._hearings.items() if each.heard_at > lately}

    def pass_over(self) -> None:
        """Say nothing of a live event; whoever is there after all notices that it is missing."""
        self._number += 1

    def tell(self, kind: str, body: Any) -> None:
        """Tell the other processes something about this one; may be lost, as everything here."""
        self._outbox.append((JOURNAL_GROUP, {"type": kind, "node": self._node_id, "body": body}))
        self._has_work.set()

    @property
    def waiting(self) -> int:
        """How many messages wait for the layer."""
        return len(self._outbox) + sum(map(len, self._live.values()))

    async def run(self) -> None:
        """Speak and listen until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._speak())
            tasks.create_task(self._send_beacons())

    async def _listen(self) -> None:
        """Hear the groups; join them anew when not even our own beacon comes any more.

        A layer forgets a member after a day, or loses it without a word.
        """
        while True:
            layer = get_channel_layer()
            try:
                channel = await self._join(layer)
                self._on_joined()
                while True:
                    async with asyncio.timeout(DEAF_AFTER_SECONDS):
                        message = await layer.receive(channel)
                    self._hear(message)
            except LAYER_PROBLEMS as problem:
                self._tell_deaf(problem)
                await self._leave(layer)
                await asyncio.sleep(LAYER_SECONDS)

    async def _join(self, layer: Any) -> str:
        async with asyncio.timeout(LAYER_SECONDS):
            channel: str = await layer.new_channel()
            for group in (JOURNAL_GROUP, *map(groups_for, LIVE_ROOTS)):
                await layer.group_add(group, channel)
        return channel

    async def _leave(self, layer: Any) -> None:
        """Forget every channel of this process: one that nobody reads would grow for ever."""
        with contextlib.suppress(*LAYER_PROBLEMS):
            async with asyncio.timeout(LAYER_SECONDS):
                await layer.flush()

    async def _speak(self) -> None:
        while True:
            await self._has_work.wait()
            if not self._outbox:
                # Live events are gathered; what is durable, or asked, does not wait for them.
                await asyncio.sleep(GATHER_SECONDS)
            self._has_work.clear()
            live, self._live, self._live_bytes = self._live, {}, 0
            for group, events in live.items():
                for piece in _pieces(events):
                    self._enqueue(group, {"type": "live", "events": piece})
            if self._is_beacon_due:
                self._is_beacon_due = False
                self._enqueue(JOURNAL_GROUP, self._next_beacon())
            while self._outbox:
                await self._send(*self._outbox.popleft())

    async def _send_beacons(self) -> None:
        while True:
            # Behind the live events that wait: see `publish_live`.
            self._is_beacon_due = True
            self._has_work.set()
            await asyncio.sleep(BEACON_SECONDS)

    def _next_beacon(self) -> dict[str, Any]:
        beacon, self.next_beacon = self.next_beacon, self.next_beacon + 1
        long_ago = time.monotonic() - PEER_SECONDS
        self._hearings = {
            node: each for node, each in self._hearings.items() if each.heard_at > long_ago
        }
        heard = {node: [each.since, each.upto] for node, each in self._hearings.items()}
        return {"type": "beacon", "beacon": beacon, "heard": heard}

    def _enqueue(self, group: str, message: dict[str, Any]) -> None:
        self._number += 1
        self._outbox.append((group, {**message, "node": self._node_id, "number": self._number}))

    async def _send(self, group: str, message: dict[str, Any]) -> None:
        try:
            layer = get_channel_layer()
            async with asyncio.timeout(LAYER_SECONDS):
                await layer.group_send(group, message)
        except LAYER_PROBLEMS as problem:
            self._tell_deaf(problem)

    def _hear(self, message: dict[str, Any]) -> None:
        try:
            self._understand(message)
        except Exception:
            # A fault in one message, or in one listener, must not make the process deaf.
            logger.exception("a message from another process is passed over")

    def _understand(self, message: dict[str, Any]) -> None:
        node = message["node"]
        if node == self._node_id:
            if message["type"] == "beacon":
                self._heard_at = time.monotonic()
                self._told_deaf = False
            return
        self._heard_others_at = time.monotonic()
        if message["type"] == "journal":
            if "entries" in message:
                self._on_journal([Numbered(n, t, p) for n, t, p in message["entries"]])
            else:
                self._on_nudge()
        elif message["type"] == "live":
            self._listen_closely(node, message)
            self._hear_live(message["events"])
        elif message["type"] == "beacon":
            self._listen_closely(node, message)
            if self._node_id in message.get("heard", ()):
                self._on_heard(node, *message["heard"][self._node_id])
        elif message["type"] in self._ears:
            self._ears[message["type"]](node, message["body"])

    def _listen_closely(self, node: str, message: dict[str, Any]) -> None:
        """Notice what we missed of another process, before we hear what came after it."""
        number = message.get("number")
        if number is None:
            return  # An older build: it leaves nothing to us.
        hearing, now = self._hearings.get(node), time.monotonic()
        before = 0 if hearing is None else hearing.number
        if hearing is None or number != before + 1:
            hearing = self._hearings[node] = Hearing(number, now)
        if number != before + 1:
            self._on_missed()
        hearing.number, hearing.heard_at = number, now
        if message["type"] == "beacon":
            hearing.upto = message["beacon"]
            hearing.since = hearing.since or hearing.upto

    def _hear_live(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            try:
                event = decode(payload)
            except msgspec.DecodeError:
                continue  # A newer build has a kind of live value that ours has no words for.
            self._on_live(event)

    def _tell_deaf(self, problem: Exception) -> None:
        if not self._told_deaf:
            self._told_deaf = True
            logger.warning(
                "the channel layer does not answer (%s): events from other processes come "
                "by polling, live values from them are missed",
                type(problem).__name__,
            )


def _pieces(payloads: list[bytes]) -> Iterator[list[bytes]]:
    """Cut a batch into messages that the layer carries well."""
    piece: list[bytes] = []
    size = 0
    for payload in payloads:
        if piece and size + len(payload) > MESSAGE_BYTES_MAX:
            yield piece
            piece, size = [], 0
        piece.append(payload)
        size += len(payload)
    if piece:
        yield piece
