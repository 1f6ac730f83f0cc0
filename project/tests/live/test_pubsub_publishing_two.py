"""What clients say to each other over two processes, and while one of them, or Redis, is gone."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from project.tests.live.raw import Ended, RawWebSocket, Silence
from project.tests.live.server import Server
from project.tests.live.surgeons import eventually, new_surgeon
from project.tests.live.talkers import MEMBER, TALKATIVE, Talker
from project.tests.live.test_pubsub_publishing import stored, topic
from project.tests.live.test_telemetry_redis import Redis, redis  # noqa: F401
from realtime.models import JournalEntry, QueuedMessage

pytestmark = pytest.mark.redis

Connect = Callable[..., RawWebSocket]
Pair = tuple[Server, Server]


def has_waiting(username: str) -> bool:
    return QueuedMessage.objects.filter(user__username=username).exists()


# --- Two processes --------------------------------------------------------------------------


def test_recipients_are_counted_over_both(servers: Pair, connect: Connect) -> None:
    where = topic()
    hearers = [Talker.connect(connect, server) for server in (*servers, *servers)]
    for hearer in hearers:
        hearer.subscribe(where)
    for server in servers:
        ana = Talker.connect(connect, server)
        eventually(lambda ana=ana: ana.say(where, "hello").get("partial") is None)
        ack = ana.say(where, "counted")
        assert (ack["recipients"], ack.get("partial")) == (4, None)
        for hearer in hearers:
            while hearer.hear() != "counted":
                pass


def test_a_direct_message_reaches_its_user_on_both(servers: Pair, connect: Connect) -> None:
    bea = new_surgeon(MEMBER)
    connections = [Talker.connect(connect, server, bea) for server in servers]
    for number, server in enumerate(servers):
        ana = Talker.connect(connect, server)
        kind, data = ana.write_to(bea, number)
        assert kind == "Ack", data
        assert sorted(data["delivered_to"]) == sorted(each.connection_id for each in connections)
        assert [each.hear("DirectMessage") for each in connections] == [number, number]
    eventually(lambda: not has_waiting(bea))


def test_a_direct_message_reaches_its_user_on_the_other(servers: Pair, connect: Connect) -> None:
    ana = Talker.connect(connect, servers[0])
    bea = Talker.connect(connect, servers[1])
    kind, data = ana.write_to(bea.username, "psst")
    assert (kind, data["delivered_to"]) == ("Ack", [bea.connection_id])
    assert bea.hear("DirectMessage") == "psst"
    eventually(lambda: not has_waiting(bea.username))
    again = Talker.connect(connect, servers[0], bea.username)
    assert again.has_nothing_of("DirectMessage")


def test_what_waited_is_told_on_the_other_once(servers: Pair, connect: Connect) -> None:
    ana, away = Talker.connect(connect, servers[0]), new_surgeon(MEMBER)
    for number in range(5):
        assert ana.write_to(away, number)[1]["details"]["queued"] is True
    back = Talker.connect(connect, servers[1], away)
    assert [back.hear("DirectMessage") for _ in range(5)] == [*range(5)]
    eventually(lambda: not has_waiting(away))
    assert Talker.connect(connect, servers[0], away).has_nothing_of("DirectMessage")


def test_a_message_repeated_on_the_other_is_the_same(servers: Pair, connect: Connect) -> None:
    where, name = topic(), new_surgeon(MEMBER)
    listener = Talker.connect(connect, servers[1])
    listener.subscribe(where)
    acks = [
        Talker.connect(connect, server, name, client_id="tab").say(where, "once", id="msg_1")
        for server in (*servers, *servers)
    ]
    assert all(ack == acks[0] for ack in acks)
    assert acks[0]["recipients"] == 1
    assert listener.heard_within(0.5) == ["once"]


def test_the_same_said_through_both_at_once_is_taken_once(servers: Pair, connect: Connect) -> None:
    where, name = topic(), new_surgeon(MEMBER)
    both = [Talker.connect(connect, server, name, client_id="tab") for server in servers]
    names = [f"b{number}" for number in range(30)]
    for id_ in names:
        for each in both:
            each.send("Broadcast", {"topic": where, "payload": id_}, id=id_)
    for id_ in names:
        positions = {each.answer_to(id_)[1]["position"] for each in both}
        assert len(positions) == 1
    assert stored(where) == len(names)


# --- One of them dies -----------------------------------------------------------------------


def test_what_was_acknowledged_is_not_lost_when_one_is_killed(
    servers: Pair, start_server: Callable[..., Any], connect: Connect
) -> None:
    where, count = topic(), 90
    with start_server(**TALKATIVE) as doomed:
        listener = Talker.connect(connect, servers[0])
        listener.subscribe(where)
        speakers = [Talker.connect(connect, server) for server in (doomed, servers[0])]
        acknowledged: tuple[list[str], list[str]] = ([], [])
        for number in range(count):
            for place, speaker in enumerate(speakers):
                payload = f"{place} {number}"
                speaker.send("Broadcast", {"topic": where, "payload": payload}, id=payload)
            if number == 60:
                # Some are acknowledged, and others on their way.
                eventually(lambda: collect(speakers[0], acknowledged[0]) or acknowledged[0])
                doomed.kill()
        for speaker, names in zip(speakers, acknowledged, strict=True):
            collect(speaker, names, seconds=1.0)
        eventually(lambda: collect(speakers[1], acknowledged[1]) or len(acknowledged[1]) == count)
        heard = [listener.hear() for _ in range(stored(where))]
        assert {*acknowledged[0], *acknowledged[1]} <= set(heard)
        assert len(heard) == len(set(heard))
        for place in "01":
            told = [each for each in heard if each.startswith(place)]
            assert told == [f"{place} {number}" for number in range(len(told))]


def collect(speaker: Talker, names: list[str], *, seconds: float = 0.005) -> None:
    """Add which messages were acknowledged, until nothing comes for so long or it has ended."""
    with contextlib.suppress(Silence, Ended):
        while True:
            message = speaker.ws.read_json(within=seconds)
            if message["type"] == "Ack":
                names.append(message["data"]["message_id"])


def test_a_process_that_died_makes_the_count_a_partial_one_for_a_while(
    start_server: Callable[..., Any], environment: dict[str, str], connect: Connect
) -> None:
    if not environment["REDIS_URL"]:
        pytest.skip("one process only: this deployment has no Redis")
    prefix = {"REDIS_PREFIX": f"partial-{uuid.uuid4().hex[:8]}"}
    where = topic()
    with start_server(**prefix) as one, start_server(**prefix) as doomed:
        ana, bea = Talker.connect(connect, one), Talker.connect(connect, one)
        bea.subscribe(where)
        doomed.kill()
        ack = ana.say(where, "still heard")
        assert (ack["recipients"], ack["partial"]) == (1, True)
        assert bea.hear() == "still heard"


# --- Redis is gone --------------------------------------------------------------------------


@pytest.fixture
def apart(
    redis: Redis,  # noqa: F811
    django_db_setup: None,
    start_server: Callable[..., Any],
) -> Iterator[Pair]:
    """Yield two processes with a Redis of their own between them."""
    with (
        start_server(**TALKATIVE, REDIS_URL=redis.url) as one,
        start_server(**TALKATIVE, REDIS_URL=redis.url) as other,
    ):
        yield one, other


@pytest.mark.parametrize("fault", ["killed", "hanging"])
def test_without_redis_local_delivery_goes_on_and_the_rest_catches_up(
    apart: Pair,
    redis: Redis,  # noqa: F811
    connect: Connect,
    fault: str,
) -> None:
    where = topic()
    near, far = (Talker.connect(connect, server) for server in apart)
    ana = Talker.connect(connect, apart[0])
    for each in (near, far):
        each.subscribe(where)
    eventually(lambda: ana.say(where, "before").get("recipients") == 2)
    near.heard_within(0.2)
    far.heard_within(0.2)
    redis.kill() if fault == "killed" else redis.stop_answering()
    for number in range(100):
        began = time.monotonic()
        ack = ana.say(where, number)
        assert time.monotonic() - began < 2
        assert near.hear() == number
        assert (ack["status"], ack["partial"]) == ("delivered", True)
        assert ack["recipients"] == 1
    assert [far.hear() for _ in range(100)] == [*range(100)]
    redis.start() if fault == "killed" else redis.answer_again()
    eventually(lambda: ana.say(where, "after").get("recipients") == 2, within=20)
    assert JournalEntry.objects.filter(topic=where).count() == stored(where)
