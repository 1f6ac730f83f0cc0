"""What crosses processes: two servers on one database and one Redis."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from accounts import services
from accounts.models import User
from project.tests.live.raw import RawWebSocket
from project.tests.live.server import Server
from project.tests.live.surgeons import (
    assert_refused,
    eventually,
    movement,
    new_surgeon,
    saved_id,
    status_of,
    stored,
)
from project.tests.live.test_ai import hear, listen

pytestmark = pytest.mark.redis

Connect = Callable[..., RawWebSocket]
Simulate = Callable[..., RawWebSocket]
Servers = tuple[Server, Server]


def test_an_operation_finished_on_one_is_announced_on_both_once(
    servers: Servers, connect: Connect, simulate: Simulate
) -> None:
    listeners = [listen(connect, server) for server in servers]
    for server in servers:
        ws = simulate(new_surgeon(), on=server)
        ws.send_json(movement("FINISH"))
        surgery_id = saved_id(ws.read())
        assert [hear(listener, surgery_id) for listener in listeners] == [1, 1]


def test_an_operation_is_resumed_on_the_other(servers: Servers, simulate: Simulate) -> None:
    surgeon, surgery = new_surgeon(), str(uuid.uuid4())
    sent = []
    for turn in range(6):
        ws = simulate(surgeon, on=servers[turn % 2], surgery=surgery)
        for _ in range(50):
            sent.append(len(sent) + 1)
            ws.send_json(movement(timestamp=sent[-1]))
        eventually(lambda: len(stored(uuid.UUID(surgery))) == len(sent))
        ws.drop()
    ws = simulate(surgeon, on=servers[0], surgery=surgery)
    ws.send_json(movement("FINISH", timestamp=len(sent) + 1))
    assert str(saved_id(ws.read())) == surgery
    times = [each["timestamp"] for each in stored(uuid.UUID(surgery))]
    assert times == [*sent, len(sent) + 1]


def test_a_socket_on_the_other_takes_over(servers: Servers, simulate: Simulate) -> None:
    surgeon, surgery = new_surgeon(), str(uuid.uuid4())
    first = simulate(surgeon, on=servers[0], surgery=surgery)
    for number in range(1, 101):
        first.send_json(movement(timestamp=number))
    eventually(lambda: stored(uuid.UUID(surgery)))
    second = simulate(surgeon, on=servers[1], surgery=surgery)
    assert_refused(first.ending(), 1008)
    second.send_json(movement("FINISH", timestamp=101))
    assert str(saved_id(second.read())) == surgery
    assert [each["timestamp"] for each in stored(uuid.UUID(surgery))] == [*range(1, 102)]


def test_a_finish_is_repeated_on_the_other(
    servers: Servers, connect: Connect, simulate: Simulate
) -> None:
    surgeon, surgery, finish = new_surgeon(), str(uuid.uuid4()), movement("FINISH")
    listener = listen(connect, servers[1])
    answers = set()
    for server in servers:
        ws = simulate(surgeon, on=server, surgery=surgery)
        ws.send_json(finish)
        answers.add(ws.read())
    assert len(answers) == 1
    assert hear(listener, uuid.UUID(surgery)) == 1


def test_a_revocation_ends_the_sockets_of_both(servers: Servers, simulate: Simulate) -> None:
    surgeon = new_surgeon()
    sockets = [simulate(surgeon, on=server) for server in servers]
    services.deactivate_user(User.objects.get(username=surgeon))
    for ws in sockets:
        assert_refused(ws.ending(within=2), 1008)


def test_what_one_stored_the_other_serves(servers: Servers, simulate: Simulate) -> None:
    surgeon = new_surgeon()
    ws = simulate(surgeon, on=servers[0])
    ws.send_json(movement("FINISH"))
    surgery_id = saved_id(ws.read())
    status, body = servers[1].request(
        "GET",
        f"/api/v1/surgeries/{surgery_id}/trajectory",
        token=servers[1].token_for(surgeon),
    )
    assert (status, len(body["movements"])) == (200, 1)


def test_when_one_is_killed_its_operations_go_on_at_the_other(
    servers: Servers, start_server: Callable[..., Any], connect: Connect, simulate: Simulate
) -> None:
    surgeon, surgery = new_surgeon(), str(uuid.uuid4())
    listener = listen(connect, servers[1])
    with start_server() as doomed:
        ws = simulate(surgeon, on=doomed, surgery=surgery)
        ws.send_json(movement(timestamp=1))
        eventually(lambda: stored(uuid.UUID(surgery)))
        doomed.kill()
        again = simulate(surgeon, on=servers[1], surgery=surgery)
        again.send_json(movement("FINISH", timestamp=2))
        assert str(saved_id(again.read())) == surgery
    assert hear(listener, uuid.UUID(surgery)) == 1


def test_operations_of_a_killed_process_are_interrupted_by_the_other(
    servers: Servers, start_server: Callable[..., Any], simulate: Simulate
) -> None:
    surgeon, surgery = new_surgeon(), str(uuid.uuid4())
    with start_server() as doomed:
        ws = simulate(surgeon, on=doomed, surgery=surgery)
        ws.send_json(movement(timestamp=1))
        eventually(lambda: stored(uuid.UUID(surgery)))
        doomed.kill()
    eventually(lambda: status_of(surgery) == "interrupted", within=40)


def test_when_one_is_restarted_the_sockets_of_the_other_stay(
    servers: Servers, start_server: Callable[..., Any], simulate: Simulate
) -> None:
    stays = simulate(new_surgeon(), on=servers[0])
    stays.send_json(movement("START"))
    with start_server() as leaving:
        goes = simulate(new_surgeon(), on=leaving)
        leaving.terminate()
        assert goes.ending().code == 1012
    stays.send_json(movement("FINISH"))
    assert len(stored(saved_id(stays.read()))) == 2
