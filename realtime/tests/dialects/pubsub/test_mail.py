"""What waited for a user is told first, in order; what comes meanwhile follows."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import pytest

from realtime.core.events import Event
from realtime.core.limits import DialectLimits
from realtime.dialects.pubsub import mail
from realtime.dialects.pubsub.backing import Backing
from realtime.dialects.pubsub.consumer import PubsubConsumer
from realtime.hub import Hub
from realtime.mailbox import Letter
from realtime.tests.dialects.pubsub.talk import Talk
from realtime.tests.doubles import principal
from realtime.tests.hubs import History
from realtime.tests.message_events import direct_message
from realtime.tests.wire import Wire, authenticated, turns

PAGE = 3


class Box:
    """A mailbox in memory, whose reading the test may hold."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.told: list[str] = []
        self.flows = asyncio.Event()
        self.flows.set()
        self._turn = asyncio.Lock()

    async def waiting(self, user_id: UUID, after: int, upto: int) -> list[Letter]:
        await self.flows.wait()
        return [
            letter
            for letter in self.letters
            if after < letter.n <= upto and letter.event.id not in self.told
        ][:PAGE]

    def on_told(self, event: Event) -> None:
        self.told.append(event.id)

    def turn_of(self, user_id: UUID) -> asyncio.Lock:
        return self._turn


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.fixture
async def opened(hub: Hub, history: History, box: Box) -> AsyncIterator[Callable[[], Any]]:
    """Return a function that connects bea, who was greeted and hears what has waited."""
    connected: list[Talk] = []

    async def open_one() -> Talk:
        who = principal("bea", subscribe=("chat.**",))
        talk = Talk(Wire(**authenticated(who)))
        backing = Backing(mailbox=box)  # type: ignore[arg-type]
        await talk.wire.opened(PubsubConsumer(hub, DialectLimits(), backing=backing))
        assert (await talk.hear())["data"]["status"] == "connected"
        connected.append(talk)
        return talk

    yield open_one
    for talk in connected:
        await talk.wire.end()


def queue(box: Box, history: History, *ids: str) -> None:
    """Let messages happen that nobody hears."""
    for id_ in ids:
        history.happen(direct_message(id_))
        box.letters.append(Letter(history.hub.position, direct_message(id_)))


async def test_what_waited_is_told_in_order_page_by_page(
    opened: Callable[[], Any], box: Box, history: History
) -> None:
    names = [f"d{number}" for number in range(PAGE * 2 + 1)]
    queue(box, history, *names)
    talk = await opened()
    assert await talk.told(len(names)) == names
    assert box.told == names


async def test_what_comes_meanwhile_follows_it(
    opened: Callable[[], Any], box: Box, history: History
) -> None:
    queue(box, history, "waited")
    box.flows.clear()
    talk = await opened()
    await turns()
    history.happen(direct_message("meanwhile"))
    await turns()
    box.flows.set()
    assert await talk.told(2) == ["waited", "meanwhile"]
    history.happen(direct_message("live"))
    assert await talk.told(1) == ["live"]


async def test_two_sessions_of_one_user_are_not_both_told(
    opened: Callable[[], Any], box: Box, history: History
) -> None:
    queue(box, history, "a", "b")
    first, second = await opened(), await opened()
    assert await first.told(2) == ["a", "b"]
    assert await second.is_silent()


async def test_mail_that_cannot_be_read_yet_keeps_nobody_waiting(
    opened: Callable[[], Any], box: Box, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "MAIL_SECONDS", 0.001)
    queue(box, history, "waited")
    box.flows.clear()
    talk = await opened()
    assert await talk.is_silent()
    box.flows.set()
    assert await talk.told(1) == ["waited"]


async def test_who_recovers_the_private_topic_is_not_told_twice(
    opened: Callable[[], Any], box: Box, history: History
) -> None:
    queue(box, history, "a", "b")
    talk = await opened()
    assert await talk.told(2) == ["a", "b"]
    details = await talk.subscribe("users.bea", recover={"position": "e-0"})
    assert details["recovered"] is True
    assert await talk.is_silent()


async def test_who_left_meanwhile_is_told_nothing(
    hub: Hub, opened: Callable[[], Any], box: Box, history: History
) -> None:
    queue(box, history, "a")
    box.flows.clear()
    talk = await opened()
    await turns()
    (member,) = hub
    hub.leave(member)
    box.flows.set()
    await turns()
    assert box.told == []
    assert talk.wire.outbound.empty()
