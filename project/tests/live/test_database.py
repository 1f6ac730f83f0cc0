"""A database that is slow or away: who is told what, and that nothing is lost for it."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import connection

from devices.models import Surgery
from project.tests.live.conftest import KIND
from project.tests.live.raw import RawWebSocket
from project.tests.live.server import Server
from project.tests.live.surgeons import (
    assert_refused,
    eventually,
    held,
    movement,
    new_surgeon,
    saved_id,
    stored,
)

Simulate = Callable[..., RawWebSocket]


@pytest.mark.skipif(KIND != "daphne", reason="uvicorn cancels nobody")
def test_a_surgeon_who_leaves_a_slow_database_lets_go_after_all(
    start_server: Callable[..., Any], simulate: Simulate
) -> None:
    """Long after daphne has cancelled the connection's application."""
    surgery = uuid.uuid4()
    with start_server(options=["--application-close-timeout", "1"]) as server:
        ws = simulate(new_surgeon(), on=server, surgery=str(surgery))
        ws.send_json(movement(timestamp=1))
        eventually(lambda: stored(surgery))
        with held(surgery):
            ws.send_json(movement(timestamp=2))
            ws.close()
            eventually(lambda: "took too long to shut down" in server.log)
        eventually(lambda: not Surgery.objects.get(pk=surgery).node)
        assert [each["timestamp"] for each in stored(surgery)] == [1, 2]


def test_a_handshake_that_waits_for_the_database_is_refused_with_1013(
    start_server: Callable[..., Any], simulate: Simulate
) -> None:
    surgeon, surgery = new_surgeon(), str(uuid.uuid4())
    # By itself daphne would drop the connection without a word after a second.
    options = ["--websocket_connect_timeout", "1"] if KIND == "daphne" else []
    with start_server(options=options, VITALWIRE_AUTH_TIMEOUT_SECONDS="3") as server:
        ws = simulate(surgeon, on=server, surgery=surgery)
        ws.send_json(movement(timestamp=1))
        eventually(lambda: stored(uuid.UUID(surgery)))
        ws.close()
        with held(surgery):
            assert_refused(simulate(surgeon, on=server, surgery=surgery).ending(), 1013)
        again = simulate(surgeon, on=server, surgery=surgery)
        again.send_json(movement("FINISH", timestamp=2))
        assert str(saved_id(again.read())) == surgery


@contextmanager
def database_away() -> Iterator[None]:
    """End every connection to the database and let nobody connect; PostgreSQL only."""
    name = connection.settings_dict["NAME"]
    connection.close()
    connection.close_pool()
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            yield
        finally:
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


@pytest.mark.postgres
@pytest.mark.skipif(connection.vendor != "postgresql", reason="a file is never away")
def test_what_came_while_the_database_was_away_is_stored_when_it_is_back(
    fresh_server: Server, simulate: Simulate
) -> None:
    surgery = uuid.uuid4()
    ws = simulate(new_surgeon(), on=fresh_server, surgery=str(surgery))
    ws.send_json(movement(timestamp=1))
    eventually(lambda: stored(surgery))
    with database_away():
        for number in range(2, 70):
            ws.send_json(movement(timestamp=number))
        assert_refused(ws.ending(within=20), 1013)
    eventually(lambda: not Surgery.objects.get(pk=surgery).node)
    assert [each["timestamp"] for each in stored(surgery)] == [*range(1, 70)]
