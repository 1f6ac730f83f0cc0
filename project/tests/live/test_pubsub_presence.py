"""Presence against a live server: who comes and goes, and what is told after a kill -9."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from accounts.models import User
from project.tests.live.people import Connect, enter, presence_of, presences, say, until
from project.tests.live.raw import RawWebSocket
from project.tests.live.server import Server
from project.tests.live.surgeons import eventually, new_surgeon
from realtime.core.events import presence_topic
from realtime.models import JournalEntry, NodePresence, UserPresence
from realtime.presence.people import LINGER_SECONDS, TRUST_AFTER_SECONDS

Servers = tuple[Server, Server]

# Dead after 12 s, swept within another one, and what a busy machine takes.
KILLED_SECONDS = 15.0
BUSY_SECONDS = 10.0


def member() -> str:
    return new_surgeon("ROLE_MEMBER")


def rows_of(username: str) -> int:
    return NodePresence.objects.filter(user_id=User.objects.get(username=username).pk).count()


def status_of(username: str) -> str | None:
    row = UserPresence.objects.filter(username=username).first()
    return row.status if row else None


def told_of(username: str) -> list[str]:
    """Return what the journal told of a user, in order."""
    entries = JournalEntry.objects.filter(topic=presence_topic(username)).order_by("id")
    return [json.loads(bytes(entry.payload))["status"] for entry in entries]


def test_coming_and_going_is_told_with_when(server: Server, connect: Connect) -> None:
    ana = member()
    watcher = enter(connect, server, member(), "presence.*")
    before = time.time() * 1000
    ws = enter(connect, server, ana, metadata='{"device": "web"}')
    came = presence_of(watcher, ana, "online")
    assert came["metadata"] == {"device": "web"}
    assert before - 2_000 <= came["last_seen"] <= time.time() * 1000 + 2_000
    left_at = time.time() * 1000
    ws.close()
    left = presence_of(watcher, ana, "offline")
    assert left["metadata"] == {}
    # When they left, not when it was told.
    assert abs(left["last_seen"] - left_at) < LINGER_SECONDS * 1000
    assert told_of(ana) == ["online", "offline"]


def test_a_page_that_is_loaded_anew_is_not_told(server: Server, connect: Connect) -> None:
    ana = member()
    watcher = enter(connect, server, member(), presence_topic(ana))
    ws = enter(connect, server, ana)
    presence_of(watcher, ana, "online")
    for _ in range(3):
        ws.drop()
        ws = enter(connect, server, ana)
    assert presences(watcher, ana, seconds=LINGER_SECONDS + 1) == []
    assert told_of(ana) == ["online"]


def test_a_user_has_one_presence_in_all_dialects(server: Server, connect: Connect) -> None:
    olga = new_surgeon("ROLE_OPERATOR")
    watcher = enter(connect, server, member(), presence_topic(olga))
    sockets = [enter(connect, server, olga)]
    token = server.token_for(olga)
    sockets.append(connect(server.ws_url("/ws/telemetry", token=token)))
    presence_of(watcher, olga, "online")
    sockets[0].close()
    assert presences(watcher, olga, seconds=LINGER_SECONDS + 1) == []
    sockets[1].close()
    presence_of(watcher, olga, "offline")
    assert told_of(olga) == ["online", "offline"]


def test_many_joins_of_one_user_at_once_are_one_row_told_once(
    server: Server, connect: Connect, soak: int
) -> None:
    ana = member()
    # A user has ten connections of this dialect; that they come and go makes no difference.
    for _ in range(20 * soak):
        ws = enter(connect, server, ana)
        ws.drop()
    last = enter(connect, server, ana)
    eventually(lambda: status_of(ana) == "online")
    assert rows_of(ana) == 1
    assert told_of(ana) == ["online"]
    last.close()


def test_what_a_client_says_is_told(server: Server, connect: Connect) -> None:
    ana = member()
    watcher = enter(connect, server, member(), presence_topic(ana))
    ws = enter(connect, server, ana)
    presence_of(watcher, ana, "online")
    say(ws, "Presence", status="away", metadata={"mood": "tea", "ñ": "\u0000"})
    assert presence_of(watcher, ana, "away")["metadata"] == {"mood": "tea", "ñ": "\u0000"}
    other = enter(connect, server, ana)
    assert presence_of(watcher, ana, "online")["metadata"] == {"mood": "tea", "ñ": "\u0000"}
    other.close()
    presence_of(watcher, ana, "away")
    say(ws, "Presence", status="offline")
    presence_of(watcher, ana, "offline")


def test_a_subscriber_is_shown_who_is_present(server: Server, connect: Connect) -> None:
    ana, bea, late = member(), member(), member()
    watcher = enter(connect, server, late, "presence.*")
    kept = []
    for name in (ana, bea):
        kept.append(enter(connect, server, name))
        presence_of(watcher, name, "online")
    kept.pop().close()
    presence_of(watcher, bea, "offline")
    everybody = enter(connect, server, member(), "presence.*")
    shown = {
        each["data"]["user_id"]: each["data"]["status"]
        for each in everybody.messages(seconds=1)
        if each["type"] == "Presence"
    }
    assert shown[ana] == "online"
    assert shown.get(bea) in (None, "offline")
    named = enter(connect, server, member(), presence_topic(bea))
    assert until(named, "Presence")["status"] == "offline"


@pytest.mark.parametrize("metadata", ["no json", "[]", json.dumps({"a": "x" * 1_024})])
def test_bad_metadata_is_refused_and_the_connection_stays(
    server: Server, connect: Connect, metadata: str
) -> None:
    ws = enter(connect, server, member(), metadata=metadata)
    assert until(ws, "Error")["details"]["field"] == "metadata"
    say(ws, "Ping", timestamp=5)
    assert until(ws, "Pong") == {"timestamp": 5}


# --- Ends and beginnings -------------------------------------------------------------------


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_after_a_restart_who_came_back_is_present_and_who_did_not_is_not(
    fresh_server: Server, connect: Connect, end: str
) -> None:
    ana, bea, watching = member(), member(), member()
    for name in (ana, bea):
        enter(connect, fresh_server, name)
        eventually(lambda name=name: status_of(name) == "online")
    getattr(fresh_server, end)()
    fresh_server.restart()
    watcher = enter(connect, fresh_server, watching, "presence.*")
    ws = enter(connect, fresh_server, ana)
    # In order: as soon as heartbeats can be trusted; killed: when it is taken for dead.
    within = KILLED_SECONDS + TRUST_AFTER_SECONDS + BUSY_SECONDS
    presence_of(watcher, bea, "offline", within=within)
    assert status_of(ana) == "online"
    assert told_of(ana) == ["online"]
    assert told_of(bea) == ["online", "offline"]
    assert rows_of(ana) == 1
    ws.close()
    presence_of(watcher, ana, "offline")


# --- Two processes -------------------------------------------------------------------------


@pytest.mark.redis
def test_one_presence_over_two_processes(servers: Servers, connect: Connect) -> None:
    ana = member()
    watchers = [enter(connect, each, member(), presence_topic(ana)) for each in servers]
    sockets = [enter(connect, each, ana) for each in servers]
    for watcher in watchers:
        presence_of(watcher, ana, "online")
    eventually(lambda: rows_of(ana) == 2)
    sockets[0].close()
    assert presences(watchers[1], ana, seconds=LINGER_SECONDS + 1) == []
    sockets[1].close()
    for watcher in watchers:
        presence_of(watcher, ana, "offline")
    assert told_of(ana) == ["online", "offline"]


@pytest.mark.redis
def test_a_process_that_is_killed_takes_its_users_with_it_and_nobody_else(
    servers: Servers, start_server: Callable[..., Any], connect: Connect
) -> None:
    ana, bea, cleo = member(), member(), member()
    watcher = enter(connect, servers[0], member(), "presence.*")
    stays = [enter(connect, servers[1], name) for name in (ana, cleo)]
    with start_server() as doomed:
        lost: list[RawWebSocket] = [enter(connect, doomed, name) for name in (ana, bea)]
        eventually(lambda: rows_of(ana) == 2 and rows_of(bea) == 1)
        doomed.kill()
        killed_at = time.time()
        told = presence_of(watcher, bea, "offline", within=KILLED_SECONDS + BUSY_SECONDS)
        # Since its last heartbeat.
        assert killed_at - 6 <= told["last_seen"] / 1000 <= killed_at + 1
        eventually(lambda: rows_of(ana) == 1)
    assert told_of(ana) == told_of(cleo) == ["online"]
    assert told_of(bea) == ["online", "offline"]
    for ws in (*stays, *lost):
        ws.drop()


@pytest.mark.redis
def test_who_moves_from_a_process_that_ends_to_another_was_never_away(
    servers: Servers, start_server: Callable[..., Any], connect: Connect
) -> None:
    ana = member()
    with start_server() as leaving:
        ws = enter(connect, leaving, ana)
        eventually(lambda: rows_of(ana) == 1)
        leaving.terminate()
        assert ws.ending().code == 1012
    again = enter(connect, servers[0], ana)
    time.sleep(LINGER_SECONDS + 2)
    eventually(lambda: rows_of(ana) == 1)
    assert told_of(ana) == ["online"]
    again.close()
