"""Clients of the pubsub dialect that recover, for live tests: cut off, they come back and go on."""

import random
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Self

from project.tests.live.raw import RawWebSocket
from project.tests.live.server import Server
from project.tests.live.talkers import Talker

PATIENCE_SECONDS = 30.0
SPOKEN_AT_ONCE = 20


class Listener(AbstractContextManager["Listener"]):
    """Keeps books: `told` is what came of each topic, in order, `again` what came twice.

    `position` is up to where it has had everything, as the server's messages say; None before it
    has ever been subscribed.
    """

    def __init__(self, token: str, *topics: str) -> None:
        self.token = token
        self.topics = topics
        self.told: dict[str, list[Any]] = {}
        self.ids: set[str] = set()
        self.again: list[str] = []
        self.others: list[dict[str, Any]] = []
        self.position: str | None = None
        self.ws: RawWebSocket
        self._is_subscribed = False

    def __exit__(self, *_: object) -> None:
        self.ws.drop()

    def open(self, server: Server, **options: Any) -> dict[str, Any]:
        """Connect, go on from where it was, and return what it is told of that."""
        self._is_subscribed = False
        self.ws = RawWebSocket(server.ws_url("/ws/pubsub", token=self.token), **options)
        data: dict[str, Any] = {"topics": self.topics}
        if self.position is not None:
            data["recover"] = {"position": self.position}
        self.ws.send_json({"type": "Subscribe", "data": data})
        while True:
            message = self.read()
            if message["type"] == "Status" and message["data"]["status"] == "subscribed":
                details: dict[str, Any] = message["data"]["details"]
                self.position = details["position"]
                self._is_subscribed = True
                return details

    def read(self, *, within: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Read one message and enter it in the books."""
        message: dict[str, Any] = self.ws.read_json(within=within)
        if message["type"] in ("Broadcast", "DirectMessage"):
            self._enter(message["data"])
        else:
            self.others.append(message)
        return message

    def read_until(self, count: int) -> None:
        """Read until it has had so many messages."""
        while len(self.ids) < count:
            self.read()

    def cut(self, *, reset: bool = False) -> None:
        """End the connection without a word; what was not read is lost."""
        if reset:
            self.ws.reset()
        else:
            self.ws.drop()

    def _enter(self, data: dict[str, Any]) -> None:
        metadata = data["metadata"]
        if metadata["message_id"] in self.ids:
            self.again.append(metadata["message_id"])
        else:
            self.ids.add(metadata["message_id"])
            self.told.setdefault(data.get("topic", ""), []).append(data["payload"])
        # What comes before the subscription says nothing of it.
        if self._is_subscribed:
            self.position = metadata.get("recover_from", metadata["position"])


class Following(threading.Thread):
    """A listener that reads until it has had `total` messages, and is cut now and then."""

    def __init__(
        self,
        listener: Listener,
        servers: Sequence[Server],
        *,
        total: int,
        cuts: int,
        seed: int,
    ) -> None:
        super().__init__(name=f"listener {seed}", daemon=True)
        self.listener = listener
        self.answers: list[dict[str, Any]] = []
        self.problem: BaseException | None = None
        self._servers = servers
        self._total = total
        self._dice = random.Random(seed)
        self._cuts = sorted(self._dice.sample(range(1, total), cuts))

    def run(self) -> None:
        try:
            self._follow()
        except BaseException as problem:
            self.problem = problem

    def settle(self, *, within: float) -> None:
        """Wait for its end, and raise what went wrong."""
        self.join(timeout=within)
        if self.problem is not None:
            raise self.problem
        had = len(self.listener.ids)
        assert not self.is_alive(), f"{self.name} had {had} of {self._total} within {within} s"

    def _follow(self) -> None:
        for cut in self._cuts:
            self.listener.read_until(cut)
            self.listener.cut(reset=self._dice.random() < 0.5)
            if self._dice.random() < 0.3:
                self._open_in_vain()
            # Sometimes at once, sometimes after a while in which more is said.
            threading.Event().wait(self._dice.choice([0, 0.02, 0.1]))
            self.answers.append(self.listener.open(self._dice.choice(self._servers)))
        self.listener.read_until(self._total)

    def _open_in_vain(self) -> None:
        """Be cut before anything is read of what is recovered."""
        before = self.listener.position
        self.listener.open(self._dice.choice(self._servers))
        self.listener.position = before
        self.listener.cut()


class Speaker:
    """Says numbered things on some topics: each topic counts for itself, from 1."""

    def __init__(self, talker: Talker, topics: Sequence[str], *, seed: int = 1) -> None:
        self.talker = talker
        self.topics = topics
        self.said: dict[str, list[int]] = {topic: [] for topic in topics}
        self._dice = random.Random(seed)

    def say(self, count: int, **metadata: Any) -> Self:
        """Broadcast so many, some under way at once; return when all are acknowledged."""
        while count:
            some = min(count, SPOKEN_AT_ONCE)
            names = [self._say_one(metadata) for _ in range(some)]
            for name in names:
                kind, data = self.talker.answer_to(name)
                assert kind == "Ack", data
            count -= some
        return self

    def _say_one(self, metadata: dict[str, Any]) -> str:
        topic = self._dice.choice(self.topics)
        number = len(self.said[topic]) + 1
        self.said[topic].append(number)
        more = {"metadata": metadata} if metadata else {}
        return self.talker.send("Broadcast", {"topic": topic, "payload": number}, **more)
