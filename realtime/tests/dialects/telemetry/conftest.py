"""A server in memory, whose tokens are looked up in a dictionary."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from accounts.tokens import BadToken, TokenProblem
from realtime.core.session import Principal
from realtime.dialects.telemetry import auth
from realtime.hub import Hub
from realtime.tests.dialects.telemetry.rooms import Server


class Row:
    def __init__(self, pk: int) -> None:
        self.pk = pk


@pytest.fixture(params=[False, True], ids=["json", "msgpack"])
async def server(
    request: pytest.FixtureRequest, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Server]:
    """Yield a server whose clients speak JSON, and one whose clients speak MessagePack."""
    server = Server(hub)
    server.is_packed = request.param

    async def principal_of(token: str) -> Principal:
        found = server.tokens.get(token, BadToken(TokenProblem.MALFORMED))
        if isinstance(found, Principal):
            return found
        raise found

    async def ask(service: Any, user_id: UUID) -> Row | None:
        found = [each for each in server.intake.registry if each.account_id == user_id]
        return Row(found[0].device_id) if found else None

    monkeypatch.setattr(auth, "principal_of", principal_of)
    monkeypatch.setattr(auth, "ask", ask)
    # Commands come from the database; the tests of them bring their own.
    monkeypatch.setattr("realtime.dialects.telemetry.device.Deliveries.look", lambda _: None)
    yield server
    for future in server.intake.futures:
        if not future.done():
            future.set_result({})
    for client in server.clients:
        await client.wire.end()
