"""Connections in the admin of a live deployment: seen in all processes, ended in all."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.contrib.admin.models import LogEntry

from accounts.models import User
from project.tests.live.admin import Admin
from project.tests.live.people import Connect, enter, say, until
from project.tests.live.raw import RawWebSocket
from project.tests.live.server import Server
from project.tests.live.surgeons import eventually, new_surgeon
from realtime.connections import end_connection, end_connections_of

URL = "/admin/realtime/connection/"
REASON = "an operator ended this connection"


@pytest.fixture
def everywhere(server: Server, request: pytest.FixtureRequest) -> list[Server]:
    """Return every process of the deployment."""
    return list(request.getfixturevalue("servers")) if settings.REDIS_URL else [server]


@pytest.fixture
def admin(server: Server) -> Admin:
    return Admin(server)


def ids_in(page: str) -> list[str]:
    """Return the connections that can be chosen."""
    return re.findall(r'name="_selected_action" value="([0-9a-f]{32})"', page)


def connection_of(connect: Connect, server: Server, username: str) -> tuple[RawWebSocket, str]:
    ws = connect(server.ws_url("/ws/pubsub", token=server.token_for(username)))
    connection_id: str = until(ws, "Status")["details"]["connection_id"]
    return ws, connection_id


def assert_ended(ws: RawWebSocket) -> None:
    ending = ws.ending()
    assert (ending.code, ending.reason) == (1008, REASON)


def test_connections_of_all_processes_are_listed(
    everywhere: list[Server], admin: Admin, connect: Connect
) -> None:
    ana = new_surgeon("ROLE_MEMBER")
    sockets = [enter(connect, each, ana, "chat.general", "updates.*") for each in everywhere]
    say(sockets[0], "Ping", timestamp=1)
    until(sockets[0], "Pong")
    page = admin.get(f"{URL}?q={ana.replace(' ', '+')}")
    assert len(ids_in(page)) == len(everywhere)
    assert f"in {len(everywhere)} process" in page
    for text in ("chat.general, updates.*", "127.0.0.1", "pubsub", "reading"):
        assert text in page
    for each in everywhere:
        assert f":{each.pid}" in page
    assert ids_in(admin.get(f"{URL}?q=nobody+at+all")) == []


def test_one_connection_is_ended_and_the_others_stay(
    everywhere: list[Server], admin: Admin, connect: Connect
) -> None:
    ana = new_surgeon("ROLE_MEMBER")
    goes, goes_id = connection_of(connect, everywhere[-1], ana)
    stays, _ = connection_of(connect, everywhere[-1], ana)
    page = admin.act(URL, "end", [goes_id])
    assert "Connections ended: 1." in page
    assert_ended(goes)
    say(stays, "Ping", timestamp=2)
    assert until(stays, "Pong") == {"timestamp": 2}
    log = LogEntry.objects.get(object_id=goes_id)
    assert log.object_repr == f"{ana} on pubsub from 127.0.0.1"


def test_all_connections_of_a_user_are_ended_in_every_process_and_dialect(
    everywhere: list[Server], admin: Admin, connect: Connect
) -> None:
    olga, other = new_surgeon("ROLE_OPERATOR"), new_surgeon("ROLE_MEMBER")
    sockets = [connection_of(connect, each, olga) for each in everywhere]
    token = everywhere[0].token_for(olga)
    telemetry = connect(everywhere[-1].ws_url("/ws/telemetry", token=token))
    assert telemetry.read_json()["type"] == "auth_response"
    stays, _ = connection_of(connect, everywhere[0], other)
    admin.act(URL, "end_all_of_user", [sockets[0][1]])
    for ws in (*(ws for ws, _ in sockets), telemetry):
        assert_ended(ws)
    say(stays, "Ping", timestamp=2)
    assert until(stays, "Pong") == {"timestamp": 2}
    # They may come back.
    connection_of(connect, everywhere[0], olga)


def test_a_shell_ends_connections_as_well(everywhere: list[Server], connect: Connect) -> None:
    ana = new_surgeon("ROLE_MEMBER")
    (one, one_id), (other, _) = (connection_of(connect, everywhere[-1], ana) for _ in range(2))
    end_connection(one_id, by="a shell")
    assert_ended(one)
    end_connections_of(User.objects.get(username=ana).pk, by="a shell")
    assert_ended(other)


@pytest.mark.redis
def test_a_process_that_does_not_answer_is_named_and_nobody_waits_for_it(
    servers: tuple[Server, Server], start_server: Callable[..., Any], admin: Admin
) -> None:
    with start_server() as doomed:
        eventually(lambda: f"in {len(servers) + 1} processes" in admin.get(URL), within=20)
        pid = doomed.pid
        doomed.kill()
        began = time.monotonic()
        page = admin.get(URL)
        took = time.monotonic() - began
    assert re.search(rf":{pid} did not answer within 1 s", page)
    # A second for the answer, and what a busy machine takes.
    assert took < 10
