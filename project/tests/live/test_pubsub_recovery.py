"""Nothing is lost and nothing comes twice: cuts, slow readers, who comes while others speak."""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from django.conf import settings

from project.tests.live.listeners import Following, Listener, Speaker
from project.tests.live.raw import RawWebSocket
from project.tests.live.server import Server
from project.tests.live.surgeons import new_surgeon
from project.tests.live.talkers import MEMBER, TALKATIVE, Talker

Connect = Callable[..., RawWebSocket]
BROADCASTS, CUTS = 2_000, 20
SETTLE_SECONDS = 60.0
# What a kernel takes for a peer that does not read is a few MiB; these are more.
LARGE, LARGE_ONES = "x" * 8_000, 1_200


@pytest.fixture(scope="module")
def patient(django_db_setup: None, start_server: Callable[..., Any]) -> Iterator[Server]:
    """Yield a server on which anybody may say much, and nobody has to read for a while."""
    with start_server(**TALKATIVE, VITALWIRE_STALLED_SECONDS="300") as running:
        yield running


@pytest.fixture(scope="module")
def both(patient: Server, start_server: Callable[..., Any]) -> Iterator[tuple[Server, Server]]:
    """Yield two such processes of one deployment."""
    if not settings.REDIS_URL:
        pytest.skip("one process only: this deployment has no Redis")
    with start_server(**TALKATIVE, VITALWIRE_STALLED_SECONDS="300") as other:
        yield patient, other


def rooms(count: int = 5) -> list[str]:
    """Return topics of the test's own, all below one."""
    root = f"chat.{uuid.uuid4().hex[:12]}"
    return [f"{root}.{number}" for number in range(count)]


def pattern_of(topics: Sequence[str], end: str) -> str:
    return topics[0].rpartition(".")[0] + end


def listener(server: Server, *topics: str, username: str | None = None) -> Listener:
    return Listener(server.token_for(username or new_surgeon(MEMBER)), *topics)


def speaker(connect: Connect, server: Server, topics: Sequence[str]) -> Speaker:
    return Speaker(Talker.connect(connect, server), topics)


def speakers_of(
    connect: Connect, servers: Sequence[Server], topics: Sequence[str]
) -> list[Speaker]:
    """Return one on each process, each with topics of its own."""
    count = len(servers)
    return [
        speaker(connect, server, topics[number::count]) for number, server in enumerate(servers)
    ]


def said_by(speakers: Sequence[Speaker]) -> dict[str, list[int]]:
    return {topic: numbers for each in speakers for topic, numbers in each.said.items()}


def assert_whole(one: Listener, said: dict[str, list[int]]) -> None:
    """Assert that everything came, once, each topic in its order."""
    assert one.again == []
    assert one.told == {topic: numbers for topic, numbers in said.items() if numbers}
    assert not [message for message in one.others if message["type"] in ("Gap", "Error")]


# --- Cuts ----------------------------------------------------------------------------------


def be_cut(connect: Connect, servers: Sequence[Server], soak: int) -> None:
    topics = rooms()
    speakers = speakers_of(connect, servers, topics)
    wanted = [topics, [pattern_of(topics, ".*")], [pattern_of(topics, ".**"), *topics[:2]]]
    total = BROADCASTS * soak
    following = []
    for seed, patterns in enumerate(wanted):
        one = listener(servers[0], *patterns)
        one.open(servers[seed % len(servers)])
        following.append(Following(one, servers, total=total, cuts=CUTS * soak, seed=seed))
    for each in following:
        each.start()
    for _ in range(BROADCASTS * soak // 100):
        for each in speakers:
            each.say(100 // len(speakers))
    said = said_by(speakers)
    for each in following:
        each.settle(within=SETTLE_SECONDS * soak)
        assert len(each.answers) == CUTS * soak
        assert all(answer["recovered"] for answer in each.answers)
        assert each.listener.ws.messages(seconds=0.3) == []
        assert_whole(each.listener, said)
        each.listener.cut()


def test_whoever_is_cut_again_and_again_gets_everything_once_and_in_order(
    patient: Server, connect: Connect, soak: int
) -> None:
    be_cut(connect, [patient], soak)


@pytest.mark.redis
def test_whoever_is_cut_and_comes_back_to_another_process_gets_everything_once_and_in_order(
    both: tuple[Server, Server], connect: Connect, soak: int
) -> None:
    be_cut(connect, both, soak)


def test_direct_messages_to_somebody_who_is_cut_again_and_again_come_once(
    patient: Server, connect: Connect
) -> None:
    name, talker = new_surgeon(MEMBER), Talker.connect(connect, patient)
    one = listener(patient, f"users.{name}", username=name)
    one.open(patient)
    for number in range(60):
        talker.write_to(name, number)
        if number % 7 == 3:
            one.cut()
        elif number % 7 == 5:
            assert one.open(patient)["recovered"]
        if number % 7 not in (3, 4):
            one.read_until(min(len(one.ids) + 1, number + 1))
    one.cut()
    one.open(patient)
    one.read_until(60)
    assert one.ws.messages(seconds=0.3) == []
    assert one.again == []
    assert sorted(one.told[""]) == list(range(60))
    one.cut()


# --- Recovering while others speak ---------------------------------------------------------


def recover_amidst(connect: Connect, servers: Sequence[Server], soak: int) -> None:
    topics = rooms()
    speakers = speakers_of(connect, servers, topics)
    crowd = [listener(servers[0], pattern_of(topics, ".*")) for _ in range(10)]
    for one in crowd:
        one.open(servers[0])
        one.cut()
    for each in speakers:
        each.say(400 * soak)
    total = (400 + 10 * 20) * soak * len(speakers)
    following = []
    for number, one in enumerate(crowd):
        # Each comes while the others are being told, and more is said.
        assert one.open(servers[number % len(servers)])["recovered"]
        following.append(Following(one, servers, total=total, cuts=0, seed=number))
        following[-1].start()
        for each in speakers:
            each.say(20 * soak)
    said = said_by(speakers)
    for each in following:
        each.settle(within=SETTLE_SECONDS * soak)
        assert_whole(each.listener, said)
        each.listener.cut()


def test_who_recovers_while_others_speak_gets_everything_once_and_in_order(
    patient: Server, connect: Connect, soak: int
) -> None:
    recover_amidst(connect, [patient], soak)


@pytest.mark.redis
def test_who_recovers_while_others_speak_on_two_processes_gets_everything_once_and_in_order(
    both: tuple[Server, Server], connect: Connect, soak: int
) -> None:
    recover_amidst(connect, both, soak)


# --- Priorities ----------------------------------------------------------------------------


def blocked(connect: Connect, server: Server) -> tuple[Listener, dict[str, list[Any]]]:
    """Return a listener that has read nothing while much was said, the most urgent last."""
    low, high = rooms(2)
    slow = listener(server, low, high)
    slow.open(server, receive_buffer=4096)
    talker = Talker.connect(connect, server)
    said: dict[str, list[Any]] = {low: [], high: []}
    names = []
    for number in range(LARGE_ONES):
        said[low].append([number, LARGE])
        data = {"topic": low, "payload": [number, LARGE]}
        names.append(talker.send("Broadcast", data, metadata={"priority": "low"}))
        if len(names) == 50:
            assert {talker.answer_to(name)[0] for name in names} == {"Ack"}
            names = []
    for number in range(3):
        said[high].append(number)
        talker.say(high, number, metadata={"priority": "high"})
    return slow, said


def test_high_overtakes_low_for_a_reader_that_had_stopped(
    patient: Server, connect: Connect
) -> None:
    slow, said = blocked(connect, patient)
    low, high = said
    with slow:
        while len(slow.told.get(high, [])) < 3:
            slow.read()
        overtaken = len(slow.told[low])
        assert overtaken < LARGE_ONES
        slow.read_until(LARGE_ONES + 3)
        assert slow.ws.messages(seconds=0.3) == []
        assert slow.told == said
        assert slow.again == []


def test_who_is_cut_after_an_urgent_message_recovers_all_that_it_overtook(
    patient: Server, connect: Connect
) -> None:
    slow, said = blocked(connect, patient)
    low, high = said
    while not slow.told.get(high):
        slow.read()
    had = len(slow.told[low])
    assert had < LARGE_ONES
    slow.cut()
    with slow:
        assert slow.open(patient)["recovered"]
        slow.read_until(LARGE_ONES + 3)
        assert slow.told == said
        # Only what it had ahead of the others comes again, and is known by its id.
        assert len(slow.again) <= 3


# --- What expires --------------------------------------------------------------------------


def test_what_its_sender_wished_short_is_not_told_late_nor_in_the_history(
    patient: Server, connect: Connect
) -> None:
    [topic] = rooms(1)
    quick, late = (listener(patient, topic) for _ in range(2))
    for one in (quick, late):
        one.open(patient)
    late.cut()
    talker = Talker.connect(connect, patient)
    talker.say(topic, "short", metadata={"ttl": 1})
    talker.say(topic, "long", metadata={"ttl": 3600})
    talker.say(topic, "for ever")
    with quick, late:
        quick.read_until(3)
        time.sleep(1.1)
        assert late.open(patient)["recovered"]
        late.read_until(2)
        assert late.told == {topic: ["long", "for ever"]}
        assert [message for message in late.others if message["type"] == "Gap"] == []
    talker.send("History", {"topic": topic})
    payloads = [each["data"]["payload"] for each in talker.await_type("History")["messages"]]
    assert payloads == ["long", "for ever"]


# --- History -------------------------------------------------------------------------------


def test_a_history_is_walked_to_its_beginning_and_back(patient: Server, connect: Connect) -> None:
    [topic] = rooms(1)
    said = speaker(connect, patient, [topic]).say(25)
    talker = said.talker

    def walk(direction: str, position: str | None) -> list[int]:
        found: list[int] = []
        while True:
            asked = {"topic": topic, "limit": 10} | ({direction: position} if position else {})
            talker.send("History", asked)
            page = talker.await_type("History")
            numbers = [each["data"]["payload"] for each in page["messages"]]
            found = [*numbers, *found] if direction == "before" else [*found, *numbers]
            if page["complete"]:
                return found
            position = page["next"]

    assert walk("before", None) == said.said[topic]
    talker.send("History", {"topic": topic, "limit": 25})
    first = talker.await_type("History")["messages"][0]["data"]["metadata"]["position"]
    assert walk("after", first) == said.said[topic][1:]


# --- Limits and wrong positions ------------------------------------------------------------


def test_ten_thousand_subscriptions_are_refused_with_the_limit_and_the_connection_stays(
    patient: Server, connect: Connect
) -> None:
    talker = Talker.connect(connect, patient)
    used = 0
    for start in range(0, 10_000, 100):
        topics = [f"chat.many.{n}" for n in range(start, start + 100)]
        kind, data = talker.ask("Subscribe", {"topics": topics})
        if kind == "Ack":
            used += 100
        else:
            assert data["code"] == 400
            assert (data["details"]["limit"], data["details"]["used"]) == (256, used)
    assert used == 200
    kind, data = talker.ask("Subscribe", {"topics": [f"chat.{n}" for n in range(5_000)]})
    assert (kind, data["details"]["used"]) == ("Error", used)
    assert talker.say("chat.many.7", "still here")["recipients"] == 1


def test_a_position_that_cannot_be_used_is_answered_clearly(
    patient: Server, connect: Connect
) -> None:
    talker = Talker.connect(connect, patient)
    for wrong in ("x", "-1", "e-", "e-x", "e-1.0", "e-" + "9" * 30, "x" * 65):
        kind, data = talker.ask("Subscribe", {"topics": ["chat.a"], "recover": {"position": wrong}})
        assert (kind, data["code"]) == ("Error", 400)
        assert data["details"]["field"] == "data.recover.position"
    talker.heard.clear()
    talker.send("Subscribe", {"topics": ["chat.a"], "recover": {"position": "elsewhere-5"}})
    details = talker.await_type("Status")["details"]
    assert details["recovered"] is False
    again = {"topics": ["chat.a"], "recover": {"position": details["recoverable_from"]}}
    talker.await_type("Ack")
    talker.send("Subscribe", again)
    assert talker.await_type("Status")["details"]["recovered"] is True
