"""Clients of the pubsub dialect for live tests: people who say things and hear each other."""

import itertools
from collections.abc import Callable
from typing import Any, Self

from project.tests.live.raw import RawWebSocket
from project.tests.live.server import Server
from project.tests.live.surgeons import new_surgeon

MEMBER = "ROLE_MEMBER"
# Of a server for tests that say more than a client may.
TALKATIVE = {"VITALWIRE_PUBSUB_MESSAGES_PER_SECOND": "0"}


class Talker:
    """One connection. What comes while it waits for something else is kept in `heard`."""

    def __init__(self, username: str, ws: RawWebSocket) -> None:
        self.username = username
        self.ws = ws
        self.heard: list[dict[str, Any]] = []
        self._numbers = itertools.count(1)
        self.connection_id = self.await_type("Status")["details"]["connection_id"]

    @classmethod
    def connect(
        cls,
        connect: Callable[..., RawWebSocket],
        server: Server,
        username: str | None = None,
        *,
        role: str = MEMBER,
        **query: str,
    ) -> Self:
        username = username or new_surgeon(role)
        url = server.ws_url("/ws/pubsub", token=server.token_for(username, role=role), **query)
        return cls(username, connect(url))

    def send(self, kind: str, data: Any, *, id: str | None = None, **more: Any) -> str:
        """Send a message and return what it is called."""
        name = id or f"m{next(self._numbers)}"
        self.ws.send_json({"type": kind, "data": data, "id": name, **more})
        return name

    def await_message(self, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the first message, had or to come, of which this is true."""
        for place, message in enumerate(self.heard):
            if is_it(message):
                return self.heard.pop(place)
        while not is_it(message := self.ws.read_json()):
            self.heard.append(message)
        return message

    def await_type(self, kind: str) -> Any:
        """Return the data of the next message of a type."""
        return self.await_message(lambda message: message["type"] == kind)["data"]

    def answer_to(self, name: str) -> tuple[str, dict[str, Any]]:
        """Return type and data of the `Ack` or `Error` of the message of this name."""

        def is_it(message: dict[str, Any]) -> bool:
            data = message["data"]
            if message["type"] == "Ack":
                return bool(data["message_id"] == name)
            return message["type"] == "Error" and data["details"].get("message_id") == name

        message = self.await_message(is_it)
        return message["type"], message["data"]

    def ask(self, kind: str, data: Any, **more: Any) -> tuple[str, dict[str, Any]]:
        """Send a message and return what it is answered with."""
        return self.answer_to(self.send(kind, data, **more))

    def subscribe(self, *topics: str) -> None:
        kind, data = self.ask("Subscribe", {"topics": topics})
        assert (kind, data["status"]) == ("Ack", "subscribed")

    def say(self, topic: str, payload: Any, **more: Any) -> dict[str, Any]:
        """Broadcast, and return the `Ack`."""
        kind, data = self.ask("Broadcast", {"topic": topic, "payload": payload}, **more)
        assert kind == "Ack", data
        return data

    def write_to(self, target: str, payload: Any, **more: Any) -> tuple[str, dict[str, Any]]:
        """Send a direct message, and return how it is answered."""
        return self.ask("DirectMessage", {"target_user": target, "payload": payload}, **more)

    def hear(self, kind: str = "Broadcast") -> Any:
        """Return the payload of the next one of a type."""
        return self.await_type(kind)["payload"]

    def heard_within(self, seconds: float, kind: str = "Broadcast") -> list[Any]:
        """Return the payloads of a type that were had, or come within so many seconds."""
        messages = [*self.heard, *self.ws.messages(seconds=seconds)]
        self.heard = []
        return [each["data"]["payload"] for each in messages if each["type"] == kind]

    def has_nothing_of(self, kind: str, *, seconds: float = 0.3) -> bool:
        """Tell whether nothing of this type was had or comes within so many seconds."""
        self.heard += self.ws.messages(seconds=seconds)
        return not [message for message in self.heard if message["type"] == kind]
