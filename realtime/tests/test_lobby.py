"""Who is let in before it is known: counted, dismissed, and a member once it is known."""

import logging
from typing import Any

import pytest

from realtime.core.errors import Disconnect, PolicyViolation, Restarting
from realtime.core.frames import Frame
from realtime.core.limits import DialectLimits
from realtime.core.session import Principal
from realtime.hub import Hub
from realtime.lobby import Lobby, LobbyConsumer
from realtime.tests.doubles import FakeTransport, PlainDialect, principal
from realtime.tests.wire import Wire, turns

PEOPLE = {"olga": principal("olga"), "vera": principal("vera")}


class Notes:
    """Stands for the record of refused attempts."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, str]] = []

    def note(self, reason: str, *, username: str, **_: Any) -> None:
        self.kept.append((reason, username))


class Doorman(LobbyConsumer):
    """Asks for a name; echoes afterwards."""

    dialect = PlainDialect("doorman")
    endpoint = "pubsub"
    released: list[str]

    def __init__(self, hub: Hub, lobby: Lobby) -> None:
        super().__init__(hub, DialectLimits(), lobby=lobby)
        self.notes = Notes()
        self.attempts = self.notes  # type: ignore[assignment]
        self.released = []

    async def identify(self, scope: dict[str, Any]) -> Principal:
        name = await self.next_message()
        if name == "fault":
            raise KeyError("secret detail")
        if name not in PEOPLE:
            self.transport.write(Frame(b"who?"))
            raise PolicyViolation("unknown", kind="invalid_token")
        return PEOPLE[str(name)]

    async def on_crowded(self) -> None:
        raise PolicyViolation("full", kind="too_many_connections")

    async def on_text(self, text: str) -> None:
        if text == "flood":
            raise PolicyViolation("too much", kind="flood")
        self.member.send(Frame(text.encode()))

    def release(self, principal: Principal) -> None:
        self.released.append(principal.username)


async def test_who_is_known_becomes_a_member_and_is_released_in_the_end(hub: Hub) -> None:
    lobby, wire = Lobby(10), Wire()
    consumer = Doorman(hub, lobby)
    await wire.opened(consumer)
    await turns()
    assert (len(lobby), len(hub.members)) == (1, 0)
    wire.say("olga")
    wire.say("hello")
    assert await wire.hear() == "hello"
    assert (len(lobby), len(hub.members)) == (0, 1)
    (one,) = hub
    assert one.session.messages_in == 2
    await wire.end()
    assert consumer.released == ["olga"]
    assert not consumer.notes.kept


async def test_who_is_refused_is_noted_and_never_a_member(hub: Hub) -> None:
    lobby, wire = Lobby(10), Wire()
    consumer = Doorman(hub, lobby)
    await wire.opened(consumer)
    wire.say("nobody")
    assert await wire.hear() == "who?"
    assert await wire.ending() == (1008, "unknown")
    assert (len(lobby), len(hub.members)) == (0, 0)
    assert consumer.released == []
    assert consumer.notes.kept == [("invalid_token", "")]
    await wire.end()


async def test_who_is_cut_later_is_noted_by_name(hub: Hub) -> None:
    wire = Wire()
    consumer = Doorman(hub, Lobby(10))
    await wire.opened(consumer)
    wire.say("vera")
    wire.say("flood")
    assert await wire.ending() == (1008, "too much")
    assert consumer.notes.kept == [("flood", "vera")]
    await wire.end()


async def test_a_full_lobby_lets_nobody_wait(hub: Hub) -> None:
    lobby, first, second = Lobby(1), Wire(), Wire()
    await first.opened(Doorman(hub, lobby))
    await turns()
    await second.opened(Doorman(hub, lobby))
    assert await second.ending() == (1008, "full")
    first.say("olga")
    await turns()
    third = Wire()
    await third.opened(Doorman(hub, lobby))
    third.say("vera")
    third.say("hello")
    assert await third.hear() == "hello"
    for wire in (first, second, third):
        await wire.end()


async def test_who_is_dismissed_from_the_lobby_is_told_and_not_noted(hub: Hub) -> None:
    lobby, wire = Lobby(1), Wire()
    consumer = Doorman(hub, lobby)
    await wire.opened(consumer)
    await turns()
    lobby.dismiss(Restarting("the server restarts"))
    await lobby.wait_until_empty()
    assert await wire.ending() == (1012, "the server restarts")
    assert not consumer.notes.kept
    await wire.end()


async def test_a_fault_of_ours_is_1011(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire()
    with caplog.at_level(logging.ERROR, "vitalwire.consumers"):
        await wire.opened(Doorman(hub, Lobby(1)))
        wire.say("fault")
        assert await wire.ending() == (1011, "internal error")
    assert "secret detail" in caplog.text
    await wire.end()


async def test_an_empty_lobby_is_not_waited_for() -> None:
    lobby = Lobby(1)
    await lobby.wait_until_empty()
    with pytest.raises(Disconnect), lobby.holding(FakeTransport()):
        raise PolicyViolation("gone")
    await lobby.wait_until_empty()
    assert not lobby.is_full
