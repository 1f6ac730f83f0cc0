"""Budgets counted across processes: two servers on one database and one Redis."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from django.conf import settings

from project.tests.live.raw import RawWebSocket
from project.tests.live.server import Server
from project.tests.live.surgeons import eventually, new_surgeon
from realtime.models import RefusedAttempt

pytestmark = pytest.mark.redis

Connect = Callable[..., RawWebSocket]
Servers = tuple[Server, Server]
PER_USER, PER_MINUTE, TOTAL = 3, 12, 8
LIMITS = {
    "VITALWIRE_PUBSUB_CONNECTIONS_PER_USER": str(PER_USER),
    "VITALWIRE_PUBSUB_CONNECTIONS_PER_MINUTE": str(PER_MINUTE),
    "VITALWIRE_PUBSUB_CONNECTIONS_TOTAL": str(TOTAL),
}
# What one process admits, the others know well within this time.
TELLING_SECONDS = 0.5


@pytest.fixture(scope="module")
def strict_servers(
    django_db_setup: None, start_server: Callable[..., Any], environment: dict[str, str]
) -> Iterator[Servers]:
    """Yield two processes of one deployment with small budgets, apart from all others."""
    if not settings.REDIS_URL:
        pytest.skip("one process only: this deployment has no Redis")
    prefix = f"{environment['REDIS_PREFIX']}-strict"
    with (
        start_server(**LIMITS, REDIS_PREFIX=prefix) as one,
        start_server(**LIMITS, REDIS_PREFIX=prefix) as other,
    ):
        yield one, other


def listen(connect: Connect, server: Server, username: str) -> RawWebSocket:
    """Open a socket that is let in."""
    ws = connect(server.ws_url("/ws/pubsub", token=server.token_for(username)))
    greeting = msgspec.json.decode(ws.read())
    assert greeting["type"] == "Status", greeting
    time.sleep(TELLING_SECONDS)
    return ws


def refusal(connect: Connect, server: Server, username: str) -> dict[str, Any]:
    """Open a socket that is over a budget; return what it says and how it ended."""
    ws = connect(server.ws_url("/ws/pubsub", token=server.token_for(username)))
    error = msgspec.json.decode(ws.read())["data"]
    ending = ws.ending()
    assert (error["code"], ending.code) == (429, 1013)
    assert ending.reason == error["message"]
    return error


def test_a_user_s_connections_count_wherever_they_are(
    strict_servers: Servers, connect: Connect
) -> None:
    user = new_surgeon()
    sockets = [listen(connect, strict_servers[turn % 2], user) for turn in range(PER_USER)]
    for server in strict_servers:
        details = refusal(connect, server, user)["details"]
        assert (details["limit"], details["used"]) == (PER_USER, PER_USER)
    sockets[0].drop()
    time.sleep(TELLING_SECONDS)
    # The place was free on the first, and is taken on the second.
    sockets.append(listen(connect, strict_servers[1], user))
    assert refusal(connect, strict_servers[0], user)["details"]["used"] == PER_USER
    for ws in sockets:
        ws.drop()
    rows = RefusedAttempt.objects.filter(username=user, reason="too_many_connections")
    eventually(lambda: rows.count() == 3)
    assert {(row.endpoint, row.address) for row in rows} == {("pubsub", "127.0.0.1")}


def test_new_connections_a_minute_count_wherever_they_are(
    strict_servers: Servers, connect: Connect
) -> None:
    user = new_surgeon()
    for turn in range(PER_MINUTE):
        listen(connect, strict_servers[turn % 2], user).drop()
    for server in strict_servers:
        details = refusal(connect, server, user)["details"]
        assert (details["limit"], details["used"]) == (PER_MINUTE, PER_MINUTE)
        assert 0 < details["retry_after_ms"] <= 60_000


def test_the_total_counts_wherever_they_are_and_a_killed_process_is_forgotten(
    strict_servers: Servers,
    connect: Connect,
    start_server: Callable[..., Any],
    environment: dict[str, str],
) -> None:
    prefix = f"{environment['REDIS_PREFIX']}-strict"
    with start_server(**LIMITS, REDIS_PREFIX=prefix) as doomed:
        for turn in range(TOTAL):
            listen(connect, (*strict_servers, doomed)[turn % 3], new_surgeon())
        assert "this server's 8" in refusal(connect, strict_servers[0], new_surgeon())["message"]
        doomed.kill()

    def is_let_in() -> bool:
        server = strict_servers[0]
        ws = connect(server.ws_url("/ws/pubsub", token=server.token_for(new_surgeon())))
        return msgspec.json.decode(ws.read())["type"] == "Status"

    eventually(is_let_in, within=40)


def test_who_starts_late_knows_what_is_open(
    strict_servers: Servers,
    connect: Connect,
    start_server: Callable[..., Any],
    environment: dict[str, str],
) -> None:
    user = new_surgeon()
    for turn in range(PER_USER):
        listen(connect, strict_servers[turn % 2], user)
    prefix = f"{environment['REDIS_PREFIX']}-strict"
    with start_server(**LIMITS, REDIS_PREFIX=prefix) as late:
        # It answers before it has found the others: how soon is the machine's affair.
        for _ in range(PER_MINUTE - PER_USER - 1):
            ws = connect(late.ws_url("/ws/pubsub", token=late.token_for(user)))
            if msgspec.json.decode(ws.read())["type"] == "Error":
                break
            ws.drop()
            time.sleep(TELLING_SECONDS)
        assert refusal(connect, late, user)["details"]["used"] == PER_USER


def test_the_six_figures_are_those_of_both(strict_servers: Servers, connect: Connect) -> None:
    before = figures(strict_servers[0])
    for server in strict_servers:
        listen(connect, server, new_surgeon())
    # Those of the other are as old as its heartbeat.
    eventually(
        lambda: figures(strict_servers[0])["totalConnections"] >= before["totalConnections"] + 2
    )
    now = figures(strict_servers[0])
    assert now["activeConnections"] >= 2
    assert now["messagesSent"] >= before["messagesSent"] + 2
    assert now["messagesPerConnection"] > 0


def figures(server: Server) -> dict[str, Any]:
    token = server.token_for("operator")
    status, body = server.request("GET", "/api/v1/stats/connections", token=token)
    assert status == 200
    return body
