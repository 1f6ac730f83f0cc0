"""The broker: wake-up calls between processes, that may be lost and never hold anybody up."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.conf import settings as configured
from pytest_django import Settings

from realtime import broker as module
from realtime.broker import JOURNAL_GROUP, MESSAGE_BYTES_MAX, OUTBOX_MAX, Broker, groups_for
from realtime.core.events import Event
from realtime.journal import Numbered
from realtime.tests.doubles import moved, surgery_id_of
from realtime.tests.message_events import stream_chunk
from realtime.tests.test_tail import entry
from realtime.tests.wire import PATIENCE_SECONDS, turns

IN_MEMORY = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
needs_redis = pytest.mark.skipif(not configured.REDIS_URL, reason="REDIS_URL is not set")


class Process:
    """One broker with its ears, as a serving process has it."""

    def __init__(self, node: str) -> None:
        self.entries: list[Numbered] = []
        self.nudges = 0
        self.live: list[Event] = []
        self.told: list[tuple[str, Any]] = []
        self.joined = 0
        self.broker = Broker(
            node,
            on_journal=self.entries.extend,
            on_nudge=self._nudged,
            on_live=self.live.append,
            on_joined=self._has_joined,
            ears={"counts": lambda node, body: self.told.append((node, body))},
        )
        self.task: asyncio.Task[None] | None = None

    def _nudged(self) -> None:
        self.nudges += 1

    def _has_joined(self) -> None:
        self.joined += 1

    def start(self) -> None:
        self.task = asyncio.ensure_future(self.broker.run())

    async def heard_itself(self) -> None:
        """Wait until its beacon came back: then it is in the groups."""
        before = self.broker._heard_at
        await until(lambda: self.broker._heard_at > before)

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)


async def until(is_so: Callable[[], bool]) -> None:
    """Let the loop run until it is so."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_so():  # noqa: ASYNC110  nobody tells a test
            await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def _haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GATHER_SECONDS", 0)
    monkeypatch.setattr(module, "BEACON_SECONDS", 0.01)
    # A machine that is busy with other tests is no layer that is away.
    monkeypatch.setattr(module, "LAYER_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(module, "DEAF_AFTER_SECONDS", PATIENCE_SECONDS)


@pytest.fixture(
    params=[
        pytest.param("memory"),
        pytest.param("redis", marks=[pytest.mark.redis, needs_redis]),
    ]
)
async def layer(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[Any]:
    if request.param == "memory":
        settings.CHANNEL_LAYERS = IN_MEMORY
    layer = get_channel_layer()
    await layer.flush()
    yield layer
    await layer.flush()


@pytest.fixture
async def one(layer: Any) -> AsyncIterator[Process]:
    process = Process("one")
    process.start()
    await process.heard_itself()
    yield process
    await process.stop()


@pytest.fixture
async def other(layer: Any) -> AsyncIterator[Process]:
    process = Process("other")
    process.start()
    await process.heard_itself()
    yield process
    await process.stop()


def big_entry(n: int) -> Numbered:
    return Numbered(n, "surgeries.x", b"x" * (MESSAGE_BYTES_MAX // 2))


# --- Between processes ---------------------------------------------------------------------


async def test_numbered_events_reach_the_others_and_not_oneself(
    one: Process, other: Process
) -> None:
    entries = [entry(1), entry(2)]
    one.broker.publish_journal(entries)
    await until(lambda: other.entries == entries)
    assert one.entries == []
    assert [got.event for got in other.entries] == [sent.event for sent in entries]


async def test_a_large_batch_carries_its_position_only(one: Process, other: Process) -> None:
    one.broker.publish_journal([big_entry(n) for n in range(3)])
    await until(lambda: other.nudges == 1)
    assert other.entries == []


async def test_a_batch_that_just_fits_carries_its_events(one: Process, other: Process) -> None:
    entries = [big_entry(n) for n in range(2)]
    one.broker.publish_journal(entries)
    await until(lambda: other.entries == entries)
    assert other.nudges == 0


async def test_live_events_reach_the_others_as_they_were(one: Process, other: Process) -> None:
    events = [moved(f"m{number}") for number in range(5)]
    for event in events:
        one.broker.publish_live(event)
    await until(lambda: len(other.live) == 5)
    assert other.live == events
    assert one.live == []


async def test_what_a_process_tells_of_itself_reaches_the_others(
    one: Process, other: Process
) -> None:
    one.broker.tell("counts", {"users": {"ana": [1, [[0.5, 2]]]}})
    one.broker.tell("nobody listens to this", {})
    await until(lambda: other.told != [])
    assert other.told == [("one", {"users": {"ana": [1, [[0.5, 2]]]}})]
    assert one.told == []
    await until(lambda: one.broker.waiting == 0)


async def test_it_says_when_it_hears_the_others(one: Process) -> None:
    assert one.joined == 1


async def test_a_broker_that_hears_its_beacon_is_not_deaf(one: Process) -> None:
    assert not one.broker.is_deaf
    one.broker._heard_at -= module.DEAF_AFTER_SECONDS + 1
    assert one.broker.is_deaf
    await one.heard_itself()
    assert not one.broker.is_deaf


async def test_what_cannot_be_read_is_passed_over(layer: Any, one: Process, other: Process) -> None:
    unknown = b'{"kind":"SurgeryDreamt","id":"e"}'
    group = groups_for("surgeries.x")
    await layer.group_send(group, {"type": "live", "node": "newer", "events": [unknown]})
    await layer.group_send(group, {"type": "gossip", "node": "newer"})
    await layer.group_send(JOURNAL_GROUP, {"type": "journal"})
    await layer.group_send(JOURNAL_GROUP, {"type": "journal", "node": "newer", "entries": [1]})
    one.broker.publish_live(moved("m"))
    await until(lambda: len(other.live) == 1)


async def test_a_listener_that_fails_does_not_make_the_process_deaf(layer: Any) -> None:
    heard = []

    def fails_once(event: Event) -> None:
        heard.append(event)
        if len(heard) == 1:
            raise LookupError("a fault in a dialect")

    process = Process("one")
    process.broker._on_live = fails_once
    process.start()
    await process.heard_itself()
    other = Process("other")
    other.start()
    for number in range(2):
        other.broker.publish_live(moved(f"m{number}"))
        await until(lambda number=number: len(heard) > number)
    assert process.task is not None
    assert not process.task.done()
    await process.stop()
    await other.stop()


def test_a_topic_s_root_names_its_group() -> None:
    assert groups_for(f"surgeries.{surgery_id_of('one')}") == groups_for("surgeries.completed")
    assert groups_for("surgeries.completed") == "vitalwire.live.surgeries"


# --- Who has heard what --------------------------------------------------------------------


def confirmations(process: Process) -> list[tuple[str, int, int]]:
    """Have the process write down what others say they heard of it."""
    told: list[tuple[str, int, int]] = []
    process.broker._on_heard = lambda *heard: told.append(heard)
    return told


async def test_another_process_says_up_to_which_beacon_it_heard_us_whole(
    one: Process, other: Process
) -> None:
    told = confirmations(one)
    await until(lambda: bool(told))
    beacon = one.broker.next_beacon
    one.broker.publish_live(moved("m"))
    await until(lambda: told[-1][2] >= beacon)
    node, since, _ = told[-1]
    assert node == "other"
    assert since < beacon
    assert [event.id for event in other.live] == ["m"]


async def test_a_live_value_goes_out_before_the_next_beacon(
    one: Process, other: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []
    understand = other.broker._understand

    def listen(message: dict[str, Any]) -> None:
        if message["node"] == "one" and message["type"] == "beacon":
            heard.append(message["beacon"])
        understand(message)

    monkeypatch.setattr(other.broker, "_understand", listen)
    for number in range(5):
        beacon = one.broker.next_beacon
        one.broker.publish_live(moved(f"m{number}"))
        await until(lambda beacon=beacon: bool(heard) and heard[-1] >= beacon)
        assert len(other.live) == number + 1


async def test_what_was_missed_begins_the_part_that_was_heard_whole_anew(
    one: Process, other: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = confirmations(one)
    await until(lambda: bool(told))
    send = one.broker._send

    async def lose(group: str, message: dict[str, Any]) -> None:
        if message["type"] != "live":
            await send(group, message)

    monkeypatch.setattr(one.broker, "_send", lose)
    beacon = one.broker.next_beacon
    one.broker.publish_live(moved("lost"))
    await until(lambda: told[-1][2] >= beacon)
    assert told[-1][1] >= beacon, "that beacon is not in the part that was heard whole"


async def test_who_missed_something_is_told_before_it_hears_what_came_after_it(
    one: Process, other: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.broker.publish_live(moved("m1"))
    await until(lambda: bool(other.live))
    missed: list[int] = []
    other.broker._on_missed = lambda: missed.append(len(other.live))
    one.broker._number += 1
    for number in range(2, 5):
        one.broker.publish_live(moved(f"m{number}"))
        await until(lambda number=number: len(other.live) == number)
    assert missed == [1]


async def test_what_was_not_sent_for_want_of_hearers_counts_as_missed(
    one: Process, other: Process
) -> None:
    told = confirmations(one)
    await until(lambda: bool(told))
    beacon = one.broker.next_beacon
    one.broker._heard_others_at -= module.ALONE_AFTER_SECONDS + 1
    one.broker.publish_live(moved("kept"))
    await until(lambda: told[-1][2] > beacon)
    assert told[-1][1] >= beacon
    assert other.live == []


# --- In the layer --------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["memory"], indirect=True)
async def test_a_process_has_one_channel_in_every_group(layer: Any, one: Process) -> None:
    assert {group: len(channels) for group, channels in layer.groups.items()} == {
        JOURNAL_GROUP: 1,
        "vitalwire.live.surgeries": 1,
        "vitalwire.live.telemetry": 1,
        "vitalwire.live.system": 1,
        "vitalwire.live.streams": 1,
    }


@pytest.mark.parametrize("layer", ["memory"], indirect=True)
async def test_a_membership_that_the_layer_forgot_is_renewed(
    layer: Any, one: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers end memberships after a day."""
    monkeypatch.setattr(module, "DEAF_AFTER_SECONDS", 0.02)
    monkeypatch.setattr(module, "LAYER_SECONDS", 0.02)
    await one.heard_itself()
    layer.groups.clear()
    await one.heard_itself()


# --- A layer that is away ------------------------------------------------------------------


class Layer:
    """A layer that hangs, or fails, or has come back."""

    def __init__(self) -> None:
        self.problem: Exception | None = None
        self.is_hanging = False
        self.channels = 0
        self.flushes = 0
        self.sent: list[dict[str, Any]] = []
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def _do(self) -> None:
        if self.is_hanging:
            await asyncio.sleep(3600)
        if self.problem is not None:
            raise self.problem

    async def new_channel(self) -> str:
        self.channels += 1
        await self._do()
        return "channel"

    async def group_add(self, group: str, channel: str) -> None:
        await self._do()

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await self._do()
        self.sent.append(message)
        self._queue.put_nowait(message)

    async def receive(self, channel: str) -> dict[str, Any]:
        return await self._queue.get()

    async def flush(self) -> None:
        self.flushes += 1


@pytest.fixture
def troubled(monkeypatch: pytest.MonkeyPatch) -> Layer:
    layer = Layer()
    monkeypatch.setattr(module, "get_channel_layer", lambda: layer)
    monkeypatch.setattr(module, "LAYER_SECONDS", 0.01)
    return layer


@pytest.fixture
async def lonely(troubled: Layer) -> AsyncIterator[Process]:
    process = Process("lonely")
    yield process
    await process.stop()


async def test_a_layer_that_fails_is_told_once_and_found_again(
    troubled: Layer, lonely: Process, caplog: pytest.LogCaptureFixture
) -> None:
    troubled.problem = ConnectionError("connection refused")
    with caplog.at_level(logging.WARNING, "vitalwire.broker"):
        lonely.start()
        await until(lambda: troubled.channels >= 3)
    assert caplog.text.count("does not answer") == 1
    troubled.problem = None
    await lonely.heard_itself()


async def test_a_layer_that_hangs_holds_nobody_up(troubled: Layer, lonely: Process) -> None:
    troubled.is_hanging = True
    lonely.start()
    await turns()
    for n in range(OUTBOX_MAX * 2):
        lonely.broker.publish_journal([entry(n)])
        lonely.broker.publish_live(moved(f"m{n}"))
    await until(lambda: troubled.channels >= 2)
    assert len(lonely.broker._outbox) <= OUTBOX_MAX
    assert all(len(batch) <= OUTBOX_MAX for batch in lonely.broker._live.values())
    troubled.is_hanging = False
    await lonely.heard_itself()


async def test_large_live_events_that_wait_for_the_layer_are_bounded_by_their_bytes(
    troubled: Layer, lonely: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIVE_BYTES_MAX", 10_000)
    for number in range(20):
        lonely.broker.publish_live(stream_chunk(f"s{number}", content=b"x" * 3_000))
    waiting = lonely.broker._live[groups_for("streams.camera")]
    assert len(waiting) == 2
    lonely.start()
    await lonely.heard_itself()
    # What was sent makes room.
    lonely.broker.publish_live(stream_chunk("after", content=b"x" * 3_000))
    assert len(lonely.broker._live[groups_for("streams.camera")]) == 1


async def test_every_failed_attempt_to_join_leaves_nothing_in_the_layer(
    troubled: Layer, lonely: Process
) -> None:
    """A channel that nobody reads would keep all that comes for it."""
    troubled.problem = ConnectionError("connection refused")
    lonely.start()
    await until(lambda: troubled.channels >= 3)
    assert troubled.flushes >= 2


async def test_live_values_are_cut_into_messages_of_bounded_size(
    troubled: Layer, lonely: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MESSAGE_BYTES_MAX", 2_000)
    lonely.start()
    await lonely.heard_itself()
    for number in range(50):
        lonely.broker.publish_live(moved(f"m{number}"))
    messages: list[dict[str, Any]] = []

    def all_sent() -> bool:
        messages[:] = [message for message in troubled.sent if message["type"] == "live"]
        return sum(len(message["events"]) for message in messages) == 50

    await until(all_sent)
    assert len(messages) > 1
    assert all(sum(map(len, message["events"])) <= 2_000 for message in messages)


async def test_what_nobody_else_could_hear_is_not_even_encoded(
    troubled: Layer, lonely: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ALONE_AFTER_SECONDS", 0)
    lonely.start()
    await lonely.heard_itself()
    lonely.broker.publish_live(moved("m1"))
    assert not lonely.broker._live
    monkeypatch.undo()
    lonely.broker._understand({"type": "beacon", "node": "another"})
    lonely.broker.publish_live(moved("m2"))
    assert len(lonely.broker._live) == 1


# --- Who can be asked -------------------------------------------------------------------------


async def test_the_others_that_are_heard_from_can_be_asked(one: Process, other: Process) -> None:
    await until(lambda: one.broker.heard() == {"other"})
    await until(lambda: other.broker.heard() == {"one"})


async def test_who_is_deaf_can_ask_nobody(
    one: Process, other: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    await until(lambda: one.broker.heard() == {"other"})
    monkeypatch.setattr(module, "DEAF_AFTER_SECONDS", -1.0)
    assert one.broker.heard() == set()
