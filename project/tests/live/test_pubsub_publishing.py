"""What clients of the pubsub dialect say: stored, delivered, counted, and answered."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from django.db import connection, transaction

from project.tests.live.raw import TEXT, RawWebSocket, frame
from project.tests.live.server import Server
from project.tests.live.surgeons import eventually, new_surgeon
from project.tests.live.talkers import MEMBER, TALKATIVE, Talker
from realtime.models import JournalEntry, JournalHead, QueuedMessage

Connect = Callable[..., RawWebSocket]
Talk = Callable[..., Talker]


@pytest.fixture
def talk(server: Server, connect: Connect) -> Talk:
    """Return a function that connects somebody, to `on` or the shared server."""

    def talk_as(username: str | None = None, *, on: Server = server, **options: Any) -> Talker:
        return Talker.connect(connect, on, username, **options)

    return talk_as


def topic() -> str:
    """Return a topic of the test's own."""
    return f"chat.{uuid.uuid4().hex[:12]}"


def stored(where: str) -> int:
    return JournalEntry.objects.filter(topic=where, kind="Published").count()


# --- Broadcasts -----------------------------------------------------------------------------


def test_a_broadcast_is_stored_delivered_to_all_and_counted(talk: Talk) -> None:
    where, ana, hearers = topic(), talk(), [talk() for _ in range(3)]
    for hearer in hearers:
        hearer.subscribe(where)
    ack = ana.say(where, {"message": "Hello everyone!"}, id="msg_123456")
    assert ack["message_id"] == "msg_123456"
    assert (ack["status"], ack["recipients"]) == ("delivered", 3)
    assert stored(where) == 1
    for hearer in hearers:
        data = hearer.await_type("Broadcast")
        assert (data["topic"], data["payload"]) == (where, {"message": "Hello everyone!"})
        assert data["metadata"]["position"] == ack["position"]


def test_who_says_it_hears_it_too_when_subscribed(talk: Talk) -> None:
    where, ana = topic(), talk()
    ana.subscribe(where)
    assert ana.say(where, 1)["recipients"] == 1
    assert ana.hear() == 1


def test_nobody_listening_is_delivered_to_nobody(talk: Talk) -> None:
    ack = talk().say(topic(), None)
    assert (ack["status"], ack["recipients"]) == ("delivered", 0)


def test_the_same_id_on_one_connection_is_the_same_message(talk: Talk) -> None:
    where, ana, bea = topic(), talk(), talk()
    bea.subscribe(where)
    assert ana.say(where, "once", id="x") == ana.say(where, "twice", id="x")
    assert bea.heard_within(0.3) == ["once"]


def test_another_connection_may_use_the_same_id(talk: Talk) -> None:
    where, name = topic(), new_surgeon(MEMBER)
    for _ in range(2):
        talk(name).say(where, 1, id="msg_1")
    assert stored(where) == 2


def test_connections_with_one_client_id_share_their_ids(talk: Talk) -> None:
    where, name = topic(), new_surgeon(MEMBER)
    acks = [talk(name, client_id="tab").say(where, 1, id="msg_1") for _ in range(2)]
    assert acks[0] == acks[1]
    talk(client_id="tab").say(where, 1, id="msg_1")
    assert stored(where) == 2, "another user's client is another client"


def test_many_at_once_are_acknowledged_and_delivered_in_order(
    start_server: Callable[..., Any], talk: Talk
) -> None:
    with start_server(**TALKATIVE) as server:
        where, ana, bea = topic(), talk(on=server), talk(on=server)
        bea.subscribe(where)
        names = [ana.send("Broadcast", {"topic": where, "payload": n}) for n in range(1000)]
        acks = [ana.await_type("Ack") for _ in names]
        assert [ack["message_id"] for ack in acks] == names
        positions = [int(ack["position"].rpartition("-")[2]) for ack in acks]
        assert positions == sorted(positions)
        assert [bea.hear() for _ in names] == list(range(1000))


@pytest.mark.parametrize(
    ("where", "code"),
    [
        *((f"{root}.1", 403) for root in ("alerts", "devices", "surgeries", "telemetry")),
        *((f"{root}.x", 403) for root in ("users", "presence", "commands", "control")),
        ("system", 403),
        ("notifications", 403),
        ("other.topic", 403),
        ("chat.*", 400),
        ("chat.**", 400),
        ("", 400),
        ("chat..x", 400),
        (".chat", 400),
        ("chat.", 400),
        ("..", 400),
        ("chat. x", 400),
        ("chat." + "x" * 10_000, 400),
    ],
)
def test_what_may_not_be_published_to_is_refused_by_name(talk: Talk, where: str, code: int) -> None:
    ana = talk()
    kind, error = ana.ask("Broadcast", {"topic": where, "payload": 1}, id="b")
    assert (kind, error["code"]) == ("Error", code)
    assert error["details"]["message_id"] == "b"
    if code == 403:
        assert error["details"]["topic"] == where
    assert stored(where[:255]) == 0
    assert ana.say(topic(), 1)["status"] == "delivered"


@pytest.mark.parametrize("kind", ["Broadcast", "DirectMessage", "X-Own", "Batch"])
@pytest.mark.parametrize(
    "data",
    [
        *({"topic": wrong, "payload": 1} for wrong in (5, ["chat.x"], {})),
        *({"target_user": wrong, "payload": 1} for wrong in (5, None, "", "x" * 151)),
        {"target_user": "somebody"},
        *({"messages": wrong} for wrong in (5, "x", [], {})),
        [],
        "text",
        None,
        {"payload": 1},
    ],
)
def test_a_wrong_message_is_answered_and_the_next_one_read(
    talk: Talk, kind: str, data: Any
) -> None:
    ana = talk()
    answer, error = ana.ask(kind, data, id="w")
    if answer == "Ack":
        pytest.skip("right for this type")
    assert error["code"] in (400, 404)
    assert error["details"]["message_id"] == "w"
    assert ana.say(topic(), 1)["status"] == "delivered"


@pytest.mark.parametrize("depth", [300, 600, 20_000])
def test_what_is_nested_deeper_than_readers_follow_is_refused(talk: Talk, depth: int) -> None:
    where, ana = topic(), talk()
    nested = "[" * depth + "]" * depth
    data = f'{{"topic":"{where}","payload":{nested}}}'
    ana.ws.send_text(f'{{"type":"Broadcast","id":"deep","data":{data}}}')
    if ana.await_message(lambda message: message["type"] in ("Ack", "Error"))["type"] == "Ack":
        assert depth == 300
    assert ana.say(where, 1)["status"] == "delivered"


def test_a_viewer_says_nothing(talk: Talk) -> None:
    vera, ana = talk(role="ROLE_VIEWER"), talk()
    assert vera.ask("Broadcast", {"topic": "chat.x", "payload": 1})[1]["code"] == 403
    assert vera.write_to(ana.username, 1)[1]["code"] == 403


# --- Direct messages ------------------------------------------------------------------------


def test_a_direct_message_reaches_every_connection_of_its_user(talk: Talk) -> None:
    ana, bea = talk(), talk()
    again = talk(bea.username)
    kind, data = ana.write_to(bea.username, "psst", id="dm_1")
    assert (kind, data["message_id"], data["status"]) == ("Ack", "dm_1", "delivered")
    assert sorted(data["delivered_to"]) == sorted([bea.connection_id, again.connection_id])
    for each in (bea, again):
        message = each.await_type("DirectMessage")
        assert (message["from_user"], message["payload"]) == (ana.username, "psst")
    assert ana.has_nothing_of("DirectMessage")
    eventually(lambda: not QueuedMessage.objects.filter(user__username=bea.username).exists())


def test_who_is_away_gets_what_waited_in_order_once(talk: Talk) -> None:
    ana, away = talk(), new_surgeon(MEMBER)
    for number in range(20):
        kind, error = ana.write_to(away, number)
        assert (kind, error["code"]) == ("Error", 404)
        assert error["message"] == f"User {away} not found or not connected"
        assert error["details"]["queued"] is True
    back = talk(away)
    assert back.heard_within(0.5, "DirectMessage") == list(range(20))
    eventually(lambda: not QueuedMessage.objects.filter(user__username=away).exists())
    assert talk(away).has_nothing_of("DirectMessage")


def test_nobody_keeps_a_message_for_nobody(talk: Talk) -> None:
    ana = talk()
    for target in ("nobody", str(uuid.uuid4()), "nul\0", new_surgeon("ROLE_DEVICE")):
        kind, error = ana.write_to(target, 1)
        assert (kind, error["code"], error["details"]["queued"]) == ("Error", 404, False)


def test_the_private_topic_does_not_count(talk: Talk) -> None:
    ana = talk()
    ana.send("Subscribe", {"topics": ["chat.x"]})
    assert ana.await_type("Status")["details"]["active_subscriptions"] == 1


# --- Types of their own, and batches --------------------------------------------------------


def test_a_type_of_their_own_is_relayed_to_the_others(talk: Talk) -> None:
    where, ana, bea = topic(), talk(), talk()
    for each in (ana, bea):
        each.subscribe(where)
    kind, ack = ana.ask("X-CustomAction", {"topic": where, "payload": {"action": "special"}})
    assert (kind, ack["recipients"]) == ("Ack", 1)
    data = bea.await_type("X-CustomAction")
    assert (data["topic"], data["payload"]) == (where, {"action": "special"})
    assert ana.has_nothing_of("X-CustomAction")
    assert ana.ask("X-CustomAction", {"topic": "alerts.1"})[1]["code"] == 403


def test_a_type_that_nobody_handles_is_not_found(talk: Talk) -> None:
    assert talk().ask("X-CustomAction", {"action": "special_operation"})[1]["code"] == 404


def test_a_batch_is_answered_one_by_one_in_order(talk: Talk) -> None:
    where, ana = topic(), talk()
    messages = [
        {"type": "Subscribe", "data": {"topics": [where]}, "id": "a"},
        {"type": "Broadcast", "data": {"topic": where, "payload": 1}, "id": "b"},
        {"type": "Broadcast", "data": {"topic": "alerts.1", "payload": 1}, "id": "c"},
        {"type": "DirectMessage", "data": {"target_user": "nobody", "payload": 1}, "id": "d"},
        {"type": "Batch", "data": {"messages": []}, "id": "e"},
        {"type": "Ping", "data": {}, "id": "f"},
        {"type": "Broadcast", "data": {"topic": where, "payload": 2}, "id": "g"},
    ]
    ana.send("Batch", {"messages": messages}, id="all")
    answers: list[Any] = []
    while not answers or answers[-1] != ("Ack", "all"):
        message = ana.ws.read_json()
        data = message["data"]
        name = data.get("message_id") or data.get("details", {}).get("message_id")
        answers.append((message["type"], name))
    assert [answer for answer in answers if answer[0] != "Broadcast"] == [
        ("Status", None),
        ("Ack", "a"),
        ("Ack", "b"),
        ("Error", "c"),
        ("Error", "d"),
        ("Error", "e"),
        ("Pong", None),
        ("Ack", "g"),
        ("Ack", "all"),
    ]


def test_a_batch_has_at_most_fifty(talk: Talk) -> None:
    where, ana = topic(), talk()
    one = {"type": "Broadcast", "data": {"topic": where, "payload": 1}}
    kind, error = ana.ask("Batch", {"messages": [one] * 51})
    assert (kind, error["code"]) == ("Error", 400)
    assert (error["details"]["field"], error["details"]["limit"]) == ("data.messages", 50)
    assert stored(where) == 0
    assert ana.ask("Batch", {"messages": [one] * 50})[0] == "Ack"
    assert stored(where) == 50


# --- The database is held -------------------------------------------------------------------


@contextmanager
def journal_held() -> Iterator[None]:
    """Keep every other connection from writing to the journal."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            JournalHead.objects.select_for_update().get()
        # On SQLite a transaction of ours locks the database from its beginning.
        yield


def test_while_the_database_is_held_nothing_is_acknowledged_and_all_else_goes_on(
    server: Server, talk: Talk
) -> None:
    where, ana, bea = topic(), talk(), talk()
    bea.subscribe(where)
    with journal_held():
        names = [ana.send("Broadcast", {"topic": where, "payload": n}) for n in range(20)]
        ana.send("Ping", {"timestamp": 1})
        assert ana.await_type("Pong") == {"timestamp": 1}
        assert server.request("GET", "/healthz")[0] == 200
        assert bea.has_nothing_of("Broadcast", seconds=0.5)
        assert ana.has_nothing_of("Ack", seconds=0.1)
    assert [ana.await_type("Ack")["message_id"] for _ in names] == names
    assert [bea.hear() for _ in names] == [*range(20)]


def test_who_says_more_than_the_database_takes_is_slowed_by_tcp(
    start_server: Callable[..., Any], talk: Talk
) -> None:
    with start_server(**TALKATIVE) as server:
        where, ana = topic(), talk(on=server)
        before = server.rss()
        data = {"topic": where, "payload": "x" * 20_000}
        text = msgspec.json.encode({"type": "Broadcast", "data": data})
        flood = frame(TEXT, text) * 2_000
        with journal_held():
            assert ana.ws.send_for(flood, seconds=1.0) < len(flood)
            assert server.rss() - before < 64 * 1024 * 1024


# --- Crashes --------------------------------------------------------------------------------


def test_what_was_acknowledged_survives_a_kill(
    fresh_server: Server, connect: Connect, talk: Talk
) -> None:
    where, name = topic(), new_surgeon(MEMBER)
    ana = talk(name, on=fresh_server, client_id="tab")
    names = [ana.send("Broadcast", {"topic": where, "payload": n}) for n in range(60)]
    acks = {}
    for name_ in names[:40]:
        acks[name_] = ana.answer_to(name_)[1]
    fresh_server.kill()
    assert stored(where) >= 40
    fresh_server.restart()
    again = talk(name, on=fresh_server, client_id="tab")
    for number, name_ in enumerate(names):
        kind, data = again.ask("Broadcast", {"topic": where, "payload": number}, id=name_)
        assert kind == "Ack"
        if name_ in acks:
            assert data["position"] == acks[name_]["position"]
    assert stored(where) == 60
